"""From paths to exposures: which files belong together, which masks are theirs, and what is left out and why."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from astropy.io import fits

from gpuanom.camera_rules import BUILTIN_RULES
from gpuanom.cameras import ANY, CameraRule
from gpuanom.errors import InputError, SettingsError, printable
from gpuanom.fits.headers import SUFFIXES, Cards, Description, clean, describe, stem, weight_or_mask
from gpuanom.fits.inputs import NotFollowedError, expand
from gpuanom.fits.packed import PackedError
from gpuanom.fits.scan import OwnTableError, read_headers
from gpuanom.naming import natural_key
from gpuanom.records import Exposure
from gpuanom.settings import Settings
from gpuanom.system import may_be_file


@dataclass(frozen=True)
class FileFailure:
    """An input that could not be used.

    Attributes
    ----------
    path : Path
        The file, folder, pattern or list.
    reason : str
        One line with the remedy.
    status : str
        ``unreadable``, ``corrupt`` or ``no_image``.
    """

    path: Path
    reason: str
    status: str


@dataclass(frozen=True)
class Skipped:
    """A readable file that is left out by rule, and why.

    Attributes
    ----------
    path : Path
        The file.
    reason : str
        One line.
    kind : str
        The reason without what differs from file to file, for counting: ``a weight or mask file``, ``not a sky
        exposure (bias)``, ``a stack (...)``, ``an older version``, ``a table that gpuanom wrote``.
    """

    path: Path
    reason: str
    kind: str


@dataclass(frozen=True)
class Discovery:
    """What was found: exposures by (camera, id), failures and skipped files by path."""

    exposures: tuple[Exposure, ...]
    failures: tuple[FileFailure, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class _File:
    path: Path
    about: Description
    datasums: str


def rules(settings: Settings) -> tuple[CameraRule, ...]:
    """Return the camera rules in the order in which they are tried: the user's first, for every file last."""
    own = {rule.name for rule in settings.cameras}
    chosen = [*settings.cameras, *(rule for rule in BUILTIN_RULES if rule.name not in own)]
    return tuple(sorted(chosen, key=lambda rule: rule.name == ANY))


def rule_of(exposure: Exposure, settings: Settings) -> CameraRule:
    """Return the rule that recognised an exposure.

    Raises
    ------
    SettingsError
        When the settings have no such rule: the exposure was found with others.
    """
    for rule in rules(settings):
        if rule.name == exposure.rule:
            return rule
    raise SettingsError(f"exposure {exposure.exposure} was found by camera rule '{exposure.rule}', which is not there")


class KnownFiles:
    """What files were found to be, kept for as long as they stay as they are: for whoever looks at a folder often."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Any, _File | Skipped | FileFailure]] = {}

    def find(self, path: Path, tried: Sequence[CameraRule]) -> _File | Skipped | FileFailure:
        """Return what a file is; its headers are read again when it has changed, or could not be read before."""
        try:
            state = path.stat()
        except (OSError, ValueError):
            return _find(path, tried)
        now = state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns
        held, found = self._known.get(path, (None, None))
        if held != now or found is None or isinstance(found, FileFailure):
            found = _find(path, tried)
            self._known[path] = now, found
        return found

    def keep(self, paths: Iterable[Path]) -> None:
        """Forget all but some files."""
        self._known = {path: self._known[path] for path in paths if path in self._known}


def discover(inputs: Sequence[str | Path], settings: Settings, known: KnownFiles | None = None) -> Discovery:
    """Find the exposures among files, folders, globs and lists.

    Reads one or two headers a file and no pixels. The result does not depend on the order of the inputs, and a file
    named twice counts once.

    Parameters
    ----------
    inputs : sequence of str or Path
        See `gpuanom.fits.inputs.expand`.
    settings : Settings
        Its camera rules, `mask` and `versions`.
    known : KnownFiles, optional
        What was found with the same settings before.

    Returns
    -------
    Discovery
    """
    failures: list[FileFailure] = []
    skipped: list[Skipped] = []
    files: list[_File] = []
    tried = rules(settings)
    for path in _unique(inputs, failures, skipped):
        found = _find(path, tried) if known is None else known.find(path, tried)
        if isinstance(found, FileFailure):
            failures.append(found)
        elif isinstance(found, Skipped):
            skipped.append(found)
        else:
            files.append(found)
    exposures = _exposures(_told_apart(files), settings, skipped)
    return Discovery(
        exposures=tuple(sorted(exposures, key=lambda e: (e.camera, natural_key(e.exposure)))),
        failures=tuple(sorted(failures, key=_by_path)),
        skipped=tuple(sorted(skipped, key=_by_path)),
    )


def _find(path: Path, tried: Sequence[CameraRule]) -> _File | Skipped | FileFailure:
    """What a file is, by its headers and name."""
    try:
        primary, extension = read_headers(path)
    except OwnTableError as error:
        return Skipped(path, error.reason, error.reason)
    except PackedError as error:
        if not error.archive:
            return _failure(error)
        reason = f"an archive, which is not looked into ({error.remedy})"
        return Skipped(path, reason, reason)
    except InputError as error:
        if weight_or_mask(path):
            # Its image says that its mask cannot be read; it is no exposure that failed.
            return Skipped(path, "a weight or mask file", "a weight or mask file")
        return _failure(error)
    about = describe(primary, extension, tried, path)
    if about.no_exposure:
        return Skipped(path, about.no_exposure, about.kind)
    return _File(path, about, _datasums(primary, extension))


def _by_path(item: FileFailure | Skipped | _File) -> Any:
    return natural_key(str(item.path))


def _unique(inputs: Sequence[str | Path], failures: list[FileFailure], skipped: list[Skipped]) -> list[Path]:
    """Return the files in natural order; of several names of one file (links) the first."""
    found: list[Path] = []
    for item in expand(inputs):
        if isinstance(item, NotFollowedError):
            skipped.append(Skipped(Path(item.file or ""), item.reason, "links back to a folder above, not followed"))
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
        except (OSError, RuntimeError):  # a link that leads to itself: reading it says so
            unique.setdefault(path, path)
    return list(unique.values())


def _failure(error: InputError) -> FileFailure:
    remedy = f" ({error.remedy})" if error.remedy else ""
    return FileFailure(Path(error.file or ""), printable(f"{error.reason}{remedy}"), error.status)


def _datasums(*headers: fits.Header | None) -> str:
    """Join the DATASUM cards of the headers at hand, for the fingerprint."""
    return " ".join(str(Cards(header).get("DATASUM")) for header in headers)


def _told_apart(files: Sequence[_File]) -> list[_File]:
    """Give exposures that only their files name ids of their own where bands or folders differ.

    ``g/img1.fits`` and ``r/img1.fits`` become ``g-img1`` and ``r-img1``. Files of one folder, name and band (packed
    in two ways) stay one exposure.
    """
    groups: dict[tuple[str, str], dict[tuple[str, str], list[_File]]] = {}
    taken: set[tuple[str, str]] = set()
    for file in sorted(files, key=_by_path):
        key = file.about.camera, file.about.exposure
        if file.about.named:
            taken.add(key)
        else:
            place = os.path.abspath(file.path.parent), file.about.band  # noqa: PTH100 (links are not followed)
            groups.setdefault(key, {}).setdefault(place, []).append(file)
    taken |= {key for key, places in groups.items() if len(places) == 1}
    apart = [file for file in files if file.about.named]
    for (camera, name), places in groups.items():
        others = {other for of, other in taken if of == camera}
        new = ids_by_place(name, list(places), others) if len(places) > 1 else [name]
        taken |= {(camera, each) for each in new}
        for each, group in zip(new, places.values(), strict=True):
            apart += [replace(file, about=replace(file.about, exposure=each)) for file in group]
    return apart


def ids_by_place(name: str, places: Sequence[tuple[str, str]], taken: Collection[str]) -> list[str]:
    """Return an id for each place of several exposures that are named alike.

    Parameters
    ----------
    name : str
        The name that they share: their files'.
    places : sequence of (str, str)
        The folder, absolute, and the band of each.
    taken : collection of str
        Ids that other exposures have.

    Returns
    -------
    list of str
        The name behind as many folders, or with the band, as it takes; numbers where that does not suffice.
    """
    taken = set(taken)
    folders = [Path(folder).parts[1:] for folder, _ in places]
    deepest = max(len(parts) for parts in folders)
    attempts = [(1, False), (0, True), (1, True), *itertools.product(range(2, deepest + 1), (False, True))]
    for depth, with_band in attempts:
        ids = []
        for parts, (_, band) in zip(folders, places, strict=True):
            words = [*parts[max(0, len(parts) - depth) :], name, band if with_band else ""]
            ids.append(clean("-".join(word for word in words if word)))
        if len(set(ids)) == len(ids) and not taken & set(ids):
            return ids
    numbered = (f"{name}-{n}" for n in itertools.count(1))
    return list(itertools.islice((each for each in numbered if each not in taken), len(places)))


def _exposures(files: Iterable[_File], settings: Settings, skipped: list[Skipped]) -> list[Exposure]:
    groups: dict[tuple[str, str], dict[Any, list[_File]]] = {}
    for file in files:
        versions = groups.setdefault((file.about.camera, file.about.exposure), {})
        versions.setdefault((file.about.version, file.about.version_label), []).append(file)
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
            apart = settings.versions == "apart" and version[1]
            exposures.append(_exposure(f"{name}-{version[1]}" if apart else name, versions[version], remarks, settings))
    return exposures


def _exposure(name: str, files: list[_File], remarks: Sequence[str], settings: Settings) -> Exposure:
    files = sorted(files, key=_by_path)
    about = files[0].about
    notes = list(remarks)
    masks: list[Path | None] = []
    for file in files:
        mask = mask_sibling(file.path, file.about.rule) if settings.mask else None
        masks.append(mask)
        if settings.mask and mask is None and file.about.rule.mask_file:
            notes.append(f"no mask file found for {file.path.name}")
    bands = sorted({file.about.band for file in files})
    if len(bands) > 1:
        notes.append(f"its files name several bands ({', '.join(bands)}); {about.band or 'none'} is taken")
    return Exposure(
        exposure=name,
        camera=about.camera,
        band=about.band,
        date_obs=about.date_obs,
        exptime=about.exptime,
        files=tuple(file.path for file in files),
        masks=tuple(masks),
        fingerprint=_fingerprint(files, masks),
        rule=about.rule.name,
        remarks=tuple(printable(note) for note in notes),
        file_named=not about.named,
    )


def mask_sibling(path: Path, rule: CameraRule) -> Path | None:
    """Return the mask file of an image file, by its name in the same folder; None when there is none.

    The mask may be packed in another way (.fits, .fits.fz, .fits.gz, .fits.bz2, .fits.xz) than the image.
    """
    if not rule.mask_file:
        return None
    image, mask = rule.mask_file
    token = re.compile(rf"(?<![a-z0-9]){re.escape(image)}(?![a-z0-9])", re.IGNORECASE)
    name = stem(path)
    if not token.search(name):
        return None
    base = token.sub(lambda _: mask, name)
    own = path.name[len(name) :]
    candidates = (path.with_name(base + ending) for ending in (own, *SUFFIXES))
    # A file that the system refuses to look up is taken as there: reading it says so, and the image is not scored
    # without its mask in silence.
    return next((p for p in candidates if may_be_file(p)), None)


def _fingerprint(files: Sequence[_File], masks: Sequence[Path | None]) -> str:
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
