"""What runs on a worker: its greeting, and exposures through its threads, which it keeps from one to the next."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from queue import Empty, SimpleQueue
from typing import Any

from gpuanom.cluster.job import PACKAGES, Answer, Broken, Job, SizedFile, Unseen, version
from gpuanom.errors import DeviceError, GpuanomError, printable
from gpuanom.measuring.threads import Works
from gpuanom.records import Exposure, Failure
from gpuanom.settings import Settings


def versions() -> dict[str, str]:
    """The versions of what must, or should, be the same everywhere."""
    found = {"gpuanom": version(), "python": ".".join(platform.python_version_tuple()[:2])}
    for package in PACKAGES:
        try:
            found[package] = package_version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def greeting(measurement: dict[str, Any], places: list[SizedFile]) -> dict[str, Any]:
    """Who the worker is, in plain values: nothing of gpuanom's own travels before versions are compared.

    Parameters
    ----------
    measurement : dict
        The run's `Settings.measurement`.
    places : list of (bytes, int)
        Files that it must see.
    """
    try:
        fingerprint = Settings().with_measurement(measurement).fingerprint()
    except GpuanomError as error:
        fingerprint = str(error)
    unseen = hidden(places)
    return {
        "host": socket.gethostname(),
        "versions": versions(),
        "settings": fingerprint,
        "unseen": None if unseen is None else (unseen.path, unseen.why),
    }


def hidden(places: list[SizedFile]) -> Unseen | None:
    """The first of some files that is not here as it is for the client; None when all are."""
    for name, size in places:
        path = printable(name.decode("utf-8", "backslashreplace"))
        try:
            here = os.stat(name).st_size  # noqa: PTH116 (bytes)
        except OSError as error:
            return Unseen(path, (error.strerror or str(error)).lower())
        if here != size:
            return Unseen(path, f"{here} bytes there, {size} here")
    return None


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's malloc.h."""
MMAP_THRESHOLD = 32 * 2**20
"""Bytes: what glibc's own threshold grows to, where none is set."""


@dataclass
class _Run:
    """The threads of a run, and how many exposures are in them."""

    works: Works
    debug: SimpleQueue[str] = field(default_factory=SimpleQueue)
    users: int = 0


class _Runs:
    """The runs that this process works for: usually one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}

    def enter(self, name: str, job: Job) -> _Run:
        """The run's threads, started at its first exposure here."""
        with self._lock:
            if name not in self._runs:
                # Clients that were killed say no goodbye: what they left makes room for the next.
                self._close([other for other, run in self._runs.items() if not run.users])
                keep_memory()
                debug: SimpleQueue[str] = SimpleQueue()
                self._runs[name] = _Run(job.works(_lanes(), debug.put), debug)
            run = self._runs[name]
            run.users += 1
            return run

    def leave(self, run: _Run) -> None:
        """An exposure is done."""
        with self._lock:
            run.users -= 1

    def end(self, name: str) -> None:
        """The run is over: let its threads and its device's memory go, unless an exposure is still in them."""
        with self._lock:
            if name in self._runs and not self._runs[name].users:
                self._close([name])

    def _close(self, names: list[str]) -> None:
        for name in names:
            self._runs.pop(name).works.__exit__()


_runs = _Runs()


def keep_memory() -> None:
    """Let this process use again what it frees, as the C library does by itself.

    Dask starts workers with a MALLOC_TRIM_THRESHOLD_ that gives memory back at once, for data that come and go. Every
    array of a CCD's size is then cleared page by page: twice the time (profiling/results/bench_workers.md).
    """
    if "MALLOC_TRIM_THRESHOLD_" in os.environ:
        with suppress(OSError, AttributeError):  # a C library that is not glibc
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
            mallopt(M_TRIM_THRESHOLD, 2 * MMAP_THRESHOLD)


def _lanes() -> int:
    from distributed import get_worker

    return int(get_worker().state.nthreads)


def measured(run: str, job: Job, exposure: Exposure, places: list[SizedFile]) -> Answer:
    """Measure an exposure.

    Parameters
    ----------
    run : str
        Name of the run: exposures of one run share threads.
    job : Job
    exposure : Exposure
        Its paths absolute.
    places : list of (bytes, int)
        Its files as the client sees them.
    """
    unseen = hidden(places)
    if unseen is not None:
        return Answer(unseen)
    try:
        mine = _runs.enter(run, job)
    except GpuanomError as error:
        return Answer(Broken(str(error)))
    try:
        ((_, result, seconds),) = mine.works.measured([exposure])
    except DeviceError as error:
        return Answer(Broken(str(error)), debug=_said(mine))
    finally:
        _runs.leave(mine)
    return Answer(result if isinstance(result, Failure) else result.ccds, seconds, _said(mine))


def ended(run: str) -> None:
    """The run is over."""
    _runs.end(run)


def _said(run: _Run) -> tuple[str, ...]:
    texts = []
    while True:
        try:
            texts.append(run.debug.get_nowait())
        except Empty:
            return tuple(texts)
