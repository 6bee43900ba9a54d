"""Several processes that measure for one GPU, since one Python process cannot feed a fast card.

A Python process runs one thread of Python code at a time: with 61 CCDs an exposure, a fast card waits for that thread.
A short night is measured by this process alone. In a longer night further processes
(`gpuanom.measuring.process_program`) take exposures from the same list, and send their measurements to this process.
"""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from types import TracebackType
from typing import Self

from gpuanom.backends.protocol import Backend
from gpuanom.errors import DeviceError, SettingsError, printable
from gpuanom.measuring.shared_stacks import most_sharing
from gpuanom.measuring.threads import READERS, Threads
from gpuanom.records import Exposure, Failure, Measurement
from gpuanom.settings import Settings
from gpuanom.system import python_command, python_environment

MOST_PROCESSES = 6
"""Most processes for each device by default: on an H200 with 16 cores eight were slower than six."""
CORES_A_PROCESS = 2.5
"""Cores that one process keeps busy: one and a half with Python code and statistics, one with reading."""
LEAST_EXPOSURES = 24
"""In a night of fewer exposures no further process is started, since it needs seconds before it measures."""
MOST_NOT_STORED = 8
"""While more measurements than this wait to be stored, no process gets a further exposure."""

_log = logging.getLogger("gpuanom")

VARIABLE = "GPUANOM_PROCESSES"
"""A variable of the environment that sets the number of processes for each GPU."""
PROGRAM = ("-m", "gpuanom.measuring.process_program")
"""Arguments of Python in a further process."""

Done = tuple[Exposure, Measurement | Failure, float]


@dataclass(frozen=True)
class Job:
    """What a further process needs to know.

    Attributes
    ----------
    settings : Settings
    device : str
        As `gpuanom.backends.choice.choose` takes it.
    threads : int
        Threads that read.
    n_bytes : int
        Bytes of the device's memory that the process may use.
    level : int
        Messages of the logger ``gpuanom`` from this level on are sent to the process that stores the measurements.
    """

    settings: Settings
    device: str
    threads: int
    n_bytes: int
    level: int


class Processes:
    """The processes of a run, to be used in a ``with`` statement.

    Parameters
    ----------
    settings : Settings
    backends : sequence of Backend
        One for each device.
    threads : int or None
        Threads that read for a device, of all processes together; None means 16, or 8 for a single process.
    debug : callable
        Takes the traceback of an unexpected error.
    processes : int, optional
        Processes for each device, this one included; by default as many as the cores and the device's memory suffice
        for, and this one alone for a night of few exposures.
    meanwhile : callable, optional
        See `gpuanom.measuring.threads.Threads`.
    """

    def __init__(
        self,
        settings: Settings,
        backends: Sequence[Backend],
        threads: int | None,
        debug: Callable[[str], None],
        processes: int | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> None:
        self._meanwhile = meanwhile
        self._settings, self._backends, self._threads, self._debug = settings, backends, threads, debug
        self._wanted = processes
        self._own_threads: Threads | None = None
        """Those of this process."""
        self._done: SimpleQueue[Done | BaseException | None] = SimpleQueue()
        self._further: list[_FurtherProcess] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for process in self._further:
            process.kill()
        if self._own_threads is not None:
            self._own_threads.__exit__()

    def is_behind(self) -> bool:
        """Whether measurements are done that the run has not taken yet."""
        return not self._done.empty()

    def measured(self, exposures: Sequence[Exposure]) -> Iterator[Done]:
        """Measure exposures, see `gpuanom.measuring.threads.Threads.measured`."""
        shares = [backend.share_memory(self._n_processes(len(exposures))) for backend in self._backends]
        n_processes = min((n for n, _ in shares), default=1)
        readers = self._threads
        if n_processes > 1:
            readers = max(2, (self._threads or 2 * READERS) // n_processes)
        own = Threads(self._settings, self._backends, readers, self._debug, meanwhile=self._meanwhile)
        self._own_threads = own
        if n_processes == 1:
            yield from own.measured(exposures)
            return
        n_further = (n_processes - 1) * len(self._backends)
        # What a further process works on, for its one device, and what waits there.
        ahead = (own.most_underway - 1) // len(self._backends) + 2
        source = _ExposureQueue(exposures, own.most_underway + n_further * ahead + MOST_NOT_STORED)
        done = self._done
        level = _log.getEffectiveLevel()
        for backend, (_, n_bytes) in zip(self._backends, shares, strict=True):
            job = Job(self._settings, backend.device_name, readers or READERS, n_bytes, level)
            self._further += [_FurtherProcess(job, ahead, source, done, self._debug) for _ in range(n_processes - 1)]
        tasks = [lambda: _measure_in_this_process(own, source, done), *(process.run for process in self._further)]
        threads = [threading.Thread(target=task, name="gpuanom-process", daemon=True) for task in tasks]
        for thread in threads:
            thread.start()
        try:
            running = len(threads)
            while running:
                result = done.get()
                if isinstance(result, BaseException):
                    raise result
                if result is None:
                    running -= 1
                    continue
                source.stored(result[1])
                yield result
            # A process that ended early may have given exposures back after the others found none left.
            yield from own.measured(source.rest())
        finally:
            source.close()
            for process in self._further:
                process.kill()
            for thread in threads[1:]:
                thread.join()

    def _n_processes(self, n_exposures: int) -> int:
        """The largest number of processes for each device that the night and the cores are worth."""
        wanted = os.environ.get(VARIABLE, "") if self._wanted is None else str(self._wanted)
        if wanted:
            if not (wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= 64):
                raise SettingsError(f"{VARIABLE} is {printable(wanted)!r} but must be a whole number from 1 to 64")
            return int(wanted)
        if n_exposures < LEAST_EXPOSURES:
            return 1
        return max(1, min(MOST_PROCESSES, int((os.cpu_count() or 1) / (CORES_A_PROCESS * len(self._backends)))))


def _measure_in_this_process(
    threads: Threads, source: _ExposureQueue, done: SimpleQueue[Done | BaseException | None]
) -> None:
    try:
        for result in threads.measured(source):
            done.put(result)
        done.put(None)
    except BaseException as error:
        done.put(error)


class _ExposureQueue:
    """The list of exposures that are to be measured; all processes take exposures from this list.

    Parameters
    ----------
    exposures : iterable of Exposure
    most : int
        The largest number of exposures that are taken and not stored yet; where exposures are small, so that several
        share a stack, as many times more.

    Attributes
    ----------
    sharing : int
        How many exposures share a stack, of the camera whose exposures have the most CCDs; 1 until one is measured.
    """

    def __init__(self, exposures: Iterable[Exposure], most: int) -> None:
        self._waiting = deque(exposures)
        self._most_underway, self._n_underway, self._closed = most, 0, False
        self.sharing, self._n_ccd = 1, 0
        # `with` takes the plain lock: to enter a condition is a function of Python, and an interrupt at its end would
        # leave the lock taken for ever.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)

    def take(self, wait: bool = True) -> Exposure | None:
        """Return an exposure once one more may be under way; see `ExposureSource.take`."""
        with self._lock:
            if wait:
                self._changed.wait_for(self._is_next_there)
            if self._closed or not self._waiting or not self._is_next_there():
                return None
            self._n_underway += 1
            return self._waiting.popleft()

    def _is_next_there(self) -> bool:
        is_last = self._closed or not self._waiting
        return is_last or self._n_underway < self._most_underway * self.sharing

    def n_left(self) -> int | None:
        """Return None: other processes take from the list as well, as many as they can."""
        return None

    def stored(self, measured: Measurement | Failure) -> None:
        """Note that an exposure which was taken is stored."""
        with self._lock:
            self._n_underway -= 1
            if isinstance(measured, Measurement) and len(measured.ccds) > self._n_ccd:
                self._n_ccd = len(measured.ccds)
                self.sharing = most_sharing(self._n_ccd)
            self._changed.notify_all()

    def give_back(self, exposures: Iterable[Exposure]) -> None:
        """Take back exposures that a process has not measured."""
        with self._lock:
            for exposure in exposures:
                self._waiting.append(exposure)
                self._n_underway -= 1
            self._changed.notify_all()

    def rest(self) -> list[Exposure]:
        """Return the exposures that nobody has taken."""
        with self._lock:
            rest = list(self._waiting)
            self._waiting.clear()
            return rest

    def close(self) -> None:
        """Give out no further exposures."""
        with self._lock:
            self._closed = True
            self._changed.notify_all()


class _FurtherProcess:
    """A further process, and the exposures that it has.

    Parameters
    ----------
    job : Job
    ahead : int
        Exposures that it has at a time; where several share a stack, as many times more.
    source : _Source
    done : SimpleQueue
        The queue for measurements; at the end None is put there, or the error of the device.
    debug : callable
        Takes tracebacks.
    """

    def __init__(
        self,
        job: Job,
        ahead: int,
        source: _ExposureQueue,
        done: SimpleQueue[Done | BaseException | None],
        debug: Callable[[str], None],
    ) -> None:
        self._job, self._ahead, self._source, self._done, self._debug = job, ahead, source, done, debug
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._killed = False

    def run(self) -> None:
        """Measure until no exposure is left, or until the process has ended."""
        underway: dict[int, Exposure] = {}
        try:
            self._measure(underway)
            self._done.put(None)
        except DeviceError as error:
            self._done.put(error)
        except (OSError, EOFError) as error:
            # The process ended, or could not be started: other processes measure the exposures that it had.
            self._source.give_back(underway.values())
            if not self._killed:
                process = self._process
                self._warn_lost(str(error) if process is None else f"it ended with status {process.wait()}")
            self._done.put(None)
        except BaseException as error:
            self._done.put(error)
        finally:
            self.kill()

    def _measure(self, underway: dict[int, Exposure]) -> None:
        with self._started() as (receiver, sender):
            sender.send(self._job)
            if not self._is_ready(receiver):
                return
            number, more = 0, True
            while True:
                while more and len(underway) < self._ahead * self._source.sharing:
                    exposure = self._source.take()
                    if exposure is not None:
                        underway[number] = exposure
                    more = exposure is not None
                    sender.send((number, exposure))
                    number += 1
                if not underway:
                    return
                message = receiver.recv()
                if self._is_no_measurement(message):
                    continue
                which, result, seconds = message
                self._done.put((underway.pop(which), result, seconds))

    def _is_ready(self, receiver: Connection) -> bool:
        """Wait until the process can measure; False where it cannot use the device."""
        while True:
            message = receiver.recv()
            if message[0] == "ready":
                return True
            if message[0] == "broken":
                self._warn_lost(message[1])
                return False
            self._is_no_measurement(message)

    def _warn_lost(self, why: str) -> None:
        _log.warning("a further process for gpu %s: %s; the run goes on without it", self._job.device, why)

    def _is_no_measurement(self, message: tuple) -> bool:  # type: ignore[type-arg]
        """Pass on a message that is no measurement; return whether it was such a message."""
        if message[0] == "debug":
            self._debug(message[1])
        elif message[0] == "log":
            _log.log(message[1], "%s", message[2])
        elif message[0] == "broken":
            raise DeviceError(message[1])
        return isinstance(message[0], str)

    @contextmanager
    def _started(self) -> Iterator[tuple[Connection, Connection]]:
        """Start the process; connections to read its answers from and to send requests to."""
        # The two ends that are passed on are those of the other process.
        answers, answers_end = os.pipe()
        requests_end, requests = os.pipe()
        with Connection(answers, writable=False) as receiver, Connection(requests, readable=False) as sender:
            try:
                self._begin(requests_end, answers_end)
            finally:
                os.close(requests_end)
                os.close(answers_end)
            yield receiver, sender

    def _begin(self, requests: int, answers: int) -> None:
        """Start the process with the numbers of its two pipes, unless the run has ended."""
        with self._lock:
            if self._killed:
                raise EOFError
            self._process = subprocess.Popen(
                python_command(*PROGRAM, str(requests), str(answers)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=python_environment(),
                pass_fds=(requests, answers),
            )

    def kill(self) -> None:
        """End the process; a measurement that it has not sent is made again when it is needed."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                with suppress(OSError):
                    self._process.kill()
                self._process.wait()
