"""The connection to a scheduler: to find and open it, to silence Dask's own messages, and to tell when it is lost."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from distributed import Client, performance_report
from distributed.comm import get_address_host_port
from distributed.versions import VersionMismatchWarning, get_versions

from gpuanom.cluster.worker import under_way_topic
from gpuanom.display import counted
from gpuanom.errors import ClusterError, printable

CONNECTING = 15.0
"""Seconds in which a scheduler must answer."""
CALL = 30.0
"""Seconds in which a scheduler must answer every later question."""
ANSWER = 10.0
"""Seconds in which the answer of a call that has ended must come here."""
FILE = 30.0
"""Seconds to wait for the file that a scheduler writes its address to."""
RESUME = "what was measured is kept; start a scheduler and workers and give the same command to continue"


class Connection:
    """A client of a scheduler, closed by `close`.

    Parameters
    ----------
    scheduler : str or Path
        Its address, or the file that the scheduler wrote its address to.

    Raises
    ------
    ClusterError
        When the address is none, or no scheduler answers there.
    """

    def __init__(self, scheduler: str | Path) -> None:
        self.address = _address(scheduler) if isinstance(scheduler, Path) else scheduler
        try:
            get_address_host_port(self.address, strict=True)
        except ValueError as error:
            raise ClusterError(
                f"{self.address}: is no scheduler's address: {error} (such as tcp://host:8786)"
            ) from None
        try:
            with warnings.catch_warnings():
                # `differences` compares the versions, and says so in one line.
                warnings.simplefilter("ignore", VersionMismatchWarning)
                self.client = Client(self.address, timeout=CONNECTING, set_as_default=False, name="gpuanom")
        except (OSError, ImportError) as error:
            why = f": {error}" if isinstance(error, ImportError) else ""
            raise ClusterError(
                f"no scheduler answers at {self.address}{why} (is it running, and is this its address?)"
            ) from None

    def call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Call a function of Dask's client, for at most `CALL` seconds.

        Parameters
        ----------
        function : callable
            A coroutine function of the client.
        **arguments
            Of the function.

        Returns
        -------
        Any
            What the function returns.

        Raises
        ------
        ClusterError
            When the scheduler is gone.
        """
        if self.client.status != "running":
            raise self.lost()
        try:
            return self.client.sync(function, callback_timeout=CALL, **arguments)
        except (OSError, TimeoutError, RuntimeError):
            raise self.lost() from None

    def workers(self) -> dict[str, dict[str, Any]]:
        """What the scheduler knows of each worker, by address."""
        found: dict[str, dict[str, Any]] = self.call(self.client.scheduler.identity, n_workers=-1)["workers"]
        return found

    def results(self, futures: Sequence[Any]) -> list[Any]:
        """Bring the results of calls here, in one message.

        Parameters
        ----------
        futures : sequence of distributed.Future
            Calls that have ended.

        Returns
        -------
        list
            The results; None for a call that failed, and for a result that was lost together with its worker.
        """
        results: list[Any] = [None] * len(futures)
        for _ in range(2):
            # A result that is lost holds up the whole message; the call's status tells this afterwards.
            finished = {i: future for i, future in enumerate(futures) if future.status == "finished"}
            if not finished or self.client.status != "running":
                break
            with suppress(Exception):
                for i, result in self.client.sync(self._gathered, finished, callback_timeout=ANSWER).items():
                    results[i] = result
                break
        return results

    async def _gathered(self, futures: dict[int, Any]) -> dict[int, Any]:
        found: dict[int, Any] = await self.client.gather(futures, errors="skip", asynchronous=True)
        return found

    def differences(self) -> str:
        """How the scheduler's versions of the packages that both sides need differ from ours, in words."""
        versions = self.call(self.client.scheduler.versions)
        return differing(shared(versions), shared(get_versions()))

    def about(self) -> str:
        """The scheduler, the number of its workers and the address of its dashboard, in words."""
        threads = [int(worker["nthreads"]) for worker in self.workers().values()]
        n = len(threads)
        workers = f"{counted(n, 'worker')}, exposures at a time: {sum(threads)}" if n else "no worker yet"
        link = ""
        with suppress(Exception):  # a missing link must not end a run
            if "dashboard" in self.call(self.client.scheduler.identity, n_workers=0)["services"]:
                link = f", dashboard {self.client.dashboard_link}"
        return f"scheduler {self.address}, {workers}{link}"

    def subscribe(self, run: str, events: SimpleQueue[tuple[Any, ...]]) -> None:
        """Let the reports of the scheduler and the workers become events; threads of Dask receive the reports.

        Parameters
        ----------
        run : str
            Name of the run.
        events : SimpleQueue
            Gets ``("left", address, whether that was expected)`` when a worker has left, ``("memory", address)`` when a
            worker is stopped for its use of memory, and ``("under way", name of a call, number of an exposure,
            seconds)`` when a call of several exposures takes long: that exposure was begun so many seconds before.
        """

        def changed(event: tuple[float, Any]) -> None:
            report = event[1]
            if isinstance(report, dict) and report.get("action") == "remove-worker":
                events.put(("left", report["worker"], bool(report.get("expected"))))

        def stopped(event: tuple[float, Any]) -> None:
            events.put(("memory", event[1]["worker"]))

        def under_way(event: tuple[float, Any]) -> None:
            report = event[1]
            events.put(("under way", report["call"], int(report["under_way"]), float(report["seconds"])))

        self.client.subscribe_topic("all", changed)
        self.client.subscribe_topic("worker-restart-memory", stopped)
        self.client.subscribe_topic(under_way_topic(run), under_way)

    def lost(self) -> ClusterError:
        """The error that ends a run whose scheduler has gone."""
        return ClusterError(f"the scheduler at {self.address} is gone, or was restarted ({RESUME})")

    def close(self) -> None:
        """Close the connection, in whatever state the scheduler is."""
        with suppress(Exception):
            self.client.close(timeout=2)

    @contextmanager
    def report(self, path: Path | None, say: Callable[[str], None]) -> Iterator[None]:
        """Write Dask's performance report of the work in a ``with`` block, if the block comes to its end.

        A report that cannot be written costs no measurement: the reason is said in one line.

        Parameters
        ----------
        path : Path or None
            Where to write; None writes no report.
        say : callable
            Takes a line for the user.
        """
        if path is None:
            yield
            return
        report = performance_report(filename=str(path))
        begun = self._tried(path, say, report.__enter__)
        yield
        if begun:
            self._tried(path, say, report.__exit__, None, None, None)

    def _tried(self, path: Path, say: Callable[[str], None], step: Callable[..., Any], *arguments: Any) -> bool:
        try:
            with self.client.as_current(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about the scheduler's plots: no user could do anything about them
                step(*arguments)
        except Exception as error:
            text = printable(f"{type(error).__name__}: {error}")[:300]
            say(f"{path}: no performance report: {text} (the scheduler needs Bokeh)")
            return False
        return True


def differing(remote: Mapping[str, str], local: Mapping[str, str]) -> str:
    """Describe the packages whose versions differ.

    Parameters
    ----------
    remote, local : mapping of str to str
        Versions by the name of the package, at the scheduler or worker, and here.

    Returns
    -------
    str
        Such as ``numpy 2.1 there, 2.0 here``; empty when no version differs.
    """
    return ", ".join(
        f"{name} {remote[name]} there, {local[name]} here"
        for name in local
        if name in remote and remote[name] != local[name]
    )


def shared(versions: Mapping[str, Any]) -> dict[str, str]:
    """The versions of the packages by which a scheduler and its clients communicate, from all that Dask reports."""
    relevant = ("python", "dask", "distributed", "msgpack", "cloudpickle", "tornado")
    return {name: str(version) for name, version in versions["packages"].items() if name in relevant}


def _address(path: Path) -> str:
    """Read the address in a scheduler's file, which may appear a little later than the run begins."""
    until = time.monotonic() + FILE
    while True:
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            if time.monotonic() > until or not isinstance(error, FileNotFoundError | json.JSONDecodeError):
                why = error.strerror if isinstance(error, OSError) else "it is no scheduler's file"
                raise ClusterError(f"{path}: tells of no scheduler: {why} (dask scheduler --scheduler-file)") from None
        time.sleep(0.2)


@contextmanager
def quiet(debug: Callable[[str], None]) -> Iterator[None]:
    """Turn Dask's log messages into debug text; gpuanom itself says in one line that a worker died."""
    handler = _Debug(debug)
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in ("distributed", "tornado")]
    kept = []
    for log in (logging.getLogger(name) for name in {*names, "distributed", "tornado", "asyncio"}):
        kept.append((log, log.handlers[:], log.propagate))
        # Loggers without handlers pass their messages on to the logger above them.
        log.handlers[:] = [handler] if log.handlers or "." not in log.name else []
        log.propagate = "." in log.name and not log.handlers
    try:
        yield
    finally:
        for log, handlers, propagate in kept:
            log.handlers[:], log.propagate = handlers, propagate


class _Debug(logging.Handler):
    def __init__(self, debug: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._debug = debug
        self.setFormatter(logging.Formatter("%(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self._debug(self.format(record))
