"""What each file is: an image of the sky, a file that is left out on purpose, or one that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import InputError, printable
from gpuanom.fits.ccds.plane_kinds import side_file
from gpuanom.fits.exposures.identity import Description, describe
from gpuanom.fits.exposures.inputs import NotFollowedError, OtherNameError, expand
from gpuanom.fits.headers.values import Cards
from gpuanom.fits.opening.first_headers import OwnTableError, read_headers
from gpuanom.fits.opening.packed import PackedError
from gpuanom.natural_order import natural_key

if TYPE_CHECKING:
    from astropy.io import fits


@dataclass(frozen=True)
class Found:
    """A file with an image of the sky, and what its headers say.

    Attributes
    ----------
    path : Path
    description : Description
    datasums : str
        The values of the DATASUM cards, for the exposure's fingerprint.
    """

    path: Path
    description: Description
    datasums: str


@dataclass(frozen=True)
class FileFailure:
    """An input that could not be used.

    Attributes
    ----------
    path : Path
        The file, folder, pattern or list.
    reason : str
        What is wrong, in one line with the remedy.
    status : str
        ``unreadable``, ``corrupt`` or ``no_image``.
    """

    path: Path
    reason: str
    status: str


@dataclass(frozen=True)
class Skipped:
    """A readable file that is left out on purpose, and why.

    Attributes
    ----------
    path : Path
        The file.
    reason : str
        Why the file is left out, in one line.
    kind : str
        The reason in a form that is the same for many files, so that files can be counted: ``a
        weight or mask file``, ``not a sky exposure (bias)``, ``a stack (...)``, ``an older
        version``, ``a table that gpuanom wrote``.
    """

    path: Path
    reason: str
    kind: str


@dataclass(frozen=True)
class OtherName:
    """A file in a searched folder whose name does not end as those of FITS files do.

    Attributes
    ----------
    path : Path
    """

    path: Path


EachFile: TypeAlias = Found | Skipped | FileFailure


def by_path(item: Any) -> Any:
    """Return the sort key of a found file, failure or skipped file: its path in natural order."""
    return natural_key(str(item.path))


def files_of(inputs: Sequence[str | Path]) -> list[Path | Skipped | FileFailure | OtherName]:
    """Return the files that inputs name, and what is said of inputs that name none.

    Parameters
    ----------
    inputs : sequence of str or Path
        See `gpuanom.fits.exposures.inputs.expand`.

    Returns
    -------
    list of Path, Skipped, FileFailure or OtherName
        Files in natural order of their paths, each once: of several paths to one file (links) the first.
    """
    paths: set[Path] = set()
    others: list[Skipped | FileFailure] = []
    other_names: list[Path] = []
    for item in expand(inputs):
        if isinstance(item, NotFollowedError):
            others.append(Skipped(Path(item.file or ""), item.reason, "links back to a folder above, not followed"))
        elif isinstance(item, OtherNameError):
            other_names.append(Path(item.file or ""))
        elif isinstance(item, InputError):
            failure = _failure(item)
            if failure not in others:
                others.append(failure)
        else:
            paths.add(item)
    unique: dict[Path, Path] = {}
    for path in sorted(paths, key=lambda p: natural_key(str(p))):
        try:
            unique.setdefault(path.resolve(), path)
        except (OSError, RuntimeError):  # a link that leads to itself: reading the file reports that
            unique.setdefault(path, path)
    not_named = [OtherName(path) for path in other_names if Path(os.path.realpath(path)) not in unique]
    return [*others, *not_named, *unique.values()]


def find(path: Path, tried: Sequence[CameraRule]) -> EachFile:
    """Return what a file is, by its headers and name.

    Parameters
    ----------
    path : Path
    tried : sequence of CameraRule
        The camera rules, in the order in which they are tried.
    """
    try:
        primary, extension = read_headers(path)
    except OwnTableError as error:
        return Skipped(path, error.reason, error.reason)
    except PackedError as error:
        if not error.archive:
            return _failure(error)
        reason = f"an archive, which is not opened ({error.remedy})"
        return Skipped(path, reason, reason)
    except InputError as error:
        if reason := side_file(path):
            # This is no exposure: that the mask cannot be read is reported with the image.
            return Skipped(path, f"a weight or mask file: {reason}", "a weight or mask file")
        return _failure(error)
    description = describe(primary, extension, tried, path)
    if description.no_exposure:
        return Skipped(path, description.no_exposure, description.kind)
    return Found(path, description, _datasums(primary, extension))


def _failure(error: InputError) -> FileFailure:
    remedy = f" ({error.remedy})" if error.remedy else ""
    return FileFailure(Path(error.file or ""), printable(f"{error.reason}{remedy}"), error.status)


def _datasums(*headers: fits.Header | None) -> str:
    """Join the DATASUM cards of the headers that were read, for the fingerprint."""
    return " ".join(str(Cards(header).get("DATASUM")) for header in headers)


class KnownFiles:
    """What files were found to be, remembered for as long as the files do not change, for folders that are watched."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Any, EachFile]] = {}

    def find(self, path: Path, tried: Sequence[CameraRule]) -> EachFile:
        """Return what `find` does. Headers are read when a file is new, has changed or could not be read before."""
        try:
            state = path.stat()
        except (OSError, ValueError):
            return find(path, tried)
        now = state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
        before, found = self._known.get(path, (None, None))
        if before != now or found is None or isinstance(found, FileFailure):
            found = find(path, tried)
            self._known[path] = now, found
        return found

    def keep(self, paths: Iterable[Path]) -> None:
        """Forget all files but the given ones."""
        self._known = {path: self._known[path] for path in paths if path in self._known}
