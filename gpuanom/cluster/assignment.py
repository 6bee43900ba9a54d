"""Which worker gets which exposure.

Exposures that must be tried again come first; one that may have killed a worker is then measured alone there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from typing import Any
from uuid import uuid4

from gpuanom.cluster.job import Unseen
from gpuanom.cluster.roster import Member
from gpuanom.records import Exposure


@dataclass(eq=False)
class Attempt:
    """An exposure that is not measured yet, with what came of the tries so far.

    Attributes
    ----------
    exposure : Exposure
    troubles : list of str
        Why each try failed.
    avoid : set of str
        Addresses of the workers where a try failed.
    blind : set of str
        Addresses of the workers that do not see the exposure's files.
    alone : bool
        Whether the exposure may have killed a worker: it is then measured while the worker has no other exposure, so
        that no other is lost with it.
    unseen : Unseen or None
        The file that a worker did not see.
    refused : float
        When a worker last told that it does not see a file, in seconds of the monotonic clock.
    """

    exposure: Exposure
    troubles: list[str] = field(default_factory=list)
    avoid: set[str] = field(default_factory=set)
    blind: set[str] = field(default_factory=set)
    alone: bool = False
    unseen: Unseen | None = None
    refused: float = 0.0


@dataclass(eq=False)
class Assignment:
    """A call that was sent to a worker: one exposure, or several small ones that the worker measures one by one.

    Attributes
    ----------
    attempts : list of Attempt
        The exposures of the call, in order.
    member : Member
        The worker.
    size : int
        Bytes of all files of the exposures.
    since : float or None
        When the worker could begin, in seconds of the monotonic clock; None while the call waits for a lane.
    future : distributed.Future
        The worker's answers.
    given_up : bool
        Whether the answers came too late, and are not waited for any more.
    under_way : int or None
        Which of several exposures holds up the call, once the worker has told that: the exposures before are measured,
        and those after are not begun.
    name : str
        What the worker calls the call when it tells of it.
    """

    attempts: list[Attempt]
    member: Member
    size: int = 0
    since: float | None = None
    future: Any = None
    given_up: bool = False
    under_way: int | None = None
    name: str = field(default_factory=lambda: uuid4().hex)

    @property
    def suspects(self) -> list[Attempt]:
        """The exposures that the worker may have been measuring when it was last heard of."""
        return self.attempts if self.under_way is None else [self.attempts[self.under_way]]

    @property
    def others(self) -> list[Attempt]:
        """The exposures that the worker has certainly measured, or has certainly not begun."""
        suspects = self.suspects
        return [attempt for attempt in self.attempts if attempt not in suspects]


def start_clocks(member: Member) -> None:
    """Start the clocks of the calls that a worker can begin now: as many as it has lanes."""
    for assignment in member.assignments[: member.lanes]:
        assignment.since = time.monotonic() if assignment.since is None else assignment.since


Send = Callable[[Attempt, Member], None]
"""Sends an exposure to a worker, and adds it to the worker's `assignments`."""


def send_again(again: list[Attempt], usable: Sequence[Member], send: Send) -> Iterator[Member]:
    """Send the exposures that must be tried again to free workers, then yield workers with room for new exposures.

    Parameters
    ----------
    again : list of Attempt
        Exposures to try again, in order; those that are sent are removed.
    usable : sequence of Member
        Workers that may get exposures.
    send : callable
        Sends an exposure to a worker.

    Yields
    ------
    Member
        The worker for the next new exposure. The caller sends that exposure before it asks for the next worker.
    """
    closed = {m for m in usable if has_suspect(m)}
    for attempt in list(again):
        seeing = [m for m in usable if m.address not in attempt.blind and m not in closed]
        # A worker where no try failed is better, if there is one.
        fit = [m for m in seeing if m.address not in attempt.avoid] or seeing
        if not fit:
            continue
        member = min(fit, key=load)
        if attempt.alone:
            closed.add(member)  # no other exposure, neither before the worker is idle nor until this one is done
        if len(member.assignments) < (1 if attempt.alone else member.room):
            again.remove(attempt)
            send(attempt, member)
    return _free([m for m in usable if m not in closed])


def to_move(usable: Sequence[Member]) -> list[Assignment]:
    """Calls that wait at busy workers and that idle workers could begin at once."""
    idle = sum(max(0, m.lanes - len(m.assignments)) for m in usable)
    waiting = [assignment for m in usable for assignment in m.assignments if assignment.since is None]
    return waiting[:idle]


def has_suspect(member: Member) -> bool:
    """Whether a worker has an exposure that must be alone there."""
    return any(attempt.alone for assignment in member.assignments for attempt in assignment.attempts)


def _free(members: Sequence[Member]) -> Iterator[Member]:
    # A heap: the next worker is found without looking at all workers again.
    heap = [(*load(m), i, m) for i, m in enumerate(members) if len(m.assignments) < m.room]
    heapify(heap)
    while heap:
        *_, i, member = heap[0]
        yield member
        if len(member.assignments) < member.room:
            heapreplace(heap, (*load(member), i, member))
        else:
            heappop(heap)


def load(member: Member) -> tuple[float, str]:
    """Sort key of workers: how busy they are, then their address."""
    return len(member.assignments) / member.lanes, member.address
