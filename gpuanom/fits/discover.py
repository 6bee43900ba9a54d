"""From paths to exposures: which files and masks belong together, which files are left out, and why."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuanom.cameras.builtin import BUILTIN_RULES
from gpuanom.cameras.rules import ANY, CameraRule
from gpuanom.errors import InputError, SettingsError, printable
from gpuanom.fits.ccds.plane_kinds import side_file
from gpuanom.fits.exposures.grouping import Found, by_path, labels, with_distinct_ids
from gpuanom.fits.exposures.identity import Description, describe
from gpuanom.fits.exposures.inputs import NotFollowedError, OtherNameError, expand
from gpuanom.fits.exposures.other_names import images_among
from gpuanom.fits.headers.astropy_warnings import ignore_astropy_warnings
from gpuanom.fits.headers.values import Cards
from gpuanom.fits.opening.file_names import SUFFIXES, stem
from gpuanom.fits.opening.first_headers import OwnTableError, read_headers
from gpuanom.fits.opening.packed import PackedError
from gpuanom.natural_order import natural_key
from gpuanom.records import Exposure
from gpuanom.settings import Settings
from gpuanom.system import may_be_file

if TYPE_CHECKING:
    from astropy.io import fits

NO_BAND = "no card of its header names a band"
"""Remark on an exposure without a known band, which is ranked with the others of its camera without one."""


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
class Discovery:
    """The exposures and other files that were found.

    Attributes
    ----------
    exposures : tuple of Exposure
        Sorted by camera and id.
    failures : tuple of FileFailure
        Sorted by path.
    skipped : tuple of Skipped
        Sorted by path.
    descriptions : mapping of Path to Description
        What each image file of the exposures is, and the cards that decided.
    other_names : tuple of Path
        FITS images in searched folders that are not taken, because their names do not end as those of FITS files do.
    """

    exposures: tuple[Exposure, ...]
    failures: tuple[FileFailure, ...]
    skipped: tuple[Skipped, ...]
    descriptions: Mapping[Path, Description] = field(default_factory=dict)
    other_names: tuple[Path, ...] = ()


def rules(settings: Settings) -> tuple[CameraRule, ...]:
    """Return the camera rules in the order in which they are tried: the user's first, the rule for every file last."""
    replaced = {rule.name for rule in settings.cameras}
    chosen = [*settings.cameras, *(rule for rule in BUILTIN_RULES if rule.name not in replaced)]
    return tuple(sorted(chosen, key=lambda rule: rule.name == ANY))


def rule_of(exposure: Exposure, settings: Settings) -> CameraRule:
    """Return the camera rule that recognised an exposure.

    Parameters
    ----------
    exposure : Exposure
    settings : Settings
        Its camera rules are searched, and the built-in rules.

    Raises
    ------
    SettingsError
        When there is no such rule, because the exposure was found with other settings.
    """
    for rule in rules(settings):
        if rule.name == exposure.rule:
            return rule
    raise SettingsError(
        f"exposure {exposure.exposure} was found by camera rule '{exposure.rule}', which the settings do not have"
    )


def labels_of(exposure: Exposure, settings: Settings) -> tuple[str, ...]:
    """Return the labels that distinguish the CCDs of an exposure's files (`Exposure.labels`).

    Parameters
    ----------
    exposure : Exposure
        Where its labels are not known, the headers of its files are read.
    settings : Settings
        Its camera rules.

    Returns
    -------
    tuple of str
        One for each file; empty where the names of the CCDs are enough.

    Raises
    ------
    SettingsError
        As `rule_of`, where the headers are read.
    """
    if exposure.labels is not None:
        return exposure.labels
    if len(exposure.files) == 1:
        return ("",)
    tried = rule_of(exposure, settings), BUILTIN_RULES[-1]
    found = [_find(path, tried) for path in exposure.files]
    readable = [file for file in found if isinstance(file, Found)]
    by_file = dict(zip((file.path for file in readable), labels(readable), strict=True))
    return tuple(by_file.get(path, "") for path in exposure.files)


class KnownFiles:
    """What files were found to be, remembered for as long as the files do not change, for folders that are watched."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Any, Found | Skipped | FileFailure]] = {}

    def find(self, path: Path, tried: Sequence[CameraRule]) -> Found | Skipped | FileFailure:
        """Return what a file is. Its headers are read when the file is new, has changed or could not be read before.

        Parameters
        ----------
        path : Path
            The file.
        tried : sequence of CameraRule
            The camera rules, in the order in which they are tried.
        """
        try:
            state = path.stat()
        except (OSError, ValueError):
            return _find(path, tried)
        now = state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
        before, found = self._known.get(path, (None, None))
        if before != now or found is None or isinstance(found, FileFailure):
            found = _find(path, tried)
            self._known[path] = now, found
        return found

    def keep(self, paths: Iterable[Path]) -> None:
        """Forget all files but the given ones."""
        self._known = {path: self._known[path] for path in paths if path in self._known}


@ignore_astropy_warnings()  # once for all headers: Python's list of filters is slow to change
def discover(inputs: Sequence[str | Path], settings: Settings, known: KnownFiles | None = None) -> Discovery:
    """Find the exposures among files, folders, globs and lists.

    One or two headers of each file are read, and no pixels. The result does not depend on the
    order of the inputs. A file that is named twice counts once.

    Parameters
    ----------
    inputs : sequence of str or Path
        See `gpuanom.fits.exposures.inputs.expand`.
    settings : Settings
        Its camera rules, `mask` and `versions` are used.
    known : KnownFiles, optional
        The files that were found before, with the same settings.

    Returns
    -------
    Discovery
        A file that cannot be used is among its failures; no error is raised for it.
    """
    failures: list[FileFailure] = []
    skipped: list[Skipped] = []
    files: list[Found] = []
    tried = rules(settings)
    others: list[Path] = []
    for path in _unique(inputs, failures, skipped, others):
        found = _find(path, tried) if known is None else known.find(path, tried)
        if isinstance(found, FileFailure):
            failures.append(found)
        elif isinstance(found, Skipped):
            skipped.append(found)
        else:
            files.append(found)
    files = with_distinct_ids(files)
    exposures = _exposures(files, settings, skipped)
    return Discovery(
        exposures=tuple(sorted(exposures, key=lambda e: (e.camera, natural_key(e.exposure)))),
        failures=tuple(sorted(failures, key=by_path)),
        skipped=tuple(sorted(skipped, key=by_path)),
        descriptions={file.path: file.description for file in files},
        other_names=tuple(images_among(others)),
    )


def _find(path: Path, tried: Sequence[CameraRule]) -> Found | Skipped | FileFailure:
    """Return what a file is, by its headers and name."""
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


def _unique(
    inputs: Sequence[str | Path], failures: list[FileFailure], skipped: list[Skipped], others: list[Path]
) -> list[Path]:
    """Return the files in natural order, each once: of several paths to one file (links) the first."""
    found: list[Path] = []
    for item in expand(inputs):
        if isinstance(item, NotFollowedError):
            skipped.append(Skipped(Path(item.file or ""), item.reason, "links back to a folder above, not followed"))
        elif isinstance(item, OtherNameError):
            others.append(Path(item.file or ""))
        elif isinstance(item, InputError):
            failure = _failure(item)
            if failure not in failures:
                failures.append(failure)
        else:
            found.append(item)
    unique: dict[Path, Path] = {}
    for path in sorted(set(found), key=lambda p: natural_key(str(p))):
        try:
            unique.setdefault(path.resolve(), path)
        except (OSError, RuntimeError):  # a link that leads to itself: reading the file reports that
            unique.setdefault(path, path)
    others[:] = [path for path in others if Path(os.path.realpath(path)) not in unique]  # named as well
    return list(unique.values())


def _failure(error: InputError) -> FileFailure:
    remedy = f" ({error.remedy})" if error.remedy else ""
    return FileFailure(Path(error.file or ""), printable(f"{error.reason}{remedy}"), error.status)


def _datasums(*headers: fits.Header | None) -> str:
    """Join the DATASUM cards of the headers that were read, for the fingerprint."""
    return " ".join(str(Cards(header).get("DATASUM")) for header in headers)


def _exposures(files: Iterable[Found], settings: Settings, skipped: list[Skipped]) -> list[Exposure]:
    groups: dict[tuple[str, str], dict[Any, list[Found]]] = {}
    for file in files:
        versions = groups.setdefault((file.description.camera, file.description.exposure), {})
        versions.setdefault((file.description.version, file.description.version_label), []).append(file)
    exposures = []
    for (_, name), versions in groups.items():
        newest = max(versions)
        remarks: list[str] = []
        if settings.versions == "newest":
            for version in sorted(versions):
                if version != newest:
                    reason = f"an older version ({version[1] or 'none named'}) than {newest[1]} of exposure {name}"
                    skipped += [Skipped(file.path, reason, "an older version") for file in versions[version]]
                    remarks.append(f"version {newest[1]} taken, {version[1] or 'one without a name'} left out")
            versions = {newest: versions[newest]}
        for version in sorted(versions):
            exposure = f"{name}-{version[1]}" if settings.versions == "apart" and version[1] else name
            exposures.append(_exposure(exposure, versions[version], remarks, settings))
    return exposures


def _exposure(name: str, files: list[Found], remarks: Sequence[str], settings: Settings) -> Exposure:
    files = sorted(files, key=by_path)
    description = files[0].description
    notes = list(remarks)
    masks = [mask_sibling(file.path, file.description.rule) if settings.mask else None for file in files]
    if settings.mask:
        pairs = zip(files, masks, strict=True)
        bare = [file.path.name for file, mask in pairs if not mask and file.description.rule.mask_file]
        notes += [f"no mask file found for {name}" for name in bare[: 3 if len(bare) > 4 else 4]]
        notes += [f"no mask file found for {len(bare) - 3} more of its files"] if len(bare) > 4 else []
    bands = sorted({file.description.band.name for file in files})
    if len(bands) > 1:
        notes.append(f"its files name several bands ({', '.join(bands)}); {description.band.name or 'none'} is taken")
    elif not description.band.known:
        notes.append(NO_BAND)
    return Exposure(
        exposure=name,
        camera=description.camera,
        band=description.band.name,
        date_obs=description.date_obs,
        exptime=description.exptime,
        files=tuple(file.path for file in files),
        masks=tuple(masks),
        fingerprint=_fingerprint(files, masks),
        rule=description.rule.name,
        remarks=tuple(printable(note) for note in notes),
        file_named=not description.named,
        labels=labels(files),
        version=description.version,
        version_label=description.version_label,
    )


def mask_sibling(path: Path, rule: CameraRule) -> Path | None:
    """Return the mask file of an image file, which has a similar name and is in the same folder.

    Parameters
    ----------
    path : Path
        The image file.
    rule : CameraRule
        Its `mask_file` gives the part of the name that differs.

    Returns
    -------
    Path or None
        None where there is no such file. The mask file may be packed in another way than the image
        (.fits, .fits.fz, .fits.gz, .fits.bz2, .fits.xz).
    """
    if not rule.mask_file:
        return None
    image, mask = rule.mask_file
    token = re.compile(rf"(?<![a-z0-9]){re.escape(image)}(?![a-z0-9])", re.IGNORECASE)
    name = stem(path)
    if not token.search(name):
        return None
    base = token.sub(lambda _: mask, name)
    ending_of_image = path.name[len(name) :]
    candidates = (path.with_name(base + ending) for ending in (ending_of_image, *SUFFIXES))
    # A file that the system refuses to look up is returned too: reading the mask reports the
    # refusal, and the image is not scored without its mask in silence.
    return next((p for p in candidates if may_be_file(p)), None)


def _fingerprint(files: Sequence[Found], masks: Sequence[Path | None]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        digest.update(f"{_state(file.path)} {file.datasums}\n".encode("utf-8", "surrogateescape"))
    for mask in masks:
        digest.update(f"{_state(mask) if mask else 'none'}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _state(path: Path) -> str:
    try:
        state = path.stat()
    except OSError:
        return f"{path.name} gone"
    return f"{path.name} {state.st_size} {state.st_mtime_ns}"
