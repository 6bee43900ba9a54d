"""The connection to a scheduler: found, opened, kept quiet, and lost with one line."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from distributed import Client, performance_report
from distributed.comm import get_address_host_port
from distributed.versions import VersionMismatchWarning, get_versions

from gpuanom.errors import ClusterError, printable

CONNECTING = 15.0
"""Seconds in which a scheduler must answer."""
CALL = 30.0
"""Seconds in which a scheduler that did answer must answer again."""
FILE = 30.0
"""Seconds to wait for a scheduler's file."""
RESUME = "what was measured is kept; start a scheduler and workers, and the same command goes on"


class Connection:
    """A client of a scheduler, closed by `close`.

    Parameters
    ----------
    scheduler : str or Path
        Address, or the file that the scheduler wrote it to.
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
                # Compared and told by `differences`, in a line.
                warnings.simplefilter("ignore", VersionMismatchWarning)
                self.client = Client(self.address, timeout=CONNECTING, set_as_default=False, name="gpuanom")
        except (OSError, ImportError) as error:
            why = f": {error}" if isinstance(error, ImportError) else ""
            raise ClusterError(
                f"no scheduler answers at {self.address}{why} (is it running, and is this its address?)"
            ) from None

    def call(self, function: Callable[..., Any], **arguments: Any) -> Any:
        """Ask the scheduler something, in bounded time.

        Raises
        ------
        ClusterError
            When it is gone.
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

    def differences(self) -> str:
        """How the scheduler's versions of what it shares with clients differ from ours, in words."""
        theirs = self.call(self.client.scheduler.versions)
        return differing(shared(theirs), shared(get_versions()))

    def about(self) -> str:
        """The scheduler, who works for it and where its dashboard is, in words."""
        threads = [int(worker["nthreads"]) for worker in self.workers().values()]
        n = len(threads)
        who = f"{n} worker{'' if n == 1 else 's'}, exposures at a time: {sum(threads)}" if n else "no worker yet"
        link = ""
        with suppress(Exception):  # a link is not worth a run
            if "dashboard" in self.call(self.client.scheduler.identity, n_workers=0)["services"]:
                link = f", dashboard {self.client.dashboard_link}"
        return f"scheduler {self.address}, {who}{link}"

    def lost(self) -> ClusterError:
        """The error that ends a run whose scheduler has gone."""
        return ClusterError(f"the scheduler at {self.address} is gone, or was restarted ({RESUME})")

    def close(self) -> None:
        """Let go of the scheduler, whatever state it is in."""
        with suppress(Exception):
            self.client.close(timeout=2)

    @contextmanager
    def report(self, path: Path | None, say: Callable[[str], None]) -> Iterator[None]:
        """Write Dask's performance report of what is done in a ``with`` statement, if that comes to its end.

        What keeps it from being written is said in a line: it costs no measurement.
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
                warnings.simplefilter("ignore")  # of the scheduler's plots; nothing that a user could mend
                step(*arguments)
        except Exception as error:
            text = printable(f"{type(error).__name__}: {error}")[:300]
            say(f"{path}: no performance report: {text} (the scheduler needs Bokeh)")
            return False
        return True


def differing(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """What differs between two mappings of names to versions, in words; empty when nothing does."""
    return ", ".join(
        f"{name} {theirs[name]} there, {ours[name]} here"
        for name in ours
        if name in theirs and theirs[name] != ours[name]
    )


def shared(versions: Mapping[str, Any]) -> dict[str, str]:
    """Of what Dask tells of versions, the packages that a scheduler and its clients must understand each other by."""
    relevant = ("python", "dask", "distributed", "msgpack", "cloudpickle", "tornado")
    return {name: str(version) for name, version in versions["packages"].items() if name in relevant}


def _address(path: Path) -> str:
    """The address in a scheduler's file, which may be written a little later than a run begins."""
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
    """Dask's messages as debug text: a worker that dies is told by ours, in a line."""
    handler = _Debug(debug)
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in ("distributed", "tornado")]
    kept = []
    for log in (logging.getLogger(name) for name in {*names, "distributed", "tornado", "asyncio"}):
        kept.append((log, log.handlers[:], log.propagate))
        # Children hand theirs on to the top, unless they have handlers of their own.
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
