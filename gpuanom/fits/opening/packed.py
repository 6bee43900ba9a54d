"""Files that are packed as a whole: gpuanom unpacks gzip, bzip2 and xz, and tells how to unpack other formats."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from gpuanom.errors import InputError
from gpuanom.system import is_refusal

HEAD = 6
"""Number of bytes at the beginning of a file that show how the file is packed."""

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}


class PackedError(InputError):
    """A file that is packed in a format which gpuanom cannot unpack; the message says how to unpack it.

    Attributes
    ----------
    archive : bool
        Whether the file may hold anything: its name is not that of one packed FITS file.
    """

    archive: bool = False


@dataclass(frozen=True)
class Foreign:
    """A format of packed files that gpuanom cannot unpack.

    Attributes
    ----------
    name : str
        Name of the program that packs such files, for messages.
    magic : bytes
        The first bytes of such files; empty where only the name of the file shows the format.
    suffixes : tuple of str
        Endings of the names of such files, in lower case.
    command : str
        The command that unpacks such a file.
    """

    name: str
    magic: bytes
    suffixes: tuple[str, ...]
    command: str


_FOREIGN = (
    Foreign("compress", b"\x1f\x9d", (".z",), "uncompress"),
    Foreign("pack", b"\x1f\x1e", (), "gunzip -c"),
    Foreign("zstd", b"\x28\xb5\x2f\xfd", (".zst",), "unzstd"),
    Foreign("lz4", b"\x04\x22\x4d\x18", (".lz4",), "unlz4"),
    Foreign("lzip", b"LZIP", (".lz",), "lzip -d"),
    Foreign("lzma", b"]\x00\x00", (".lzma",), "unlzma"),
    Foreign("zip", b"PK\x03\x04", (".zip",), "unzip"),
    Foreign("7z", b"7z\xbc\xaf\x27\x1c", (".7z",), "7z x"),
    Foreign("rar", b"Rar!", (".rar",), "unrar x"),
    Foreign("tar", b"", (".tar", ".tgz", ".tbz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz"), "tar xf"),
)

ARCHIVES: tuple[str, ...] = (
    *(f"{fits}{suffix}" for fits in (".fits", ".fit", ".fts", ".fz") for way in _FOREIGN for suffix in way.suffixes),
    *next(way.suffixes for way in _FOREIGN if way.name == "tar"),
    ".zip",
    ".7z",
)
"""Endings of packed files that may hold FITS files, but that gpuanom cannot unpack; in lower case."""


def packing(head: bytes) -> str:
    """Return how a file is packed by its first `HEAD` bytes: ``gzip``, ``bzip2``, ``xz``, or '' where it is not."""
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), "")


def refuse_foreign(path: Path, head: bytes) -> None:
    """Check that a file is not packed in a format which gpuanom cannot unpack.

    Parameters
    ----------
    path : Path
    head : bytes
        The first `HEAD` bytes of the file.

    Raises
    ------
    PackedError
        Status ``unreadable``: the message says how to unpack the file.
    """
    name = path.name.lower()
    for way in _FOREIGN:
        is_tar = not way.magic and name.endswith(way.suffixes) and not head.startswith(b"SIMPLE")
        if is_tar or (way.magic and head.startswith(way.magic)):
            remedy = f"unpack it: {way.command} {path.name}"
            error = PackedError(f"packed by {way.name}, which gpuanom cannot unpack", file=path, remedy=remedy)
            error.archive = is_tar or not any(f"{kind}." in name for kind in (".fits", ".fit", ".fts", ".fz"))
            raise error


def unpacked(stream: BinaryIO, how: str) -> BinaryIO:
    """Open a packed file for reading its unpacked bytes.

    Parameters
    ----------
    stream : binary file
        The packed file, at its beginning.
    how : str
        As `packing` returns it.
    """
    openers: dict[str, Callable[..., Any]] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
    return cast(BinaryIO, openers[how](stream))


DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
"""Errors that damaged bytes raise."""


def shows_damage(error: BaseException) -> bool:
    """Whether an error of unpacking comes from damaged bytes, and not from the system, which could not read them."""
    return isinstance(error, DAMAGE) or (isinstance(error, OSError) and not is_refusal(error))
