"""From what a user names (files, folders, globs, lists) to FITS files on disk."""

from __future__ import annotations

import glob
import itertools
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpuanom.errors import InputError
from gpuanom.fits.headers import SUFFIXES
from gpuanom.fits.packed import ARCHIVES

_DEEPEST_LIST = 8
_NO_FITS = f"FITS files end in {', '.join(SUFFIXES)}"
_PERMISSIONS = "change its permissions"


class NothingThereError(InputError):
    """An input that can be looked at and names no file: there may be some later."""


def expand(inputs: Sequence[str | Path]) -> Iterator[Path | InputError]:
    """Yield the files that inputs name, and an error for each input that names none.

    Parameters
    ----------
    inputs : sequence of str or Path
        Files of any name; folders, searched for FITS files with all that is below them; globs; and ``@list.txt``, a
        file with one of these a line, relative to its own folder, with ``#`` for comments.

    Yields
    ------
    Path or InputError
        A file may come more than once, in no particular order.
    """
    for item in inputs:
        yield from _expand(str(item), Path(), 0)


def _expand(item: str, folder: Path, depth: int) -> Iterator[Path | InputError]:
    path = folder / item
    mode = _mode(path)
    # A file that is really there is taken as it is, even if its name looks like a glob or a list.
    if isinstance(mode, int):
        yield from _below(path) if stat.S_ISDIR(mode) else [path]
    elif os.path.lexists(path):
        yield path  # a link that leads nowhere: reading it says so
    elif item.startswith("@"):
        yield from _listed(folder / item[1:], depth)
    elif glob.has_magic(item):
        yield from _matching(path)
    elif isinstance(mode, FileNotFoundError | NotADirectoryError):
        yield InputError("does not exist", file=path, remedy="check the path")
    else:
        yield _unreachable(path, mode)


def _mode(path: Path) -> int | Exception:
    """Return what kind of file a path leads to (`stat.st_mode`), or why that cannot be told."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: a null character
        return error


def _unreachable(path: Path, error: Exception) -> InputError:
    remedy = _PERMISSIONS if isinstance(error, PermissionError) else "check the path"
    return InputError(f"cannot be looked up: {getattr(error, 'strerror', error)}", file=path, remedy=remedy)


def _matching(pattern: Path) -> Iterator[Path | InputError]:
    """Yield the files that match, and those below the folders that match."""
    found = False
    troubles: list[InputError] = []
    for name in sorted(glob.glob(str(pattern), recursive=True)):  # noqa: PTH207 (absolute patterns)
        path = Path(name)
        mode = _mode(path)
        if not isinstance(mode, int) or not stat.S_ISDIR(mode):
            found = True
            yield path
            continue
        for item in _below(path):
            if isinstance(item, InputError):
                troubles.append(item)
            else:
                found = True
                yield item
    # Some of the folders may well hold none; that a folder cannot be read is always said.
    yield from (t for t in troubles if not found or t.remedy != _NO_FITS)
    if not found and not troubles:
        plain = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts))
        try:
            with os.scandir(plain):
                pass
        except PermissionError as error:
            yield InputError(f"folder cannot be read: {error.strerror}", file=plain, remedy=_PERMISSIONS)
        except OSError:
            yield NothingThereError("no file matches", file=pattern, remedy="check the pattern")
        else:
            yield NothingThereError("no file matches", file=pattern, remedy="check the pattern")


def _below(folder: Path) -> Iterator[Path | InputError]:
    troubles: list[OSError] = []
    found = False
    for root, folders, names in os.walk(folder, onerror=troubles.append, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            # Packed files that are not unpacked here are listed too, so that what they are is said.
            if name.lower().endswith(SUFFIXES + ARCHIVES) and not name.startswith("."):
                found = True
                yield Path(root) / name
    for trouble in troubles:
        reason = f"folder cannot be read: {trouble.strerror}"
        yield InputError(reason, file=trouble.filename, remedy=_PERMISSIONS)
    if not found and not troubles:
        yield NothingThereError("no FITS file in this folder", file=folder, remedy=_NO_FITS)


def _listed(path: Path, depth: int) -> Iterator[Path | InputError]:
    if depth >= _DEEPEST_LIST:
        yield InputError("lists within lists too deep", file=path, remedy="a list must not name itself")
        return
    mode = _mode(path)
    if isinstance(mode, int) and not stat.S_ISREG(mode):
        yield InputError("list is no regular file", file=path, remedy="check the path after @")
        return
    try:
        text = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = f"list cannot be read: {getattr(error, 'strerror', error)}"
        yield InputError(reason, file=path, remedy="check the path after @")
        return
    if b"\0" in text:
        yield InputError("list is not text", file=path, remedy="one path a line")
        return
    items = [os.fsdecode(line).strip() for line in text.splitlines()]  # names of files need not be UTF-8
    items = [line for line in items if line and not line.startswith("#")]
    if not items:
        yield NothingThereError("list names no file", file=path, remedy="one path a line")
    for item in items:
        yield from _expand(item, path.parent, depth + 1)
