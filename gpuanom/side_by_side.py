"""Independent parts of a step, worked on side by side by a few threads."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

MOST_THREADS = 8
"""More threads would wait for each other: each holds the interpreter's lock between its calls of NumPy."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    function: Callable[[Item], Result], items: Iterable[Item], *, many: bool = True, most: int = MOST_THREADS
) -> list[Result]:
    """Return what a function gives for each item, in the order of the items.

    Parameters
    ----------
    function : callable
        Takes an item, and changes nothing that another item needs. It is worth while where it spends its time in NumPy
        and in compiled loops, which release the interpreter's lock for large arrays.
    items : iterable
    many : bool, optional
        Whether there is enough to do for threads: without, the items follow each other in this thread.
    most : int, optional
        Most items that are worked on at a time, where each needs much memory.

    Raises
    ------
    Exception
        The first error of an item. Items that are not begun by then are left out, as they are after an interrupt.
    """
    wanted = list(items)
    n_threads = min(most, _busy.free(), len(wanted))
    if not many or n_threads < 2:
        return [function(item) for item in wanted]

    def work(item: Item) -> Result:
        with _busy.working():
            return function(item)

    with _busy.waiting(), ThreadPoolExecutor(n_threads, thread_name_prefix="gpuanom-side") as pool:
        # Each thread has the caller's context: what NumPy says of a division by zero belongs to it.
        futures = [pool.submit(contextvars.copy_context().run, work, item) for item in wanted]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Busy:
    """How many threads work on items at present: items of items are not worked on by more threads than cores."""

    def __init__(self) -> None:
        self._lock, self._here, self._n = threading.Lock(), threading.local(), 0

    def _add(self, n: int) -> None:
        with self._lock:
            self._n += n

    def free(self) -> int:
        """Return how many threads may work for the thread that asks, which waits meanwhile."""
        return len(os.sched_getaffinity(0)) - self._n + int(self._is_working)

    @property
    def _is_working(self) -> bool:
        return getattr(self._here, "is_working", False)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count the thread inside the block."""
        self._here.is_working = True
        self._add(1)
        try:
            yield
        finally:
            self._add(-1)
            self._here.is_working = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Do not count a working thread that waits inside the block."""
        n = int(self._is_working)
        self._add(-n)
        try:
            yield
        finally:
            self._add(n)


_busy = _Busy()
