"""A Dask scheduler and its workers as processes on this machine, started as a user starts them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOOKS = Path(__file__).parent / "hooks.py"
PATIENCE = 60.0
"""Seconds to wait for events that take a few seconds: a shared machine sometimes stalls."""


def until(condition, what):
    """Wait until a condition returns something true, and return that."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


class Hooks:
    """The faults that hooks.py brings about in workers that load it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.folder.mkdir(parents=True)
        self.environment = {
            "GPUANOM_TEST_HOOKS": str(folder),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }

    def befall(self, exposure, what, always=False):
        """Make a fault happen in the worker that measures an exposure."""
        (self.folder / f"{exposure}.{what}{'.always' if always else ''}").touch()

    def awaits_faults(self):
        """Whether there is a fault that may still happen."""
        return any(".pid-" not in path.name for path in self.folder.iterdir())

    def befallen(self, exposure, what):
        """The process ids of the workers in which a fault happened, as soon as there is one."""
        return until(lambda: self._pids(exposure, what), f"{exposure}.{what}")

    def _pids(self, exposure, what):
        return [int(path.name.rpartition("-")[2]) for path in self.folder.glob(f"{exposure}.{what}.pid-*")]

    def clean(self):
        """From now on no fault happens."""
        for path in self.folder.iterdir():
            path.unlink()


class Farm(Hooks):
    """Processes that end with the test."""

    def __init__(self, folder: Path):
        super().__init__(folder / "hooks")
        self.place = folder
        self.file = folder / "scheduler.json"
        self.processes = []
        self.scheduler = self.start(
            *("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
            *("--scheduler-file", str(self.file), "--no-show"),
        )
        until(self.file.exists, "the scheduler")

    def start(self, *arguments, before=(), env=()):
        log = (self.place / f"log-{len(self.processes)}").open("wb")
        process = subprocess.Popen(
            [*before, sys.executable, "-m", "dask", *arguments],
            stdout=log,
            stderr=log,
            env={**os.environ, **self.environment, **dict(env)},
            start_new_session=True,
            cwd=self.place,
        )
        log.close()
        self.processes.append(process)
        return process

    def worker(self, *options, before=(), nanny=True, env=(), threads=1):
        """Start a worker; the scheduler may not yet know the worker when this returns."""
        return self.start(
            *("worker", "--scheduler-file", str(self.file), "--nthreads", str(threads), "--no-dashboard"),
            *("--local-directory", str(self.place / "scratch"), "--preload", str(HOOKS)),
            *("--nanny" if nanny else "--no-nanny", "--death-timeout", "60", *options),
            before=before,
            env=env,
        )

    def dismiss(self):
        """End the workers, and wait until the scheduler knows of none."""
        from distributed import Client

        self._end(self.processes[1:])
        del self.processes[1:]
        with Client(scheduler_file=str(self.file), timeout=PATIENCE) as client:
            until(lambda: not client.scheduler_info(n_workers=-1)["workers"], "the end of the workers")

    def close(self):
        self._end(self.processes)

    @staticmethod
    def _end(processes):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def alive(pid):
    """Whether a process runs; a process that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
