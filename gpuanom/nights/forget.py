"""Nights, folders and exposures taken out of a survey, which is then as if they had never been in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gpuanom import arguments
from gpuanom.backends.choice import select
from gpuanom.display import counted
from gpuanom.errors import InputError, OutputError, printable
from gpuanom.nights.events import Say
from gpuanom.nights.gathering import placements
from gpuanom.nights.same_exposures import few_lines
from gpuanom.paths import absolute, is_within, path_text, resolved
from gpuanom.records import ExposureKey
from gpuanom.settings import Settings
from gpuanom.store.failed_files import FailedFile
from gpuanom.store.planned import unfinished_line
from gpuanom.store.set_aside import Copy, Membership, Placed
from gpuanom.store.store import NAME, Store
from gpuanom.tables import build as tables
from gpuanom.tables import writing
from gpuanom.tables.build import Tables


@dataclass(eq=False)
class Remaining:
    """What remains of a survey while nights and exposures are taken out one after the other.

    Attributes
    ----------
    copies : list of Copy
    failed : list of FailedFile
    """

    copies: list[Copy]
    failed: list[FailedFile]


def forget_nights(
    survey: str | Path,
    nights: str | Path | Sequence[str | Path],
    *,
    camera: str | None = None,
    dry_run: bool = False,
    formats: str | Sequence[str] | None = None,
    device: str | int = "auto",
    say: Say = lambda _line: None,
) -> Tables | None:
    """Take nights out of a survey and rank the rest, as if the nights had never been in it.

    Parameters
    ----------
    survey : str or Path
        Folder that `score`, `watch` or `merge_nights` made.
    nights : str, Path, or sequence of them
        What to forget, each by one of these: the id of an exposure; the folder of a night that was merged into the
        survey; the folder of another scored night, whose exposures are forgotten; or a file or folder of images, with
        all folders within.
    camera : str, optional
        The camera of the exposures that are given by their ids; needed where two cameras have an exposure of one id.
    dry_run : bool, optional
        Only say what would be forgotten; no file is changed.
    formats : str or sequence of str, optional
        Formats of the tables; by default those in which the folder holds tables.
    device : str or int, optional
        ``auto``, ``cpu`` or a GPU's number.
    say : callable, optional
        Takes the lines that say what is forgotten, how many exposures stay since other nights hold them too, and which
        exposures are ranked in another version or called by another id than before.

    Returns
    -------
    Tables or None
        The tables of what remains, byte for byte those of a survey that never had the nights and is scored with the
        same settings; None for a dry run.

    Raises
    ------
    OutputError
        When the folder holds no night, or the survey holds nothing of one of these names; nothing is forgotten then.
    InputError, DeviceError
        When an argument is of a wrong kind, or the device cannot be used.
    """
    folder, wanted = arguments.path("survey", survey, OutputError), arguments.inputs("nights", nights)
    for name in wanted:
        arguments.path("nights", name)  # refuses a name that no path can have
    if not callable(say):
        raise InputError(f"say is {arguments.shown(say)} but must be a function that takes a line")
    names, dry_run = arguments.formats(formats), arguments.switch("dry_run", dry_run)
    camera = None if camera is None else arguments.text("camera", camera)
    writing.require_formats(names)
    backend = select(device)
    path = folder / NAME
    with Store(path, Settings(), read_only=True) as store:
        settings, references = tables.as_scored_last(store)
        if line := unfinished_line(folder, store.n_unmeasured()):
            say(line)
        if dry_run:
            remaining = taken_out(store, folder, wanted, camera, say, "would be forgotten")
            placed, _ = placements(remaining.copies, settings)
            _say_changes(placed, "would be", say)
            return None
    lines: list[str] = []
    with Store(path, settings) as store:
        store.begin()
        remaining = taken_out(store, folder, wanted, camera, lines.append, "forgotten")
        placed, _ = placements(remaining.copies, settings)
        _say_changes(placed, "is", lines.append)
        store.rearrange(placed, remaining.failed)
        result = tables.build(store, settings, backend, references)
        # Before the store changes for good, so that the same command can be repeated after an interrupt.
        writing.rewrite(result.plain, folder, names)
        store.commit()
    for line in lines:
        say(line)
    return result


def _say_changes(placed: Sequence[Placed], verb: str, say: Say) -> None:
    """Tell which exposures are ranked in another version than before, and which get another id."""
    versions, ids = [], []
    for p in placed:
        e = p.copy.exposure
        camera = f" of {e.camera}" if e.camera else ""
        if p.ranked and p.copy.number:
            version = f"version {e.version_label}" if e.version_label else "another measurement"
            versions.append(f"exposure {p.exposure}{camera}: {version} {verb} ranked again")
        elif p.ranked and p.exposure != e.exposure:
            ids.append(f"exposure {e.exposure}{camera} {verb} called {p.exposure} again")
    for line in (*few_lines(versions, "exposures in other versions"), *few_lines(ids, "exposures with other ids")):
        say(printable(line))


def taken_out(
    store: Store, folder: Path, wanted: Sequence[str | Path], camera: str | None, say: Say, verb: str
) -> Remaining:
    """Return what remains of a survey without the nights and exposures that are named.

    Parameters
    ----------
    store : Store
    folder : Path
        That of the store.
    wanted : sequence of str or Path
        See `forget_nights`.
    camera : str or None
    say : callable
        Takes a line on each name.
    verb : str
        The end of the lines: ``forgotten``, or ``would be forgotten``.

    Raises
    ------
    OutputError
        When the survey holds nothing of one of these names.
    """
    remaining = Remaining(store.copies(), store.failed_files())
    whole = replace(remaining)
    for name in wanted:
        before, n_failed = {c.exposure.key for c in remaining.copies}, len(remaining.failed)
        try:
            about, touched = _forget(remaining, folder, name, camera)
        except OutputError:
            # The names before may have taken out all that this name stands for; else the error is raised here again.
            about, _ = _forget(replace(whole), folder, name, camera)
            say(printable(f"{about}: nothing more {verb}, after the names before"))
            continue
        forgotten = before - {c.exposure.key for c in remaining.copies}
        parts = [counted(len(forgotten), "exposure")]
        if n_failed > len(remaining.failed):
            parts.append(counted(n_failed - len(remaining.failed), "failed file"))
        line = f"{about}: {' and '.join(parts)} {verb}"
        if kept := len(touched - forgotten):
            line += f"; {counted(kept, 'exposure')} {'stays' if kept == 1 else 'stay'}, which other nights hold too"
        say(printable(line))
    return remaining


def _forget(remaining: Remaining, folder: Path, name: str | Path, camera: str | None) -> tuple[str, set[ExposureKey]]:
    """Take out what a name stands for; return what the name is taken for, and the exposures that it concerns."""
    text = str(name)
    of_id = {
        c.exposure.key for c in remaining.copies if c.exposure.exposure == text and camera in (None, c.exposure.camera)
    }
    of_id |= {
        (f.failure.camera, text)
        for f in remaining.failed
        if f.failure.exposure == text and camera in (None, f.failure.camera)
    }
    if len(of_id) > 1:
        cameras = ", ".join(sorted(c for c, _ in of_id))
        raise OutputError(f"{folder}: several cameras have an exposure {text} (choose one with --camera: {cameras})")
    if of_id:
        remaining.copies = [c for c in remaining.copies if c.exposure.key not in of_id]
        remaining.failed = [f for f in remaining.failed if (f.failure.camera, f.failure.exposure) not in of_id]
        return f"exposure {text}", of_id
    places = {str(absolute(text)), str(resolved(text))}
    memberships = {m for c in remaining.copies for m in c.nights} | {f.membership for f in remaining.failed}
    of_night = {m for m in memberships if places & set(m.night)}
    if of_night:
        return f"night {text}", _forget_memberships(remaining, of_night)
    if _holds_store(Path(text)) and resolved(text) != resolved(folder):
        return f"the exposures of night {text}", _forget_exposures_of(remaining, Path(text))
    return f"what lies in {text}", _forget_files(remaining, folder, places, text)


def _holds_store(folder: Path) -> bool:
    try:
        return (folder / NAME).is_file()
    except OSError:  # no folder can have this name, or the folder may not be read
        return False


def _forget_memberships(remaining: Remaining, forgotten: set[Membership]) -> set[ExposureKey]:
    """Forget what comes from nights and from no other night."""
    touched = {c.exposure.key for c in remaining.copies if forgotten & set(c.nights)}
    rest = [replace(c, nights=tuple(m for m in c.nights if m not in forgotten)) for c in remaining.copies]
    remaining.copies = [c for c in rest if c.nights]
    remaining.failed = [f for f in remaining.failed if f.membership not in forgotten]
    return touched


def _forget_exposures_of(remaining: Remaining, night: Path) -> set[ExposureKey]:
    """Forget the exposures that another store holds, measured from the same files."""
    with Store(night / NAME, Settings(), read_only=True) as store:
        measured = {(c.exposure.camera, c.exposure.fingerprint, c.exposure.points_id) for c in store.copies()}
        failed = {f.failure.file for f in store.failed_files()}

    def is_in_night(copy: Copy) -> bool:
        e = copy.exposure
        return (e.camera, e.fingerprint, e.points_id) in measured

    touched = {c.exposure.key for c in remaining.copies if is_in_night(c)}
    remaining.copies = [c for c in remaining.copies if not is_in_night(c)]
    n_before = len(remaining.failed)
    remaining.failed = [f for f in remaining.failed if f.failure.file not in failed]
    if not touched and n_before == len(remaining.failed):
        raise OutputError(f"{night}: the survey holds none of the exposures of this night (is it the right folder?)")
    return touched


def _forget_files(remaining: Remaining, folder: Path, places: set[str], text: str) -> set[ExposureKey]:
    """Forget the exposures whose files, or whose nights, lie in a folder."""

    def lies_there(path: str) -> bool:
        return any(is_within(path, place) for place in places)

    forgotten = {m for c in remaining.copies for m in c.nights if any(map(lies_there, m.night))}
    forgotten |= {f.membership for f in remaining.failed if any(map(lies_there, f.membership.night))}
    touched = _forget_memberships(remaining, forgotten) if forgotten else set()
    of_files = {id(c) for c in remaining.copies if any(lies_there(str(f)) for f in c.exposure.files)}
    touched |= {c.exposure.key for c in remaining.copies if id(c) in of_files}
    remaining.copies = [c for c in remaining.copies if id(c) not in of_files]
    n_before = len(remaining.failed)
    escaped = {path_text(place) for place in places}
    remaining.failed = [f for f in remaining.failed if not any(is_within(f.failure.file, place) for place in escaped)]
    if not touched and not forgotten and n_before == len(remaining.failed):
        nights = sorted({m.night[0] for c in remaining.copies for m in c.nights if m.night})
        holds = f"it holds the nights {', '.join(nights[:3])}{' ...' if len(nights) > 3 else ''}" if nights else ""
        raise OutputError(
            f"{folder}: the survey holds no exposure, night or folder {text}{f' ({holds})' if holds else ''}"
        )
    return touched
