"""From what a user names (files, folders, globs, lists) to FITS files on disk."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpuanom.errors import InputError
from gpuanom.fits.headers import SUFFIXES

_DEEPEST_LIST = 8


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
    # A file that is really there is taken as it is, even if its name looks like a glob or a list.
    if path.is_dir():
        yield from _below(path)
    elif os.path.lexists(path):
        yield path
    elif item.startswith("@"):
        yield from _listed(folder / item[1:], depth)
    elif glob.has_magic(item):
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 (absolute patterns)
        files = [f for f in found if not f.is_dir()]
        if not files:
            yield InputError("no file matches", file=path, remedy="check the pattern")
        yield from files
    else:
        yield InputError("does not exist", file=path, remedy="check the path")


def _below(folder: Path) -> Iterator[Path | InputError]:
    troubles: list[OSError] = []
    found = False
    for root, folders, names in os.walk(folder, onerror=troubles.append, followlinks=False):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                found = True
                yield Path(root) / name
    for trouble in troubles:
        yield InputError(f"folder cannot be read: {trouble.strerror}", file=trouble.filename)
    if not found and not troubles:
        yield InputError("no FITS file in this folder", file=folder, remedy=f"FITS files end in {', '.join(SUFFIXES)}")


def _listed(path: Path, depth: int) -> Iterator[Path | InputError]:
    if depth >= _DEEPEST_LIST:
        yield InputError("lists within lists too deep", file=path, remedy="a list must not name itself")
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        yield InputError(f"list cannot be read: {error.strerror}", file=path, remedy="check the path after @")
        return
    except UnicodeDecodeError:
        yield InputError("list is not text", file=path, remedy="one path a line, UTF-8")
        return
    items = [line.strip() for line in lines]
    items = [line for line in items if line and not line.startswith("#")]
    if not items:
        yield InputError("list names no file", file=path, remedy="one path a line")
    for item in items:
        yield from _expand(item, path.parent, depth + 1)


def natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key of a path: numbers by value ('ccd2' before 'ccd10'), then by the plain text so that no two are equal."""
    text = str(path)
    parts = re.split(r"([0-9]+)", text.lower())
    return [(1, int(part), "") if part.isdecimal() and part.isascii() else (0, 0, part) for part in parts], text
