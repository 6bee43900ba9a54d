"""Threads that read CCDs ahead of the one that is being measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


class Readers:
    """A few threads that read ahead of whoever measures.

    Parameters
    ----------
    threads : int
        How many; one more CCD than that is read or waiting at a time for each caller of `ahead`.
    """

    def __init__(self, threads: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="gpuanom-read")
        self._ahead = threads + 1

    def ahead(self, task: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
        """The results of a task for each item, in order; a bounded number is done or under way ahead of the caller."""
        waiting: deque[Future[Out]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(task, item))
                if len(waiting) >= self._ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """Let the threads go, once they have done what they are at."""
        self._pool.shutdown(cancel_futures=True)
