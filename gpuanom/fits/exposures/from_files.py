"""Exposures made from their files: which processing version is taken, which masks, and what a user should know."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import printable
from gpuanom.fits.exposures.each_file import Found, Skipped, by_path
from gpuanom.fits.exposures.grouping import labels
from gpuanom.fits.opening.file_names import SUFFIXES, stem
from gpuanom.records import Exposure, ExposureKey, Version
from gpuanom.settings import Settings
from gpuanom.system import may_be_file

NO_BAND = "no card of its header names a band"
"""Remark on an exposure without a known band, which is ranked with the others of its camera without one."""


def exposures_of(files: Iterable[Found], settings: Settings) -> tuple[list[Exposure], list[Skipped]]:
    """Put the files of each exposure together.

    Parameters
    ----------
    files : iterable of Found
        With ids that differ where the exposures differ (`gpuanom.fits.exposures.grouping.with_distinct_ids`).
    settings : Settings
        `mask` and `versions` are used.

    Returns
    -------
    exposures : list of Exposure
    skipped : list of Skipped
        Files of older versions, where only the newest is wanted.
    """
    groups: dict[ExposureKey, dict[tuple[Version, str], list[Found]]] = {}
    for file in files:
        versions = groups.setdefault((file.description.camera, file.description.exposure), {})
        versions.setdefault((file.description.version, file.description.version_label), []).append(file)
    exposures: list[Exposure] = []
    skipped: list[Skipped] = []
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
    return exposures, skipped


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
