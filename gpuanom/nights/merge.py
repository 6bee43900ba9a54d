"""References made from measured nights, and nights merged into one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from gpuanom import arguments
from gpuanom.backends.choice import select
from gpuanom.errors import InputError, OutputError, ReferenceFileError, StoreBusyError, printable
from gpuanom.files import cannot_be_written, make_folder, partial_path
from gpuanom.fits.exposures.grouping import names_apart
from gpuanom.nights.events import Night, Say
from gpuanom.nights.gathering import each_once, gather
from gpuanom.nights.unfinished import lacking_of
from gpuanom.paths import Relocation, exists, lines_on_idle
from gpuanom.records import Exposure, ExposureKey
from gpuanom.review import labels
from gpuanom.review.opened import ScoredNight
from gpuanom.scoring.histograms.comparable import part
from gpuanom.scoring.histograms.comparison import dataset_reference
from gpuanom.scoring.histograms.given_references import kept_references, merge
from gpuanom.scoring.histograms.reference import DatasetReference, References
from gpuanom.scoring.judged import kept_statistics
from gpuanom.scoring.verdict.levels import ODD
from gpuanom.settings import Settings, difference
from gpuanom.store.planned import unfinished_line
from gpuanom.store.recorded_settings import require_alike
from gpuanom.store.store import NAME, Store
from gpuanom.tables import build as tables
from gpuanom.tables import writing
from gpuanom.tables.build import Tables

Input: TypeAlias = str | Path | Night | ScoredNight | References
"""What `make_references` takes: a scored night, or saved references."""


def make_references(
    inputs: Input | Sequence[Input],
    *,
    keep_all: bool = False,
    exclude_labelled: bool = False,
    say: Say = lambda _line: None,
    lacking: Say | None = None,
) -> References:
    """Make references of measured nights and saved references, merged (METHOD.md 5 and 13).

    Parameters
    ----------
    inputs : str, Path, Night, ScoredNight or References, or sequence of them
        Folders that `score` made, and files that `References.save` wrote; or what `score`, `open_night` and
        `References.load` return. A night that was scored with robust rounds gives its robust reference.
    keep_all : bool, optional
        Keep exposures whose verdict is bad or check; by default they are left out.
    exclude_labelled : bool, optional
        Leave out exposures that people labelled prominent or dubious.
    say : callable, optional
        Takes a line that tells how many exposures of a night are left out, or that statistics are dropped because not
        all inputs keep them.
    lacking : callable, optional
        Takes a line on each night whose run was ended early; by default `say` does.

    Returns
    -------
    gpuanom.References
        Of all the exposures of the inputs.

    Raises
    ------
    InputError
        When an input is of a wrong kind, or a night that was not kept in a folder.
    OutputError, ReferenceFileError
        When an input cannot be read, the settings of the inputs differ, or two inputs hold the same exposure.
    """
    given = _nights_and_references(inputs)
    keep_all = arguments.switch("keep_all", keep_all)
    exclude_labelled = arguments.switch("exclude_labelled", exclude_labelled)
    nights = [item for item in given if isinstance(item, Path) and _is_folder(item)]
    names = dict(zip(nights, names_apart([_held(path) for path in nights]), strict=True))
    parts = []
    for item in given:
        if isinstance(item, References):
            parts.append((item.origin or "the references", item))
        elif item in names:
            says = say, say if lacking is None else lacking
            parts.append((str(item), _night_references(item, names[item], keep_all, exclude_labelled, *says)))
        else:
            parts.append((str(item), References.load(item)))
    return merge(parts, say)


def _nights_and_references(inputs: object) -> list[Path | References]:
    """The inputs of `make_references`: nights by their folders, files by their paths."""
    one = isinstance(inputs, Night | ScoredNight | References)
    if not one and (isinstance(inputs, str | bytes | Mapping) or not arguments.is_several(inputs)):
        return list(arguments.nights("inputs", inputs))
    items: list[Any] = [inputs] if one else list(inputs)  # type: ignore[call-overload]
    if any(isinstance(item, Night) and item.folder is None for item in items):
        raise InputError("inputs holds a night in memory (score it with an output folder, which keeps measurements)")
    items = [item.folder if isinstance(item, Night | ScoredNight) else item for item in items]
    paths = iter(arguments.nights("inputs", [item for item in items if not isinstance(item, References)]))
    return [item if isinstance(item, References) else next(paths) for item in items]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _held(folder: Path) -> dict[ExposureKey, Exposure]:
    with Store(folder / NAME, Settings(), read_only=True) as store:
        return store.measured_exposures()


def _night_references(
    folder: Path,
    names: Mapping[ExposureKey, str],
    keep_all: bool,
    exclude_labelled: bool,
    say: Say,
    lacking: Say,
) -> References:
    backend = select("cpu")
    with Store(folder / NAME, Settings(), read_only=True) as store:
        if line := unfinished_line(folder, store.n_unmeasured()):
            lacking(line)
        recorded, version = store.recorded_settings()
        settings, saved = tables.as_scored_last(store)
        ranked = tables.ranked(store, settings, backend, saved) if settings.statistics else None
        unwanted = set() if ranked is None or keep_all else _not_ok(ranked.tables)
        labelled = _labelled(folder) if exclude_labelled else set()
        datasets: list[DatasetReference] = []
        for whole in store.datasets(int(recorded["bins"])):
            key = (whole.camera, whole.band)
            left_out = [(whole.camera, e) in unwanted | labelled for e in whole.exposures]
            members = np.flatnonzero(~np.array(left_out, dtype=bool))
            dataset = part(whole, members) if any(left_out) else whole
            if any(left_out):
                say(printable(f"{folder}: {' '.join(key)}: {sum(left_out)} of {len(left_out)} exposures left out"))
            if not members.size:
                continue
            reference = dataset_reference(dataset, settings, backend)
            if ranked is not None and key in ranked.measured:
                usual = [
                    i for i, e in zip(members.tolist(), dataset.exposures, strict=True) if e in reference.exposures
                ]
                kept = ranked.measured[key].part(np.array(usual, dtype=np.int64))
                reference = replace(reference, statistics=kept_statistics.without_models(kept))
            if any(kind.n_histograms for kind in reference.kinds):
                datasets.append(reference.renamed({e: names.get((dataset.camera, e), e) for e in dataset.exposures}))
    if not datasets:
        raise ReferenceFileError(
            f"{folder}: none of its exposures could be measured (gpuanom score -o {folder} says why)"
        )
    return References(tuple(datasets), recorded, version)


def _not_ok(night: Tables) -> set[ExposureKey]:
    """The exposures whose verdict is bad or check."""
    exposures = night.plain[0]
    rows = zip(exposures["camera"], exposures["exposure"], exposures["verdict"], strict=True)
    return {(str(camera), str(exposure)) for camera, exposure, verdict in rows if str(verdict) in ODD}


def _labelled(folder: Path) -> set[ExposureKey]:
    """The exposures that anyone labelled prominent or dubious."""
    return {(a.camera, a.exposure) for a in labels.kept(folder) if a.label in ("prominent", "dubious")}


def merge_nights(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    settings: Settings | Mapping[str, Any] | None = None,
    formats: str | Sequence[str] | None = None,
    device: str | int = "auto",
    versions: str | None = None,
    relocate: Mapping[str | Path, str | Path] | None = None,
    add: bool = False,
    say: Say = lambda _line: None,
    lacking: Say | None = None,
) -> Tables:
    """Merge measured nights into a new one and rank all their exposures together.

    Parameters
    ----------
    inputs : str, Path, or sequence of them
        Folders that `score` made, measured with the same settings.
    output : str or Path
        Folder of the merged night; without `add` it must not hold a night.
    settings : Settings or mapping of their names to values, optional
        The settings of the scores; those of the measurement are the nights'. By default the merged night is scored as
        the nights were scored last, or compared with itself where they were scored differently; a night that others are
        added to is scored as it was last.
    formats : str or sequence of str, optional
        Formats of the tables, of `gpuanom.tables.writing.FORMATS`; by default as `gpuanom.score` writes them, or, with
        `add`, those in which the folder holds tables.
    device : str or int, optional
        ``auto``, ``cpu`` or a GPU's number.
    versions : {"newest", "apart"}, optional
        Where nights hold an exposure in several processing versions: rank the newest and set the others aside, or rank
        each. By default as the setting of this name says, ``newest`` if nothing else was chosen.
    relocate : mapping of str or Path to str or Path, optional
        Folders or files that were moved since the nights were measured, old paths to new ones.
    add : bool, optional
        Add the nights to the one that the output folder holds already.
    say : callable, optional
        Takes a line that a user should see: how the merged night is scored where the nights differ, the new ids of
        exposures with equal names, and which version of an exposure is taken.
    lacking : callable, optional
        Takes a line on a night that is not measured as a whole, or on shares of a night that are not among the inputs.
        By default `say`.

    Returns
    -------
    Tables
        The same, byte for byte when written, as those of a single run over all files. An exception are exposures that
        have the id of another one: they get new ids from the names of their folders, as in a single run, or from
        their starts, and keep the random points that they were measured with.

    Raises
    ------
    OutputError
        When an input holds no night, settings differ, or the output holds a night already.
    InputError, SettingsError, DeviceError
        When an argument is of a wrong kind, or the device cannot be used.
    """
    nights, folder = arguments.nights("inputs", inputs), arguments.path("output", output, OutputError)
    chosen, names = arguments.settings(settings), arguments.formats(formats)
    moves, add = arguments.relocations("relocate", relocate), arguments.switch("add", add)
    writing.require_formats(names)
    path = folder / NAME
    grows = exists(path)
    if grows and not add:
        raise OutputError(f"{folder}: holds a night already (choose another --output, or --add the nights to it)")
    backend = select(device)
    nights = each_once(nights, folder, say)
    with ExitStack() as opened:
        stores = [opened.enter_context(Store(n / NAME, Settings(), read_only=True, moves=moves)) for n in nights]
        with Store(path, Settings(), read_only=True, moves=moves) if grows else nullcontext() as survey:
            given = list(zip(nights, stores, strict=True))
            opened_stores = stores if survey is None else [survey, *stores]
            for line in lines_on_idle(set(moves).intersection(*(store.idle_moves for store in opened_stores))):
                say(printable(line))
            every = given if survey is None else [(folder, survey), *given]
            for line in lacking_of(every):
                (say if lacking is None else lacking)(line)
            recorded = _measured_alike(every)
            if settings is not None:
                effective, references = chosen, None
            elif survey is not None:
                effective, references = tables.as_scored_last(survey)
            else:
                effective, references = _scored_alike(given, say)
        effective = effective.with_measurement(recorded)
        if versions is not None:
            effective = effective.replace(versions=versions)
        make_folder(folder)
        with _changed_whole(path, effective, moves, grows) as merged:
            gather(merged, given, effective, say)
            _keep_classifier(merged, stores, say)
            opened.close()  # a watch of one of the nights waits as long as the night is read
            result = tables.build(merged, effective, backend, references)
            (writing.rewrite if grows else writing.write)(result.plain, folder, names)
    return result


@contextmanager
def _changed_whole(path: Path, settings: Settings, moves: Sequence[Relocation], grows: bool) -> Iterator[Store]:
    """A store that is made or changed whole or not at all, also where the process is killed.

    Tables are written before the store changes for good, so that the same command can be repeated after an interrupt.
    """
    if grows:
        with Store(path, settings, moves=moves) as store:
            store.begin()
            yield store
            store.commit()
        return
    if path.is_symlink():
        raise OutputError(f"{path}: a link that leads nowhere; it was left as it is (mend or remove the link)")
    partial = partial_path(path)
    try:
        with Store(partial, settings, moves=moves) as store:
            store.clear()  # of what a killed run left
            store.begin()
            yield store
            store.commit()
            try:
                partial.replace(path)  # while no other process can open the store
            except OSError as error:
                raise cannot_be_written(path, error) from None
    except StoreBusyError:
        raise
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _measured_alike(nights: Iterable[tuple[Path, Store]]) -> Mapping[str, Any]:
    """The settings that all nights were measured with."""
    recorded, origin = None, ""
    for folder, store in nights:
        if not store.n_exposures():
            continue  # a small share of a night, or a night of failures only
        of_night, _ = store.recorded_settings()
        require_alike(folder, of_night, origin, recorded)
        recorded, origin = of_night, str(folder)
    if recorded is None:
        raise OutputError("no input holds a measured exposure (gpuanom score measures them)")
    return recorded


def _keep_classifier(merged: Store, stores: Sequence[Store], say: Say) -> None:
    """Keep the classifier that all nights were scored with; where they had different ones, none."""
    classifiers = {store.classifier() for store in stores if store.model()} | {merged.classifier()} - {""}
    if len(classifiers) == 1:
        merged.keep_classifier(classifiers.pop())
    elif classifiers:
        merged.keep_classifier("")
        say("the nights were not scored with one classifier: the merged night has none (gpuanom score --model)")


def _scored_alike(nights: Iterable[tuple[Path, Store]], say: Say) -> tuple[Settings, References | None]:
    """How the nights were scored last; where they were scored differently, the default settings and a line on that."""
    (first, record), *others = [(n, store.scoring_record()) for n, store in nights if store.n_exposures()]
    for origin, other in others:
        differs = difference(record.settings, other.settings)
        if record.reference != other.reference:
            names = [r.reference_file or "a saved reference" if r.reference else "itself" for r in (record, other)]
            differs = "; ".join(filter(None, (differs, f"compared with {names[1]} there, with {names[0]} here")))
        if differs:
            say(
                f"{origin} was scored otherwise than {first}: {differs}. The merged night is compared with itself,"
                " by the default settings (gpuanom score -o NIGHT with other settings, or --reference, scores it again)"
            )
            return Settings(), None
    settings = Settings().with_scoring(record.settings)
    if not record.reference:
        return settings, None
    return settings, kept_references(record.reference, record.reference_file or "the reference of the nights")
