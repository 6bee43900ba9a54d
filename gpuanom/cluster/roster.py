"""The roster of a run: its workers, which of them may be given exposures, and why others are left out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from pickle import loads
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

from gpuanom.cluster import worker
from gpuanom.cluster.connect import Connection, differing
from gpuanom.cluster.job import Call, Job, SizedFile
from gpuanom.errors import ClusterError, printable

GREETING = 60.0
"""Seconds in which a new worker must answer: it imports gpuanom first."""
AGAIN = 2.0
"""Seconds between two looks for new workers. (The scheduler reports at once when a worker leaves.)"""
RESTART = 60.0
"""Seconds for which a run without workers waits for a killed worker to come back."""
AHEAD = 1
"""Calls that wait at a worker, beside those that it makes."""
WAITING = 600.0
"""Seconds for which a run waits for the first worker."""
LATE = 10.0
"""Seconds for which a run waits for more workers when all that are there are left out."""
PAUSED = 20.0
"""Seconds after which the user is told that Dask has paused a worker: the memory of most is free again before."""

REINSTALL = "install the same gpuanom in the environment of all workers"
MEMORY = "start workers with more memory, --memory-limit"
SHARE = "inputs must lie on a file system that all workers share, under the same path"


@dataclass(eq=False)
class Member:
    """A worker on the roster.

    Attributes
    ----------
    address, host : str
        Address in Dask, and name of the machine.
    lanes : int
        Calls that the worker makes at the same time: it measures an exposure of each of them.
    nanny : bool
        Whether a process of Dask watches over the worker and can start it again.
    state : str
        ``asked`` (has not answered the greeting yet), ``ready``, ``hung`` or ``out`` (left out).
    why : str
        Why the worker is left out.
    running : bool
        Whether the scheduler lets the worker begin tasks; not while it is short of memory, or about to leave.
    paused : str
        Why the worker may not begin tasks, where memory is the reason; else empty.
    paused_since : float
        When that was seen first, in seconds of the monotonic clock.
    missed : int
        How often in a row the scheduler did not list the worker.
    since : float
        When the worker was seen first, in seconds of the monotonic clock.
    assignments : list of Assignment
        The calls that were sent to the worker: those that it makes, then those that wait for a lane, so that the worker
        can begin the next call while the last answers travel.
    """

    address: str
    lanes: int
    nanny: bool
    host: str = ""
    state: str = "asked"
    why: str = ""
    running: bool = True
    paused: str = ""
    paused_since: float = 0.0
    missed: int = 0
    since: float = field(default_factory=time.monotonic)
    assignments: list[Any] = field(default_factory=list)

    @property
    def room(self) -> int:
        """How many calls may be with the worker at the same time."""
        return self.lanes + AHEAD

    @property
    def is_usable(self) -> bool:
        """Whether the worker may be given exposures."""
        return self.state == "ready" and self.running

    def __str__(self) -> str:
        return f"worker {self.address}{f' ({self.host})' if self.host else ''}"


class Roster:
    """The workers of a run.

    Parameters
    ----------
    connection : Connection
        To the scheduler.
    job : Job
        What the workers are to do.
    files : list of (bytes, int)
        Files that every worker must see: path and size in bytes.
    events : SimpleQueue
        Gets ``("greeted", Member, Future)`` when a new worker has answered, and ``("left", address, False)`` when the
        scheduler does not list a worker any more.
    say, debug : callable
        Take a line for the user, and text that only ``--verbose`` shows.
    """

    def __init__(
        self,
        connection: Connection,
        job: Job,
        files: list[SizedFile],
        events: SimpleQueue[tuple[Any, ...]],
        say: Callable[[str], None],
        debug: Callable[[str], None],
    ) -> None:
        self._connection, self._events, self._say, self._debug = connection, events, say, debug
        self._measurement, self._fingerprint = job.settings.measurement(), job.settings.fingerprint()
        self._required_files = files
        self._client_versions = worker.versions()
        self.members: dict[str, Member] = {}
        self._looked = -AGAIN
        self._last_ready: float | None = None
        """When a worker was last ready; None before the first one."""
        self._last_left = -RESTART
        self._began = time.monotonic()
        self._warned: set[str] = set()
        self._calls, self._numbers = uuid4().hex, count()
        """What makes the names of calls unlike those of any other run, and of each other."""

    def look(self) -> bool:
        """Ask the scheduler for its workers, unless that was done just now, and greet new ones.

        Returns
        -------
        bool
            Whether the scheduler was asked.

        Raises
        ------
        ClusterError
            When the scheduler is gone.
        """
        now = time.monotonic()
        if now - self._looked < AGAIN:
            return False
        listed = self._connection.workers()
        self._looked = time.monotonic()
        for address, about in listed.items():
            if address not in self.members:
                self._greet(address, about)
            self.members[address].running = about["status"] == "running"
            self.members[address].missed = 0
            self._look_at_memory(self.members[address], about)
        for address in self.members.keys() - listed.keys():
            # The scheduler reports a worker that leaves, except one that left before we subscribed to these reports.
            self.members[address].missed += 1
            if self.members[address].missed > 1:
                self._events.put(("left", address, False))
        for member in self.members.values():
            if member.state == "asked" and now - member.since > GREETING:
                self.leave_out(member, f"it does not answer within {GREETING:.0f} s")
        return True

    def _look_at_memory(self, member: Member, about: Mapping[str, Any]) -> None:
        """Tell, once, that Dask has paused a worker for its memory: such a worker may never measure anything."""
        if about["status"] != "paused":
            member.paused = ""
            return
        if not member.paused:
            member.paused_since = time.monotonic()
        # A worker without a limit of its own has none to tell, and one that has just come has no metrics yet.
        used, limit = (about.get("metrics") or {}).get("memory"), about.get("memory_limit")
        known = f", since it uses {used >> 20} of its {int(limit) >> 20} MiB of memory" if used and limit else ""
        member.paused = f"Dask has paused it{known}"
        if member.paused_since < time.monotonic() - PAUSED and member.address not in self._warned:
            self._warned.add(member.address)
            self._say(f"{member}: {member.paused} ({MEMORY})")

    def _greet(self, address: str, about: Mapping[str, Any]) -> None:
        member = self.members[address] = Member(address, int(about["nthreads"]), about["nanny"] is not None)
        self.submit(
            Call(worker.greeting, self._measurement, self._required_files),
            member,
            "gpuanom-greeting",
            lambda future: self._events.put(("greeted", member, future)),
        )

    def submit(self, call: Call, member: Member, name: str, done: Callable[[Any], None]) -> Any:
        """Let one worker, and no other, make a call.

        Parameters
        ----------
        call : Call
        member : Member
            The worker.
        name : str
            Name of the task on Dask's dashboard.
        done : callable
            Takes the future when the call has ended; runs in a thread of Dask.

        Returns
        -------
        distributed.Future
        """
        future = self._connection.client.submit(
            loads,
            call.pickled(),
            key=f"{name}-{self._calls}-{next(self._numbers)}",
            workers=[member.address],
            allow_other_workers=False,
            pure=False,
        )
        future.add_done_callback(done)
        return future

    def greeted(self, member: Member, future: Any) -> None:
        """Read a worker's answer to the greeting: the worker is then ready, or left out.

        Parameters
        ----------
        member : Member
        future : distributed.Future
            Holds what `gpuanom.cluster.worker.greeting` returned.
        """
        if member.state != "asked":
            return
        try:
            wrong = self._why_unusable(member, future.result(timeout=10))
        except ImportError as error:
            name = error.name or "gpuanom"
            other = "" if name == "gpuanom" else f" of this version (no {name})"
            wrong = f"gpuanom{other} cannot be imported there ({REINSTALL})"
        except Exception as error:
            wrong = f"it cannot answer: {printable(f'{type(error).__name__}: {error}')[:300]}"
        finally:
            future.release()
        if wrong:
            self.leave_out(member, wrong)
        else:
            member.state = "ready"
            self._debug(f"{member}: ready, exposures at a time: {member.lanes}")

    def _why_unusable(self, member: Member, answer: Mapping[str, Any]) -> str:
        """Why a worker cannot be used, by its answer to the greeting; empty when it can."""
        member.host = answer["host"]
        versions = answer["versions"]
        for name in ("gpuanom", "python"):
            if versions[name] != self._client_versions[name]:
                return f"{name} {versions[name]} there, {self._client_versions[name]} here ({REINSTALL})"
        if answer["settings"] != self._fingerprint:
            return f"it understands the settings otherwise ({REINSTALL})"
        if answer["unseen"] is not None:
            path, why = answer["unseen"]
            return f"it does not see {path}: {why} ({SHARE})"
        differs = differing(versions, self._client_versions)
        if differs and differs not in self._warned:
            self._warned.add(differs)
            self._say(f"{member}: other versions of packages, numbers may differ in their last digits: {differs}")
        return ""

    def remove(self, address: str) -> Member | None:
        """Remove a worker that has left; None if it is not on the roster."""
        self._last_left = time.monotonic()
        return self.members.pop(address, None)

    def leave_out(self, member: Member, why: str) -> None:
        """Give a worker no more exposures, and say why, once for all workers with the same reason.

        Parameters
        ----------
        member : Member
        why : str
            The reason, in words that can follow a colon.
        """
        member.state, member.why = "out", why
        if why in self._warned:
            self._debug(f"{member} is left out: {why}")
        else:
            self._warned.add(why)
            self._say(f"{member} is left out: {why}")

    def usable(self) -> list[Member]:
        """The workers that may be given exposures."""
        return [m for m in self.members.values() if m.is_usable]

    def require_workers(self) -> None:
        """End a run that has no workers, and no prospect of any.

        Raises
        ------
        ClusterError
            When all workers are left out, or none was ready for ten minutes.
        """
        now = time.monotonic()
        if self.usable():
            self._last_ready = now
            return
        out = [m for m in self.members.values() if m.state == "out"]
        # A killed worker may be about to come back, and other workers may be on their way.
        soon = now - self._last_left < RESTART or any(now - m.since < LATE for m in out)
        if out and len(out) == len(self.members) and not soon:
            more = f"; {len(out) - 1} more are left out" if len(out) > 1 else ""
            raise ClusterError(f"no worker can be used: {out[0]}: {out[0].why}{more}")
        if now - (self._last_ready or self._began) > WAITING:
            paused = next((f": {m}: {m.paused}" for m in self.members.values() if m.paused), "")
            raise ClusterError(
                f"no worker has been there for {WAITING:.0f} s at the scheduler {self._connection.address}{paused} "
                f"(what was measured is kept; {MEMORY if paused else 'start workers'} and give the same command to"
                " continue)"
            )
