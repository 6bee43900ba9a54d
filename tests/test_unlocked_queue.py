"""The queue that threads hand over work by: order, waiting, and its pipe."""

from __future__ import annotations

import os
import threading
import time
from queue import Empty

import pytest

from gpuanom.measuring.unlocked_queue import UnlockedQueue


def test_items_come_in_order():
    queue = UnlockedQueue()
    for i in range(5):
        queue.put(i)
    assert [queue.get() for _ in range(5)] == list(range(5))


def test_each_item_goes_to_one_of_the_threads_that_wait():
    queue, found = UnlockedQueue(), []

    def take():
        while (item := queue.get()) is not None:
            found.append(item)

    threads = [threading.Thread(target=take, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(2000):
        queue.put(i)
    for _ in threads:
        queue.put(None)
    for thread in threads:
        thread.join(20)
    assert sorted(found) == list(range(2000))


def test_a_wait_ends_after_its_time_and_takes_an_item_that_comes_meanwhile():
    queue = UnlockedQueue()
    start = time.monotonic()
    with pytest.raises(Empty):
        queue.get(timeout=0.05)
    assert time.monotonic() - start >= 0.05
    with pytest.raises(Empty):
        queue.get(timeout=0.0)
    timer = threading.Timer(0.05, queue.put, ["late"])
    timer.start()
    assert queue.get(timeout=20.0) == "late"
    timer.join(20)


def test_a_queue_that_is_gone_closes_its_pipe():
    queue = UnlockedQueue()
    queue.put("an item that nobody takes")
    ends = queue._pipe
    assert [os.fstat(end).st_nlink for end in ends]
    del queue
    for end in ends:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(end)


def test_where_the_system_gives_no_pipe_the_error_is_its_own(monkeypatch, recwarn):
    def refuse():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        UnlockedQueue()
    assert not recwarn.list
