"""What runs on a worker: the answer to the greeting, and the threads that measure exposures, kept for a whole run."""

from __future__ import annotations

import os
import platform
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pickle import loads
from queue import Empty, SimpleQueue
from typing import Any, Self

from gpuanom.cluster.job import PACKAGES, Answer, Broken, Job, SizedFile, Unseen, version
from gpuanom.errors import DeviceError, GpuanomError, printable
from gpuanom.measuring.threads import Threads
from gpuanom.records import Exposure, Measurement
from gpuanom.settings import Settings
from gpuanom.store.prepared_rows import prepared_rows
from gpuanom.system import M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, set_memory_options


def versions() -> dict[str, str]:
    """The versions of gpuanom and Python, which must be the same everywhere, and of packages that should be."""
    found = {"gpuanom": version(), "python": ".".join(platform.python_version_tuple()[:2])}
    for package in PACKAGES:
        try:
            found[package] = package_version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def greeting(measurement: dict[str, Any], files: list[SizedFile]) -> dict[str, Any]:
    """Describe the worker in plain values: before versions are compared, no class of gpuanom is sent.

    Parameters
    ----------
    measurement : dict
        The run's `Settings.measurement`.
    files : list of (bytes, int)
        Files that the worker must see: path and size in bytes.

    Returns
    -------
    dict
        ``host``; ``versions``; ``settings``, the fingerprint of the settings as this worker understands them; and
        ``unseen``, path and reason of a file that the worker does not see, or None.
    """
    try:
        fingerprint = Settings().with_measurement(measurement).fingerprint()
    except GpuanomError as error:
        fingerprint = str(error)
    unseen = first_unseen(files)
    return {
        "host": socket.gethostname(),
        "versions": versions(),
        "settings": fingerprint,
        "unseen": None if unseen is None else (unseen.path, unseen.why),
    }


def first_unseen(files: list[SizedFile]) -> Unseen | None:
    """The first file that is missing on the worker, or has another size than for the client; None if there is none."""
    for name, size in files:
        path = printable(name.decode("utf-8", "backslashreplace"))
        try:
            found = os.stat(name).st_size  # noqa: PTH116 (bytes)
        except OSError as error:
            return Unseen(path, (error.strerror or str(error)).lower())
        if found != size:
            return Unseen(path, f"{found} bytes there, {size} here")
    return None


MMAP_THRESHOLD = 32 * 2**20
"""Bytes up to which glibc raises its own threshold, where none is set."""


@dataclass
class _Run:
    """The threads of a run, and the number of exposures that they measure now."""

    threads: Threads
    debug: SimpleQueue[str] = field(default_factory=SimpleQueue)
    users: int = 0


class _Runs:
    """The runs for which this worker measures: usually one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}

    def enter(self, name: str, packed_job: bytes) -> _Run:
        """The run's threads, started with the run's first exposure on this worker."""
        with self._lock:
            if name not in self._runs:
                # A client that was killed did not end its run: free what that run still holds.
                self._close([other for other, run in self._runs.items() if not run.users])
                keep_memory()
                debug: SimpleQueue[str] = SimpleQueue()
                job: Job = loads(packed_job)
                self._runs[name] = _Run(job.started_threads(_lanes(), debug.put), debug)
            run = self._runs[name]
            run.users += 1
            return run

    def leave(self, run: _Run) -> None:
        """Note that an exposure is done."""
        with self._lock:
            run.users -= 1

    def end(self, name: str) -> None:
        """End a run: free its threads and the memory of its device, unless they still measure an exposure."""
        with self._lock:
            if name in self._runs and not self._runs[name].users:
                self._close([name])

    def _close(self, names: list[str]) -> None:
        for name in names:
            self._runs.pop(name).threads.__exit__()


_runs = _Runs()


def keep_memory() -> None:
    """Let this process reuse the memory that it frees, as the C library does by default.

    Dask starts workers with a MALLOC_TRIM_THRESHOLD_ that returns freed memory to the system at once. The system would
    then clear the memory of every new CCD page by page, which takes twice the time
    (profiling/results/bench_workers.md).
    """
    if "MALLOC_TRIM_THRESHOLD_" in os.environ:
        set_memory_options({M_MMAP_THRESHOLD: MMAP_THRESHOLD, M_TRIM_THRESHOLD: 2 * MMAP_THRESHOLD})


def _dask_worker() -> Any:
    from distributed import get_worker

    return get_worker()


def _lanes() -> int:
    return int(_dask_worker().state.nthreads)


def measured(
    run: str, packed_job: bytes, name: str, parts: list[tuple[Exposure, list[SizedFile]]], span: float
) -> list[Answer]:
    """Measure one exposure, or several one by one.

    Parameters
    ----------
    run : str
        Name of the run: exposures of one run share threads.
    packed_job : bytes
        A pickle of the `Job`: what to measure, and how. Only the run's first exposure on this worker needs it.
    name : str
        Name of the call, by which the client is told which exposure holds it up.
    parts : list of (Exposure, list of (bytes, int))
        Exposures with absolute paths, and their files as the client sees them: path and size in bytes.
    span : float
        Seconds after which no further exposure is begun; the client sends the rest again.

    Returns
    -------
    list of Answer
        One for each exposure that was begun, in order.
    """
    answers: list[Answer] = []
    with _CallTimer(run, name, span, len(parts)) as timer:
        for exposure, files in parts:
            if not timer.begins(len(answers)):
                break
            answers.append(_measured(run, packed_job, exposure, files))
            if isinstance(answers[-1].result, Broken):
                break
    return answers


class _CallTimer:
    """Tells the client which exposure of a call holds up the others, once the time for such calls is over.

    The client would otherwise not know which exposure has taken too long, or has killed the worker.
    """

    def __init__(self, run: str, name: str, span: float, n_exposures: int) -> None:
        self._lock, self._late = threading.Lock(), False
        self._begun, self._since = 0, time.monotonic()
        self._timer: threading.Timer | None = None
        if n_exposures > 1:
            tell = _dask_worker().log_event
            self._timer = threading.Timer(span, self._tell, (tell, run, name))
            self._timer.daemon = True

    def __enter__(self) -> Self:
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def begins(self, number: int) -> bool:
        """Note that an exposure begins; False when it must not, because the time is over."""
        with self._lock:
            if not self._late:
                self._begun, self._since = number, time.monotonic()
            return not self._late

    def _tell(self, tell: Callable[[str, dict[str, Any]], None], run: str, name: str) -> None:
        with self._lock:
            self._late = True
        seconds = time.monotonic() - self._since
        tell(under_way_topic(run), {"call": name, "under_way": self._begun, "seconds": seconds})


def under_way_topic(run: str) -> str:
    """The topic of Dask's events by which the workers of a run tell what holds them up."""
    return f"gpuanom-under-way-{run}"


def _measured(run: str, packed_job: bytes, exposure: Exposure, files: list[SizedFile]) -> Answer:
    unseen = first_unseen(files)
    if unseen is not None:
        return Answer(unseen)
    try:
        running = _runs.enter(run, packed_job)
    except GpuanomError as error:
        return Answer(Broken(str(error)))
    try:
        ((_, result, seconds),) = running.threads.measured([exposure])
    except DeviceError as error:
        return Answer(Broken(str(error)), debug=_debug_texts(running))
    finally:
        _runs.leave(running)
    if isinstance(result, Measurement):
        # Here, since the client alone must keep up with all workers.
        result = replace(result, rows=prepared_rows(result))
    return Answer(result, seconds, _debug_texts(running))


def end_run(run: str) -> None:
    """End a run on this worker."""
    _runs.end(run)


def _debug_texts(run: _Run) -> tuple[str, ...]:
    texts = []
    while True:
        try:
            texts.append(run.debug.get_nowait())
        except Empty:
            return tuple(texts)
