"""A cluster on this machine, in a separate process that ends with the process that started it.

The cluster does not run in the user's process for two reasons: Dask starts workers by Python's ``spawn``, which would
run the user's script again in each worker; and an interrupt at the terminal would end the workers before the store is
closed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from types import TracebackType
from typing import IO, Any, Self

from gpuanom.errors import ClusterError, printable

STARTING = 120.0
"""Seconds in which the workers must have started."""
ENDING = 10.0
"""Seconds in which the workers may end by themselves, before they are killed."""
DASHBOARD = "127.0.0.1:8787"
"""Dask's usual port; Dask takes another one where it is in use."""
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from gpuanom.cluster.local import main; main(json.loads(sys.argv[2]))"
)


class LocalCluster:
    """Workers of this machine, to be used in a ``with`` statement.

    Parameters
    ----------
    workers : int
        Number of workers.
    threads : int
        Threads of each worker: it measures as many exposures at the same time.
    devices : str
        ``cpu``, or the numbers of GPUs with commas between, a GPU for each worker.
    verbose : bool
        Whether to show Dask's own messages.

    Raises
    ------
    ClusterError
        When the workers cannot be started.
    """

    def __init__(self, workers: int, threads: int, devices: str, verbose: bool) -> None:
        self._options = {"workers": workers, "threads": threads, "devices": devices}
        self._verbose = verbose
        self.address = ""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path), json.dumps(self._options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if self._verbose else subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            assert self._process.stdout is not None
            line = self._process.stdout.readline()
            reply: dict[str, str] = json.loads(line) if line else {"error": "their process ended (-v shows why)"}
            if "error" in reply:
                raise ClusterError(f"the workers of this machine cannot be started: {printable(reply['error'])}")
        except BaseException as error:
            self.__exit__(type(error))
            raise
        self.address = reply["address"]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        process = self._process
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(ENDING if kind is None else 1.0)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def main(options: dict[str, Any]) -> None:
    """Start the cluster, print its address, and end it when standard input ends, also because the user's process died.

    Parameters
    ----------
    options : dict
        The arguments of `_cluster`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    out, sys.stdout = sys.stdout, sys.stderr
    watchdog = threading.Timer(STARTING, _give_up, (out,))
    watchdog.daemon = True
    watchdog.start()
    # The user's process may have ended already, or may end while workers start.
    client = threading.Thread(target=_wait_for_end_of_input, daemon=True)
    client.start()
    try:
        cluster = _cluster(**options)
    except Exception as error:
        _tell(out, error=f"{type(error).__name__}: {error}")
        _kill()
    watchdog.cancel()
    _tell(out, address=cluster.scheduler_address)
    client.join()
    closing = threading.Timer(ENDING / 2, _kill)
    closing.daemon = True
    closing.start()
    cluster.close()
    _kill()


def _kill() -> None:
    """Kill this process and all that it started; a process that a signal has stopped ends by nothing less."""
    os.killpg(0, signal.SIGKILL)


def _wait_for_end_of_input() -> None:
    sys.stdin.buffer.read()


def _give_up(out: IO[str]) -> None:
    _tell(out, error=f"they have not started after {STARTING:.0f} s")
    _kill()


def _tell(out: IO[str], **message: str) -> None:
    try:
        print(json.dumps(message), file=out, flush=True)
    except OSError:
        _kill()


PROFILE = "100ms"
"""How often Dask looks what each process does, for the profile on the dashboard and in the performance report.

Dask's default of 10 ms costs a worker a tenth of its time, as the look holds the interpreter's lock
(profiling/log/cluster.md); a user's own configuration of Dask goes before this.
"""


TICK = "500ms"
"""How often each process of Dask looks whether its own event loop is late.

Dask's default of 20 ms is more than half of what an idle process of Dask costs (profiling/log/cluster.md).
"""


MEMORY, SYSTEM = "500ms", "2s"
"""How often Dask looks at the memory of each worker, and at the load of each process for the dashboard.

With Dask's defaults of 100 and 500 ms these looks were a third of the work of an event loop that carries small
exposures (profiling/log/cluster.md).
"""


def _look_less() -> None:
    import dask
    import distributed  # noqa: F401 (sets the defaults that are replaced)

    # Nannies pass the configuration on to their workers.
    less = {
        "worker": {"profile": {"interval": PROFILE}, "memory": {"monitor-interval": MEMORY}},
        "admin": {"tick": {"interval": TICK}, "system-monitor": {"interval": SYSTEM}},
    }
    dask.config.update_defaults({"distributed": less})


def _cluster(workers: int, threads: int, devices: str) -> Any:
    _look_less()
    common: dict[str, Any] = {
        "n_workers": workers,
        "threads_per_worker": threads,
        "host": "127.0.0.1",
        "dashboard_address": DASHBOARD,
    }
    if devices == "cpu":
        from distributed import LocalCluster as DaskCluster

        return DaskCluster(processes=True, **common)
    from dask_cuda import LocalCUDACluster

    # Each worker sees its GPU as device 0. Pixels never become Dask's data, so that Dask has nothing to spill.
    return LocalCUDACluster(CUDA_VISIBLE_DEVICES=devices.split(","), device_memory_limit=None, **common)
