"""The watch of a night: each exposure is scored when its files are complete, and gives an alert when it stands out.

A round looks at the files, measures new exposures, and ranks (`gpuanom.nights.watched_ranks`). Between rounds the store
is closed, so that a report can be made meanwhile.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpuanom import arguments
from gpuanom.display import counted
from gpuanom.errors import InputError, OutputError, SettingsError, StoreBusyError, printable
from gpuanom.files import state_of
from gpuanom.fits import Discovery, FileFailure, KnownFiles, discover
from gpuanom.fits.explain import decisions, doubtful, other_names, untold_bands
from gpuanom.measuring.threads import Threads
from gpuanom.nights import plan
from gpuanom.nights.alerts import DEVIATION, MIN_EXPOSURES, Alerts
from gpuanom.nights.arrivals import Arrivals, Pace, without_unfinished
from gpuanom.nights.events import WatchEvents
from gpuanom.nights.found_files import unused_rules
from gpuanom.nights.fresh_page import page_of
from gpuanom.nights.held_files import with_held_files
from gpuanom.nights.preparation import run_arguments, store_path
from gpuanom.nights.retries import Retries
from gpuanom.nights.watched_ranks import Ranking, Ranks
from gpuanom.paths import path_text
from gpuanom.records import Exposure, ExposureKey, Failure, Measurement
from gpuanom.scoring.histograms.given_references import require_reference
from gpuanom.scoring.histograms.reference import References
from gpuanom.settings import Settings
from gpuanom.store.known import RETRIED
from gpuanom.store.reopened import Remembered, ReopenedStore

_log = logging.getLogger("gpuanom")

INCOMPLETE = "incomplete"
"""The status of a file that is unfinished and has not changed for long."""

_MEASURING_PER_RANKING = 10.0
"""Measuring takes at least so many times as long as ranking all exposures again."""
LASTING = 60.0
"""Seconds of trouble with the folder or store after which a watch that need not stay (`Pace.once`) ends with it."""
_MEASURING = 20.0
"""Seconds of measuring between two looks at the folder, when many exposures wait."""
_WAIT_FOR_STORE = 60.0
"""Seconds that a watch which was told to stop waits for its store: somebody may have a survey open for some of them."""


def watch(
    paths: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    settings: Settings | Mapping[str, Any] | None = None,
    device: str | int | Sequence[int] = "auto",
    reference: str | Path | References | None = None,
    formats: str | Sequence[str] | None = None,
    threads: int | None = None,
    pace: Pace | None = None,
    deviation: float = DEVIATION,
    least: int = MIN_EXPOSURES,
    hook: str | None = None,
    report: int | None = None,
    events: WatchEvents | None = None,
) -> None:
    """Score exposures as their files arrive, until told to stop.

    New exposures of a survey are judged alone, by the null that its store keeps (`gpuanom.nights.watched_ranks`).

    Parameters
    ----------
    paths : str, Path, or sequence of them
        Folders, globs, lists and files; they need not exist yet.
    output : str or Path
        Folder for the store, the tables and alerts.jsonl; exposures that it holds already are not measured again.
    settings, device, reference, formats, threads
        As for `gpuanom.score`.
    pace : Pace, optional
        When to look, and when to end.
    deviation : float, optional
        An exposure with at least this deviation gives an alert.
    least : int, optional
        Number of exposures of a camera and band before the first alert.
    hook : str, optional
        A command to run at each alert, see `gpuanom.nights.alerts.Alerts`.
    report : int, optional
        Keep the night's page fresh, with pictures of so many exposures (`gpuanom.nights.fresh_page`).
    events : WatchEvents, optional
        Functions to call as the watch goes on.

    Raises
    ------
    OutputError, ReferenceFileError, DeviceError, SettingsError
        When the watch cannot begin, or the device fails. Later troubles are told by `events.say`, and tried again.
    """
    pace = arguments.of_kind("pace", pace, Pace)
    events = arguments.of_kind("events", events, WatchEvents)
    least = arguments.count("least", least, 2) or MIN_EXPOSURES
    if not isinstance(deviation, int | float | np.integer | np.floating):
        raise SettingsError(f"deviation is {arguments.shown(deviation)} but must be a number")
    if hook is not None and not isinstance(hook, str):
        raise SettingsError(f"hook is {arguments.shown(hook)} but must be a command with its arguments, as one text")
    run = run_arguments(
        paths,
        output,
        settings=settings,
        device=device,
        reference=reference,
        formats=formats,
        threads=threads,
        say_device=events.device,
    )
    if run.references is not None:
        require_reference(run.references, run.settings, run.reference_name)
    path = store_path(run.folder, "resume", run.paths)
    if path is None or run.folder is None:
        raise OutputError("a watch needs a folder for what it measures")
    folder, backends = run.folder, run.backends
    page = page_of(folder, report, run.threads, events.say)
    patience = min(pace.patience, pace.settle) if pace.once else pace.patience
    arrivals = Arrivals(run.paths, pace.settle, patience, folder)
    with (
        Alerts(folder, hook, events.say) as alerts,
        Threads(run.settings, backends, run.threads, events.debug) as measuring,
    ):
        ranking = Ranking(folder, backends[0], run.references, run.formats, alerts, float(deviation), least, page)
        _Watch(path, run.settings, pace, events, arrivals, measuring, ranking).run()


class _Watch:
    """A running watch."""

    def __init__(
        self, path: Path, settings: Settings, pace: Pace, events: WatchEvents, arrivals: Arrivals, threads: Threads,
        ranking: Ranking,
    ) -> None:  # fmt: skip
        self._path, self._settings, self._pace, self._events = path, settings, pace, events
        self._arrivals, self._threads, self._page = arrivals, threads, ranking.page
        self._ranks = Ranks(ranking, settings, events)
        self._remembered = Remembered()
        self._files = KnownFiles()
        self._decided: set[Path] = set()
        """Files of which it was said which rules and cards decided what they are."""
        self._bandless: set[str] = set()
        """Cameras of which it was said that their headers name no band."""
        self._doubted: set[str] = set()
        """Kinds of what may surprise about files that were told."""
        self._announced_again: set[ExposureKey] = set()
        """Exposures of which it was said that they are measured again, and that wait for it."""
        self._retries = Retries()
        self._dirty = True
        """Whether the tables may differ from the store."""
        self._unfinished = True
        """Whether something is left to do even if no file changes."""
        self._seconds_each = 0.0
        """Seconds that an exposure took to measure."""
        self._last_trouble = ""
        """The last trouble that was told."""
        self._since: float | None = None
        """When the first of the rounds failed that have all failed since; None after one that did not."""
        self._has_told_names = False
        """Whether it was said that images are not taken by their names."""
        self._troubles: tuple[str, ...] = ()
        """What could not be read in the round before."""

    def run(self) -> None:
        """Run rounds until told to stop."""
        pace = self._pace
        self._round()  # an error in the first round ends the watch
        while not (pace.stop.is_set() or time.time() >= pace.until or self._is_over()):
            if not self._unfinished:
                pace.stop.wait(max(0.0, min(pace.every, pace.until - time.time())))
            if not pace.stop.is_set():
                self._retried_later(self._round)
        if self._dirty or self._ranks.new:
            self._rank()
        self._ranks.finish(self._store, is_ended=pace.stop.is_set())
        arrivals = self._arrivals
        if pace.once:
            self._say_other_names(unsettled=True)
        if pace.once and not arrivals.paths() and not arrivals.given_up():
            troubles = (*arrivals.troubles, *(f"{path}: {reason}" for path, reason in arrivals.broken.items()))
            raise InputError("; ".join(troubles[:3]) or "no FITS file among the inputs")
        if waiting := self._arrivals.waiting():
            path, lack = next(iter(waiting.items()))
            self._events.say(
                f"{counted(len(waiting), 'file')} not scored, since not whole when the watch ended: "
                f"{path_text(path)}{f' ({lack})' if lack else ''}{', ...' if len(waiting) > 1 else ''}"
            )
        self._events.left_out(self._ranks.left_out)
        if self._ranks.unreferenced is not None:
            self._events.unreferenced(self._ranks.unreferenced)
        with self._store() as store:
            self._events.failures(store.failures())
        self._page.finish()

    def _is_over(self) -> bool:
        return self._pace.once and not self._unfinished and not self._arrivals.waiting()

    def _retried_later(self, task: Callable[[], None]) -> None:
        """Do a task that may fail for a while, over a full disk or a store in use, and be tried again."""
        try:
            task()
            self._last_trouble = ""
            self._since = None
        except OutputError as error:
            self._unfinished = self._dirty = True
            now = time.monotonic()
            self._since = now if self._since is None else self._since
            if self._pace.once and now - self._since >= LASTING:
                raise
            if str(error) != self._last_trouble:
                self._last_trouble = str(error)
                self._events.say(f"{error}; tried again")
            self._pace.stop.wait(self._pace.every)

    def _round(self) -> None:
        """Look, measure for a while, rank."""
        due = self._retries.due()
        changed = self._arrivals.look()
        self._say_troubles()
        self._say_other_names()
        if changed or self._unfinished or due:
            todo = self._planned()
            batch = self._batch(todo)
            self._unfinished = not self._measure(batch) or len(todo) > len(batch)
            self._retries.postpone_untried(due)
            if self._dirty:
                self._rank()
        # To make the page of a survey takes a minute: it then gets a tenth of the time, as if exposures waited.
        self._page.refresh(idle=not (self._unfinished or self._ranks.is_survey))
        self._events.waiting(self._words())

    def _say_troubles(self) -> None:
        """Tell once what cannot be read; a single round without any file ends with that as its error."""
        troubles = self._arrivals.troubles
        if not self._pace.once or self._arrivals.paths():
            for trouble in troubles:
                if trouble not in self._troubles:
                    self._events.say(trouble)
        self._troubles = troubles

    def _say_other_names(self, *, unsettled: bool = False) -> None:
        """Tell once that images lie in the folders which are not taken by their names."""
        if not self._has_told_names and (line := other_names(self._arrivals.other_names(unsettled=unsettled))):
            self._has_told_names = True
            self._events.say(line)

    def _batch(self, todo: Sequence[Exposure]) -> Sequence[Exposure]:
        """As many exposures as take some seconds to measure; more where ranking takes long."""
        if not self._seconds_each:
            return todo[:4]
        return todo[: max(4, int(max(_MEASURING, _MEASURING_PER_RANKING * self._ranks.seconds) / self._seconds_each))]

    def _planned(self) -> list[Exposure]:
        """The exposures that are to be measured now."""
        arrivals, settings = self._arrivals, self._settings
        paths = arrivals.paths()
        self._files.keep(paths)
        given_up = tuple(
            FileFailure(path, printable(f"not whole: {lack} (it is taken up when it changes)"), INCOMPLETE)
            for path, lack in arrivals.given_up().items()
        ) + tuple(
            FileFailure(path, printable(reason), "unreadable") for path, reason in sorted(arrivals.broken.items())
        )
        found = without_unfinished(discover(paths, settings, self._files), given_up, arrivals)
        self._say_decisions(found)
        with self._store() as store:
            before = set(store.failures())
            found = with_held_files(paths, found, store, settings, self._files)
            found = without_unfinished(found, given_up, arrivals)
            waiting = {e.key for e in found.exposures if not self._is_ready(e)}
            todo, have_moved = plan.reconcile(store, found, settings, self._events.say, waiting, self._announced_again)
            after = store.failures()
        self._retries.refused_files({path_text(f.path) for f in found.failures if f.status in RETRIED})
        for failure in after:
            if failure not in before:
                self._events.say(f"failed {failure.file}: {failure.reason}")
        self._dirty = self._dirty or have_moved or before != set(after)
        self._events.plan(len(todo), len(found.exposures) - len(todo))
        return todo

    def _say_decisions(self, found: Discovery) -> None:
        """Say what `gpuanom score` says of the files that have come, each once."""
        files = found.descriptions.items()
        new = {p: about for p, about in files if p not in self._decided and self._arrivals.is_settled(p)}
        self._decided.update(new)
        for line in decisions(replace(found, descriptions=new)):
            _log.info("%s", line)
        lines = doubtful(replace(found, descriptions=new)) | unused_rules(found, self._settings)
        for kind, line in lines.items():
            if kind not in self._doubted:
                self._doubted.add(kind)
                self._events.say(line)
        exposures = [e for e in found.exposures if e.camera not in self._bandless and self._is_ready(e)]
        if untold := untold_bands(replace(found, exposures=tuple(exposures))):
            self._bandless.update(e.camera for e in exposures if not found.descriptions[e.files[0]].band.known)
            self._events.say(untold)

    def _is_ready(self, exposure: Exposure) -> bool:
        """Whether all files of an exposure are settled, and differ from those that failed before."""
        files = exposure.files_and_masks
        if self._retries.waits(exposure.key, self._arrivals.states(files)):
            return False
        return all(self._arrivals.is_settled(file) for file in files)

    def _measure(self, todo: Sequence[Exposure]) -> bool:
        """Measure exposures and keep each; return whether all were kept: one whose files change meanwhile is not."""
        kept = True
        states = {e.key: self._arrivals.states(e.files_and_masks) for e in todo}
        start = time.perf_counter()
        for n, (exposure, result, seconds) in enumerate(self._threads.measured(todo), start=1):
            self._seconds_each = (time.perf_counter() - start) / n
            key = exposure.key
            if tuple(map(state_of, exposure.files_and_masks)) != states[key]:
                self._events.say(f"exposure {exposure.exposure}: its files change; measured later")
                kept = False
                continue
            with self._store() as store:
                if isinstance(result, Failure):
                    store.add_failure(result)
                else:
                    store.add(result)
            self._dirty = True
            self._announced_again.discard(key)
            statuses = [result.status] if isinstance(result, Failure) else [c.status for c in result.outline]
            refused = any(status in RETRIED for status in statuses)
            self._retries.measured(key, states[key], failed=isinstance(result, Failure), refused=refused)
            if isinstance(result, Measurement):
                self._ranks.new[key] = exposure.band
            self._events.done(exposure, result, seconds)
            if self._pace.stop.is_set():
                break
        return kept

    def _rank(self) -> None:
        """Rank what is new, tell of it, and give alerts."""
        self._ranks.rank(self._store)
        self._dirty = False

    @contextmanager
    def _store(self) -> Iterator[ReopenedStore]:
        """The store, opened for a moment; waits while another program uses it, for a while even when told to stop."""
        last = math.inf
        while True:
            try:
                store = ReopenedStore(self._path, self._settings, self._remembered)
                break
            except StoreBusyError as error:
                if self._pace.stop.is_set():
                    last = min(last, time.monotonic() + _WAIT_FOR_STORE)
                if time.monotonic() > last:
                    raise
                self._events.waiting(str(error))
                self._pace.stop.wait(min(1.0, self._pace.every))
        with store:
            yield store

    def _words(self) -> str:
        """In words, what is waited for."""
        waiting = self._arrivals.waiting()
        lacks = [f"{path_text(path.name)}: {lack}" for path, lack in waiting.items() if lack]
        parts = list(self._arrivals.troubles[:1])
        if waiting:
            parts.append(f"{len(waiting)} {'file is' if len(waiting) == 1 else 'files are'} not settled yet")
        parts += lacks[:1]
        return "; ".join(["waiting for exposures", *parts])
