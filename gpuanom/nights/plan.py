"""What a run has to measure: the exposures found, against what the store holds already."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from pathlib import Path

from gpuanom.errors import OutputError, printable
from gpuanom.fits import Discovery, KnownFiles, discover
from gpuanom.fits.headers import SUFFIXES
from gpuanom.fits.packed import ARCHIVES
from gpuanom.naming import absolute, exists, path_text
from gpuanom.records import Exposure, ExposureKey, Failure
from gpuanom.settings import Settings
from gpuanom.store.store import Known, Store

Say = Callable[[str], None]


def with_held_files(
    paths: Sequence[str | Path],
    found: Discovery,
    store: Store,
    settings: Settings,
    files: KnownFiles | None = None,
) -> Discovery:
    """What is found when files that the store holds of the same exposures, and that are still there, are added.

    An exposure of one file a CCD may be given in two runs: measuring only what the second one names would lose CCDs.
    """
    known = store.known()
    given = {_place(f) for e in found.exposures for f in e.files}
    given |= {_place(s.path) for s in found.skipped} | {_place(f.path) for f in found.failures}
    more = [
        Path(file)
        for e in found.exposures
        if (e.camera, e.exposure) in known
        for file in known[e.camera, e.exposure].files
        if _place(file) not in given and exists(Path(file))
    ]
    return discover([*paths, *more], settings, files) if more else found


def shard(found: Discovery, part: int, parts: int) -> Discovery:
    """One of several shares of what was found, for jobs that know nothing of each other.

    Parameters
    ----------
    found : Discovery
    part, parts : int
        The share, from 1, and how many there are.

    Returns
    -------
    Discovery
        Exposures whose id has this share's turn: the same whatever else was found. Files that failed go by their path.
    """

    def mine(name: str) -> bool:
        return (
            int.from_bytes(blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()) % parts == part - 1
        )

    exposures = tuple(e for e in found.exposures if mine(f"{e.camera} {e.exposure}"))
    return Discovery(exposures, tuple(f for f in found.failures if mine(_place(f.path))), found.skipped)


def to_measure(
    store: Store, found: Discovery, settings: Settings, say: Say, waiting: Collection[ExposureKey] = ()
) -> list[Exposure]:
    """The exposures that must be measured; what the store holds of regrouped or mended files is forgotten.

    Parameters
    ----------
    store : Store
    found : Discovery
    settings : Settings
    say : callable
        Takes a line on what is measured again, or dropped.
    waiting : collection of (camera, exposure), optional
        Exposures that are left as they are, whatever became of their files.

    Raises
    ------
    OutputError
        When the store holds other exposures, measured with other settings.
    """
    known = store.known()
    _forget_regrouped(store, found, known, say)
    given = {(e.camera, e.exposure) for e in found.exposures}
    left = {key: value for key, value in known.items() if key not in given}
    differs = store.other_settings(left)
    if differs:
        raise OutputError(
            f"{store.path}: holds {len(left)} exposures that are not among the inputs and were measured with other "
            f"settings: {differs} (choose another --output, or --existing overwrite to drop them)"
        )
    todo = []
    again: dict[str, list[str]] = {}
    ready = [e for e in found.exposures if (e.camera, e.exposure) not in waiting]
    for exposure in ready:
        held = known.get((exposure.camera, exposure.exposure))
        reason = "" if held is None else _stale(held, exposure, settings)
        if reason:
            again.setdefault(reason, []).append(exposure.exposure)
        if held is None or reason:
            todo.append(exposure)
    for reason, names in again.items():
        who = f"{len(names)} exposures" if len(names) > 3 else f"exposure {', '.join(names)}"
        say(f"{who}: measured again, {reason}")
    store.retry({path_text(f) for e in ready for f in e.files} | {path_text(s.path) for s in found.skipped}, _is_mended)
    for failure in found.failures:
        name = printable(path_text(failure.path.name))
        store.add_failure(Failure(path_text(failure.path), "", "", name, failure.status, failure.reason))
    return todo


def _stale(held: Known, exposure: Exposure, settings: Settings) -> str:
    """Why an exposure that the store holds must be measured again; empty if it need not be."""
    if held.settings != settings.fingerprint():
        return "the settings changed"
    if held.fingerprint != exposure.fingerprint:
        return "its files changed"
    if held.retry:
        return "a CCD could not be read before, or memory did not suffice"
    return ""


def _forget_regrouped(store: Store, found: Discovery, known: dict[ExposureKey, Known], say: Say) -> None:
    """Drop held exposures whose files now belong to others or fail: other `versions`, a new rule, an edited header."""
    owner: dict[str, ExposureKey | None] = {_place(f): (e.camera, e.exposure) for e in found.exposures for f in e.files}
    owner.update({_place(s.path): None for s in found.skipped})
    owner.update({_place(f.path): None for f in found.failures})
    gone = {
        key
        for key, held in known.items()
        if any(place in owner and owner[place] != key for place in map(_place, held.files))
    }
    gone -= {(e.camera, e.exposure) for e in found.exposures}
    for camera, exposure in sorted(gone):
        say(f"exposure {exposure} {camera}: dropped, its files fail now, are left out or belong to another exposure")
        del known[camera, exposure]
    store.remove(gone)


def _place(path: str | Path) -> str:
    """A path that is the same however it was written, as the store holds it."""
    return path_text(absolute(path))


def _is_mended(place: str) -> bool:
    """Whether a folder, or a list of files, can be read."""
    path = Path(place)
    try:
        if path.is_dir():
            next(path.iterdir(), None)
            return True
        if path.name.lower().endswith(SUFFIXES + ARCHIVES):
            return False  # an image: discovery says whether it can be read
        with path.open("rb"):
            return True
    except (OSError, ValueError):
        return False
