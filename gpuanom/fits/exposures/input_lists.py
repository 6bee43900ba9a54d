"""Lists of inputs: text files, or standard input, with a path on each line."""

from __future__ import annotations

import codecs
import os
import re
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from gpuanom.errors import InputError
from gpuanom.fits.opening.file_names import SUFFIXES

_STREAM = re.compile(r"-|/dev/stdin|/dev/fd/\d+|/proc/self/fd/\d+")
_STANDARD_INPUT = ("-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")
_LIST_ENDINGS = (".txt", ".lst", ".list", ".lis")
_TEXT_ENDINGS = (*_LIST_ENDINGS, "", ".cat", ".dat", ".csv", ".in", ".ascii", ".text")


def is_stream(name: str) -> bool:
    """Whether a list is a stream, which can be read only once: ``-``, ``/dev/stdin``, ``/dev/fd/63``."""
    return _STREAM.fullmatch(name) is not None


def lines(text: bytes) -> list[str] | None:
    """Return the paths in the text of a list, without blank lines, comments, line ends and a byte-order mark.

    Parameters
    ----------
    text : bytes
        The content of the file; the names of files need not be UTF-8.

    Returns
    -------
    list of str, or None
        None where the content is no text.
    """
    if text.startswith(codecs.BOM_UTF8):
        text = text.removeprefix(codecs.BOM_UTF8)
    elif text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as PowerShell writes it
        try:
            text = text.decode("utf-16").encode("utf-8")
        except UnicodeError:
            return None
    if b"\0" in text:
        return None
    found = [os.fsdecode(line).strip() for line in text.splitlines()]
    return [line for line in found if line and not line.startswith("#")]


def read(path: Path) -> list[str]:
    """Return the paths in a list that is a file.

    Raises
    ------
    InputError
        When the list cannot be read or is no text; the message names the remedy.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError("list is a folder", file=path, remedy="name a folder without @")
        if not stat.S_ISREG(mode):  # reading a pipe might wait for ever
            raise InputError("list is no regular file", file=path, remedy="check the path after @")
        text = path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = f"list cannot be read: {getattr(error, 'strerror', error)}"
        raise InputError(reason, file=path, remedy="check the path after @") from None
    found = lines(text)
    if found is None or text.startswith(b"SIMPLE  ="):
        remedy = "name a FITS file without @" if path.name.lower().endswith(SUFFIXES) else "one path a line"
        raise InputError("list is not text", file=path, remedy=remedy)
    return found


def read_stream(name: str) -> list[str]:
    """Return the paths in a list that is a stream.

    Raises
    ------
    InputError
        When the stream cannot be read or is no text; the message names the remedy.
    """
    where = "standard input" if name in _STANDARD_INPUT else name
    try:
        if name not in _STANDARD_INPUT:
            text = Path(name).read_bytes()
        elif sys.stdin is None:
            text = b""
        else:
            text = sys.stdin.buffer.read()
    except (OSError, ValueError) as error:
        reason = f"list cannot be read: {getattr(error, 'strerror', None) or error}"
        raise InputError(reason, file=where, remedy="check the program that writes the list") from None
    found = lines(text)
    if found is None:
        raise InputError("list is not text", file=where, remedy="one path a line")
    return found


def with_streams_read(inputs: Sequence[str | Path]) -> list[str | Path]:
    """Return inputs in which each list from a stream, which can be read only once, is replaced by its paths.

    Parameters
    ----------
    inputs : sequence of str or Path
        See `gpuanom.fits.exposures.inputs.expand`.

    Raises
    ------
    InputError
        As `read_stream`.
    """
    replaced: list[str | Path] = []
    for item in inputs:
        name = str(item)
        if name.startswith("@") and is_stream(name[1:]) and not os.path.lexists(name):
            # An empty stream stays in the list: expanding the inputs finds no path in it, and
            # reports that.
            replaced += read_stream(name[1:]) or [item]
        else:
            replaced.append(item)
    return replaced


def looks_like_a_list(path: Path) -> bool:
    """Whether a regular file that was given as an image is really a list of images."""
    suffix = path.suffix.lower()
    if path.name.lower().endswith(SUFFIXES) or suffix not in _TEXT_ENDINGS:
        return False
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return False
    found = None if head.startswith(b"SIMPLE  =") else lines(head)
    if not found:
        return False
    return suffix in _LIST_ENDINGS or any(line.lower().endswith(SUFFIXES) for line in found)
