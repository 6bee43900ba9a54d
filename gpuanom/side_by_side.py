"""Independent parts of a step, worked on side by side by a few threads."""

from __future__ import annotations

import contextvars
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

MOST_THREADS = 8
"""More threads would wait for each other: each holds the interpreter's lock between its calls of NumPy."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    function: Callable[[Item], Result], items: Iterable[Item], *, many: bool = True, most: int = MOST_THREADS
) -> list[Result]:
    """Return what a function gives for each item, in the order of the items.

    The thread that calls works on items itself. Other threads help as long as there are cores that nobody works on: a
    core that becomes free later helps from then on, also where an item calls `side_by_side` itself.

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
    if many and len(wanted) > 1:
        return _Work(function, wanted, most).results()
    outer: _Work | None = getattr(_of_thread, "work", None)
    results = []
    for item in wanted:
        if outer is not None:
            outer.check()
        results.append(function(item))
    return results


def steps_side_by_side(*steps: Callable[[], Any], many: bool = True) -> list[Any]:
    """Return what several different steps give, which are worked on side by side.

    Parameters
    ----------
    *steps : callable
        As `function` of `side_by_side`, without an argument.
    many : bool, optional
        See `side_by_side`.
    """
    return side_by_side(lambda step: step(), steps, many=many)


_of_thread = threading.local()
_lock = threading.Lock()
"""Held while the work below is looked at or changed.

No `threading.Condition`, which is a class in Python: an interrupt that comes while its lock is taken would leave the
lock taken for ever. To enter a plain lock is one instruction.
"""
_open: list[_Work] = []
"""What is worked on, in the order in which it was begun."""
_n_busy = 0
"""How many threads work on items; a thread that waits for others is none of them."""


class _Stopped(Exception):  # noqa: N818 - no error: another item has failed, or the user has interrupted the run
    """Ends an item whose result nobody waits for any more."""


class _Work:
    """The items of one call of `side_by_side`.

    Parameters
    ----------
    function : callable
    items : sequence
        At least one.
    most : int
        Most threads, the caller's among them.
    """

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any], most: int) -> None:
        self._function, self._most = function, most
        self._remaining, self._results = deque(enumerate(items)), [None] * len(items)
        self._outer: _Work | None = getattr(_of_thread, "work", None)
        # Each item has the caller's context: what NumPy says of a division by zero belongs to it.
        self._context = contextvars.copy_context()
        self._n_threads, self._stopped = 0, False
        self._caller_works = False
        self._nobody_works = threading.Lock()
        """Taken as long as threads work here."""
        self._nobody_works.acquire()
        self._error: BaseException | None = None

    def results(self) -> list[Any]:
        """Work on the items until all are done, and return what the function gave, or raise the first error."""
        global _n_busy
        try:
            with _lock:
                self._n_threads, self._caller_works = 1, True
                if self._outer is None:
                    _n_busy += 1
                _open.append(self)
                _engage()
            self._work(helps=False)
        except BaseException:  # an interrupt between two items
            self._stop()
            raise
        finally:
            try:
                self._end()
            except BaseException:  # an interrupt while the others are waited for
                self._stop()
                self._end()
                raise
        if self._error is not None:
            raise self._error
        return self._results

    def check(self) -> None:
        """Raise `_Stopped` where nobody waits for the results any more, of these items or of the one that has them."""
        work: _Work | None = self
        while work is not None:
            if work._stopped:
                raise _Stopped
            work = work._outer

    @property
    def has_room(self) -> bool:
        """Whether another thread can help."""
        return bool(self._remaining) and self._n_threads < self._most

    def help(self, wanted: Sequence[bool]) -> None:
        """Work on items in a thread of its own, as long as there is a core for this thread.

        Parameters
        ----------
        wanted : sequence of bool
            Empty where the thread that began this one was interrupted, and does not count this one.
        """
        with _lock:
            if not wanted:
                return
        try:
            self._work(helps=True)
        finally:
            self._leave(helps=True)

    def begin_helper(self) -> bool:
        """Begin a thread that helps; `_lock` is held. Tells whether the system has given one."""
        global _n_busy
        wanted = [True]
        # A daemon: after a second interrupt nobody waits for this thread.
        thread = threading.Thread(target=self.help, args=(wanted,), name="gpuanom-side", daemon=True)
        self._n_threads, _n_busy = self._n_threads + 1, _n_busy + 1
        try:
            thread.start()
        except BaseException as error:
            self._n_threads, _n_busy = self._n_threads - 1, _n_busy - 1
            wanted.clear()
            if isinstance(error, RuntimeError):  # no more threads: those that work do without
                return False
            raise
        return True

    def _work(self, *, helps: bool) -> None:
        """Take one item after the other."""
        before, _of_thread.work = getattr(_of_thread, "work", None), self
        try:
            while True:
                with _lock:
                    if not self._remaining or (helps and _n_busy > _n_cores()):
                        return
                    place, item = self._remaining.popleft()
                try:
                    self.check()
                    self._results[place] = self._context.copy().run(self._function, item)
                except BaseException as error:
                    with _lock:
                        self._error = error if self._error is None else self._error
                    self._stop()
                    return
        finally:
            _of_thread.work = before

    def _stop(self) -> None:
        """Begin no further item."""
        with _lock:
            self._stopped = True
            self._remaining.clear()

    def _leave(self, *, helps: bool) -> None:
        """Give up the core of a thread that finds no further item; the caller may do so twice."""
        global _n_busy
        with _lock:
            if helps or self._caller_works:
                self._caller_works = self._caller_works and helps
                self._n_threads, _n_busy = self._n_threads - 1, _n_busy - 1
                if not self._n_threads:
                    self._nobody_works.release()
            _engage()

    def _end(self) -> None:
        """Wait for those that help, while the caller's core can be used by others; after an interrupt, once more."""
        global _n_busy
        self._leave(helps=False)
        if self._n_threads:
            self._nobody_works.acquire()
        with _lock:
            if self in _open:
                _n_busy += int(self._outer is not None)
                _open.remove(self)


def _n_cores() -> int:
    return len(os.sched_getaffinity(0))


def _engage() -> None:
    """Begin threads for cores that nobody works on; `_lock` is held. What was begun last is helped first."""
    while _n_busy < _n_cores():
        work = next((work for work in reversed(_open) if work.has_room), None)
        if work is None or not work.begin_helper():
            return
