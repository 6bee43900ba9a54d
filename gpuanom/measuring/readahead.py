"""Threads that read CCDs ahead of the one that is being measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar

from gpuanom.measuring.unlocked_queue import UnlockedQueue

Item = TypeVar("Item")
Result = TypeVar("Result")

_ENDED = "the threads that read have ended"


AT_ONCE = 12
"""Most CCDs that a thread reads for a GPU before it hands them over."""
LEAST = 12
"""CCDs of the smallest stack of which a thread reads several together."""


def read_together(n_ccd: int, most: int = AT_ONCE) -> int:
    """Return how many CCDs of a stack one thread reads before it hands them over.

    Several, since a thread that hands over a result takes the interpreter's lock from the others; but not so many that
    other threads have nothing to read.

    Parameters
    ----------
    n_ccd : int
        CCDs of the stack.
    most : int, optional
        How many CCDs may be read by one read.

    Returns
    -------
    int
        A fourth of a stack, but no more than `AT_ONCE` and `most`, and about as many for each thread; 1 where a stack
        has fewer than `LEAST`.
    """
    at_once = min(AT_ONCE, most, n_ccd // 4) if n_ccd >= LEAST else 1
    if at_once <= 1:
        return 1
    n_reads = -(-n_ccd // at_once)
    return -(-n_ccd // n_reads)


class Readers:
    """A few threads that read ahead of their caller. Use as a context manager, or call `close` at the end.

    Tasks and results go through queues that wake threads without the interpreter's lock: futures, which have locks of
    their own, hold the interpreter's lock several times as long.

    Parameters
    ----------
    threads : int
        How many threads.
    ahead : int, optional
        How many items may be read or waiting at a time for each caller of `ahead`; by default one more than threads.
    """

    def __init__(self, threads: int, ahead: int | None = None) -> None:
        self._n_ahead = threads + 1 if ahead is None else ahead
        self._tasks: UnlockedQueue[_Task | None] = UnlockedQueue()
        self._closed = False
        self._threads = [Thread(target=self._work, name=f"gpuanom-read_{i}", daemon=True) for i in range(threads)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if self._closed:
                task.refuse()
            elif not task.caller.gone:
                task.run()
            del task  # the result is the caller's alone

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def ahead(self, task: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Do a task for each item, a bounded number of them ahead of the caller.

        Parameters
        ----------
        task : callable
            Takes one item; called from the threads.
        items : iterable
            Taken one by one, as far ahead as the bound allows.

        Yields
        ------
        object
            What the task returns for each item, in the order of the items.
        """
        caller = _Caller()
        asked = given = 0
        try:
            for item in items:
                self._tasks.put(_Task(caller, asked, task, item))
                # Looked at after the task was put: `close` either sees this task, or has said so before.
                if self._closed:
                    raise RuntimeError(_ENDED)
                asked += 1
                if asked - given >= self._n_ahead:
                    yield caller.result(given)
                    given += 1
            while given < asked:
                yield caller.result(given)
                given += 1
        finally:
            caller.gone = True

    def close(self) -> None:
        """End the threads, once they have done the items that they are reading."""
        self._closed = True
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        with suppress(Empty):
            while True:
                if (task := self._tasks.get(timeout=0.0)) is not None:
                    task.refuse()


class _Caller:
    """One run of `Readers.ahead`: its results by the numbers of its items, as they come.

    The caller is woken by the result that it waits for, not by those of later items: these would only have the caller
    take the core of a thread that reads.
    """

    def __init__(self) -> None:
        self.gone = False
        self._results: dict[int, tuple[Any, BaseException | None]] = {}
        self._awaited = -1
        self._woken: UnlockedQueue[None] = UnlockedQueue()

    def take(self, number: int, result: Any, error: BaseException | None) -> None:
        """Take the result of an item, or the error; `tell` wakes whoever waits for the item."""
        self._results[number] = result, error

    def tell(self, number: int) -> None:
        """Tell the caller that the result of an item has come."""
        if self._awaited == number:
            self._woken.put(None)

    def result(self, number: int) -> Any:
        """Return the result of an item, once it is there."""
        # Whoever takes the result looks for this number afterwards: one of the two sees what the other did.
        self._awaited = number
        while number not in self._results:
            self._woken.get()
        result, error = self._results.pop(number)
        try:
            if error is not None:
                raise error
        finally:
            # The error knows this frame. If the frame knew the error too, the caller's arrays, such as a stack on a
            # device, would live until the next garbage collection.
            del error
        return result


class _Task:
    """What a thread does for an item of a caller."""

    def __init__(self, caller: _Caller, number: int, task: Callable[[Any], Any], item: Any) -> None:
        self.caller, self._number, self._task, self._item = caller, number, task, item

    def run(self) -> None:
        """Do it, and hand the caller the result or the error."""
        try:
            self.caller.take(self._number, self._task(self._item), None)
        except BaseException as error:
            self.caller.take(self._number, None, error)
        # Nothing here knows the result or the error any more when the caller goes on with it.
        self.caller.tell(self._number)

    def refuse(self) -> None:
        """Tell the caller that nothing will be read any more."""
        self.caller.take(self._number, None, RuntimeError(_ENDED))
        self.caller.tell(self._number)
