"""The scoring of a night: find exposures, measure the new ones, keep each in the store, rank all of them.

Exposures are read and measured by a few threads at a time, and stored by the calling thread; nothing depends on the
order in which they are done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

import gpuanom
from gpuanom import arguments
from gpuanom.backends.choice import device_name
from gpuanom.cluster.choice import TIMEOUT, ClusterChoice, require_dask
from gpuanom.errors import InputError, SettingsError, printable
from gpuanom.fits import Discovery, discover
from gpuanom.nights import plan
from gpuanom.nights.events import Events, Night
from gpuanom.nights.found_files import tell_of_files, tell_of_others, why_nothing
from gpuanom.nights.held_files import with_held_files
from gpuanom.nights.new_exposures import NewExposures
from gpuanom.nights.preparation import Existing, RunArguments, run_arguments, store_path
from gpuanom.nights.progress import with_bar
from gpuanom.nights.scored_before import as_before
from gpuanom.nights.unfinished import share_of
from gpuanom.paths import exists, lines_on_idle
from gpuanom.records import Failure
from gpuanom.settings import Settings
from gpuanom.store.planned import unfinished_line
from gpuanom.store.reopened import unchanged
from gpuanom.store.store import NAME, Store
from gpuanom.tables.left_out import left_out

if TYPE_CHECKING:
    from gpuanom.autoencoder.given_models import GivenModels
    from gpuanom.tables.build import Tables


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
        By default ``Settings()``, the profile ``standard`` (`Settings.from_profile` gives those of the paper); without
        `paths` those that the night was scored with last.
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
    model_files = [] if model is None else arguments.nights("model", model)
    cluster = _cluster_choice(scheduler, workers, timeout, performance_report)
    moves = arguments.relocations("relocate", relocate)
    if cluster:
        require_dask(cluster)
    device = device_name(device)
    has_bar = arguments.switch("progress", progress)
    run = run_arguments(
        paths,
        output,
        settings=settings,
        # The workers measure: the few numbers of the tables are no work for them.
        device="cpu" if cluster else device,
        reference=reference,
        formats=formats,
        threads=threads,
        say_device=events.device if not cluster else lambda _about: None,
    )
    models = _loaded(model_files)
    overwrites = existing == "overwrite"
    found = _found(run, overwrites, events)
    path = store_path(run.folder, existing, run.paths)
    effective, references = run.settings, run.references
    is_sound = unchanged(None if run.paths else path)  # what was checked once is not checked again
    if not run.paths and path is not None:
        effective, references = as_before(path, None if settings is None else effective, references, events.say)
    if references is not None:
        from gpuanom.scoring.histograms.given_references import require_reference

        require_reference(references, effective, run.reference_name)
    if models is not None:
        models.require_stamps(effective, events.say)
    with with_bar(events, has_bar) as events, Store(path, effective, moves=moves, is_sound=is_sound) as store:
        for line in lines_on_idle(store.idle_moves):
            events.say(printable(line))
        if overwrites:
            store.clear()
        new = NewExposures(effective, run.backends, device, run.threads, cluster, models, events)
        unread = _measured(store, run.paths, found, shard, new)
        # Nothing of the tables is needed before the exposures are measured. In a long run `import_tables` has imported
        # them, and SciPy with them, by now.
        from gpuanom.tables import build as tables
        from gpuanom.tables import writing

        result = tables.build(store, effective, run.backends[0], references)
        failures = [*store.failures(), *unread]
    written = writing.write(result.plain, run.folder, run.formats) if run.folder else []
    return _night(result, failures, written, len(unread), run.folder)


def _found(run: RunArguments, overwrites: bool, events: Events) -> Discovery:
    """The exposures among the inputs, of which `events` is told; an error where there is nothing to score."""
    found = discover(run.paths, run.settings) if run.paths else Discovery((), (), ())
    tell_of_files(found, events, run.settings)
    nothing_held = overwrites or not _holds(run.folder)
    if not found.exposures and nothing_held and (run.paths or overwrites or run.folder is None):
        raise InputError(why_nothing(found))
    return found


def _measured(
    store: Store, paths: Sequence[str | Path], found: Discovery, shard: tuple[int, int] | None, new: NewExposures
) -> list[Failure]:
    """Measure what the store lacks of the exposures found; return those whose stamps could not be read again."""
    settings, models, events = new.settings, new.models, new.events
    if models is not None:
        models.require_features(store.model())
    found = with_held_files(paths, found, store, settings)
    if models is not None:
        models.tell_of_cameras((e.camera for e in found.exposures), lambda line: events.say(printable(line)))
    share = None
    if shard is not None:
        n_found, share = len(found.exposures), share_of(found, *shard)
        found = plan.shard(found, *shard)
        events.say(f"shard {shard[0]}/{shard[1]}: {len(found.exposures)} of {n_found} exposures")
    todo = plan.reconcile(store, found, settings, events.say).todo
    if paths:
        store.plan(todo, share)
    events.plan(len(todo), len(found.exposures) - len(todo))
    named = {e.key for e in found.exposures} if paths else None
    unread = new.measure(store, todo, named)
    store.finished(todo)
    if line := unfinished_line(None, store.n_unmeasured()):
        events.say(line)
    if named is not None:
        tell_of_others(store, named, events.say)
    return unread


def _cluster_choice(scheduler: Any, workers: Any, timeout: Any, performance_report: Any) -> ClusterChoice:
    """The cluster on which the exposures are measured, if one is asked for; the arguments are checked."""
    if scheduler is not None and not isinstance(scheduler, str):
        scheduler = arguments.path("scheduler", scheduler)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float | np.integer | np.floating):
        raise SettingsError(f"timeout is {arguments.shown(timeout)} but must be a number of seconds above 0")
    report = None if performance_report is None else arguments.path("performance_report", performance_report)
    return ClusterChoice(scheduler, arguments.count("workers", workers), float(timeout), report)


def _night(
    result: Tables, failures: Sequence[Failure], written: Sequence[Path], n_unread: int, folder: Path | None
) -> Night:
    failed = [(printable(f.file), f.reason) for f in failures]
    exposures = result.plain[0]
    unusable = map(exposures.__getitem__, np.flatnonzero(exposures["status"] == "unusable").tolist())
    failed += [(str(row["file"]), f"exposure {row['exposure']}: {row['note']}") for row in unusable]
    # Exposures of which only the stamps could not be read are in the tables.
    n_exposures = len(exposures) - len(failures) + n_unread
    return Night(result, tuple(failed), n_exposures, tuple(written), left_out(result), folder)


def _holds(folder: Path | None) -> bool:
    return folder is not None and exists(folder / NAME)


def _loaded(files: Sequence[Path]) -> GivenModels | None:
    """Read the models that are given; the part of gpuanom that needs PyTorch is imported only here."""
    if not files:
        return None
    from gpuanom.autoencoder.given_models import read_models

    return read_models(files)
