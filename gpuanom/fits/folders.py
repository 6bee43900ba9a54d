"""The FITS files below a folder, linked folders among them."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from gpuanom.errors import InputError
from gpuanom.fits.headers import SUFFIXES
from gpuanom.fits.packed import ARCHIVES

PERMISSIONS = "change its permissions"
NO_FITS = f"FITS files end in {', '.join(SUFFIXES)}"
_ORDINARY = re.compile(r"\.[A-Za-z]{1,5}$")
"""The ending of a name that no folder of a night has: README.txt."""

Identity = tuple[int, int]
"""Device and inode of a folder: two paths with one identity lead to the same folder."""


class NothingThereError(InputError):
    """An input that can be looked at and names no file: there may be some later."""


class NotFollowedError(InputError):
    """A link to a folder that holds the folder that is searched: what is beside that folder was not asked for."""


def is_fits_name(name: str) -> bool:
    """Whether a file is taken from a folder, by its name.

    Packed files that are not unpacked here are taken too, so that a line says what they are.
    """
    return name.lower().endswith(SUFFIXES + ARCHIVES) and not name.startswith(".")


def below(folder: Path) -> Iterator[Path | InputError]:
    """Yield the FITS files in a folder and all folders below it, links to folders included.

    Every folder is searched once, whatever links lead to it, under its own path where it has one below `folder`.

    Parameters
    ----------
    folder : Path
        A folder, or a link to one.

    Yields
    ------
    Path or InputError
        An error for each folder that cannot be read, each link that leads nowhere, and each link that is not followed
        because it leads back to a folder above.
    """
    searched: set[Identity] = set()
    found = troubled = False
    # Links wait until all that is below the folder without them is searched.
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
                    troubled = True
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


class _Folder:
    """A folder within another one."""

    def __init__(self, path: Path, linked: bool) -> None:
        self.path, self.linked = path, linked


def _inside(folder: Path) -> Iterator[Path | _Folder | InputError]:
    """Yield the files and folders directly in a folder, folders in an order that makes the first the last."""
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
                if is_fits_name(entry.name):
                    yield path
            elif path.stat() and entry.is_dir():
                yield _Folder(path, linked=True)
            elif is_fits_name(entry.name):
                yield path
        except OSError as error:
            # What a name such as README.txt leads to was no folder and no FITS file.
            if is_fits_name(entry.name) or not _ORDINARY.search(entry.name):
                yield broken_link(path, error)


def broken_link(path: Path, error: OSError) -> InputError:
    """Say what is wrong with a link whose target cannot be looked at."""
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
        return None  # listing the folder says why
    return state.st_dev, state.st_ino


def _above(folder: Path) -> frozenset[Identity]:
    """The identities of the folders that hold a folder, where it really lies."""
    parents = Path(os.path.realpath(folder)).parents
    return frozenset(identity for parent in parents if (identity := _identity(parent)) is not None)
