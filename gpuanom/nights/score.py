"""The scoring of a night: find exposures, measure the new ones, keep each in the store, rank all of them.

Exposures are read and measured by a few threads at a time, and stored by the calling thread; nothing depends on the
order in which they are done.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

import gpuanom
from gpuanom import arguments
from gpuanom.backends.choice import device_name
from gpuanom.backends.protocol import Backend
from gpuanom.cluster.where import TIMEOUT, Where, require_dask
from gpuanom.errors import InputError, OutputError, SettingsError, printable
from gpuanom.fits import Discovery, discover
from gpuanom.fits.explain import decisions, untold_bands
from gpuanom.measuring.processes import Processes
from gpuanom.measuring.threads import Works
from gpuanom.naming import exists, lines_on_idle, path_text
from gpuanom.nights import plan
from gpuanom.nights.events import Events, Night
from gpuanom.nights.keeping import fill
from gpuanom.nights.preparation import Existing, prepare, store_path
from gpuanom.nights.progress import with_bar
from gpuanom.records import Exposure, Failure
from gpuanom.settings import Settings, difference
from gpuanom.store.store import NAME, Store
from gpuanom.tables.ahead import import_tables
from gpuanom.tables.left_out import left_out

if TYPE_CHECKING:
    from gpuanom.autoencoder.given import GivenModels
    from gpuanom.autoencoder.model import Model
    from gpuanom.autoencoder.scoring import Scorer
    from gpuanom.cluster.job import Job
    from gpuanom.cluster.run import Cluster
    from gpuanom.scoring.reference import References
    from gpuanom.tables.build import Tables

_log = logging.getLogger("gpuanom")


def score(
    paths: str | Path | Sequence[str | Path] = (),
    output: str | Path | None = None,
    *,
    settings: Settings | Mapping[str, Any] | None = None,
    device: str | int | Sequence[int] = "auto",
    reference: str | Path | gpuanom.References | None = None,
    model: str | Path | Sequence[str | Path] | None = None,
    existing: Existing = "resume",
    formats: str | Sequence[str] | None = None,
    threads: int | None = None,
    shard: tuple[int, int] | None = None,
    scheduler: str | Path | None = None,
    workers: int | None = None,
    timeout: float = TIMEOUT,
    performance_report: str | Path | None = None,
    relocate: Mapping[str | Path, str | Path] | None = None,
    events: Events | None = None,
    progress: bool = False,
) -> Night:
    """Score a night of exposures, from FITS files to ranked tables.

    Parameters
    ----------
    paths : str, Path, or sequence of them
        Files, folders, globs and ``@lists``; without any, the exposures that the output folder holds already.
    output : str or Path, optional
        Folder for the store and the tables; None keeps both in memory.
    settings : Settings or mapping of their names to values, optional
        By default the paper's; without `paths` those that the night was scored with last.
    device : str, int or sequence of int, optional
        ``auto``, ``cpu``, a GPU's number, or several such as ``0,1``.
    reference : str, Path or References, optional
        Saved references to compare with, instead of the night itself; ``"flat"`` compares each exposure with flat
        histograms, which gives z, angle and alignment but no verdict. Without `paths` and `settings`, by default the
        references that the night was compared with last.
    model : str, Path, or sequence of them, optional
        An autoencoder that `gpuanom train` made: the errors of its reconstructions are added (METHOD.md 7). For
        exposures that are measured already, only the stamps are read again. A classifier that was trained with labels
        may be given beside the autoencoder that it learnt with, or alone for a night that was scored with that one.
    existing : {"resume", "overwrite", "fail"}, optional
        What to do where the output folder holds a night: go on with that night, begin anew, or refuse.
    formats : str or sequence of str, optional
        Formats of the tables, of `gpuanom.tables.writing.FORMATS`; by default ECSV, and Parquet for a table of over
        100,000 rows where pyarrow is installed.
    threads : int, optional
        Threads that read and decode, and on a CPU measure too; by default one for each core, at most 8.
    shard : (int, int), optional
        ``(3, 16)`` measures only the third of sixteen shares of the exposures; the share of an exposure does not depend
        on the other inputs. `gpuanom.merge_nights` makes one night of all shares.
    scheduler : str or Path, optional
        Measure on the workers of a Dask scheduler: its address such as ``tcp://host:8786``, or as a Path the file that
        the scheduler wrote. `device` and `threads` are then those of each worker; the store stays with this process
        (docs/cluster.md).
    workers : int, optional
        Measure in that many processes of this machine, which Dask watches over.
    timeout : float, optional
        Seconds that an exposure may take on a worker before it is tried elsewhere.
    performance_report : str or Path, optional
        Write Dask's performance report of the workers there, as HTML.
    relocate : mapping of str or Path to str or Path, optional
        Folders or files that were moved since they were measured, old paths to new ones; the store keeps the new paths.
    events : Events, optional
        What to call as the run goes on.
    progress : bool, optional
        Show a bar of progress, in a notebook or on standard error if that is a terminal. By default, and where there
        is neither, nothing is shown.

    Returns
    -------
    Night
        The ranked tables, the exposures that failed, and the files written.

    Raises
    ------
    InputError
        When no input is an exposure, or an argument is of a wrong kind.
    SettingsError
        When a setting or an argument is impossible, or robust rounds are asked for together with a saved reference.
    OutputError, ReferenceFileError, DeviceError
        When the output folder, the reference or the device cannot be used.
    ClusterError
        When the scheduler or its workers cannot be used, or the scheduler goes away.
    GpuanomError
        When a model is given and PyTorch is not installed.
    """
    events = arguments.of_kind("events", events, Events)
    if not isinstance(existing, str) or existing not in get_args(Existing):
        raise SettingsError(f"existing is {arguments.shown(existing)} but must be one of resume, overwrite, fail")
    shard = arguments.share(shard)
    models = [] if model is None else arguments.nights("model", model)
    where = _where(scheduler, workers, timeout, performance_report)
    moves = arguments.relocations("relocate", relocate)
    if where:
        require_dask(where)
    device = device_name(device)
    has_bar = arguments.switch("progress", progress)
    run = prepare(
        paths,
        output,
        settings=settings,
        # The workers measure: the few numbers of the tables are no work for them.
        device="cpu" if where else device,
        reference=reference,
        formats=formats,
        threads=threads,
        say_device=events.device if not where else lambda _about: None,
    )
    paths, folder, backends, references = run.paths, run.folder, run.backends, run.references
    wanted, settings = settings, run.settings
    given = _loaded(models) if models else None
    trained = None if given is None else given.autoencoder
    found = discover(paths, settings) if paths else Discovery((), (), ())
    masks = _masks(found)
    for skipped in found.skipped:
        if skipped.path.absolute() not in masks:
            events.skipped(skipped)
    if masks:
        events.say("1 mask applied" if len(masks) == 1 else f"{len(masks)} masks applied")
    for suffix, program in (("bz2", "bunzip2"), ("xz", "unxz")):
        if n := sum(file.suffix.lower() == f".{suffix}" for exposure in found.exposures for file in exposure.files):
            files = f"1 {suffix} file is" if n == 1 else f"{n} {suffix} files are"
            events.say(f"{files} unpacked while being read, which takes long ({program} unpacks for good)")
    for line in decisions(found):
        _log.info("%s", line)
    if untold := untold_bands(found):
        events.say(untold)
    if not found.exposures and (paths or existing == "overwrite") and (existing == "overwrite" or not _holds(folder)):
        raise InputError(_nothing(found))
    path = store_path(folder, existing, paths)
    if not paths and path is not None:
        settings, references = _recorded(path, None if wanted is None else settings, references, events.say)
    if references is not None:
        from gpuanom.scoring.saved import require_reference

        require_reference(references, settings, run.reference_name)
    if given is not None and trained is not None:
        trained.require_stamps(settings, str(given.file))
        if differs := trained.differs(settings):
            events.say(f"{given.file}: was trained on stamps of other settings: {differs}")
    with with_bar(events, has_bar) as events, Store(path, settings, moves=moves) as store:
        for line in lines_on_idle(store.idle_moves):
            events.say(printable(line))
        if existing == "overwrite":
            store.clear()
        if given is not None:
            given.require_features(store.model())
        found = plan.with_held_files(paths, found, store, settings)
        if shard is not None:
            n_found = len(found.exposures)
            found = plan.shard(found, *shard)
            events.say(f"shard {shard[0]}/{shard[1]}: {len(found.exposures)} of {n_found} exposures")
        todo = plan.to_measure(store, found, settings, events.say)
        events.plan(len(todo), len(found.exposures) - len(todo))

        def measurers(scorer: Scorer | None = None) -> Processes | Works | Cluster:
            if not where and scorer is None:
                return Processes(settings, backends, run.threads, events.debug, meanwhile=import_tables)
            if not where:
                return Works(settings, backends, run.threads, events.debug, scorer, import_tables)
            from gpuanom.cluster.job import Job, ModelFile

            file = None if given is None else given.file
            known = None if scorer is None or file is None else ModelFile.of(file, scorer.fingerprint, scorer.only)
            return _cluster(Job(settings, device, run.threads, known), where, events)

        unread: list[Failure] = []
        if trained is not None:
            named = {(e.camera, e.exposure) for e in found.exposures} if paths else None
            unread = _with_model(store, todo, named, trained, measurers, backends, events)
        elif todo:
            fill(store, todo, measurers(), events)
        if given is not None:
            _keep_classifier(store, given, events.say)
        # Nothing of the tables is needed before the exposures are measured. In a long run `import_tables` has imported
        # them, and SciPy with them, by now.
        from gpuanom.tables import build as tables
        from gpuanom.tables import writing

        result = tables.build(store, settings, backends[0], references)
        failures = [*store.failures(), *unread]
    written = writing.write(result.plain, folder, run.formats) if folder else []
    return _night(result, failures, written, len(unread))


def _where(scheduler: Any, workers: Any, timeout: Any, performance_report: Any) -> Where:
    """Where the exposures are measured; the arguments are checked."""
    if scheduler is not None and not isinstance(scheduler, str):
        scheduler = arguments.path("scheduler", scheduler)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float | np.integer | np.floating):
        raise SettingsError(f"timeout is {arguments.shown(timeout)} but must be a number of seconds above 0")
    report = None if performance_report is None else arguments.path("performance_report", performance_report)
    return Where(scheduler, arguments.count("workers", workers), float(timeout), report)


def _masks(found: Discovery) -> set[Path]:
    """The mask files of the exposures found: they are used, although discovery lists them as skipped."""
    return {mask.absolute() for exposure in found.exposures for mask in exposure.masks if mask is not None}


def _nothing(found: Discovery) -> str:
    """In a line, why there is nothing to score."""
    why = found.failures or found.skipped
    reasons = "; ".join(f"{printable(path_text(f.path))}: {f.reason}" for f in why[:3])
    more = f" and {len(why) - 3} more" if len(why) > 3 else ""
    return f"no exposure among the inputs{': ' + reasons if reasons else ''}{more}"


def _recorded(
    path: Path, settings: Settings | None, references: References | None, say: Callable[[str], None]
) -> tuple[Settings, References | None]:
    """Settings and references for a store without new inputs: as given, or else as it was scored last."""
    with Store(path, Settings(), read_only=True) as store:
        recorded, _ = store.recorded_settings()
        if settings is None:
            return _as_scored_last(store, references, say)
    if settings.measurement() != Settings().measurement() and (differs := difference(settings.measurement(), recorded)):
        raise OutputError(
            f"{path}: was measured with other settings: {differs} (give the inputs to measure them again)"
        )
    return settings.with_measurement(recorded), references


def scored_last(folder: Path) -> Settings | None:
    """Return the settings that a night was scored with last; None where the folder does not hold a night that tells."""
    from gpuanom.tables import build as tables

    try:
        with Store(folder / NAME, Settings(), read_only=True) as store:
            return tables.as_scored_last(store)[0]
    except OutputError:
        return None  # scoring the night will say what is wrong


def _as_scored_last(
    store: Store, references: References | None, say: Callable[[str], None]
) -> tuple[Settings, References | None]:
    """How the night was scored last, but compared with the given references if there are any."""
    from gpuanom.scoring.flat import FlatReferences
    from gpuanom.tables import build as tables

    last, kept = tables.as_scored_last(store)
    if references is not None:
        return last.replace(robust_rounds=0), references
    usual = Settings().scoring()
    others = [f"{name} {value}" for name, value in last.scoring().items() if value != usual[name]]
    if others:
        say(
            f"scored as it was scored last: {', '.join(others)} (--profile standard scores it with the default"
            " settings, --profile paper as the paper does)"
        )
    if kept is not None:
        origin = f"the saved reference that it was compared with last, {kept.origin or 'kept in the store'}"
        about = "flat histograms, as it was last" if isinstance(kept, FlatReferences) else origin
        say(f"compared with {about} (--profile standard compares the night with itself)")
    return last, kept


def _night(result: Tables, failures: Sequence[Failure], written: Sequence[Path], n_unread: int) -> Night:
    failed = [(printable(f.file), f.reason) for f in failures]
    exposures = result.plain[0]
    unusable = map(exposures.__getitem__, np.flatnonzero(exposures["status"] == "unusable").tolist())
    failed += [(str(row["file"]), f"exposure {row['exposure']}: {row['note']}") for row in unusable]
    # Exposures of which only the stamps could not be read are in the tables.
    n_exposures = len(exposures) - len(failures) + n_unread
    return Night(result, tuple(failed), n_exposures, tuple(written), left_out(result))


def _holds(folder: Path | None) -> bool:
    return folder is not None and exists(folder / NAME)


def _loaded(models: Sequence[Path]) -> GivenModels:
    """Load the models that are given; the part of gpuanom that needs PyTorch is imported only here."""
    from gpuanom.autoencoder.given import read_models

    return read_models(models)


def _keep_classifier(store: Store, given: GivenModels, say: Callable[[str], None]) -> None:
    """Keep a classifier with the night; one that learnt with another autoencoder than the night's is dropped."""
    if given.classifier is not None:
        store.keep_classifier(given.classifier.text)
        return
    from gpuanom.tables.classified import Classifier

    if (text := store.classifier()) and Classifier.from_text(text, str(store.path)).model != store.model():
        store.keep_classifier("")
        say("the classifier that this night was scored with learnt with another autoencoder: dropped")


def _cluster(job: Job, where: Where, events: Events) -> Cluster:
    """The workers of a run; Dask is imported only here."""
    from gpuanom.cluster.run import Cluster

    verbose = logging.getLogger("gpuanom").isEnabledFor(logging.INFO)
    return Cluster(job, where, events.say, events.debug, verbose)


def _with_model(
    store: Store,
    todo: Sequence[Exposure],
    given: set[tuple[str, str]] | None,
    model: Model,
    measurers: Callable[[Scorer], Processes | Works | Cluster],
    backends: Sequence[Backend],
    events: Events,
) -> list[Failure]:
    """Measure new exposures with a model, and read the stamps of exposures that were measured without the model.

    Returns
    -------
    list of Failure
        Exposures whose stamps could not be read again; their measurements stay.
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
            fill(store, todo, measurers(scorer), events)
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
