"""A night measured by workers: which worker gets which exposure, what is tried again, and what is given up.

Each exposure is sent to a worker that is chosen here, and a worker gets no more exposures than it can measure at the
same time and one that waits. So it is known exactly which exposures are lost when a worker dies, and when one has
taken too long. Dask carries the calls, watches over the workers and shows them on its dashboard.
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
from gpuanom.cluster.answers import as_given, on_workers, sized_files
from gpuanom.cluster.assignment import Assignment, Attempt, begin, has_suspect, send_again, to_move
from gpuanom.cluster.connect import Connection, quiet
from gpuanom.cluster.fetch import Fetch
from gpuanom.cluster.job import Answer, Broken, Call, Job, Unseen
from gpuanom.cluster.local import LocalCluster
from gpuanom.cluster.roster import LATE, Member, Roster
from gpuanom.cluster.where import Where, cores, local_devices, require_dask
from gpuanom.errors import printable
from gpuanom.measuring.threads import WORKERS
from gpuanom.naming import path_text
from gpuanom.records import Exposure, Failure, Measurement

TRIES = 3
"""How often an exposure is tried before it has failed."""
TICK = 0.5
"""Seconds between two looks for exposures that have taken too long."""

Outcome = tuple[Exposure, Measurement | Failure, float]


class Cluster:
    """The workers of a run, to be used in a ``with`` statement like `gpuanom.measuring.threads.Works`.

    Parameters
    ----------
    job : Job
        What the workers are to do.
    where : Where
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
        where: Where,
        say: Callable[[str], None],
        debug: Callable[[str], None],
        verbose: bool = False,
    ) -> None:
        require_dask(where)
        self._job, self._where, self._say, self._debug, self._verbose = job, where, say, debug, verbose
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
        self._settings = job.settings.fingerprint()
        self._model = "" if job.model is None else job.model.fingerprint

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(quiet(self._debug))
            scheduler = self._where.scheduler
            if self._where.workers is not None:
                scheduler = stack.enter_context(self._local(self._where.workers)).address
            assert scheduler is not None
            self._connection = Connection(scheduler)
            stack.callback(self._connection.close)
            self._say(f"cluster: {self._connection.about()}")
            if differs := self._connection.differences():
                self._say(f"cluster: other versions at the scheduler: {differs}")
            stack.enter_context(self._connection.report(self._where.report, self._say))
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
            event[0] == "done"
            and event[1] in self._assignments
            and event[2] is not None
            and isinstance(event[2].result, Measurement | Failure)
            and not short_of_memory(event[2].result)
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
        client = self._connection.client
        client.subscribe_topic("all", self._scheduler_event)
        client.subscribe_topic("worker-restart-memory", self._memory_event)
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

    def _scheduler_event(self, event: tuple[float, Any]) -> None:
        """Note that a worker has left, as the scheduler reports in a thread of Dask."""
        report = event[1]
        if isinstance(report, dict) and report.get("action") == "remove-worker":
            self._events.put(("left", report["worker"], bool(report.get("expected"))))

    def _memory_event(self, event: tuple[float, Any]) -> None:
        self._events.put(("memory", event[1]["worker"]))

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
        send = partial(self._send, roster)
        free = send_again(self._again, roster.usable(), send)
        while self._new and (member := next(free, None)) is not None:
            send(Attempt(self._new.popleft()), member)
        if not self._new and not self._again:
            self._take_back(to_move(roster.usable()))

    def _assign_next(self, roster: Roster, member: Member) -> None:
        """Give a worker that has answered its next exposure: all other workers have as many as they can take."""
        if self._again or not member.is_usable or has_suspect(member):
            self._unsettled = True
        while self._new and not self._unsettled and len(member.assignments) < member.room:
            self._send(roster, Attempt(self._new.popleft()), member)

    def _send(self, roster: Roster, attempt: Attempt, member: Member) -> None:
        assignment = Assignment(attempt, member)
        exposure = attempt.exposure
        call = Call(worker.measured, self._run, self._packed_job, on_workers(exposure), sized_files(exposure))
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
            case ("done", assignment, answer):
                if assignment in self._assignments:
                    yield from self._answered(roster, assignment, answer or self._no_answer(assignment))
                elif assignment.given_up:
                    self._late(assignment)

    def _answered(self, roster: Roster, assignment: Assignment, answer: Answer | None) -> Iterator[Outcome]:
        if answer is None:
            return
        attempt, member = assignment.attempt, assignment.member
        self._forget(assignment)
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
            self._assign_next(roster, member)
            yield attempt.exposure, as_given(result, attempt.exposure, self._settings, self._model), answer.seconds
            return
        self._unsettled = True

    def _no_answer(self, assignment: Assignment) -> Answer | None:
        """What is known where no answer came; None when it was lost as the worker ended, which another event tells."""
        if assignment.future.status == "cancelled":
            raise self._connection.lost()
        try:
            answer: Answer = assignment.future.result(timeout=10)
        except (KilledWorker, TimeoutError):
            return None
        except Exception as error:
            if self._connection.client.status != "running":
                raise self._connection.lost() from None
            text = printable(f"{type(error).__name__}: {error}")
            return Answer(self._failure(assignment.attempt.exposure, "failed", text))
        return answer

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
            if over_memory:
                text = "it was stopped for its use of memory"
                yield from self._trouble(assignment.attempt, member, "out_of_memory", text, alone=True)
            elif expected or member.state == "hung":
                self._again.insert(0, assignment.attempt)  # the exposure is not to blame
            else:
                yield from self._trouble(assignment.attempt, member, "worker_died", "it died", alone=True)

    def _overdue(self) -> Iterator[Outcome]:
        """Give up exposures that have taken too long; their workers get no more, and are restarted where possible."""
        now = time.monotonic()
        if now - self._looked < TICK:
            return
        self._looked = now
        limit = now - self._where.timeout
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
            text = f"no answer within {self._where.timeout:g} s"
            yield from self._trouble(assignment.attempt, member, "timed_out", text, alone=False)

    def _take_back(self, waiting: Sequence[Assignment]) -> None:
        """Take back exposures that wait at a worker, for other workers."""
        for assignment in waiting:
            self._forget(assignment)
            self._again.append(assignment.attempt)

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
            yield exposure, self._failure(exposure, status, reason), 0.0
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
            yield attempt.exposure, self._failure(attempt.exposure, "unreadable", reason), 0.0

    def _forget(self, assignment: Assignment) -> None:
        self._assignments.discard(assignment)
        assignment.member.assignments.remove(assignment)
        begin(assignment.member)
        assignment.future.release()

    def _failure(self, exposure: Exposure, status: str, reason: str) -> Failure:
        file = path_text(exposure.files[0])
        return Failure(file, exposure.camera, exposure.band, exposure.exposure, status, printable(reason))

    def _goodbye(self, roster: Roster) -> None:
        """Let the workers free what they hold for this run, without waiting for them."""
        for member in roster.usable():
            fire_and_forget(
                roster.submit(Call(worker.ended, self._run), member, "gpuanom-goodbye", lambda _future: None)
            )


def short_of_memory(result: Failure | Measurement) -> bool:
    """Whether an exposure, or a CCD of it, found too little memory."""
    if isinstance(result, Failure):
        return result.status == "out_of_memory"
    return any(ccd.status == "out_of_memory" for ccd in result.outline)
