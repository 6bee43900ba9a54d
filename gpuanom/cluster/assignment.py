"""Which worker gets which exposure: what is tried again first, alone where it may have killed a worker."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpuanom.cluster.job import Unseen
from gpuanom.cluster.roster import Member
from gpuanom.records import Exposure


@dataclass(eq=False)
class Attempt:
    """An exposure that is not done.

    Attributes
    ----------
    exposure : Exposure
    troubles : list of str
        What came of each try that counts.
    avoid : set of str
        Addresses of workers where it went wrong.
    blind : set of str
        Addresses of workers that do not see its files.
    alone : bool
        Whether it may have killed a worker: it takes no other exposure along any more.
    unseen : Unseen or None
        Which file was not seen.
    refused : float
        When that was told last, by the monotonic clock.
    """

    exposure: Exposure
    troubles: list[str] = field(default_factory=list)
    avoid: set[str] = field(default_factory=set)
    blind: set[str] = field(default_factory=set)
    alone: bool = False
    unseen: Unseen | None = None
    refused: float = 0.0


@dataclass(eq=False)
class Sent:
    """An exposure at a worker.

    Attributes
    ----------
    attempt : Attempt
    member : Member
    since : float or None
        When its turn came, by the monotonic clock; None while it waits for a lane.
    future : distributed.Future
        Its answer.
    given_up : bool
        Whether nobody waits for that any more.
    """

    attempt: Attempt
    member: Member
    since: float | None = None
    future: Any = None
    given_up: bool = False


def begin(member: Member) -> None:
    """Note whose turn it is at a worker: its clock runs from now."""
    for sent in member.sent[: member.lanes]:
        sent.since = time.monotonic() if sent.since is None else sent.since


Send = Callable[[Attempt, Member], None]
"""Sends an exposure to a worker, whose `sent` it joins."""


def send_again(again: list[Attempt], usable: Sequence[Member], send: Send) -> Iterator[Member]:
    """Send what must be tried again, as far as workers are free; then say who has room for new exposures.

    Parameters
    ----------
    again : list of Attempt
        In order; what is sent is taken out.
    usable : sequence of Member
    send : callable

    Yields
    ------
    Member
        Who takes the next new exposure, if the last one was sent.
    """
    closed = {m for m in usable if any(sent.attempt.alone for sent in m.sent)}
    for attempt in list(again):
        seeing = [m for m in usable if m.address not in attempt.blind and m not in closed]
        # Elsewhere, if there is an elsewhere.
        fit = [m for m in seeing if m.address not in attempt.avoid] or seeing
        if not fit:
            continue
        member = min(fit, key=load)
        if attempt.alone:
            closed.add(member)  # it gets nothing else, before until it is idle, then until this is done
        if len(member.sent) < (1 if attempt.alone else member.room):
            again.remove(attempt)
            send(attempt, member)
    return _free([m for m in usable if m not in closed])


def to_move(usable: Sequence[Member]) -> list[Sent]:
    """What waits at busy workers while others are idle, as much as those can take at once."""
    idle = sum(max(0, m.lanes - len(m.sent)) for m in usable)
    waiting = [sent for m in usable for sent in m.sent if sent.since is None]
    return waiting[:idle]


def _free(members: Sequence[Member]) -> Iterator[Member]:
    while members:
        member = min(members, key=load)
        if len(member.sent) >= member.room:
            return
        yield member


def load(member: Member) -> tuple[float, str]:
    """Sort key of workers: how busy they are."""
    return len(member.sent) / member.lanes, member.address
