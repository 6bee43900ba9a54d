"""Parts that are worked on side by side: results in order, the first error, and nothing begun after it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from gpuanom.side_by_side import _Work, side_by_side, steps_side_by_side


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(2))


def test_results_come_in_the_order_of_the_items():
    assert side_by_side(lambda n: n * n, range(20)) == [n * n for n in range(20)]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_nothing_more_is_begun(error):
    begun, together = [], threading.Barrier(2, timeout=60)
    failed = threading.Event()

    def work(n):
        begun.append(n)
        if n < 2:
            together.wait()
        if n == 0:
            failed.set()
            raise error
        failed.wait(60)
        threading.Event().wait(0.2)  # the caller hears of the error in the meantime

    with pytest.raises(error):
        side_by_side(work, range(40))
    assert len(begun) < 10


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_item_with_items_of_its_own_ends_when_another_one_fails(error):
    begun, failed = [], threading.Event()

    def inner(n):
        begun.append(n)
        failed.wait(60)
        threading.Event().wait(0.02)

    def outer(n):
        if n == 0:
            side_by_side(inner, range(400))
        while not begun:
            threading.Event().wait(0.01)
        failed.set()
        raise error

    with pytest.raises(error):
        side_by_side(outer, range(2))
    # The error is heard of after some milliseconds; a busy machine takes a second. Without an end there are 400.
    assert len(begun) < 100


def test_a_core_that_becomes_free_helps_with_items_that_were_begun_before():
    inner_begun, first_ended, both = threading.Event(), threading.Event(), threading.Barrier(2, timeout=60)

    def inner(n):
        inner_begun.set()
        if n == 0:  # alone, until the other item of `outer` has ended
            first_ended.wait(60)
        else:
            both.wait()

    def outer(n):
        if n:
            side_by_side(inner, range(5))
        else:
            inner_begun.wait(60)
            threading.Timer(0.1, first_ended.set).start()

    side_by_side(outer, range(2))


def test_without_further_threads_the_caller_does_all_items(monkeypatch):
    def refused(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    assert side_by_side(lambda _: threading.get_ident(), range(3)) == [threading.get_ident()] * 3
    monkeypatch.undo()
    # No core is taken for busy that is not.
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(2))
    barrier = threading.Barrier(2, timeout=60)
    assert len(side_by_side(lambda _: barrier.wait(), range(2))) == 2


def test_different_steps_are_worked_on_together():
    barrier = threading.Barrier(2, timeout=60)
    assert steps_side_by_side(lambda: barrier.wait() * 0 + 1, lambda: barrier.wait() * 0 + 2) == [1, 2]
    caller = threading.get_ident()
    assert steps_side_by_side(threading.get_ident, threading.get_ident, many=False) == [caller, caller]


def test_an_interrupt_while_a_thread_begins_ends_that_thread(monkeypatch):
    """To begin a thread takes longer than all else here, and is where an interrupt is likely to come."""
    whole, done = _Work.begin_helper, []

    def interrupted(work):
        whole(work)
        raise KeyboardInterrupt

    def work(n):
        done.append(n)
        threading.Event().wait(0.05)

    monkeypatch.setattr(_Work, "begin_helper", interrupted)
    with pytest.raises(KeyboardInterrupt):
        side_by_side(work, range(40))
    n_done = len(done)
    assert n_done <= 2
    threading.Event().wait(0.3)
    assert len(done) == n_done
    monkeypatch.undo()
    # No core is taken for busy that is not.
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(2))
    barrier = threading.Barrier(2, timeout=60)
    assert len(side_by_side(lambda _: barrier.wait(), range(2))) == 2


INTERRUPTED = """
import os, sys, threading, time
from gpuanom import side_by_side as module

os.sched_getaffinity = lambda _: range(3)
FILES = module.__file__, threading.__file__
left = 0

def trace(frame, event, _):
    # Python handles a signal where a function begins, and where a call has ended.
    global left
    if frame.f_code.co_filename in FILES and event in ("call", "return"):
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
    return trace

def item(n):
    module.side_by_side(lambda _: time.sleep(0.001), range(4))

for n in range(1, 1000):
    left = n
    sys.settrace(trace)
    try:
        module.side_by_side(item, range(4))
    except KeyboardInterrupt:
        pass
    sys.settrace(None)
    assert (module._open, module._n_busy) == ([], 0), n
    if left > 0:
        break
print("interrupted", n > 50)
"""


def test_an_interrupt_at_any_place_leaves_no_thread_waiting_and_no_core_taken():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted True\n"), done.stderr[-2000:]
