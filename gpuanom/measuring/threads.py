"""The threads that measure exposures: CCD by CCD on a CPU, so that one exposure employs all threads; stacks on a GPU.

A lane is what measures: a CPU has one for each thread, a GPU has two, so that one exposure is uploaded while the other
one is measured. Other threads read for the lanes of a GPU. Trouble with one exposure does not affect the others.
"""

from __future__ import annotations

import gc
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import compress
from queue import Empty
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeAlias

from gpuanom import nvtx as ranges
from gpuanom.backends.protocol import Backend
from gpuanom.errors import DeviceError, GpuanomError, InputError, printable
from gpuanom.fits import open_ccds
from gpuanom.measuring.ccd_statistics import make_parts
from gpuanom.measuring.exposure import measure_group
from gpuanom.measuring.exposure_record import exposure_record
from gpuanom.measuring.exposure_source import ExposureSource, ListedExposures
from gpuanom.measuring.groups import FailedCcd, Group, grouped_again, groups
from gpuanom.measuring.loops_ahead import load_statistics
from gpuanom.measuring.readahead import Readers
from gpuanom.measuring.shared_stacks import MOST_SHARING, may_share
from gpuanom.measuring.stamp_hook import StampTask
from gpuanom.measuring.unlocked_queue import UnlockedQueue
from gpuanom.paths import path_text
from gpuanom.records import CcdFailure, CcdMeasurement, CcdOnDisk, Exposure, Failure, Measurement
from gpuanom.settings import Settings
from gpuanom.system import raise_open_files

WORKERS = 8
"""Most threads of a CPU by default: each needs the interpreter for a tenth of its time, so more would not help."""
READERS = 8
"""Most threads that read for a GPU by default: these read as fast as the bus takes the bytes, and more cost more."""

MORE_ON_HOST = 2
"""Exposures for each GPU that the device has done with, and whose statistics are made on the host: without further
exposures under way the lanes would wait for these statistics."""

LONG = 12
"""After so many groups of CCDs a run is long enough for what `meanwhile` does to matter."""

_LOOK = 0.5
"""Seconds after which a thread that waits for measurements looks whether the run has ended."""


class _Underway:
    """Exposures between their files and their measurements, which are measured together.

    Parameters
    ----------
    first : Exposure
        The first of them.
    source : ExposureSource or None
        Where others are taken from; None where the first is to be measured alone.

    Attributes
    ----------
    exposures : list of Exposure
        Complete once the files are opened.
    n_tasks : int
        Tasks that are not done: opening the files, then one for each group, then the exposures' records.
    ccds : list of list of CcdMeasurement
        Of each exposure, in the order in which they are measured.
    outcomes : list of Measurement, Failure or None
        Of each exposure; None until it is done.
    given_up : bool
        Whether the exposures that are not done are measured one by one.
    spent : list of tuple of 2 floats
        When each of the tasks began and ended.
    """

    def __init__(self, first: Exposure, source: ExposureSource | None) -> None:
        self.source, self.n_tasks, self.given_up = source, 1, False
        self.exposures: list[Exposure] = []
        self.ccds: list[list[CcdMeasurement]] = []
        self.outcomes: list[Measurement | Failure | None] = []
        self.spent: list[tuple[float, float]] = []
        self.add(first)

    def add(self, exposure: Exposure) -> None:
        """Take one more exposure."""
        self.exposures.append(exposure)
        self.ccds.append([])
        self.outcomes.append(None)

    def unfinished(self) -> list[int]:
        """Return the numbers of the exposures that are still to be measured together."""
        return [] if self.given_up else [number for number, of_this in enumerate(self.outcomes) if of_this is None]

    def done(self) -> Iterator[tuple[Exposure, Measurement | Failure, float]]:
        """Yield the exposures that are done, with their outcomes, and with an equal share of the time."""
        seconds = covered(self.spent) / len(self.exposures)
        for exposure, outcome in zip(self.exposures, self.outcomes, strict=True):
            if outcome is not None:
                yield exposure, outcome, seconds


class Threads:
    """The threads of a run, to be used in a ``with`` statement.

    Parameters
    ----------
    settings : Settings
    backends : sequence of Backend
        One for each device.
    threads : int or None
        Threads that read and decode, and on a CPU measure too; None means one for each core, up to a limit.
    debug : callable
        Takes the traceback of an unexpected error.
    stamps : StampTask, optional
        What is done with the sources' stamps besides the steps.
    meanwhile : callable, optional
        What a further thread does once while a long run measures, where the CPU measures: native loops run without the
        interpreter's lock. The threads of a GPU need that lock themselves. The
        function raises nothing.
    """

    def __init__(
        self,
        settings: Settings,
        backends: Sequence[Backend],
        threads: int | None,
        debug: Callable[[str], None],
        stamps: StampTask | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        raise_open_files()
        n = threads or min(READERS if backends[0].takes_encoded else WORKERS, os.cpu_count() or 1)
        self._settings, self._debug, self._stamps = settings, debug, stamps
        lanes = [lane for backend in backends for lane in backend.lanes(n)]
        self._n_lanes = len(lanes)
        # Beside a GPU, the statistics of exposures are made on the host while its lanes measure others.
        on_host = MORE_ON_HOST * len(backends) if backends[0].takes_encoded else 0
        self.most_underway = self._n_lanes + 1 + on_host
        """Exposures, or several of them that are measured together, which `measured` takes before it has yielded one:
        each lane has one, one is opened, and those whose pixels the device has done with."""
        # On a CPU each CCD is measured alone, and the stamps of an exposure are used by themselves.
        self._shares_stacks = backends[0].takes_encoded and stamps is None
        self._planner, self._ended, self._n_waiting = backends[0], False, 0
        self._frozen = False
        self._meanwhile = None if backends[0].takes_encoded else meanwhile
        self._lanes: UnlockedQueue[Backend] = UnlockedQueue()
        for lane in lanes:
            self._lanes.put(lane)
        n_threads = self.most_underway if on_host else self._n_lanes
        self._pool = ThreadPoolExecutor(n_threads, thread_name_prefix="gpuanom")
        self._readers = Readers(n) if backends[0].takes_encoded else None
        if backends[0].takes_encoded and settings.statistics:
            load_statistics()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._ended = True
        if self._frozen:
            gc.unfreeze()
        self._pool.shutdown(cancel_futures=True)
        if self._readers:
            self._readers.close()

    def is_behind(self) -> bool:
        """Whether measurements are done that the run has not taken yet: the others of those measured together."""
        return self._n_waiting > 0

    def measured(
        self, exposures: Iterable[Exposure] | ExposureSource
    ) -> Iterator[tuple[Exposure, Measurement | Failure, float]]:
        """Measure exposures; a bounded number is under way at a time, so that memory does not grow.

        Parameters
        ----------
        exposures : iterable of Exposure, or ExposureSource
            Taken as far ahead as they are under way.

        Yields
        ------
        Exposure, Measurement or Failure, float
            Each exposure as soon as it is done, with the seconds in which a thread or more worked at the exposure, or
            its share of those of the exposures that were measured together.

        Raises
        ------
        DeviceError
            When the device fails.
        """
        source = ListedExposures(exposures) if isinstance(exposures, Iterable) else exposures
        running: dict[_Done, _Underway] = {}
        done: UnlockedQueue[_Done] = UnlockedQueue()

        def begin(task: Callable[..., Any], underway: _Underway, *arguments: Any) -> None:
            future = self._pool.submit(self._timed, task, underway, *arguments)
            running[future] = underway
            future.add_done_callback(done.put)

        n_underway = n_groups = 0
        while True:
            # While others are under way nobody waits here for an exposure that comes from elsewhere: it may come only
            # once some of these are done.
            while n_underway < self.most_underway and (exposure := source.take(wait=not running)) is not None:
                begin(self._opened, _Underway(exposure, source if self._shares_stacks else None))
                n_underway += 1
            if not running or self._ended:
                return
            try:
                future = done.get(timeout=_LOOK)
            except Empty:
                continue
            if future.cancelled():  # the threads have ended
                continue
            underway = running.pop(future)
            result, spent = future.result()
            underway.spent.append(spent)
            n_groups += not isinstance(result, Exception | _Groups)
            for task, *arguments in self._follow(underway, result):
                n_underway += arguments[0] is not underway
                begin(task, *arguments)
            del result, future
            if not underway.n_tasks:
                n_underway -= 1
                done_together = list(underway.done())
                self._n_waiting += len(done_together)
                for measured in done_together:
                    self._n_waiting -= 1
                    yield measured
            if n_groups and not self._frozen and not gc.get_freeze_count():
                # Modules and settings are there to stay. Python looks through all of their objects for garbage again
                # and again, 40 to 80 ms each time, and holds its lock meanwhile. Where whoever runs gpuanom, or another
                # run of the same process, has frozen objects, it is not for this run to unfreeze them.
                self._frozen = True
                gc.freeze()
            if self._meanwhile is not None and n_groups >= LONG:
                # A thread of its own, since this one hands out work and measurements.
                Thread(target=self._meanwhile, name="gpuanom-meanwhile", daemon=True).start()
                self._meanwhile = None

    def _follow(self, underway: _Underway, result: _Groups | Exception | None) -> list[tuple[Any, ...]]:
        """Note the result of one of the tasks of exposures; return the tasks that follow, each with its arguments."""
        underway.n_tasks -= 1
        tasks: list[tuple[Any, ...]] = []
        unfinished = underway.unfinished()
        if isinstance(result, Exception) and len(underway.exposures) > 1:
            # An unforeseen error of one exposure must not cost those that are measured together with it.
            underway.given_up = True
            return [(self._opened, _Underway(underway.exposures[number], None)) for number in unfinished]
        if isinstance(result, Exception):
            for number in unfinished:
                underway.outcomes[number] = self._failure(underway.exposures[number], result)
        elif result is not None:
            tasks = [(self._measured, underway, group) for group in result]
        underway.n_tasks += len(tasks)
        if not underway.n_tasks and underway.unfinished():
            underway.n_tasks, tasks = 1, [(self._recorded, underway)]
        return tasks

    def _timed(self, task: Callable[..., Any], *arguments: Any) -> tuple[Any, tuple[float, float]]:
        """A task's result, or its error, and its begin and end; a device that fails ends the run."""
        start = time.perf_counter()
        try:
            result = task(*arguments)
        except DeviceError:
            raise
        except Exception as error:  # an unforeseen error in one exposure must not cost the others
            result = self._noted(error)
        return result, (start, time.perf_counter())

    def _noted(self, error: Exception) -> Exception:
        """An error that is being handled, without what it refers to; one that no exposure should give is reported."""
        if not isinstance(error, GpuanomError):
            self._debug(traceback.format_exc())
        return error.with_traceback(None)

    def _opened(self, underway: _Underway) -> _Groups | None:
        """The groups of CCDs of exposures that are measured together; only headers have been read.

        Where all CCDs are one group, as they mostly are on a GPU, this thread goes on to the measurement: each thread
        that wakes another one holds the interpreter's lock meanwhile.
        """
        with ranges.named("open"):
            ccds = self._of_last(underway)
            numbers = [0] * len(ccds)
            while self._another(underway, ccds):
                ccds += self._of_last(underway)
                numbers += [len(underway.exposures) - 1] * (len(ccds) - len(numbers))
            points_ids = [exposure.points_id for exposure in underway.exposures]
            found = _Groups(groups(ccds, numbers, points_ids, self._settings, self._planner))
        if len(found) != 1:
            return found
        self._measured(underway, found.pop())
        self._recorded(underway)
        return None

    def _of_last(self, underway: _Underway) -> list[CcdOnDisk | CcdFailure]:
        """The CCDs of the exposure that was taken last; an error is its outcome, and does not cost the others."""
        exposure = underway.exposures[-1]
        try:
            ccds: Iterable[CcdOnDisk | CcdFailure] = open_ccds(exposure, self._settings)
            if self._stamps is not None:
                use = self._stamps.of(exposure)
                ccds = (ccd for ccd in ccds if isinstance(ccd, CcdFailure) or use.wants(ccd.name))
            return list(ccds)
        except Exception as error:
            underway.outcomes[-1] = self._failure(exposure, self._noted(error))
            return []

    def _another(self, underway: _Underway, ccds: Sequence[CcdOnDisk | CcdFailure]) -> bool:
        """Whether there is another exposure to be measured with those that have these CCDs, which is taken then."""
        if underway.source is None or not ccds:
            return False
        n_taken, n_ccd = len(underway.exposures), len(ccds)
        left = underway.source.n_left()
        if n_taken >= MOST_SHARING or (left is not None and n_taken > left // self._n_lanes):
            return False
        # The next exposure probably has as many CCDs, and of the same shape.
        n_ccd, shape = n_ccd + n_ccd // n_taken, ccds[-1].shape
        if not all(shape) or not may_share(n_ccd, *shape) or n_ccd > self._planner.group_size(*shape):
            return False
        if (exposure := underway.source.take(wait=False)) is None:
            return False
        underway.add(exposure)
        return True

    def _measured(self, underway: _Underway, group: Group | FailedCcd) -> None:
        if not underway.unfinished():
            return
        lane = self._lanes.get()
        try:
            use = None if self._stamps is None else self._stamps.of(underway.exposures[0])
            numbers: list[int] = []
            done: list[CcdMeasurement] = []
            for part in grouped_again(group, lane):
                numbers += part.exposures
                done += measure_group(part, self._settings, lane, self._readers, use)
        finally:
            self._lanes.put(lane)
        make_parts(done)
        for number in set(numbers):
            underway.ccds[number] += compress(done, map(number.__eq__, numbers))

    def _recorded(self, underway: _Underway) -> None:
        model = "" if self._stamps is None else self._stamps.fingerprint
        for number in underway.unfinished():
            exposure = underway.exposures[number]
            try:
                record = exposure_record(exposure, underway.ccds[number], self._settings, model)
            except Exception as error:
                underway.outcomes[number] = self._failure(exposure, self._noted(error))
            else:
                underway.outcomes[number] = record

    def _failure(self, exposure: Exposure, error: Exception) -> Failure:
        status = error.status if isinstance(error, InputError) else "failed"
        kind = "" if isinstance(error, GpuanomError) else f"{type(error).__name__}: "
        if isinstance(error, MemoryError):
            status, kind = "out_of_memory", "out of memory "
        return Failure(
            file=path_text(exposure.files[0]),
            camera=exposure.camera,
            band=exposure.band,
            exposure=exposure.exposure,
            status=status,
            reason=printable(f"{kind}{error}"),
        )


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """The length of what spans of time cover together; what several of them cover counts once.

    Several threads work at an exposure at the same time: the sum over threads can be longer than the whole run.
    """
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


_Done: TypeAlias = Future[tuple[Any, tuple[float, float]]]
"""What a task returns, and when it began and ended."""


class _Groups(list[Group | FailedCcd]):
    """The groups of exposures that are measured together."""
