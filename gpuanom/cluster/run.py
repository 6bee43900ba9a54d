"""A night through workers: what is sent where, what is tried again, and what is given up.

Every exposure is sent to a worker that is chosen here, and never more of them than it takes at a time and one: so what
it costs when a worker dies, and when an exposure has taken too long, is known exactly. Dask carries the calls, watches
over the workers and shows them on its dashboard.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from distributed import KilledWorker, fire_and_forget

from gpuanom.cluster import worker
from gpuanom.cluster.answers import as_given, on_workers, places
from gpuanom.cluster.assignment import Attempt, Sent, begin, send_again, to_move
from gpuanom.cluster.connect import Connection, quiet
from gpuanom.cluster.job import Answer, Broken, Call, Job, Unseen
from gpuanom.cluster.local import LocalCluster
from gpuanom.cluster.roster import LATE, Crew, Member
from gpuanom.cluster.where import Where, cores, local_devices, require_dask
from gpuanom.errors import printable
from gpuanom.measuring.threads import WORKERS
from gpuanom.naming import path_text
from gpuanom.records import Exposure, Failure, Measurement

TRIES = 3
"""How often an exposure is tried in all."""
TICK = 0.5
"""Seconds between two looks at what has taken too long."""

Outcome = tuple[Exposure, Measurement | Failure, float]


class Cluster:
    """The workers of a run, to be used in a ``with`` statement like `gpuanom.measuring.threads.Works`.

    Parameters
    ----------
    job : Job
    where : Where
    say, debug : callable
        Take a line for the user, and text for whoever asked for more.
    verbose : bool, optional
        Let the messages of this machine's workers through.

    Raises
    ------
    ClusterError
        When the scheduler cannot be reached or the workers not be started.
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
        self._sent: set[Sent] = set()
        self._over_memory: set[str] = set()

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
            # One more exposure than a GPU has lanes, so that none of them waits for a file to be opened.
            threads = 3
        # Each worker sees its own GPU alone, as device 0.
        self._job = replace(self._job, device="cpu" if devices == "cpu" else "0")
        return LocalCluster(workers, threads, devices, self._verbose)

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def measured(self, exposures: Sequence[Exposure]) -> Iterator[Outcome]:
        """Measure exposures; as many are under way as the workers take at a time.

        Yields
        ------
        Exposure, Measurement or Failure, float
            Each as soon as it is done, with the seconds of work that it took.

        Raises
        ------
        ClusterError
            When the scheduler has gone, or no worker can be used.
        """
        seen = places(exposures[0]) + ([] if self._job.model is None else [self._job.model.place])
        crew = Crew(self._connection, self._job, seen, self._events, self._say, self._debug)
        client = self._connection.client
        client.subscribe_topic("all", self._heard)
        client.subscribe_topic("worker-restart-memory", self._heard_of_memory)
        waiting = iter(exposures)
        following = next(waiting, None)
        try:
            while following is not None or self._again or self._sent:
                crew.look()
                yield from self._unseen_anywhere(crew)
                send = partial(self._send, crew)
                free = send_again(self._again, crew.usable(), send)
                while following is not None and (member := next(free, None)) is not None:
                    send(Attempt(following), member)
                    following = next(waiting, None)
                if following is None and not self._again:
                    self._take_back(to_move(crew.usable()))
                if not self._sent:
                    crew.require_hope()
                for event in self._next_events():
                    yield from self._met(crew, event)
                yield from self._overdue()
            self._goodbye(crew)
        finally:
            for member in crew.members.values():
                for sent in member.sent:
                    sent.future.release()

    def _heard(self, event: tuple[float, Any]) -> None:
        """Told by the scheduler, in Dask's own thread."""
        what = event[1]
        if isinstance(what, dict) and what.get("action") == "remove-worker":
            self._events.put(("left", what["worker"], bool(what.get("expected"))))

    def _heard_of_memory(self, event: tuple[float, Any]) -> None:
        self._events.put(("memory", event[1]["worker"]))

    def _next_events(self) -> Iterator[tuple[Any, ...]]:
        """What has happened, waiting a little for the first."""
        try:
            yield self._events.get(timeout=TICK)
            while True:
                yield self._events.get_nowait()
        except Empty:
            return

    def _send(self, crew: Crew, attempt: Attempt, member: Member) -> None:
        sent = Sent(attempt, member)
        exposure = attempt.exposure
        call = Call(worker.measured, self._run, self._job, on_workers(exposure), places(exposure))
        self._sent.add(sent)
        member.sent.append(sent)
        begin(member)
        sent.future = crew.submit(call, member, "gpuanom-exposure", partial(self._done, sent))

    def _done(self, sent: Sent, _future: Any) -> None:
        self._events.put(("done", sent))

    def _met(self, crew: Crew, event: tuple[Any, ...]) -> Iterator[Outcome]:
        """What follows from something that happened."""
        match event:
            case ("greeted", member, future):
                if future.status == "cancelled" and member.address in crew.members:
                    raise self._connection.lost()
                crew.greeted(member, future)
            case ("memory", address):
                self._over_memory.add(address)
            case ("left", address, expected):
                yield from self._left(crew, address, expected)
            case ("done", sent):
                if sent in self._sent:
                    yield from self._answered(crew, sent)
                elif sent.given_up:
                    self._late(sent)

    def _answered(self, crew: Crew, sent: Sent) -> Iterator[Outcome]:
        answer = self._answer(sent)
        if answer is None:
            return
        attempt, member = sent.attempt, sent.member
        self._forget(sent)
        for text in answer.debug:
            self._debug(text)
        result = answer.result
        if isinstance(result, Broken):
            crew.leave_out(member, result.why)
            self._again.insert(0, attempt)
        elif isinstance(result, Unseen):
            if not attempt.blind:
                self._say(f"{member} does not see {result.path}: {result.why}; other workers are asked")
            attempt.blind.add(member.address)
            attempt.unseen, attempt.refused = result, time.monotonic()
            self._again.insert(0, attempt)
        elif short_of_memory(result) and (isinstance(result, Failure) or len(attempt.troubles) + 1 < TRIES):
            # An exposure of which other CCDs could be measured is kept as it is in the end.
            yield from self._trouble(attempt, member, "out_of_memory", "memory did not suffice", alone=True)
        else:
            yield attempt.exposure, as_given(result, attempt.exposure, self._job), answer.seconds

    def _answer(self, sent: Sent) -> Answer | None:
        """What a worker sent; None when it was lost on its way, which its worker's end explains."""
        if sent.future.status == "cancelled":
            raise self._connection.lost()
        try:
            answer: Answer = sent.future.result(timeout=10)
        except (KilledWorker, TimeoutError):
            return None
        except Exception as error:
            if self._connection.client.status != "running":
                raise self._connection.lost() from None
            text = printable(f"{type(error).__name__}: {error}")
            return Answer(self._failure(sent.attempt.exposure, "failed", text))
        return answer

    def _left(self, crew: Crew, address: str, expected: bool) -> Iterator[Outcome]:
        """A worker is gone: what it was at is tried again elsewhere."""
        member = crew.remove(address)
        over_memory = address in self._over_memory
        self._over_memory.discard(address)
        if member is None:
            return
        # What waited there counts too: its turn may have come before the last answer reached us.
        for sent in list(member.sent):
            self._forget(sent)
            if sent.given_up:
                continue
            if over_memory:
                text = "it was stopped for its use of memory"
                yield from self._trouble(sent.attempt, member, "out_of_memory", text, alone=True)
            elif expected or member.state == "hung":
                self._again.insert(0, sent.attempt)  # it is not to blame
            else:
                yield from self._trouble(sent.attempt, member, "worker_died", "it died", alone=True)

    def _overdue(self) -> Iterator[Outcome]:
        """Give up what has taken too long where it is; a worker that hangs gets no more, and is started anew."""
        limit = time.monotonic() - self._where.timeout
        for sent in [s for s in self._sent if s.since is not None and s.since < limit]:
            sent.given_up = True
            self._sent.discard(sent)
            member = sent.member
            if member.state == "ready":
                member.state = "hung"
                self._take_back([other for other in member.sent if other.since is None])
                if member.nanny:
                    Thread(target=self._restart, args=(member.address,), daemon=True).start()
            if member.nanny:
                sent.future.release()
            text = f"no answer within {self._where.timeout:g} s"
            yield from self._trouble(sent.attempt, member, "timed_out", text, alone=False)

    def _take_back(self, waiting: Sequence[Sent]) -> None:
        """Have what waits at a worker measured by another one."""
        for sent in waiting:
            self._forget(sent)
            self._again.append(sent.attempt)

    def _late(self, sent: Sent) -> None:
        """What was given up is done after all: nobody wants it, but its worker does not hang (with a nanny it ends)."""
        member = sent.member
        if member.nanny:
            return
        self._forget(sent)
        if member.state == "hung" and not any(other.given_up for other in member.sent):
            member.state = "ready"

    def _restart(self, address: str) -> None:
        try:
            self._connection.client.restart_workers([address], timeout=60, raise_for_error=False)
        except Exception as error:  # it stays out, as one without a nanny does
            self._debug(f"worker {address} cannot be restarted: {error}")

    def _trouble(self, attempt: Attempt, member: Member, status: str, text: str, *, alone: bool) -> Iterator[Outcome]:
        """A try that counts: another one, or the exposure has failed."""
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

    def _unseen_anywhere(self, crew: Crew) -> Iterator[Outcome]:
        """Exposures whose files no worker sees, once all who are there were asked, and who may have come late."""
        ready = {m.address for m in crew.members.values() if m.state in ("asked", "ready")}
        limit = time.monotonic() - LATE
        for attempt in list(self._again):
            if attempt.unseen is None or attempt.refused > limit or not ready or not ready <= attempt.blind:
                continue
            self._again.remove(attempt)
            reason = f"no worker sees {attempt.unseen.path}: {attempt.unseen.why} (is it on a shared file system?)"
            yield attempt.exposure, self._failure(attempt.exposure, "unreadable", reason), 0.0

    def _forget(self, sent: Sent) -> None:
        self._sent.discard(sent)
        sent.member.sent.remove(sent)
        begin(sent.member)
        sent.future.release()

    def _failure(self, exposure: Exposure, status: str, reason: str) -> Failure:
        file = path_text(exposure.files[0])
        return Failure(file, exposure.camera, exposure.band, exposure.exposure, status, printable(reason))

    def _goodbye(self, crew: Crew) -> None:
        """Let workers that stay let go of what they hold for this run; nobody waits for it."""
        for member in crew.usable():
            fire_and_forget(crew.submit(Call(worker.ended, self._run), member, "gpuanom-goodbye", lambda _future: None))


def short_of_memory(result: Failure | tuple[Any, ...]) -> bool:
    """Whether an exposure, or a CCD of it, found too little memory."""
    if isinstance(result, Failure):
        return result.status == "out_of_memory"
    return any(ccd.status == "out_of_memory" for ccd in result)
