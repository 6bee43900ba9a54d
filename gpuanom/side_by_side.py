"""Independent parts of a step, worked on side by side by a few threads."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
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
        The first error of an item. Items that are not begun by then are left out, as they are after an interrupt; an
        item that calls `side_by_side` itself ends before the next of its own items.
    """
    wanted = list(items)
    claim = _Claim(len(wanted), min(most, len(wanted)) if many else 1)

    def work(item: Item) -> Result:
        try:
            claim.check()
            return function(item)
        finally:
            claim.item_done()

    if claim.n_threads < 2:
        return [work(item) for item in wanted]
    try:
        with ThreadPoolExecutor(claim.n_threads, "gpuanom-side", _works_for, (claim,)) as pool:
            # Each thread has the caller's context: what NumPy says of a division by zero belongs to it.
            futures = [pool.submit(contextvars.copy_context().run, work, item) for item in wanted]
            try:
                ended = wait(futures, return_when=FIRST_EXCEPTION).done
                for future in futures:
                    if future in ended:
                        future.result()
                return [future.result() for future in futures]
            except BaseException:
                claim.stopped = True
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        claim.end()


_lock, _here = threading.Lock(), threading.local()
_n_claimed = 0
"""How many cores are claimed by threads that work on items."""


def _works_for(claim: _Claim) -> None:
    """Note that the thread that calls works on the items of a claim."""
    _here.claim = claim


class _Stopped(Exception):  # noqa: N818 - no error: another item has failed, or the user has interrupted the run
    """Ends an item whose result nobody waits for any more."""


class _Claim:
    """The cores for the items of one call: where an item calls `side_by_side` itself, no core is counted twice.

    Parameters
    ----------
    n_items : int
    most : int
        Threads that are wanted.
    """

    def __init__(self, n_items: int, most: int) -> None:
        global _n_claimed
        # The thread that asks waits meanwhile: its core can be claimed.
        self._outer: _Claim | None = getattr(_here, "claim", None)
        self._own, self._n_left, self.stopped = int(self._outer is not None), n_items, False
        with _lock:
            self.n_threads = min(most, len(os.sched_getaffinity(0)) - _n_claimed + self._own)
            self._n_claimed = self.n_threads if self.n_threads > 1 else 0
            _n_claimed += self._n_claimed - (self._own if self._n_claimed else 0)

    def check(self) -> None:
        """Raise `_Stopped` where nobody waits for the results any more, of these items or of the one that has them."""
        claim: _Claim | None = self
        while claim is not None:
            if claim.stopped:
                raise _Stopped
            claim = claim._outer

    def item_done(self) -> None:
        """Give up the core of a thread that finds no further item."""
        global _n_claimed
        with _lock:
            self._n_left -= 1
            if self._n_left < self._n_claimed:
                self._n_claimed, _n_claimed = self._n_claimed - 1, _n_claimed - 1

    def end(self) -> None:
        """Give up all cores but the caller's own."""
        global _n_claimed
        with _lock:
            _n_claimed += self._own - self._n_claimed
            self._n_claimed = 0
