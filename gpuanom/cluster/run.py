"""A night measured by workers: which worker gets which exposure, what is tried again, and what is given up.

Each exposure is sent to a worker that is chosen here, and a worker gets no more calls than it can make at the same
time and one that waits. A call is one exposure, or a few small ones (`gpuanom.cluster.call_sizes`). So it is known
which exposures are lost when a worker dies, and when one has taken too long. Dask carries the calls, watches over the
workers and shows them on its dashboard.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pickle import dumps
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from distributed import KilledWorker, fire_and_forget

from gpuanom.cluster import worker
from gpuanom.cluster.answers import as_given, failed, is_measured, on_workers, short_of_memory, sized_files
from gpuanom.cluster.assignment import Assignment, Attempt, begin, has_suspect, send_again, to_move
from gpuanom.cluster.call_sizes import CallSizes, size
from gpuanom.cluster.choice import ClusterChoice, local_devices, require_dask
from gpuanom.cluster.connect import Connection, quiet
from gpuanom.cluster.fetch import Fetch
from gpuanom.cluster.job import Answer, Broken, Call, Job, SizedFile, Unseen
from gpuanom.cluster.local import LocalCluster
from gpuanom.cluster.roster import LATE, Member, Roster
from gpuanom.errors import printable
from gpuanom.measuring.threads import WORKERS
from gpuanom.records import Exposure, Failure, Measurement
from gpuanom.system import cores

TRIES = 3
"""How often an exposure is tried before it has failed."""
TICK = 0.5
"""Seconds between two looks for exposures that have taken too long."""

Outcome = tuple[Exposure, Measurement | Failure, float]


class Cluster:
    """The workers of a run, to be used in a ``with`` statement like `gpuanom.measuring.threads.Threads`.

    Parameters
    ----------
    job : Job
        What the workers are to do.
    choice : ClusterChoice
        The scheduler, or the number of workers on this machine.
    say, debug : callable
        Take a line for the user, and text that only ``--verbose`` shows.
    verbose : bool, optional
        Whether workers of this machine show Dask's messages.

    Raises
    ------
    ClusterError
        When the scheduler cannot be reached, or the workers cannot be started.
    """

    def __init__(
        self,
        job: Job,
        choice: ClusterChoice,
        say: Callable[[str], None],
        debug: Callable[[str], None],
        verbose: bool = False,
    ) -> None:
        require_dask(choice)
        self._job, self._choice, self._say, self._debug, self._verbose = job, choice, say, debug, verbose
        self._run = uuid4().hex
        self._events: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self._again: list[Attempt] = []
        self._assignments: set[Assignment] = set()
        self._over_memory: set[str] = set()
        self._arrived: deque[tuple[Any, ...]] = deque()
        self._unsettled = True
        """Whether more has happened than that exposures were measured: all workers are then looked at."""
        self._looked = 0.0
        self._packed_job = b""
        self._sizes, self._room = CallSizes(choice.timeout), 1
        self._settings = job.settings.fingerprint()
        self._model = "" if job.model is None else job.model.fingerprint

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(quiet(self._debug))
            scheduler = self._choice.scheduler
            if self._choice.workers is not None:
                scheduler = stack.enter_context(self._local(self._choice.workers)).address
            assert scheduler is not None
            self._connection = Connection(scheduler)
            stack.callback(self._connection.close)
            self._say(f"cluster: {self._connection.about()}")
            if differs := self._connection.differences():
                self._say(f"cluster: other versions at the scheduler: {differs}")
            stack.enter_context(self._connection.report(self._choice.report, self._say))
            self._stack = stack.pop_all()
        return self

    def _local(self, workers: int) -> LocalCluster:
        devices = local_devices(workers, self._job.device)
        threads = self._job.threads or min(WORKERS, max(1, cores() // workers))
        if devices != "cpu":
            # One more exposure than a GPU has lanes, so that no lane waits for a file to be opened.
            threads = 3
        # Each worker sees one GPU only, as device 0.
        self._job = replace(self._job, device="cpu" if devices == "cpu" else "0")
        return LocalCluster(workers, threads, devices, self._verbose)

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def is_behind(self) -> bool:
        """Whether measurements are here already that the run has not taken yet."""
        self._receive()
        return any(
            event[0] == "done" and event[1] in self._assignments and any(is_measured(a) for a in event[2] or ())
            for event in self._arrived
        )

    def measured(self, exposures: Sequence[Exposure]) -> Iterator[Outcome]:
        """Measure exposures, on all workers at the same time.

        Parameters
        ----------
        exposures : sequence of Exposure

        Yields
        ------
        Exposure, Measurement or Failure, float
            Each exposure as soon as it is done, with the seconds that the worker needed.

        Raises
        ------
        ClusterError
            When the scheduler has gone, or no worker can be used.
        """
        files = sized_files(exposures[0]) + ([] if self._job.model is None else [self._job.model.sized_file])
        roster = Roster(self._connection, self._job, files, self._events, self._say, self._debug)
        self._connection.subscribe(self._run, self._events)
        self._packed_job = dumps(self._job, protocol=5)
        self._new = deque(exposures)
        try:
            with Fetch(self._connection.results, self._events) as self._fetch:
                while self._new or self._again or self._assignments:
                    self._unsettled |= roster.look()
                    yield from self._unseen_anywhere(roster)
                    if self._unsettled or not self._new:
                        self._assign(roster)
                    if not self._assignments:
                        roster.require_workers()
                    self._wait()
                    for _ in range(len(self._arrived)):
                        yield from self._handle(roster, self._arrived.popleft())
                    yield from self._overdue()
            self._goodbye(roster)
        finally:
            for member in roster.members.values():
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

    def _assign(self, roster: Roster) -> None:
        """Look at all workers, and give exposures to those that have room."""
        self._unsettled = False
        self._room = sum(member.room for member in roster.usable())
        free = send_again(self._again, roster.usable(), partial(self._send_one, roster))
        while self._new and (member := next(free, None)) is not None:
            self._send_new(roster, member)
        if not self._new and not self._again:
            self._take_back(to_move(roster.usable()))

    def _assign_next(self, roster: Roster, member: Member) -> None:
        """Give a worker that has answered its next exposure: all other workers have as many as they can take."""
        if self._again or not member.is_usable or has_suspect(member):
            self._unsettled = True
        while self._new and not self._unsettled and len(member.assignments) < member.room:
            self._send_new(roster, member)

    def _send_new(self, roster: Roster, member: Member) -> None:
        taken = self._sizes.take(self._new, self._room)
        self._send(roster, [(Attempt(exposure), files) for exposure, files in taken], member)

    def _send_one(self, roster: Roster, attempt: Attempt, member: Member) -> None:
        """Send an exposure again, by itself: nothing but that exposure can hold up this call."""
        self._send(roster, [(attempt, sized_files(attempt.exposure))], member)

    def _send(self, roster: Roster, sent: Sequence[tuple[Attempt, list[SizedFile]]], member: Member) -> None:
        assignment = Assignment([attempt for attempt, _ in sent], member, sum(size(files) for _, files in sent))
        parts = [(on_workers(attempt.exposure), files) for attempt, files in sent]
        call = Call(worker.measured, self._run, self._packed_job, assignment.name, parts, self._sizes.span)
        self._assignments.add(assignment)
        member.assignments.append(assignment)
        begin(member)
        assignment.future = roster.submit(call, member, "gpuanom-exposure", partial(self._done, assignment))

    def _done(self, assignment: Assignment, future: Any) -> None:
        self._fetch.ask(assignment, future)

    def _handle(self, roster: Roster, event: tuple[Any, ...]) -> Iterator[Outcome]:
        """Act on an event, and yield the exposures that are done with it."""
        self._unsettled |= event[0] != "done"
        match event:
            case ("greeted", member, future):
                if future.status == "cancelled" and member.address in roster.members:
                    raise self._connection.lost()
                roster.greeted(member, future)
            case ("memory", address):
                self._over_memory.add(address)
            case ("left", address, expected):
                yield from self._worker_left(roster, address, expected)
            case ("under way", name, number, seconds):
                for assignment in (each for each in self._assignments if each.name == name):
                    assignment.under_way, assignment.since = number, time.monotonic() - seconds
            case ("done", assignment, answers):
                if assignment in self._assignments:
                    answers = self._no_answers(assignment) if answers is None else answers
                    if answers is not None:
                        yield from self._answered(roster, assignment, answers)
                elif assignment.given_up:
                    self._late(assignment)

    def _answered(self, roster: Roster, assignment: Assignment, answers: Sequence[Answer]) -> Iterator[Outcome]:
        """Yield the exposures that a call has measured; the others are sent again, each in a call of its own."""
        attempts, member = assignment.attempts, assignment.member
        self._forget(assignment)
        self._sizes.note(assignment.size * len(answers) / len(attempts), answers)
        self._again[:0] = attempts[len(answers) :]
        self._unsettled |= len(answers) < len(attempts) or not all(is_measured(answer) for answer in answers)
        if not self._unsettled:
            self._assign_next(roster, member)
        for attempt, answer in zip(attempts, answers, strict=False):
            yield from self._outcome(roster, attempt, member, answer)

    def _outcome(self, roster: Roster, attempt: Attempt, member: Member, answer: Answer) -> Iterator[Outcome]:
        for text in answer.debug:
            self._debug(text)
        result = answer.result
        if isinstance(result, Broken):
            roster.leave_out(member, result.why)
            self._again.insert(0, attempt)
        elif isinstance(result, Unseen):
            if not attempt.blind:
                self._say(f"{member} does not see {result.path}: {result.why}; other workers are asked")
            attempt.blind.add(member.address)
            attempt.unseen, attempt.refused = result, time.monotonic()
            self._again.insert(0, attempt)
        elif short_of_memory(result) and (isinstance(result, Failure) or len(attempt.troubles) + 1 < TRIES):
            # After the last try, an exposure of which some CCDs could be measured is kept with these CCDs.
            yield from self._trouble(attempt, member, "out_of_memory", "memory did not suffice", alone=True)
        else:
            yield attempt.exposure, as_given(result, attempt.exposure, self._settings, self._model), answer.seconds

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

    def _worker_left(self, roster: Roster, address: str, expected: bool) -> Iterator[Outcome]:
        """Try the exposures of a worker that has left on other workers."""
        member = roster.remove(address)
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
                self._again[:0] = assignment.attempts  # the exposures are not to blame
                continue
            status, text = (
                ("out_of_memory", "it was stopped for its use of memory") if over_memory else ("worker_died", "it died")
            )
            self._again[:0] = assignment.others
            for attempt in assignment.suspects:
                yield from self._trouble(attempt, member, status, text, alone=True)

    def _overdue(self) -> Iterator[Outcome]:
        """Give up exposures that have taken too long; their workers get no more, and are restarted where possible."""
        now = time.monotonic()
        if now - self._looked < TICK:
            return
        self._looked = now
        limit = now - self._choice.timeout
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
            text = f"no answer within {self._choice.timeout:g} s"
            self._again[:0] = assignment.others
            for attempt in assignment.suspects:
                yield from self._trouble(attempt, member, "timed_out", text, alone=False)

    def _take_back(self, waiting: Sequence[Assignment]) -> None:
        """Take back exposures that wait at a worker, for other workers."""
        for assignment in waiting:
            self._forget(assignment)
            self._again += assignment.attempts

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

    def _trouble(self, attempt: Attempt, member: Member, status: str, text: str, *, alone: bool) -> Iterator[Outcome]:
        """Note a failed try: the exposure is tried again, or has failed."""
        attempt.troubles.append(f"{member}: {text}")
        attempt.avoid.add(member.address)
        attempt.alone = attempt.alone or alone
        exposure, n = attempt.exposure, len(attempt.troubles)
        if n >= TRIES:
            reason = f"tried {n} times; " + "; ".join(attempt.troubles)
            yield exposure, failed(exposure, status, reason), 0.0
            return
        self._say(f"exposure {exposure.exposure}: {attempt.troubles[-1]}; tried again ({n + 1} of {TRIES})")
        self._again.append(attempt)

    def _unseen_anywhere(self, roster: Roster) -> Iterator[Outcome]:
        """Give up exposures whose files no worker sees, once all workers were asked and no more have come."""
        if not any(attempt.unseen for attempt in self._again):
            return
        ready = {m.address for m in roster.members.values() if m.state in ("asked", "ready")}
        limit = time.monotonic() - LATE
        for attempt in list(self._again):
            if attempt.unseen is None or attempt.refused > limit or not ready or not ready <= attempt.blind:
                continue
            self._again.remove(attempt)
            reason = f"no worker sees {attempt.unseen.path}: {attempt.unseen.why} (is it on a shared file system?)"
            yield attempt.exposure, failed(attempt.exposure, "unreadable", reason), 0.0

    def _forget(self, assignment: Assignment) -> None:
        self._assignments.discard(assignment)
        assignment.member.assignments.remove(assignment)
        begin(assignment.member)
        assignment.future.release()

    def _goodbye(self, roster: Roster) -> None:
        """Let the workers free what they hold for this run, without waiting for them."""
        for member in roster.usable():
            fire_and_forget(
                roster.submit(Call(worker.end_run, self._run), member, "gpuanom-goodbye", lambda _future: None)
            )
