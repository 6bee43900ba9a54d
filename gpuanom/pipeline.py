"""A night through the pipeline: find exposures, measure the new ones, keep each in the store, rank all of them.

Exposures are read and measured by a few threads at a time and stored by the caller's; nothing depends on their order.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from gpuanom import plan, tables
from gpuanom.backend import Backend, choose
from gpuanom.cluster import TIMEOUT, Job, ModelFile, Where, require_dask
from gpuanom.errors import InputError, OutputError, SettingsError, printable
from gpuanom.fits import Discovery, Skipped, discover
from gpuanom.fits.explain import decisions, untold_bands
from gpuanom.naming import exists, path_text
from gpuanom.records import Exposure, Measurement
from gpuanom.reference import References
from gpuanom.settings import Settings, difference
from gpuanom.store import NAME, Failure, Store
from gpuanom.tables import Tables
from gpuanom.works import Works

if TYPE_CHECKING:
    from gpuanom.autoencoder.model import Model
    from gpuanom.autoencoder.scoring import Scorer
    from gpuanom.cluster.run import Cluster

_log = logging.getLogger("gpuanom")

Existing = Literal["resume", "overwrite", "fail"]


@dataclass
class Events:
    """What a run tells while it goes on; each may be replaced.

    Attributes
    ----------
    device : callable
        Takes words on the device that is used, and why.
    say : callable
        Takes a line that a user should see.
    skipped : callable
        Takes a `gpuanom.fits.Skipped`: a file that is left out by rule.
    plan : callable
        Takes the number of exposures to measure and of those already measured.
    done : callable
        Takes an exposure, its measurement or the failure, and the seconds that it took.
    stamps : callable
        Takes the number of measured exposures whose stamps are read again for an autoencoder.
    debug : callable
        Takes text for whoever asked for more (tracebacks of unexpected errors).
    """

    device: Callable[[str], None] = lambda _about: None
    say: Callable[[str], None] = lambda _line: None
    skipped: Callable[[Skipped], None] = lambda _skipped: None
    plan: Callable[[int, int], None] = lambda _new, _known: None
    done: Callable[[Exposure, Measurement | Failure, float], None] = lambda _e, _m, _s: None
    stamps: Callable[[int], None] = lambda _n: None
    debug: Callable[[str], None] = lambda _text: None


@dataclass(frozen=True)
class Night:
    """What a run leaves.

    Attributes
    ----------
    tables : Tables
        Most anomalous exposures first.
    failed : tuple of (str, str)
        Exposures and files that could not be measured, with the reason of each.
    n_exposures : int
        Exposures in the tables, failed ones left out.
    written : tuple of Path
        The tables' files.
    """

    tables: Tables
    failed: tuple[tuple[str, str], ...]
    n_exposures: int
    written: tuple[Path, ...] = field(default=())


def score(
    paths: str | Path | Sequence[str | Path] = (),
    output: str | Path | None = None,
    *,
    settings: Settings | None = None,
    device: str = "auto",
    reference: str | Path | References | None = None,
    model: str | Path | None = None,
    existing: Existing = "resume",
    formats: Sequence[str] = ("ecsv",),
    threads: int | None = None,
    shard: tuple[int, int] | None = None,
    scheduler: str | Path | None = None,
    workers: int | None = None,
    timeout: float = TIMEOUT,
    performance_report: str | Path | None = None,
    events: Events | None = None,
) -> Night:
    """Score a night of exposures, from FITS files to ranked tables.

    Parameters
    ----------
    paths : str, Path, or sequence of them
        Files, folders, globs and ``@lists``; none means what the output folder already holds.
    output : str or Path, optional
        Folder for the store and the tables; None keeps everything in memory.
    settings : Settings, optional
    device : str, optional
        ``auto``, ``cpu``, a GPU's number, or several such as ``0,1``.
    reference : str, Path or References, optional
        Saved references to compare with, instead of the night itself.
    model : str or Path, optional
        An autoencoder that `gpuanom train` made: adds the errors of its reconstructions (METHOD.md 7). Of exposures
        that are measured already, only the stamps are read again.
    existing : {"resume", "overwrite", "fail"}, optional
        What to do where the output folder holds a night: go on with it, begin anew, or refuse.
    formats : sequence of str, optional
        Formats of the tables, of `gpuanom.tables.FORMATS`.
    threads : int, optional
        Threads that read and decode, and on a CPU measure too; by default one a core, at most 8, or
        16 that read for a GPU.
    shard : (int, int), optional
        ``(3, 16)`` measures the third of sixteen shares of the exposures only, the same share whatever the other inputs
        are; `gpuanom.merge_nights` makes one night of all.
    scheduler : str or Path, optional
        Measure on the workers of a Dask scheduler: its address such as ``tcp://host:8786``, or as a Path the file that
        it wrote. `device` and `threads` are then each worker's; the store stays with this process (docs/cluster.md).
    workers : int, optional
        Measure in that many processes of this machine, which Dask watches over.
    timeout : float, optional
        Seconds that an exposure may take on a worker before it is tried elsewhere.
    performance_report : str or Path, optional
        Write Dask's performance report of the workers there, as HTML.
    events : Events, optional
        What to call as the run goes on.

    Returns
    -------
    Night

    Raises
    ------
    InputError
        When no input is an exposure.
    SettingsError
        When robust rounds are asked for together with a saved reference.
    OutputError, ReferenceFileError, DeviceError
        When the output folder, the reference or the device cannot be used.
    ClusterError
        When the scheduler or its workers cannot be used, or the scheduler goes away.
    GpuanomError
        When a model is given and PyTorch is not installed.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    settings = settings or Settings()
    events = events or Events()
    if existing not in get_args(Existing):
        raise SettingsError(f"existing is {existing!r} but must be one of {', '.join(get_args(Existing))}")
    if threads is not None and threads < 1:
        raise SettingsError(f"threads is {threads!r} but must be a whole number from 1")
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        raise SettingsError(f"shard is {shard!r} but must be a share, from 1, and their number")
    where = Where(scheduler, workers, timeout, None if performance_report is None else Path(performance_report))
    if where:
        require_dask(where)
    # The few numbers of the tables are no work for a worker.
    backends, about = choose("cpu" if where else device)
    if not where:
        events.device(about)
    tables.require_formats(formats)
    references = reference if isinstance(reference, References | None) else References.load(Path(reference))
    if references is not None and settings.robust_rounds:
        raise SettingsError("robust_rounds shape the night's own reference: give either them or a saved reference")
    trained = None if model is None else _loaded(model)
    folder = None if output is None else Path(output)
    found = discover(paths, settings) if paths else Discovery((), (), ())
    for skipped in found.skipped:
        events.skipped(skipped)
    for line in decisions(found):
        _log.info("%s", line)
    if untold := untold_bands(found):
        events.say(untold)
    if not found.exposures and (paths or existing == "overwrite") and (existing == "overwrite" or not _holds(folder)):
        raise InputError(_nothing(found))
    path = store_path(folder, existing, paths)
    if not paths and path is not None:
        settings = _recorded(path, settings)
    if references is not None:
        tables.require_reference(references, settings, "the reference" if reference is references else str(reference))
    if trained is not None:
        trained.require_stamps(settings, str(model))
        if differs := trained.differs(settings):
            events.say(f"{model}: was trained on stamps of other settings: {differs}")
    with Store(path, settings) as store:
        if existing == "overwrite":
            store.clear()
        found = plan.with_held_files(paths, found, store, settings)
        if shard is not None:
            n_found = len(found.exposures)
            found = plan.shard(found, *shard)
            events.say(f"shard {shard[0]}/{shard[1]}: {len(found.exposures)} of {n_found} exposures")
        todo = plan.to_measure(store, found, settings, events.say)
        events.plan(len(todo), len(found.exposures) - len(todo))

        def measurers(scorer: Scorer | None = None) -> Works | Cluster:
            if not where:
                return Works(settings, backends, threads, events.debug, scorer)
            known = None if scorer is None or model is None else ModelFile.of(model, scorer.fingerprint, scorer.only)
            return _cluster(Job(settings, device, threads, known), where, events)

        unread: list[Failure] = []
        if trained is not None:
            given = {(e.camera, e.exposure) for e in found.exposures} if paths else None
            unread = _with_model(store, todo, given, trained, measurers, backends, events)
        elif todo:
            _fill(store, todo, measurers(), events)
        result = tables.build(store, settings, backends[0], references)
        failures = [*store.failures(), *unread]
    written = tables.write(result, folder, formats) if folder else []
    return _night(result, failures, written, len(unread))


def _nothing(found: Discovery) -> str:
    """Why there is nothing to score, in a line."""
    reasons = "; ".join(f"{printable(path_text(f.path))}: {f.reason}" for f in found.failures[:3])
    more = f" and {len(found.failures) - 3} more" if len(found.failures) > 3 else ""
    return f"no exposure among the inputs{': ' + reasons if reasons else ''}{more}"


def _recorded(path: Path, settings: Settings) -> Settings:
    """The settings to rank a store again with: its own measurement's, and the given ones of the score."""
    with Store(path, settings, read_only=True) as store:
        recorded, _ = store.recorded_settings()
    if settings.measurement() != Settings().measurement() and (differs := difference(settings.measurement(), recorded)):
        raise OutputError(
            f"{path}: was measured with other settings: {differs} (give the inputs to measure them again)"
        )
    return settings.with_measurement(recorded)


def _night(result: Tables, failures: Sequence[Failure], written: Sequence[Path], n_unread: int) -> Night:
    failed = [(printable(f.file), f.reason) for f in failures]
    unusable = result.exposures[result.exposures["status"] == "unusable"]
    failed += [(str(row["file"]), f"exposure {row['exposure']}: {row['note']}") for row in unusable]
    # Those whose stamps alone could not be read are in the tables.
    return Night(result, tuple(failed), len(result.exposures) - len(failures) + n_unread, tuple(written))


def _holds(folder: Path | None) -> bool:
    return folder is not None and exists(folder / NAME)


def store_path(folder: Path | None, existing: Existing, paths: Sequence[str | Path]) -> Path | None:
    """The store's file in a folder that is made if need be."""
    if folder is None:
        return None
    path = folder / NAME
    if exists(path) and existing == "fail":
        raise OutputError(f"{folder}: holds a night already (--existing resume goes on with it, overwrite begins anew)")
    if not exists(path) and not paths:
        raise OutputError(f"{folder}: holds no night, and no input was given")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used for output: {error.strerror}") from None
    return path


def _loaded(model: str | Path) -> Model:
    """A trained autoencoder; the part of gpuanom that needs PyTorch is imported when it is asked for."""
    from gpuanom.autoencoder import require
    from gpuanom.autoencoder.model import load

    require()
    return load(model)


def _cluster(job: Job, where: Where, events: Events) -> Cluster:
    """The workers of a run; Dask is imported here, and by no run that does without."""
    from gpuanom.cluster.run import Cluster

    verbose = logging.getLogger("gpuanom").isEnabledFor(logging.INFO)
    return Cluster(job, where, events.say, events.debug, verbose)


def _fill(store: Store, todo: Sequence[Exposure], measurers: Works | Cluster, events: Events) -> None:
    """Measure and keep what the store does not hold yet."""
    with measurers as works:
        for exposure, result, seconds in works.measured(todo):
            if isinstance(result, Failure):
                store.add_failure(result)
            else:
                store.add(result)
            events.done(exposure, result, seconds)


def _with_model(
    store: Store,
    todo: Sequence[Exposure],
    given: set[tuple[str, str]] | None,
    model: Model,
    measurers: Callable[[Scorer], Works | Cluster],
    backends: Sequence[Backend],
    events: Events,
) -> list[Failure]:
    """Measure with a model what the store does not hold yet, and read the stamps of what was measured without it.

    Returns
    -------
    list of Failure
        Exposures whose stamps could not be read again: what was measured of them stays.
    """
    from gpuanom.autoencoder.scoring import Scorer
    from gpuanom.autoencoder.tensors import require_shared

    for backend in backends:
        require_shared(backend)
    _, dropped = store.lacking(model.fingerprint)
    if dropped:
        events.say(f"autoencoder_mse of {dropped} exposures was another model's: dropped")
    unread: list[Failure] = []
    with Scorer(model) as scorer:
        if todo:
            _fill(store, todo, measurers(scorer), events)
        lacking, _ = store.lacking(model.fingerprint)
        lacking = [e for e in lacking if given is None or (e.camera, e.exposure) in given]
        if not lacking:
            return unread
        events.stamps(len(lacking))
        with measurers(Scorer(model, only=True)) as works:
            for exposure, result, seconds in works.measured(lacking):
                if not isinstance(result, Failure) and (differs := store.add_reconstruction(result)):
                    reason = f"no autoencoder_mse: {differs}"
                    file = path_text(exposure.files[0])
                    result = Failure(file, exposure.camera, exposure.band, exposure.exposure, "changed", reason)
                if isinstance(result, Failure):
                    unread.append(result)
                events.done(exposure, result, seconds)
    return unread
