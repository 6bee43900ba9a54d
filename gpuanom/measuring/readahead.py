"""Threads that read CCDs ahead of the one that is being measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Readers:
    """A few threads that read ahead of their caller. Use as a context manager, or call `close` at the end.

    Parameters
    ----------
    threads : int
        How many threads.
    ahead : int, optional
        How many items may be read or waiting at a time for each caller of `ahead`; by default one more than threads.
    """

    def __init__(self, threads: int, ahead: int | None = None) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="gpuanom-read")
        self._n_ahead = threads + 1 if ahead is None else ahead

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
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(task, item))
                if len(waiting) >= self._n_ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """End the threads, once they have done the items that they are reading."""
        self._pool.shutdown(cancel_futures=True)
