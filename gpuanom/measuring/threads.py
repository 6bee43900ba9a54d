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
from dataclasses import dataclass, field
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
from gpuanom.measuring.groups import grouped_again, groups
from gpuanom.measuring.loops_ahead import load_statistics
from gpuanom.measuring.readahead import Readers
from gpuanom.measuring.stamp_hook import StampTask
from gpuanom.measuring.unlocked_queue import UnlockedQueue
from gpuanom.paths import path_text
from gpuanom.records import Ccd, CcdFailure, CcdMeasurement, CcdOnDisk, Exposure, Failure, Measurement
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


@dataclass
class _Underway:
    """An exposure between its files and its measurement."""

    exposure: Exposure
    parts: int = 1
    """Number of tasks that are not done: opening the files, then one for each group, then the exposure's record."""
    ccds: list[CcdMeasurement] = field(default_factory=list)
    outcome: Measurement | Failure | None = None
    """None until the exposure is done; a task that fails sets it at once."""
    spent: list[tuple[float, float]] = field(default_factory=list)
    """When each of the tasks began and ended."""


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
        """Exposures that `measured` takes before it has yielded one: each lane has one, one is opened, and those whose
        pixels the device has done with."""
        self._planner, self._ended = backends[0], False
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
        """Return False: measurements are made while the run takes them, so that none is known to wait."""
        return False

    def measured(self, exposures: Iterable[Exposure]) -> Iterator[tuple[Exposure, Measurement | Failure, float]]:
        """Measure exposures; a bounded number is under way at a time, so that memory does not grow.

        Parameters
        ----------
        exposures : iterable of Exposure
            Taken as far ahead as they are under way.

        Yields
        ------
        Exposure, Measurement or Failure, float
            Each exposure as soon as it is done, with the seconds in which a thread or more worked at the exposure.

        Raises
        ------
        DeviceError
            When the device fails.
        """
        waiting = iter(exposures)
        running: dict[_Done, _Underway] = {}
        done: UnlockedQueue[_Done] = UnlockedQueue()

        def begin(task: Callable[..., Any], underway: _Underway, *arguments: Any) -> None:
            future = self._pool.submit(self._timed, task, underway, *arguments)
            running[future] = underway
            future.add_done_callback(done.put)

        n_underway = n_groups = 0
        while True:
            while n_underway < self.most_underway and (exposure := next(waiting, None)) is not None:
                begin(self._opened, _Underway(exposure))
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
                begin(task, *arguments)
            del result, future
            if not underway.parts and underway.outcome is not None:
                n_underway -= 1
                yield underway.exposure, underway.outcome, covered(underway.spent)
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

    def _follow(self, underway: _Underway, result: Any) -> list[tuple[Any, ...]]:
        """Note the result of one of an exposure's tasks; return the tasks that follow, each with its arguments."""
        underway.parts -= 1
        tasks: list[tuple[Any, ...]] = []
        if isinstance(result, Exception):
            underway.outcome = underway.outcome or self._failure(underway.exposure, result)
        elif isinstance(result, Measurement):
            underway.outcome = result
        elif isinstance(result, _Groups):
            tasks = [(self._measured, underway, group) for group in result]
        else:
            underway.ccds += result
        underway.parts += len(tasks)
        if not underway.parts and underway.outcome is None:
            underway.parts, tasks = 1, [(self._recorded, underway)]
        return tasks

    def _timed(self, task: Callable[..., Any], *arguments: Any) -> tuple[Any, tuple[float, float]]:
        """A task's result, or the error of its exposure, and its begin and end; a device that fails ends the run."""
        start = time.perf_counter()
        try:
            result = task(*arguments)
        except DeviceError:
            raise
        except Exception as error:  # an unforeseen error in one exposure must not cost the others
            if not isinstance(error, GpuanomError):
                self._debug(traceback.format_exc())
            result = error.with_traceback(None)
        return result, (start, time.perf_counter())

    def _opened(self, underway: _Underway) -> _Groups | Measurement:
        """The groups of CCDs of an exposure that are measured together; only headers have been read.

        Where all CCDs are one group, as they mostly are on a GPU, this thread goes on to the measurement: each thread
        that wakes another one holds the interpreter's lock meanwhile.
        """
        with ranges.named("open"):
            ccds = open_ccds(underway.exposure, self._settings)
            if self._stamps is not None:
                use = self._stamps.of(underway.exposure)
                ccds = (ccd for ccd in ccds if isinstance(ccd, CcdFailure) or use.wants(ccd.name))
            found = _Groups(groups(ccds, self._settings, self._planner))
        if len(found) != 1:
            return found
        underway.ccds += self._measured(underway, found.pop())
        return self._recorded(underway)

    def _measured(self, underway: _Underway, group: list[Ccd | CcdOnDisk] | CcdFailure) -> list[CcdMeasurement]:
        if underway.outcome:
            return []
        lane = self._lanes.get()
        try:
            parts = grouped_again(group, self._settings, lane)
            name = underway.exposure.points_id
            use = None if self._stamps is None else self._stamps.of(underway.exposure)
            done = [m for part in parts for m in measure_group(name, part, self._settings, lane, self._readers, use)]
        finally:
            self._lanes.put(lane)
        make_parts(done)
        return done

    def _recorded(self, underway: _Underway) -> Measurement:
        model = "" if self._stamps is None else self._stamps.fingerprint
        return exposure_record(underway.exposure, underway.ccds, self._settings, model)

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


class _Groups(list[list[Ccd | CcdOnDisk] | CcdFailure]):
    """The groups of an exposure."""
