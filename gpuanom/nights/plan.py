"""What a run has to measure: the files that were found are compared with what the store holds of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from gpuanom.display import counted
from gpuanom.errors import OutputError, printable
from gpuanom.fits import Discovery
from gpuanom.fits.opening.file_names import SUFFIXES
from gpuanom.fits.opening.packed import ARCHIVES
from gpuanom.nights.events import Say
from gpuanom.nights.held_files import place_of
from gpuanom.paths import exists, path_text
from gpuanom.records import Exposure, ExposureKey, Failure
from gpuanom.settings import Settings
from gpuanom.statistics import listed
from gpuanom.store.known import Known
from gpuanom.store.store import Store

_MOST_LINES = 3
"""Up to so many exposures that are dropped are named; more are counted."""


class Reconciled(NamedTuple):
    """What is left to do once a store agrees with the files that were found.

    Attributes
    ----------
    todo : list of Exposure
        Exposures that must be measured: those that are new, and those whose files or settings changed.
    have_moved : bool
        Whether the store keeps new places of files, so that the tables name other files than before.
    """

    todo: list[Exposure]
    have_moved: bool


def shard(found: Discovery, part: int, parts: int) -> Discovery:
    """Return one of several shares of the exposures found, for jobs that run independently of each other.

    Parameters
    ----------
    found : Discovery
    part, parts : int
        The share, counted from 1, and the number of shares.

    Returns
    -------
    Discovery
        The exposures whose hashed ids fall into this share, whatever else was found. Files that failed are shared out
        by their paths.
    """

    def is_in_share(name: str) -> bool:
        digest = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        return int.from_bytes(digest) % parts == part - 1

    exposures = tuple(e for e in found.exposures if is_in_share(f"{e.camera} {e.exposure}"))
    return Discovery(exposures, tuple(f for f in found.failures if is_in_share(place_of(f.path))), found.skipped)


def reconcile(
    store: Store,
    found: Discovery,
    settings: Settings,
    say: Say,
    waiting: Collection[ExposureKey] = (),
    announced: set[ExposureKey] | None = None,
) -> Reconciled:
    """Bring a store in line with the files that were found, and return the exposures that must be measured.

    The store forgets exposures and failures that no longer hold, keeps the new places of files that were moved since
    their exposures were measured, and takes in the files that cannot be read.

    Parameters
    ----------
    store : Store
    found : Discovery
    settings : Settings
    say : callable
        Takes a line on exposures that were moved, are measured again, or dropped.
    waiting : collection of (camera, exposure), optional
        Exposures that are left as they are, even if their files have changed.
    announced : set of (camera, exposure), optional
        Exposures of which `say` was told before that they are measured again; those of this call are added.

    Returns
    -------
    Reconciled

    Raises
    ------
    OutputError
        When the store holds other exposures, measured with other settings.
    """
    is_empty = not (found.exposures or found.failures or found.skipped)
    # Without inputs a survey is only ranked again: what tells of each exposure whether its files changed is not read.
    known = {} if is_empty else store.known()
    _forget_regrouped(store, found, known, say)
    _require_same_settings(store, found, None if is_empty else known)
    ready = [e for e in found.exposures if e.key not in waiting]
    held = [e for e in ready if e.key in known]
    reasons = {e.key: reason for e in held if (reason := _stale(known[e.key], e, settings))}
    moved = [e for e in held if e.key not in reasons and _is_elsewhere(known[e.key], e)]
    if moved:
        n = len(moved)
        say(
            f"{n} measured {'exposure was' if n == 1 else 'exposures were'} moved: the new places of the files are kept"
        )
        store.keep_places(moved)
    _say_reasons(reasons, set() if announced is None else announced, say)
    store.retry({path_text(f) for e in ready for f in e.files} | {path_text(s.path) for s in found.skipped}, _is_mended)
    for failure in found.failures:
        name = printable(path_text(failure.path.name))
        store.add_failure(Failure(path_text(failure.path), "", "", name, failure.status, failure.reason))
    return Reconciled([e for e in ready if e.key not in known or e.key in reasons], bool(moved))


def _say_reasons(reasons: Mapping[ExposureKey, str], announced: set[ExposureKey], say: Say) -> None:
    """Say once of each exposure why it is measured again; those told of are added to `announced`."""
    ids_by_reason: dict[str, list[str]] = {}
    for key, reason in reasons.items():
        if key not in announced:
            ids_by_reason.setdefault(reason, []).append(key[1])
            announced.add(key)
    for reason, names in ids_by_reason.items():
        names_text = f"{len(names)} exposures" if len(names) > 3 else f"exposure {', '.join(names)}"
        say(f"{names_text}: measured again, {reason}")


def _require_same_settings(store: Store, found: Discovery, known: Mapping[ExposureKey, Known] | None) -> None:
    """Refuse a store with exposures of other settings beside those that were found; all count where `known` is None."""
    found_keys = {e.key for e in found.exposures}
    others = None if known is None else {key: kept for key, kept in known.items() if key not in found_keys}
    differs = store.other_settings(others)
    if differs:
        n_others = store.n_exposures() if others is None else len(others)
        raise OutputError(
            f"{store.path}: holds {counted(n_others, 'exposure')} not among the inputs and measured with other "
            f"settings: {differs} (choose another --output, or --existing overwrite to drop them)"
        )


def _stale(kept: Known, exposure: Exposure, settings: Settings) -> str:
    """Why an exposure that the store holds must be measured again; empty if it must not."""
    if kept.settings != settings.fingerprint():
        return "the settings changed"
    if kept.fingerprint != exposure.fingerprint:
        return "the files changed"
    if kept.retry:
        return "a CCD could not be read before, or memory did not suffice"
    if settings.statistics and kept.statistics != listed.NAMES.text:
        lack = "are of another version" if kept.statistics else "are missing"
        return f"statistics of patterns, shapes and repeated stars {lack} (--profile paper does not need them)"
    return ""


def _is_elsewhere(kept: Known, exposure: Exposure) -> bool:
    """Whether an exposure was found in other files than those that the store names, of which one is gone."""
    given = {place_of(file) for file in exposure.files}
    return any(file not in given and not exists(Path(file)) for file in kept.files)


def _forget_regrouped(store: Store, found: Discovery, known: dict[ExposureKey, Known], say: Say) -> None:
    """Drop exposures whose files now fail or belong to other exposures: other `versions`, a new rule, a new header."""
    owner: dict[str, ExposureKey | None] = {place_of(f): e.key for e in found.exposures for f in e.files}
    owner.update({place_of(s.path): None for s in found.skipped})
    owner.update({place_of(f.path): None for f in found.failures})
    # Of a survey's files only those of these names are looked at; names with other letters may be written in two ways.
    names = {place.rpartition("/")[2] for place in owner}
    near = [key for key, kept in known.items() for f in kept.files if f.rpartition("/")[2] in names or not f.isascii()]
    dropped = {
        key for key in near if any(place in owner and owner[place] != key for place in map(place_of, known[key].files))
    }
    dropped -= {e.key for e in found.exposures}
    others = {key: {owner.get(place) for place in map(place_of, known[key].files)} for key in dropped}
    renamed = {key: other for key, (other, *more) in others.items() if other is not None and not more}
    _say_dropped(sorted(dropped - renamed.keys()), renamed, say)
    for key in dropped:
        del known[key]
    store.remove(dropped)


def _say_dropped(lost: Sequence[ExposureKey], renamed: Mapping[ExposureKey, ExposureKey], say: Say) -> None:
    """Say which exposures the store forgets, and what those are called whose files are another exposure now."""
    for camera, exposure in lost if len(lost) <= _MOST_LINES else ():
        say(f"exposure {exposure} {camera}: dropped, its files fail now, are left out or belong to another exposure")
    if len(lost) > _MOST_LINES:
        say(
            f"{len(lost)} exposures, such as {' '.join(reversed(lost[0]))}: dropped, their files fail now, are left out"
            " or belong to other exposures"
        )
    named = sorted(renamed.items())
    for (camera, exposure), (_, new) in named if len(named) <= _MOST_LINES else ():
        say(f"exposure {exposure} {camera}: dropped, its files are exposure {new} now")
    if len(named) > _MOST_LINES:
        (camera, exposure), (_, new) = named[0]
        say(
            f"{len(named)} exposures, such as {exposure} {camera}: dropped, their files are exposures of other ids now,"
            f" such as {new}"
        )


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
