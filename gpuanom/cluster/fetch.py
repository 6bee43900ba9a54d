"""Answers of workers are brought here by a thread of their own, in one message all that are ready by then."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self

from gpuanom.cluster.assignment import Assignment
from gpuanom.cluster.job import Answer

MOST = 64
"""Most answers of one message: each may have some 100 kB, and the first one is waited for."""


class Fetch:
    """A thread that brings answers here, to be used in a ``with`` statement.

    To ask for one answer takes a journey to the scheduler and on to the worker, some ms; while the thread waits for
    it, the process stores the answers that came before.

    Parameters
    ----------
    results : callable
        See `gpuanom.cluster.connect.Connection.results`.
    events : SimpleQueue
        Gets ``("done", Assignment, list of Answer or None)``; None where no answers came: the future tells more.
    """

    def __init__(
        self, results: Callable[[Sequence[Any]], list[list[Answer] | None]], events: SimpleQueue[tuple[Any, ...]]
    ) -> None:
        self._results, self._events = results, events
        self._ended: SimpleQueue[tuple[Assignment, Any] | None] = SimpleQueue()

    def __enter__(self) -> Self:
        Thread(target=self._run, name="gpuanom-answers", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.put(None)

    def ask(self, assignment: Assignment, future: Any) -> None:
        """Let the thread bring the answer to an assignment whose call has ended.

        Parameters
        ----------
        assignment : Assignment
        future : distributed.Future
        """
        self._ended.put((assignment, future))

    def _run(self) -> None:
        more = True
        while more:
            found = [self._ended.get()]
            with suppress(Empty):
                while len(found) < MOST:
                    found.append(self._ended.get_nowait())
            more = None not in found
            asked = [each for each in found if each is not None]
            try:
                answers = self._results([future for _, future in asked])
            except Exception:  # without this thread the run would wait for ever; the futures tell what happened
                answers = [None] * len(asked)
            for (assignment, _), answer in zip(asked, answers, strict=True):
                self._events.put(("done", assignment, answer))
