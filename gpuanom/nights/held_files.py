"""The files that were found, beside those that a store holds: what has one id, and is another exposure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gpuanom.fits import Discovery, KnownFiles, discover
from gpuanom.fits.exposures.grouping import by_start
from gpuanom.fits.headers.values import clean
from gpuanom.paths import absolute, exists, path_text
from gpuanom.records import Exposure, ExposureKey
from gpuanom.settings import Settings
from gpuanom.store.known import Known
from gpuanom.store.store import Store


def with_held_files(
    paths: Sequence[str | Path],
    found: Discovery,
    store: Store,
    settings: Settings,
    files: KnownFiles | None = None,
) -> Discovery:
    """Discover again with the files that the store holds of the same exposures, as far as they still exist.

    An exposure with a file for each CCD may be given in two runs: to measure only the files of the second run would
    lose CCDs. Different exposures with the same id, given in two runs, get the ids that they have in one run.

    Parameters
    ----------
    paths : sequence of str or Path
        The inputs.
    found : Discovery
        What was discovered from the inputs alone.
    store : Store
    settings : Settings
    files : KnownFiles, optional
        Headers that were read before.

    Returns
    -------
    Discovery
        `found` where no file is missing. An exposure whose id the store holds of another exposure, whose files are
        gone, has its start or its band added to the id, so that neither takes the place of the other.
    """
    if not found.exposures:
        return found
    known = store.known()
    given = {place_of(f) for e in found.exposures for f in e.files}
    given |= {place_of(s.path) for s in found.skipped} | {place_of(f.path) for f in found.failures}
    keys = {e.key for e in found.exposures if e.key in known} | _renamed_before(found, known)
    missing = {file for key in keys for file in known[key].files if place_of(file) not in given}
    more = [Path(file) for file in sorted(missing) if exists(Path(file))]
    return _beside_lost_files(discover([*paths, *more], settings, files) if more else found, store, known)


def _renamed_before(found: Discovery, known: Mapping[ExposureKey, Known]) -> set[ExposureKey]:
    """The exposures that the store holds of the cameras of which it knows files that were found, under other ids.

    Their ids may be those of exposures that share one, and which of them do the headers of all must tell.
    """
    new = {place_of(f): e.camera for e in found.exposures if e.key not in known for f in e.files}
    if not new:
        return set()
    # Of a survey's files only those of these names are looked at; names with other letters may be written in two ways.
    names = {place.rpartition("/")[2] for place in new}
    near = ((key[0], f) for key, kept in known.items() for f in kept.files)
    cameras = {
        camera
        for camera, file in near
        if (file.rpartition("/")[2] in names or not file.isascii()) and new.get(place_of(file)) == camera
    }
    return {key for key in known if key[0] in cameras}


def _beside_lost_files(found: Discovery, store: Store, known: Mapping[ExposureKey, Known]) -> Discovery:
    """The exposures with other ids where the store has their id for an exposure of other files, which are gone."""
    suspects = {e.key for e in found.exposures if e.key in known and _in_other_files(e, known[e.key])}
    if not suspects:
        return found
    measured = store.measured_exposures()
    taken = {key for key, kept in known.items()} | {e.key for e in found.exposures}
    exposures = []
    for exposure in found.exposures:
        other = measured[exposure.key] if exposure.key in suspects else None
        if other is not None and (word := _difference(exposure, other)):
            exposure = _under_another_id(exposure, clean(f"{exposure.exposure}-{word}"), taken, known)
        exposures.append(exposure)
    return replace(found, exposures=tuple(exposures))


def _in_other_files(exposure: Exposure, kept: Known) -> bool:
    """Whether an exposure was measured from other files, in other places, which are gone."""
    places = {place_of(file) for file in exposure.files}
    return (
        kept.fingerprint != exposure.fingerprint
        and bool(kept.files)
        and not any(place_of(file) in places or exists(Path(file)) for file in kept.files)
    )


def _difference(exposure: Exposure, other: Exposure) -> str:
    """The start of an exposure that began at another time than another one, or else its band if that differs."""
    if len(by_start([(e.date_obs, e.exptime) for e in (exposure, other)])) > 1:
        return exposure.date_obs
    return exposure.band if other.band != exposure.band else ""


def _under_another_id(
    exposure: Exposure, wanted: str, taken: set[ExposureKey], known: Mapping[ExposureKey, Known]
) -> Exposure:
    """The exposure under an id that no exposure of other files has."""
    name, n = wanted, 1
    while (key := (exposure.camera, name)) in taken and not (
        key in known and {place_of(f) for f in known[key].files} == {place_of(f) for f in exposure.files}
    ):
        n += 1
        name = f"{wanted}-{n}"
    taken.add((exposure.camera, name))
    remark = f"its id was {exposure.exposure}, which another exposure has that was measured before"
    return replace(exposure, exposure=name, remarks=(*exposure.remarks, remark))


def place_of(path: str | Path) -> str:
    """Return the absolute path of a file as a text, as the store holds it."""
    return path_text(absolute(path))
