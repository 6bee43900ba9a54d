"""What becomes of each exposure: measured, tried again on another worker, or given up."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from gpuanom.cluster.answers import failed, short_of_memory, with_given_names
from gpuanom.cluster.assignment import Attempt
from gpuanom.cluster.job import Answer, Broken, Job, Unseen
from gpuanom.cluster.roster import LATE, Member, Roster
from gpuanom.records import Exposure, Failure, Measurement

TRIES = 3
"""How often an exposure is tried before it has failed."""

Outcome = tuple[Exposure, Measurement | Failure, float]
"""An exposure that is done, and the seconds that the worker needed."""


class Tries:
    """The exposures that must be tried again, and those that are done.

    Parameters
    ----------
    job : Job
        What the workers are to do.
    roster : Roster
        The workers of the run.
    say : callable
        Takes a line for the user.

    Attributes
    ----------
    again : list of Attempt
        The exposures that must be tried again, in order.
    """

    def __init__(self, job: Job, roster: Roster, say: Callable[[str], None]) -> None:
        self._roster, self._say = roster, say
        self._settings = job.settings.fingerprint()
        self._model = "" if job.model is None else job.model.fingerprint
        self.again: list[Attempt] = []
        self._done: deque[Outcome] = deque()

    def done(self) -> Iterator[Outcome]:
        """Yield the exposures that are done, each once."""
        while self._done:
            yield self._done.popleft()

    def repeat(self, attempts: Sequence[Attempt]) -> None:
        """Try exposures again before all others: they are not to blame for what has happened."""
        self.again[:0] = attempts

    def answered(self, attempt: Attempt, member: Member, answer: Answer) -> None:
        """Act on a worker's answer about an exposure.

        Parameters
        ----------
        attempt : Attempt
        member : Member
            The worker.
        answer : Answer
        """
        exposure, result = attempt.exposure, answer.result
        if isinstance(result, Broken):
            self._roster.leave_out(member, result.why)
            self.repeat([attempt])
        elif isinstance(result, Unseen):
            if not attempt.blind:
                self._say(f"{member} does not see {result.path}: {result.why}; other workers are asked")
            attempt.blind.add(member.address)
            attempt.unseen, attempt.refused = result, time.monotonic()
            self.repeat([attempt])
        elif short_of_memory(result) and (isinstance(result, Failure) or len(attempt.troubles) + 1 < TRIES):
            # After the last try, an exposure of which some CCDs could be measured is kept with these CCDs.
            self.trouble(attempt, member, "out_of_memory", "memory did not suffice", alone=True)
        else:
            self._done.append(
                (exposure, with_given_names(result, exposure, self._settings, self._model), answer.seconds)
            )

    def trouble(self, attempt: Attempt, member: Member, status: str, text: str, *, alone: bool) -> None:
        """Note a failed try: the exposure is tried again after those that wait already, or has failed.

        Parameters
        ----------
        attempt : Attempt
        member : Member
            The worker on which it was tried.
        status, text : str
            What went wrong, in a word for the tables and for messages.
        alone : bool
            Whether the exposure may have killed the worker.
        """
        attempt.troubles.append(f"{member}: {text}")
        attempt.avoid.add(member.address)
        attempt.alone = attempt.alone or alone
        n = len(attempt.troubles)
        if n >= TRIES:
            self._give_up(attempt, status, f"tried {n} times; " + "; ".join(attempt.troubles))
            return
        self._say(f"exposure {attempt.exposure.exposure}: {attempt.troubles[-1]}; tried again ({n + 1} of {TRIES})")
        self.again.append(attempt)

    def give_up_unseen(self) -> None:
        """Give up exposures whose files no worker sees, once all workers were asked and no more have come."""
        if not any(attempt.unseen for attempt in self.again):
            return
        ready = {m.address for m in self._roster.members.values() if m.state in ("asked", "ready")}
        limit = time.monotonic() - LATE
        for attempt in list(self.again):
            if attempt.unseen is None or attempt.refused > limit or not ready or not ready <= attempt.blind:
                continue
            self.again.remove(attempt)
            reason = f"no worker sees {attempt.unseen.path}: {attempt.unseen.why} (is it on a shared file system?)"
            self._give_up(attempt, "unreadable", reason)

    def _give_up(self, attempt: Attempt, status: str, reason: str) -> None:
        self._done.append((attempt.exposure, failed(attempt.exposure, status, reason), 0.0))
