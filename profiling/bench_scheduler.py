"""Whether the process that hands out exposures and stores the answers keeps up with 200 workers.

python profiling/bench_scheduler.py [--workers 200] [--exposures 20000] [--seconds 0.1]

The client code of gpuanom.cluster and the store are the real ones, and so is what a worker runs, but for the
measurement itself: a worker waits, and then returns a measurement that was made before. In place of Dask's scheduler
and network, a process of its own holds all workers, and one socket leads there: calls and answers travel as the bytes
that Dask would carry. What Dask itself costs is shown by a smaller run with its own scheduler and
workers. The exit code is 1 when a bar is missed. Needs the extra `cluster` (Dask).
"""

from __future__ import annotations

import bench  # isort: skip  (first, since this import sets the number of threads)

import argparse
import cProfile
import os
import pickle
import pstats
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

import sleeping_workers
from memory_run import resident
from sleeping_workers import SleepingJob

import gpuanom
from gpuanom.backends.choice import choose
from gpuanom.cluster import run as cluster_run
from gpuanom.cluster.choice import ClusterChoice
from gpuanom.cluster.run import Cluster
from gpuanom.fits import discover
from gpuanom.measuring.threads import Threads
from gpuanom.nights.storing import fill
from gpuanom.simulate import simulate_night
from gpuanom.store.store import NAME, Store

DECAM = 61
"""CCDs of DECam."""
RATE, GROWTH = 500.0, 8.0
"""The bars: exposures a second at least, and MiB of memory at most by which the last three quarters of a run grow."""
SAMPLES = (0.05, 0.25, 0.5, 0.75, 1.0)
"""Shares of a run after which memory is noted."""


def measured_exposure(ccds, shape):
    """A real measurement of a simulated CCD of this shape (rows, columns), repeated for an exposure of so many CCDs."""
    settings = gpuanom.Settings()
    with tempfile.TemporaryDirectory() as folder:
        simulate_night(folder, exposures=1, ccds=1, shape=shape, bands=("r",), seed=1)
        (exposure,) = discover([Path(folder)], settings).exposures
        backends, _ = choose("cpu")
        with Threads(settings, backends, 1, lambda _text: None) as running:
            ((_, measurement, _),) = running.measured([exposure])
    return with_ccds(measurement, ccds)


def with_ccds(measurement, ccds):
    """The measurement with so many copies of its first CCD, none of which shares memory with another."""
    return replace(
        measurement,
        ccds=tuple(replace(pickle.loads(pickle.dumps(measurement.ccds[0])), name=f"S{i + 1}") for i in range(ccds)),
    )


@dataclass(eq=False)
class Future:
    """What gpuanom uses of Dask's futures."""

    done: Callable = lambda _future: None
    status: str = "pending"
    answer: bytes = b""
    ended: threading.Lock = field(default_factory=threading.Lock)

    def add_done_callback(self, done):
        """Call a function when the answer is here."""
        with self.ended:
            self.done = done
            if self.status == "pending":
                return
        done(self)

    def finish(self, answer):
        """Note the answer."""
        with self.ended:
            self.answer, self.status = answer, "finished"
        self.done(self)

    def result(self, **_options):
        """Return the answer."""
        return pickle.loads(self.answer)

    def release(self):
        """Forget the answer."""
        self.answer = b""


class Standin:
    """In place of `gpuanom.cluster.connect.Connection` and of the client of Dask that it holds."""

    address = "a process of this script"
    status = "running"

    def __init__(self, _address):
        self.client = self

    def connect(self, pipe, n_workers):
        """Use the workers behind a pipe."""
        self._pipe, self._waiting = pipe, {}
        self._workers = {f"w{i}": {"nthreads": 1, "nanny": None, "status": "running"} for i in range(n_workers)}
        self.most_waiting = self._number = 0
        threading.Thread(target=self._receive, daemon=True).start()
        return self

    def _receive(self):
        while True:
            try:
                message = self._pipe.recv_bytes()
            except (EOFError, OSError, TypeError):  # Python reads from no descriptor where the pipe is closed meanwhile
                return
            self._waiting.pop(int.from_bytes(message[:8], "little")).finish(message[8:])

    def submit(self, _loads, call, *, workers, **_options):
        """Send a call to a worker."""
        self._number += 1
        future = self._waiting[self._number] = Future()
        self.most_waiting = max(self.most_waiting, len(self._waiting))
        to = int(workers[0][1:])
        self._pipe.send_bytes(self._number.to_bytes(8, "little") + to.to_bytes(8, "little") + call)
        return future

    def results(self, futures):
        """See `gpuanom.cluster.connect.Connection.results`."""
        return [future.result() for future in futures]

    def workers(self):
        """See `gpuanom.cluster.connect.Connection.workers`."""
        return self._workers

    def subscribe(self, _run, _events):
        """No worker ever leaves."""

    def about(self):
        """The cluster in words."""
        return f"{len(self._workers)} workers"

    def differences(self):
        """No versions differ."""
        return ""

    def report(self, _path, _say):
        """No report of Dask."""
        return nullcontext()

    def close(self):
        """Nothing needs to be closed."""


@dataclass
class Result:
    """What a run has shown."""

    workers: int
    exposures: int
    seconds: float
    cpu: float
    memory: list = field(default_factory=list)
    most_waiting: int = 0

    @property
    def rate(self):
        """Exposures a second."""
        return self.exposures / self.seconds

    @property
    def growth(self):
        """MiB by which memory grew after the first quarter."""
        return max(self.memory[2:]) - self.memory[1]


def run(measurement, n_workers, n_exposures, seconds, *, real=0, profile=None):
    """Let workers measure exposures, and store the answers.

    `real` is the number of processes of Dask, which share the workers among them as threads; 0 uses the stand-in.
    """
    settings = gpuanom.Settings()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        images = Path(folder) / "images"
        images.mkdir()
        exposures = []
        for i in range(n_exposures):
            path = images / f"{i:06d}.fits"
            path.touch()  # of files without a byte none share a call: the most that a client can have to do
            exposures.append(
                replace(measurement.exposure, exposure=str(i), fingerprint=f"{i:032x}", files=(path,), masks=(None,))
            )
        kept = Path(folder) / "measurement"
        kept.write_bytes(pickle.dumps(measurement, protocol=5))
        threads = n_workers // real if real else 1
        job = SleepingJob(settings, "cpu", threads, None, str(kept), seconds if real else 0.0)
        if not real:
            here, there = socket.socketpair()
            command = [sys.executable, sleeping_workers.__file__, str(there.fileno()), str(n_workers), str(seconds)]
            process = subprocess.Popen(command, pass_fds=(there.fileno(),))
            there.close()
            pipe = Connection(here.detach())
            stack.callback(process.wait)
            stack.callback(pipe.close)
            stack.callback(process.kill)
            standin = Standin("").connect(pipe, n_workers)
            connection, cluster_run.Connection = cluster_run.Connection, lambda _address: standin
            stack.callback(setattr, cluster_run, "Connection", connection)
        choice = ClusterChoice(workers=real) if real else ClusterChoice(scheduler="standin")
        lines = []
        result = Result(n_workers, n_exposures, 0.0, 0.0)
        begun, cpu, n_done = [], [], 0
        looks = {max(1, round(share * n_exposures)) for share in SAMPLES}

        def done(_exposure, _result, _seconds):
            nonlocal n_done
            n_done += 1
            if n_done == 1:
                begun.append(time.perf_counter())
                cpu.append(time.process_time())
            if n_done in looks:
                result.memory.append(resident())

        events = gpuanom.Events(say=lines.append, done=done)
        with Store(Path(folder) / NAME, settings) as store:
            with profile or nullcontext():
                fill(store, exposures, Cluster(job, choice, lines.append, lines.append), events)
            result.seconds = time.perf_counter() - begun[0]
            result.cpu = time.process_time() - cpu[0]
            assert n_done == n_exposures, (n_done, lines[-5:])
            assert {e for _, e in store.measured_exposures()} == {e.exposure for e in exposures}
            assert not store.failures()
        if not real:
            result.most_waiting = standin.most_waiting
    return result


def row(name, measurement, result):
    """A row of the table."""
    memory = " ".join(f"{m:.0f}" for m in result.memory)
    size = len(pickle.dumps(measurement, protocol=5)) / 1024
    return (
        name, result.workers, len(measurement.ccds), f"{size:.0f}", f"{result.exposures:,}",
        f"{result.rate:.0f}", f"{1000 * result.cpu / result.exposures:.2f}", result.most_waiting or "", memory,
    )  # fmt: skip


HEADER = (
    "what", "workers", "CCDs", "answer [KiB]", "exposures", "exposures/s", "CPU of the client [ms an exposure]",
    "most under way", "memory [MiB]",
)  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=200, help="workers that wait (default: 200)")
    parser.add_argument("--exposures", type=int, default=20_000, help="exposures of the first run (default: 20000)")
    parser.add_argument("--seconds", type=float, default=0.1, help="How long a worker sleeps for an exposure.")
    parser.add_argument("--ccds", type=int, default=4, help="CCDs of an exposure (default: 4)")
    parser.add_argument("--shape", type=int, nargs=2, default=(4094, 2046), help="Rows and columns of a CCD.")
    parser.add_argument("--rate", type=float, default=RATE, help="The bar, exposures a second.")
    parser.add_argument("--short", action="store_true", help="The first run alone; no result is kept.")
    parser.add_argument("--profile", action="store_true", help="Like --short, and show where the client loses time.")
    options = parser.parse_args()
    few = measured_exposure(options.ccds, tuple(options.shape))
    load = os.getloadavg()[0]
    profile = cProfile.Profile() if options.profile else None
    result = run(few, options.workers, options.exposures, options.seconds, profile=profile)
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
    rows = [row("the bar's run", few, result)]
    if not (options.short or options.profile):
        many = with_ccds(few, DECAM)
        tenth, share = max(1, options.workers // 10), max(100, options.exposures // 10)
        rows += [
            row("a tenth of the workers", few, run(few, tenth, share, options.seconds / 10)),
            row("all CCDs of DECam", many, run(many, options.workers, max(100, share // 4), options.seconds)),
            row("Dask itself", few, run(few, options.workers, max(100, share // 2), options.seconds, real=2)),
        ]
    held = result.rate >= options.rate, result.growth <= GROWTH
    text = f"""# Whether the client keeps up with {options.workers} workers

{bench.machine("numpy", "distributed", "gpuanom", pinned=False)}; {os.cpu_count()} cores for the client and all workers.
Load of the machine when the first run began: {load:.1f}. (Beside other jobs the rates are too low and CPU times too
high.)

`python profiling/bench_scheduler.py`: the real client code and the real store; a worker waits {options.seconds:g} s
({options.seconds / 10:g} s in the second row) and returns a measurement of a simulated CCD of
{options.shape[0]} x {options.shape[1]} pixels, for each CCD. In place of Dask's scheduler and network one process holds
all workers; in the last row Dask's own scheduler and 2 processes of {options.workers // 2} threads do. The rate counts
from the first exposure in the store to the last. Memory is that of the client after {
        ", ".join(f"{share:.0%}" for share in SAMPLES)
    } of the exposures.

{bench.table(HEADER, rows)}

Bar: at least {options.rate:g} exposures a second placed and stored: {"held" if held[0] else "NOT held"}
({result.rate:.0f}).
Bar: memory grows by at most {GROWTH:g} MiB in the last three quarters of the run: {"held" if held[1] else "NOT held"}
({result.growth:+.1f} MiB)."""
    if options.short or options.profile:
        print(text)
    else:
        bench.write("bench_scheduler.md", text)
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
