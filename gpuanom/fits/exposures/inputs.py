"""From the inputs that a user names (files, folders, globs, lists) to FITS files on disk."""

from __future__ import annotations

import glob
import itertools
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from gpuanom.errors import InputError
from gpuanom.fits.exposures import input_lists
from gpuanom.fits.exposures.folders import (
    PERMISSIONS,
    NotFollowedError,
    NothingThereError,
    OtherNameError,
    below,
    broken_link,
)

__all__ = ["NotFollowedError", "NothingThereError", "OtherNameError", "expand"]

_DEEPEST_LIST = 8
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""The beginning of an address such as s3://bucket, which has one slash less after conversion to a Path."""
_EXTENDED = re.compile(r"(.+\.(?:fits|fit|fts)(?:\.\w+)?)(?:(?:\[[^\[\]]*\])+|\+\d+)", re.IGNORECASE)
"""A file's name in CFITSIO's extended syntax, for a part of the file: e.fits[1], e.fits[SCI,2][1:100,*], e.fits+1."""


def expand(inputs: Sequence[str | Path]) -> Iterator[Path | InputError]:
    """Yield the files that inputs name, and an error for each input that names none.

    Parameters
    ----------
    inputs : sequence of str or Path
        Files of any name; folders, in which FITS files are searched at any depth, also in linked
        folders; globs; and lists. ``@list.txt`` is a file with an input on each line, relative to
        the folder of the list, and comments after ``#``. ``@-`` is a list from standard input,
        relative to the current folder. A leading ``~`` is the home folder.

    Yields
    ------
    Path or InputError
        In no particular order. A file may be yielded more than once. An `OtherNameError` is no
        failure: it names a file that is not an input by its name.
    """
    for item in inputs:
        yield from _expand(os.fspath(item), Path(), 0)


def _expand(item: str, folder: Path, depth: int) -> Iterator[Path | InputError]:
    path = folder / item
    mode = _mode(path)
    # A file that exists is taken as it is, even if its name looks like a glob or a list.
    if isinstance(mode, int):
        if stat.S_ISDIR(mode):
            yield from below(path)
        elif stat.S_ISREG(mode) and input_lists.looks_like_a_list(path):
            yield InputError(
                "is a text file, no FITS file", file=path, remedy=f"did you mean @{item}, the files it lists?"
            )
        else:
            yield path
    elif os.path.lexists(path):
        yield broken_link(path, mode) if isinstance(mode, OSError) else path
    elif item.startswith("@"):
        yield from _listed(item[1:], folder, depth)
    elif (path_meant := _path_meant(item)) != item:
        yield from _expand(path_meant, folder, depth)
    elif item == "-":
        yield InputError("names no file", file=item, remedy="@- reads a list of paths from standard input")
    elif (address := _ADDRESS.match(item)) is not None:
        copy = "copy the files to a disk first, and name them or their folder"
        yield InputError(f"is an address ({address[1]}), and only files on a disk can be read", file=item, remedy=copy)
    elif glob.has_magic(item):
        yield from _matching(path)
    elif isinstance(mode, FileNotFoundError | NotADirectoryError):
        yield InputError("does not exist", file=path, remedy=_remedy(item, path))
    else:
        yield _unreachable(path, mode)


def _path_meant(item: str) -> str:
    """Return the path that an input probably means where no file has its name: without quotes, file:// and ~."""
    if len(item) > 2 and item[0] == item[-1] and item[0] in "'\"":
        return item[1:-1]
    if item.startswith("file://"):
        return "/" + unquote(item.removeprefix("file://").removeprefix("localhost").lstrip("/"))
    return os.path.expanduser(item) if item.startswith("~") else item  # noqa: PTH111 (any user's home or none)


def _remedy(item: str, path: Path) -> str:
    """Return the remedy for a file that does not exist."""
    part = _EXTENDED.fullmatch(path.name)
    if part and path.with_name(part[1]).exists():
        return f"whole files are measured: give {part[1]} alone"
    if "$" in item:
        return "variables such as $HOME are not replaced here: write the whole path"
    if "," in item and all(os.path.lexists(path.parent / Path(name.strip()).name) for name in item.split(",")):
        return "separate files by blanks; in a list, write one file on each line"
    if path != Path(item) and os.path.lexists(item):
        return "paths in a list are relative to the list's folder, but this file is below the current folder"
    return "check the path"


def _mode(path: Path) -> int | Exception:
    """Return what kind of file a path leads to (`stat.st_mode`), or the error of looking it up."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: the path holds a null character
        return error


def _unreachable(path: Path, error: Exception) -> InputError:
    remedy = PERMISSIONS if isinstance(error, PermissionError) else "check the path"
    return InputError(f"cannot be looked up: {getattr(error, 'strerror', error)}", file=path, remedy=remedy)


def _matching(pattern: Path) -> Iterator[Path | InputError]:
    """Yield the files that match a pattern, and the FITS files below the folders that match."""
    found = False
    troubles: list[InputError] = []
    for name in sorted(glob.glob(str(pattern), recursive=True)):  # noqa: PTH207 (absolute patterns)
        path = Path(name)
        mode = _mode(path)
        if not isinstance(mode, int) or not stat.S_ISDIR(mode):
            found = True
            yield broken_link(path, mode) if isinstance(mode, OSError) and path.is_symlink() else path
            continue
        for item in below(path):
            if isinstance(item, OtherNameError):
                yield item
            elif isinstance(item, InputError):
                troubles.append(item)
            else:
                found = True
                yield item
    # That a folder holds no FITS file matters only if no other does; that a folder cannot be read
    # always matters.
    yield from (t for t in troubles if not found or not isinstance(t, NothingThereError))
    if found or troubles:
        return
    part = _EXTENDED.fullmatch(pattern.name)
    if part and pattern.with_name(part[1]).exists():
        remedy = f"whole files are measured: give {part[1]} alone"
        yield InputError("names a part of a file", file=pattern, remedy=remedy)
        return
    plain = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts))
    nothing: InputError = NothingThereError("no file matches", file=pattern, remedy="check the pattern")
    try:
        os.scandir(plain).close()
    except PermissionError as error:
        nothing = InputError(f"folder cannot be read: {error.strerror}", file=plain, remedy=PERMISSIONS)
    except OSError:
        pass
    yield nothing


def _listed(name: str, folder: Path, depth: int) -> Iterator[Path | InputError]:
    """Yield the files that the lines of a list name."""
    stream = input_lists.is_stream(name)
    path = Path(name if stream else folder / os.path.expanduser(name))  # noqa: PTH111 (any user's home or none)
    if depth >= _DEEPEST_LIST:
        yield InputError("lists name other lists too many times", file=path, remedy="a list must not name itself")
        return
    try:
        items = input_lists.read_stream(name) if stream else input_lists.read(path)
    except InputError as error:
        yield error
        return
    if not items:
        where = "standard input" if stream else path
        yield NothingThereError("list names no file", file=where, remedy="one path a line")
    for item in items:
        yield from _expand(item, Path() if stream else path.parent, depth + 1)
