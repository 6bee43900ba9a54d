"""Paths: as the text of stores and tables, in their absolute form, and after files were moved."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

FLAT = "flat"
"""The reference that users give for flat histograms, in place of a path; a night that was scored so keeps this word."""


def path_text(path: str | Path) -> str:
    """Return a path as text that can be written in UTF-8, the same text in every locale.

    Bytes of the path that are not UTF-8 are escaped.
    """
    try:
        return os.fsencode(as_named_here(str(path))).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # letters that no file can have
        return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def as_named_here(path: str) -> str:
    """Return a recorded path in the form that leads to the file in this process.

    In a locale without UTF-8, Python names a file with other letters by escaped bytes. A store that was
    written in another locale holds the letters themselves, which no system call takes then.
    """
    if path.isascii():
        return path
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return os.fsdecode(path.encode("utf-8", "surrogateescape"))
    return path


def absolute(path: str | Path) -> Path:
    """Return the absolute form of a path, which leads to the same file from every folder.

    Links are kept, so that users find the path as they gave it. Only the folder of a path with
    ``..`` is resolved, because the meaning of ``..`` depends on links.
    """
    if isinstance(path, Path) and path.is_absolute() and ".." not in str(path):
        return path  # the usual case, quickly
    whole = Path(path).absolute()
    if ".." not in whole.parts:
        return whole
    try:
        return whole.parent.resolve() / whole.name
    except (OSError, RuntimeError):  # a link that leads to itself
        return whole


def resolved(path: str | Path) -> Path:
    """Return the absolute path without links; where links lead in a circle, the absolute path as it is."""
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError):
        return absolute(path)


class Relocation(NamedTuple):
    """Files that were moved: what was called ``old``, or lay in this folder, is called ``new`` now."""

    old: str
    new: str


def relocated(file: str, moves: Sequence[Relocation]) -> str:
    """Return what a file is called after moves; the first move that concerns the file counts.

    Parameters
    ----------
    file : str
        An absolute path.
    moves : sequence of Relocation
    """
    for old, new in moves:
        if is_within(file, old):
            rest = file[len(old.rstrip("/")) :]
            return f"{new.rstrip('/')}{rest}" or "/"
    return file


def is_within(file: str, folder: str) -> bool:
    """Whether an absolute path is that of a folder, or of something in this folder or in a folder within."""
    return file == folder or file.startswith(f"{folder.rstrip('/')}/")


def lines_on_idle(moves: Iterable[Relocation]) -> Iterator[str]:
    """Yield a line for each move that concerns no file.

    Parameters
    ----------
    moves : iterable of Relocation
    """
    for old, new in sorted(moves):
        yield f"no stored path begins with {old}: nothing was relocated from there to {new}"


def exists(path: Path) -> bool:
    """Whether a path leads to a file or folder; a path that cannot be looked up at this moment counts as existing."""
    try:
        path.stat()
    except ValueError:  # the path holds a null character
        return False
    except OSError as error:
        return error.errno in _TEMPORARY_REFUSALS
    return True


_TEMPORARY_REFUSALS = frozenset((errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE, errno.ENOMEM))
