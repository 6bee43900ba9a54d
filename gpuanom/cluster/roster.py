"""The workers of a run as the client knows them: who is there, who may be given work, and who is left out and why."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
"""Seconds between two looks at who is there; that one is gone is told at once."""
RESTART = 60.0
"""Seconds in which a worker that was killed may come back, before a run ends for want of others."""
AHEAD = 1
"""Exposures that wait at a worker."""
WAITING = 600.0
"""Seconds to wait for a worker where there is none."""
LATE = 10.0
"""Seconds in which more workers may join, before a run ends because all who are there are left out."""

REINSTALL = "install the same gpuanom in the environment of all workers"
SHARE = "inputs must lie on a file system that all workers share, under the same path"


@dataclass(eq=False)
class Member:
    """A worker.

    Attributes
    ----------
    address, host : str
    lanes : int
        Exposures that it takes at a time.
    nanny : bool
        Whether a process watches over it that can start it again.
    state : str
        ``asked`` (has not answered yet), ``ready``, ``hung`` or ``out``.
    why : str
        Why it is left out.
    running : bool
        Whether the scheduler lets it begin tasks; it does not while it is short of memory, or about to leave.
    missed : int
        How often in a row it was not there when we looked.
    since : float
        When it was seen first.
    sent : list
        What it is at, and last what waits there for a lane: while one answer travels, the next exposure is measured.
    """

    address: str
    lanes: int
    nanny: bool
    host: str = ""
    state: str = "asked"
    why: str = ""
    running: bool = True
    missed: int = 0
    since: float = field(default_factory=time.monotonic)
    sent: list[Any] = field(default_factory=list)

    @property
    def room(self) -> int:
        """How many exposures may be with it at a time."""
        return self.lanes + AHEAD

    def __str__(self) -> str:
        return f"worker {self.address}{f' ({self.host})' if self.host else ''}"


class Crew:
    """Who is there.

    Parameters
    ----------
    connection : Connection
    job : Job
    places : list of (bytes, int)
        Files that every worker must see.
    events : SimpleQueue
        Gets ``("greeted", Member, Future)``, ``("left", address, whether that was to be expected)`` and ``("memory",
        address)``.
    say, debug : callable
        Take a line for the user, and text for whoever asked for more.
    """

    def __init__(
        self,
        connection: Connection,
        job: Job,
        places: list[SizedFile],
        events: SimpleQueue[tuple[Any, ...]],
        say: Callable[[str], None],
        debug: Callable[[str], None],
    ) -> None:
        self._connection, self._events, self._say, self._debug = connection, events, say, debug
        self._measurement, self._fingerprint = job.settings.measurement(), job.settings.fingerprint()
        self._places = places
        self._ours = worker.versions()
        self.members: dict[str, Member] = {}
        self._looked = -AGAIN
        self._last_ready: float | None = None
        """When a worker was ready last, if any was."""
        self._last_left = -RESTART
        self._began = time.monotonic()
        self._warned: set[str] = set()

    def look(self) -> None:
        """See who is there, if that was not seen just now; whoever is new is greeted.

        Raises
        ------
        ClusterError
            When the scheduler is gone.
        """
        now = time.monotonic()
        if now - self._looked < AGAIN:
            return
        there = self._connection.workers()
        self._looked = time.monotonic()
        for address, about in there.items():
            if address not in self.members:
                self._greet(address, about)
            self.members[address].running = about["status"] == "running"
            self.members[address].missed = 0
        for address in self.members.keys() - there.keys():
            # The scheduler says so itself, and at once; but for one that left while we subscribed to that.
            self.members[address].missed += 1
            if self.members[address].missed > 1:
                self._events.put(("left", address, False))
        for member in self.members.values():
            if member.state == "asked" and now - member.since > GREETING:
                self.leave_out(member, f"it does not answer within {GREETING:.0f} s")

    def _greet(self, address: str, about: Mapping[str, Any]) -> None:
        member = self.members[address] = Member(address, int(about["nthreads"]), about["nanny"] is not None)
        self.submit(
            Call(worker.greeting, self._measurement, self._places),
            member,
            "gpuanom-greeting",
            lambda future: self._events.put(("greeted", member, future)),
        )

    def submit(self, call: Call, member: Member, name: str, done: Callable[[Any], None]) -> Any:
        """Have a worker, and no other, make a call.

        Returns
        -------
        distributed.Future
        """
        future = self._connection.client.submit(
            loads,
            call.pickled(),
            key=f"{name}-{uuid4().hex}",
            workers=[member.address],
            allow_other_workers=False,
            pure=False,
        )
        future.add_done_callback(done)
        return future

    def greeted(self, member: Member, future: Any) -> None:
        """Look at a worker's answer: it is ready, or left out."""
        if member.state != "asked":
            return
        try:
            wrong = self._wrong(member, future.result(timeout=10))
        except ImportError as error:
            name = error.name or "gpuanom"
            other = "" if name == "gpuanom" else f" of this version (no {name})"
            wrong = f"gpuanom{other} cannot be imported there ({REINSTALL})"
        except Exception as error:
            wrong = f"it cannot be asked: {printable(f'{type(error).__name__}: {error}')[:300]}"
        finally:
            future.release()
        if wrong:
            self.leave_out(member, wrong)
        else:
            member.state = "ready"
            self._debug(f"{member}: ready, exposures at a time: {member.lanes}")

    def _wrong(self, member: Member, answer: Mapping[str, Any]) -> str:
        """Why a worker cannot be used, by its greeting; empty when it can."""
        member.host = answer["host"]
        theirs = answer["versions"]
        for name in ("gpuanom", "python"):
            if theirs[name] != self._ours[name]:
                return f"{name} {theirs[name]} there, {self._ours[name]} here ({REINSTALL})"
        if answer["settings"] != self._fingerprint:
            return f"it understands the settings otherwise ({REINSTALL})"
        if answer["unseen"] is not None:
            path, why = answer["unseen"]
            return f"it does not see {path}: {why} ({SHARE})"
        differs = differing(theirs, self._ours)
        if differs and differs not in self._warned:
            self._warned.add(differs)
            self._say(f"{member}: other versions of packages, numbers may differ in their last digits: {differs}")
        return ""

    def remove(self, address: str) -> Member | None:
        """A worker has left."""
        self._last_left = time.monotonic()
        return self.members.pop(address, None)

    def leave_out(self, member: Member, why: str) -> None:
        """Give a worker nothing more to do, and say why: once for all that have the same reason."""
        member.state, member.why = "out", why
        if why in self._warned:
            self._debug(f"{member} is left out: {why}")
        else:
            self._warned.add(why)
            self._say(f"{member} is left out: {why}")

    def usable(self) -> list[Member]:
        """Who may be given work."""
        return [m for m in self.members.values() if m.state == "ready" and m.running]

    def require_hope(self) -> None:
        """Refuse to go on without workers.

        Raises
        ------
        ClusterError
            When all are left out, or none was ready for ten minutes.
        """
        now = time.monotonic()
        if self.usable():
            self._last_ready = now
            return
        out = [m for m in self.members.values() if m.state == "out"]
        # One that was killed may be about to come back, and others to come.
        soon = now - self._last_left < RESTART or any(now - m.since < LATE for m in out)
        if out and len(out) == len(self.members) and not soon:
            more = f"; {len(out) - 1} more are left out" if len(out) > 1 else ""
            raise ClusterError(f"no worker can be used: {out[0]}: {out[0].why}{more}")
        if now - (self._last_ready or self._began) > WAITING:
            raise ClusterError(
                f"no worker has been there for {WAITING:.0f} s at the scheduler {self._connection.address} "
                "(what was measured is kept; start workers, and the same command goes on)"
            )
