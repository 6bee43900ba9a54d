"""The FITS files in a folder and in all folders below it, linked folders included."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gpuanom.errors import InputError
from gpuanom.fits.exposures.other_names import is_plainly_something_else
from gpuanom.fits.opening.file_names import SUFFIXES
from gpuanom.fits.opening.packed import ARCHIVES

PERMISSIONS = "change its permissions"
NO_FITS = "names of FITS files end in .fits, .fit or .fts, or in one of these and .fz, .gz, .bz2 or .xz"
_ORDINARY = re.compile(r"\.[A-Za-z]{1,5}$")
"""The ending of a file's name such as README.txt, which no folder of exposures has."""

Identity = tuple[int, int]
"""Device and inode of a folder: two paths with one identity lead to the same folder."""


class NothingThereError(InputError):
    """An input that can be read and names no file now; files may come later."""


class NotFollowedError(InputError):
    """A link to a folder above the searched folder, which is not followed: its other folders were not asked for."""


class OtherNameError(InputError):
    """A file in a folder whose name does not end as those of FITS files, and may hold an image all the same."""


def is_fits_name(name: str) -> bool:
    """Whether a file in a folder is an input, by its name.

    Packed files that gpuanom cannot unpack are inputs too, so that the user is told how to unpack
    them.
    """
    return name.lower().endswith(SUFFIXES + ARCHIVES) and not name.startswith(".")


def below(folder: Path) -> Iterator[Path | InputError]:
    """Yield the FITS files in a folder and in all folders below it, links to folders included.

    Every folder is searched once, however many links lead to it, and under a path without links
    where there is one.

    Parameters
    ----------
    folder : Path
        A folder, or a link to one.

    Yields
    ------
    Path or InputError
        An error for each folder that cannot be read, for each link that leads nowhere, and for
        each link to a folder above, which is not followed. A `NothingThereError` where there is no
        FITS file. An `OtherNameError` for each file of another name that may hold an image: nobody
        has looked into the file.
    """
    searched: set[Identity] = set()
    found = troubled = False
    # Links are followed only after all folders that are reached without links.
    waiting: deque[tuple[Path, frozenset[Identity]]] = deque([(folder, frozenset())])
    while waiting:
        start, above = waiting.popleft()
        identity = _identity(start)
        if identity in searched:
            continue
        if identity in above:
            yield NotFollowedError("is a link back to a folder above; it is not followed", file=start)
            continue
        above |= _above(start)
        folders = [start]
        while folders:
            here = folders.pop()
            identity = _identity(here)
            if identity in searched:
                continue
            if identity is not None:
                searched.add(identity)
            for item in _inside(here):
                if isinstance(item, InputError):
                    troubled = troubled or not isinstance(item, OtherNameError)
                    yield item
                elif not isinstance(item, _Folder):
                    found = True
                    yield item
                elif item.linked:
                    waiting.append((item.path, above))
                else:
                    folders.append(item.path)
    if not found and not troubled:
        yield NothingThereError("no FITS file in this folder", file=folder, remedy=NO_FITS)


class _Folder(NamedTuple):
    """A folder within another folder."""

    path: Path
    linked: bool


def _inside(folder: Path) -> Iterator[Path | _Folder | InputError]:
    """Yield the files and folders directly in a folder, in reverse order of names."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name, reverse=True)
    except OSError as error:
        remedy = PERMISSIONS if isinstance(error, PermissionError) else "check the disk that it lies on"
        yield InputError(f"folder cannot be read: {error.strerror}", file=folder, remedy=remedy)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = folder / entry.name
        try:
            if entry.is_dir(follow_symlinks=False):
                yield _Folder(path, linked=False)
            elif not entry.is_symlink():
                yield from _file(path)
            elif path.stat() and entry.is_dir():
                yield _Folder(path, linked=True)
            else:
                yield from _file(path)
        except OSError as error:
            # A broken link with a name such as README.txt led neither to a folder nor to a FITS
            # file.
            if is_fits_name(entry.name) or not _ORDINARY.search(entry.name):
                yield broken_link(path, error)


def _file(path: Path) -> Iterator[Path | InputError]:
    """Yield a file that is an input by its name; an error for one that may be an image under another name."""
    if is_fits_name(path.name):
        yield path
    elif not is_plainly_something_else(path.name):
        yield OtherNameError("its name does not end as that of a FITS file", file=path, remedy=NO_FITS)


def broken_link(path: Path, error: OSError) -> InputError:
    """Return the error for a link whose target cannot be looked up.

    Parameters
    ----------
    path : Path
        The link.
    error : OSError
        What the system raised.

    Returns
    -------
    InputError
        With the remedy.
    """
    try:
        target = os.readlink(path)  # noqa: PTH115 (the text of the link, as it stands)
    except OSError:
        return InputError(f"cannot be looked up: {error.strerror}", file=path, remedy=PERMISSIONS)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        reason = f"is a link to {target}, which does not exist, so it cannot be read"
    else:
        reason = f"is a link to {target}, which cannot be read: {error.strerror}"
    return InputError(reason, file=path, remedy="mend or remove the link")


def _identity(folder: Path) -> Identity | None:
    try:
        state = folder.stat()
    except OSError:
        return None  # listing the folder reports the error
    return state.st_dev, state.st_ino


def _above(folder: Path) -> frozenset[Identity]:
    """Return the identities of all folders above a folder, after resolving links."""
    parents = Path(os.path.realpath(folder)).parents
    return frozenset(identity for parent in parents if (identity := _identity(parent)) is not None)
