"""Independent parts of a step, worked on side by side by a few threads."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
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
    n_threads = min(most, len(os.sched_getaffinity(0)), len(wanted))
    if not many or n_threads < 2:
        return [function(item) for item in wanted]
    with ThreadPoolExecutor(n_threads, thread_name_prefix="gpuanom-side") as pool:
        # Each thread has the caller's context: what NumPy says of a division by zero belongs to it.
        futures = [pool.submit(contextvars.copy_context().run, function, item) for item in wanted]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
