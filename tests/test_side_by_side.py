"""Parts that are worked on side by side: results in order, the first error, and nothing begun after it."""

from __future__ import annotations

import os
import threading

import pytest

from gpuanom.side_by_side import side_by_side


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
