"""A run on workers: exposures are sent to workers, their answers are taken, and the time of each is watched.

Each exposure is sent to a worker that is chosen here, and a worker gets no more calls than it can make at the same
time and one that waits. A call is one exposure, or a few small ones (`gpuanom.cluster.call_sizes`). So it is known
which exposures are lost when a worker dies, and when one has taken too long. Dask carries the calls, watches over the
workers and shows them on its dashboard.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pickle import dumps
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any
from uuid import uuid4

from distributed import KilledWorker, fire_and_forget

from gpuanom.cluster import worker
from gpuanom.cluster.answers import failed, is_measured, sized_files, with_absolute_paths
from gpuanom.cluster.assignment import Assignment, Attempt, has_suspect, send_again, start_clocks, to_move
from gpuanom.cluster.call_sizes import CallSizes, size
from gpuanom.cluster.connect import Connection
from gpuanom.cluster.fetch import Fetch
from gpuanom.cluster.job import Answer, Call, Job, SizedFile
from gpuanom.cluster.roster import Member, Roster
from gpuanom.cluster.tries import Outcome, Tries
from gpuanom.errors import printable
from gpuanom.records import Exposure

TICK = 0.5
"""Seconds between two looks for exposures that have taken too long."""


class Dispatch:
    """Sends the exposures of a run to workers, and takes the answers.

    Parameters
    ----------
    connection : Connection
        To the scheduler.
    job : Job
        What the workers are to do.
    exposures : sequence of Exposure
        At least one.
    timeout : float
        Seconds that an exposure may take on a worker.
    say, debug : callable
        Take a line for the user, and text that only ``--verbose`` shows.
    """

    def __init__(
        self,
        connection: Connection,
        job: Job,
        exposures: Sequence[Exposure],
        timeout: float,
        say: Callable[[str], None],
        debug: Callable[[str], None],
    ) -> None:
        self._connection, self._timeout, self._debug = connection, timeout, debug
        self._run, self._packed_job = uuid4().hex, dumps(job, protocol=5)
        self._events: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self._arrived: deque[tuple[Any, ...]] = deque()
        """Events that were taken from the queue, and have not been acted on."""
        files = sized_files(exposures[0]) + ([] if job.model is None else [job.model.sized_file])
        self._roster = Roster(connection, job, files, self._events, say, debug)
        self._tries = Tries(job, self._roster, say)
        self._fetch = Fetch(connection.results, self._events)
        self._sizes, self._room = CallSizes(timeout), 1
        self._new = deque(exposures)
        """Exposures that no worker has got."""
        self._assignments: set[Assignment] = set()
        """Calls whose answers are waited for."""
        self._over_memory: set[str] = set()
        """Addresses of workers that were stopped for their use of memory."""
        self._unsettled = True
        """Whether more has happened than that exposures were measured: all workers are then looked at."""
        self._looked = 0.0
        """When it was last looked for calls that take too long, in seconds of the monotonic clock."""

    def is_behind(self) -> bool:
        """Whether measurements are here already that the run has not taken yet."""
        self._receive()
        return any(
            event[0] == "done" and event[1] in self._assignments and any(is_measured(a) for a in event[2] or ())
            for event in self._arrived
        )

    def outcomes(self) -> Iterator[Outcome]:
        """Measure the exposures, on all workers at the same time.

        Yields
        ------
        Exposure, Measurement or Failure, float
            Each exposure as soon as it is done, with the seconds that the worker needed.

        Raises
        ------
        ClusterError
            When the scheduler has gone, or no worker can be used.
        """
        self._connection.subscribe(self._run, self._events)
        try:
            with self._fetch:
                while self._new or self._tries.again or self._assignments:
                    self._unsettled |= self._roster.look()
                    self._tries.give_up_unseen()
                    yield from self._tries.done()
                    if self._unsettled or not self._new:
                        self._assign()
                    if not self._assignments:
                        self._roster.require_workers()
                    self._wait()
                    for _ in range(len(self._arrived)):
                        self._handle(self._arrived.popleft())
                        yield from self._tries.done()
                    self._end_overdue()
                    yield from self._tries.done()
            self._goodbye()
        finally:
            for member in self._roster.members.values():
                for assignment in member.assignments:
                    assignment.future.release()

    def _wait(self) -> None:
        """Take all events so far; waits up to `TICK` seconds for the first."""
        if not self._arrived:
            with suppress(Empty):
                self._arrived.append(self._events.get(timeout=TICK))
        self._receive()

    def _receive(self) -> None:
        with suppress(Empty):
            while True:
                self._arrived.append(self._events.get_nowait())

    def _assign(self) -> None:
        """Look at all workers, and give exposures to those that have room."""
        self._unsettled = False
        self._room = sum(member.room for member in self._roster.usable())
        free = send_again(self._tries.again, self._roster.usable(), self._send_one)
        while self._new and (member := next(free, None)) is not None:
            self._send_new(member)
        if not self._new and not self._tries.again:
            self._take_back(to_move(self._roster.usable()))

    def _assign_next(self, member: Member) -> None:
        """Give a worker that has answered its next exposure: all other workers have as many as they can take."""
        if self._tries.again or not member.is_usable or has_suspect(member):
            self._unsettled = True
        while self._new and not self._unsettled and len(member.assignments) < member.room:
            self._send_new(member)

    def _send_new(self, member: Member) -> None:
        taken = self._sizes.take(self._new, self._room)
        self._send([(Attempt(exposure), files) for exposure, files in taken], member)

    def _send_one(self, attempt: Attempt, member: Member) -> None:
        """Send an exposure again, by itself: nothing but that exposure can hold up this call."""
        self._send([(attempt, sized_files(attempt.exposure))], member)

    def _send(self, sent: Sequence[tuple[Attempt, list[SizedFile]]], member: Member) -> None:
        assignment = Assignment([attempt for attempt, _ in sent], member, sum(size(files) for _, files in sent))
        parts = [(with_absolute_paths(attempt.exposure), files) for attempt, files in sent]
        call = Call(worker.measured, self._run, self._packed_job, assignment.name, parts, self._sizes.span)
        self._assignments.add(assignment)
        member.assignments.append(assignment)
        start_clocks(member)
        assignment.future = self._roster.submit(call, member, "gpuanom-exposure", partial(self._fetch.ask, assignment))

    def _handle(self, event: tuple[Any, ...]) -> None:
        """Act on an event; `Roster`, `Connection.subscribe` and `Fetch` tell what their events hold."""
        self._unsettled |= event[0] != "done"
        match event:
            case ("greeted", member, future):
                if future.status == "cancelled" and member.address in self._roster.members:
                    raise self._connection.lost()
                self._roster.greeted(member, future)
            case ("memory", address):
                self._over_memory.add(address)
            case ("left", address, expected):
                self._worker_left(address, expected)
            case ("under way", name, number, seconds):
                for assignment in (each for each in self._assignments if each.name == name):
                    assignment.under_way, assignment.since = number, time.monotonic() - seconds
            case ("done", assignment, answers):
                if assignment in self._assignments:
                    answers = self._no_answers(assignment) if answers is None else answers
                    if answers is not None:
                        self._answered(assignment, answers)
                elif assignment.given_up:
                    self._late(assignment)

    def _answered(self, assignment: Assignment, answers: Sequence[Answer]) -> None:
        """Act on the answers to a call; exposures without an answer are sent again, each in a call of its own."""
        attempts, member = assignment.attempts, assignment.member
        self._forget(assignment)
        self._sizes.note(assignment.size * len(answers) / len(attempts), answers)
        self._tries.repeat(attempts[len(answers) :])
        self._unsettled |= len(answers) < len(attempts) or not all(is_measured(answer) for answer in answers)
        if not self._unsettled:
            self._assign_next(member)
        for attempt, answer in zip(attempts, answers, strict=False):
            for text in answer.debug:
                self._debug(text)
            self._tries.answered(attempt, member, answer)

    def _no_answers(self, assignment: Assignment) -> list[Answer] | None:
        """What is known where no answers came; None when they were lost as the worker ended: another event tells."""
        if assignment.future.status == "cancelled":
            raise self._connection.lost()
        try:
            answers: list[Answer] = assignment.future.result(timeout=10)
        except (KilledWorker, TimeoutError):
            return None
        except Exception as error:
            if self._connection.client.status != "running":
                raise self._connection.lost() from None
            if len(assignment.attempts) > 1:
                return []  # each is sent again by itself, and the error is then that exposure's own
            text = printable(f"{type(error).__name__}: {error}")
            return [Answer(failed(assignment.attempts[0].exposure, "failed", text))]
        return answers

    def _worker_left(self, address: str, expected: bool) -> None:
        """Try the exposures of a worker that has left on other workers."""
        member = self._roster.remove(address)
        over_memory = address in self._over_memory
        self._over_memory.discard(address)
        if member is None:
            return
        # Exposures that waited count, too: the worker may have begun them before its last answer reached us.
        for assignment in list(member.assignments):
            self._forget(assignment)
            if assignment.given_up:
                continue
            if not over_memory and (expected or member.state == "hung"):
                self._tries.repeat(assignment.attempts)  # the exposures are not to blame
                continue
            status, text = (
                ("out_of_memory", "it was stopped for its use of memory") if over_memory else ("worker_died", "it died")
            )
            self._tries.repeat(assignment.others)
            for attempt in assignment.suspects:
                self._tries.trouble(attempt, member, status, text, alone=True)

    def _end_overdue(self) -> None:
        """Give up exposures that have taken too long; their workers get no more, and are restarted where possible."""
        now = time.monotonic()
        if now - self._looked < TICK:
            return
        self._looked = now
        limit = now - self._timeout
        for assignment in [s for s in self._assignments if s.since is not None and s.since < limit]:
            assignment.given_up = self._unsettled = True
            self._assignments.discard(assignment)
            member = assignment.member
            if member.state == "ready":
                member.state = "hung"
                self._take_back([other for other in member.assignments if other.since is None])
                if member.nanny:
                    Thread(target=self._restart, args=(member.address,), daemon=True).start()
            if member.nanny:
                assignment.future.release()
            text = f"no answer within {self._timeout:g} s"
            self._tries.repeat(assignment.others)
            for attempt in assignment.suspects:
                self._tries.trouble(attempt, member, "timed_out", text, alone=False)

    def _take_back(self, waiting: Sequence[Assignment]) -> None:
        """Take back exposures that wait at a worker, for other workers."""
        for assignment in waiting:
            self._forget(assignment)
            self._tries.again += assignment.attempts

    def _late(self, assignment: Assignment) -> None:
        """Use a worker again that did answer, too late; one with a nanny is being restarted already."""
        member = assignment.member
        if member.nanny:
            return
        self._forget(assignment)
        self._unsettled = True
        if member.state == "hung" and not any(other.given_up for other in member.assignments):
            member.state = "ready"

    def _restart(self, address: str) -> None:
        try:
            self._connection.client.restart_workers([address], timeout=60, raise_for_error=False)
        except Exception as error:  # the worker stays out, like one without a nanny
            self._debug(f"worker {address} cannot be restarted: {error}")

    def _forget(self, assignment: Assignment) -> None:
        self._assignments.discard(assignment)
        assignment.member.assignments.remove(assignment)
        start_clocks(assignment.member)
        assignment.future.release()

    def _goodbye(self) -> None:
        """Let the workers free what they hold for this run, without waiting for them."""
        for member in self._roster.usable():
            fire_and_forget(
                self._roster.submit(Call(worker.end_run, self._run), member, "gpuanom-goodbye", lambda _future: None)
            )
