"""Exposures through threads: which thread works at what, how much is under way, and the effects of an error."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from contextlib import suppress

import numpy as np
import pytest

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.backends.cpu import CpuBackend
from gpuanom.measuring import threads as measuring_threads
from gpuanom.measuring.readahead import Readers, read_together
from gpuanom.records import Failure
from gpuanom.workspace import workspace
from tests import device, nights

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300)


@pytest.fixture
def exposures(tmp_path):
    from gpuanom.fits import discover

    nights.night(tmp_path, exposures=6, ccds=2)
    return discover([tmp_path], QUICK).exposures


def measured(exposures, threads, debug=lambda _text: None):
    with measuring_threads.Threads(QUICK, [CpuBackend()], threads, debug) as run:
        return {exposure.exposure: result for exposure, result, _ in run.measured(exposures)}


def test_one_exposure_has_work_for_two_threads(exposures, monkeypatch):
    """Each of the two CCDs waits for the other: if they were measured one after the other, they would wait in vain."""
    both = threading.Barrier(2, timeout=60)

    def background(self, *arguments, whole=CpuBackend.background):
        both.wait()
        return whole(self, *arguments)

    monkeypatch.setattr(CpuBackend, "background", background)
    (result,) = measured(exposures[:1], 2).values()
    assert [ccd.status for ccd in result.ccds] == ["ok", "ok"]


def test_the_seconds_of_an_exposure_are_no_sum_over_threads(exposures, monkeypatch):
    """Each of the two CCDs takes half a second at least, and both are measured at the same time."""
    both = threading.Barrier(2, timeout=60)

    def background(self, *arguments, whole=CpuBackend.background):
        both.wait()
        time.sleep(0.5)
        return whole(self, *arguments)

    monkeypatch.setattr(CpuBackend, "background", background)
    start = time.perf_counter()
    with measuring_threads.Threads(QUICK, [CpuBackend()], 2, lambda _text: None) as run:
        ((_, _, seconds),) = run.measured(exposures[:1])
        wall = time.perf_counter() - start
    assert 0.5 <= seconds <= wall
    assert measuring_threads.covered([(3.0, 4.0), (0.0, 2.0), (1.0, 1.5), (1.0, 2.5)]) == 3.5


@pytest.mark.parametrize(("long", "n_calls"), [(3, 1), (12, 1), (13, 0)])
def test_what_is_done_meanwhile_is_done_once_in_a_long_run(exposures, monkeypatch, long, n_calls):
    """Six exposures of two CCDs are twelve groups of CCDs."""
    called, handed_out, done, all_are_out = [], [], threading.Event(), threading.Event()
    n_left = [6]

    def meanwhile():
        called.append(n_left[0])
        handed_out.append(all_are_out.wait(30))  # meanwhile exposures are measured and handed out
        done.set()

    monkeypatch.setattr(measuring_threads, "LONG", long)
    with measuring_threads.Threads(QUICK, [CpuBackend()], 2, print, meanwhile=meanwhile) as run:
        for _ in run.measured(exposures):
            n_left[0] -= 1
    assert n_left == [0]
    all_are_out.set()
    assert done.wait(60 * n_calls) == bool(n_calls)
    assert handed_out == [True] * n_calls
    if long == 3:
        assert called[0] > 2


def test_beside_a_gpu_nothing_is_done_meanwhile(exposures, monkeypatch):
    with device.installed():
        called = []
        monkeypatch.setattr(measuring_threads, "LONG", 1)
        with measuring_threads.Threads(QUICK, [select("0")], 1, print, meanwhile=lambda: called.append(1)) as run:
            assert len(list(run.measured(exposures[:2]))) == 2
    assert called == []


@pytest.mark.parametrize("threads", [1, 3])
def test_a_bounded_number_of_exposures_is_open(exposures, monkeypatch, threads):
    opened, most = [], []
    whole = measuring_threads.open_ccds

    def counted(exposure, settings):
        opened.append(exposure.exposure)
        return whole(exposure, settings)

    monkeypatch.setattr(measuring_threads, "open_ccds", counted)
    with measuring_threads.Threads(QUICK, [CpuBackend()], threads, lambda _text: None) as run:
        for i, _ in enumerate(run.measured(exposures)):
            time.sleep(0.05)  # the store is slow
            most.append(len(opened) - i)
    assert len(opened) == len(exposures)
    assert max(most) <= threads + 2


def test_an_unforeseen_error_costs_its_own_exposure(exposures, monkeypatch):
    def background(self, stack, *arguments, whole=CpuBackend.background):
        if stack.images[0, 0, 0] == spoilt:
            raise RuntimeError("a mistake of ours")
        return whole(self, stack, *arguments)

    spoilt = nights.image(301)[0, 0]
    monkeypatch.setattr(CpuBackend, "background", background)
    said = []
    results = measured(exposures, 2, said.append)
    failed = {name: result for name, result in results.items() if isinstance(result, Failure)}
    assert list(failed) == ["3"]
    assert failed["3"].reason == "RuntimeError: a mistake of ours"
    assert "Traceback" in said[0]
    assert len(results) == len(exposures)


def test_readers_keep_order_and_do_not_run_away():
    readers = Readers(3)
    started = []

    def task(i):
        started.append(i)
        time.sleep(0.002 * (5 - i % 5))  # later exposures are often done first
        return i

    try:
        for i, result in enumerate(readers.ahead(task, range(30))):
            assert result == i
            assert len(started) <= i + 5
    finally:
        readers.close()
    assert sorted(started) == list(range(30))


def test_a_caller_learns_that_the_readers_have_ended():
    readers = Readers(1, ahead=3)
    begun, go_on = threading.Event(), threading.Event()
    results = readers.ahead(lambda i: (begun.set(), go_on.wait(60), i)[2], range(9))
    got, caught = [], []

    def take():
        try:
            got.extend(results)
        except RuntimeError as error:
            caught.append(error)

    taker = threading.Thread(target=take)
    taker.start()
    begun.wait(60)
    closer = threading.Thread(target=readers.close)
    closer.start()
    while not readers._closed:
        time.sleep(0.001)
    go_on.set()
    closer.join(60)
    taker.join(60)
    assert not taker.is_alive()
    assert got in ([], [0])
    assert len(caught) == 1
    with pytest.raises(RuntimeError, match="have ended"):
        next(readers.ahead(lambda i: i, [1]))


def test_a_task_that_comes_while_the_readers_end_is_refused():
    """Nobody does a task that is put when the threads have ended; the caller must not wait for it."""
    readers = Readers(1, ahead=1)

    class Late:
        def put(self, task):
            readers._tasks = tasks
            readers.close()
            tasks.put(task)

    tasks, readers._tasks = readers._tasks, Late()
    caught = []

    def take():
        try:
            list(readers.ahead(lambda i: i, [1]))
        except RuntimeError as error:
            caught.append(str(error))

    taker = threading.Thread(target=take, daemon=True)
    taker.start()
    taker.join(20)
    assert caught == ["the threads that read have ended"]


def test_an_error_of_a_reader_keeps_nothing_of_its_caller_alive():
    """Where memory runs out, the stack must be gone as soon as the error is handled, or there is no second attempt."""

    class Stack:
        pass

    def fail(_):
        raise MemoryError

    def measure():
        stack = Stack()
        alive.append(weakref.ref(stack))
        return list(readers.ahead(fail, [1, 2]))

    alive = []
    gc.disable()
    try:
        with Readers(1) as readers:
            with suppress(MemoryError):
                measure()
            assert alive[0]() is None
    finally:
        gc.enable()


@pytest.fixture
def nothing_frozen():
    """Commands that other tests have run in this process may have frozen objects (`gpuanom score -o NIGHT`)."""
    gc.unfreeze()
    yield
    gc.unfreeze()


def test_what_is_there_to_stay_is_not_looked_through_again(exposures, nothing_frozen):
    """Python's garbage collection passes over it once an exposure is done, and knows it again afterwards."""
    during = []
    with measuring_threads.Threads(QUICK, [CpuBackend()], 1, print) as run:
        assert gc.get_freeze_count() == 0
        for _ in run.measured(exposures):
            during.append(gc.get_freeze_count())
    assert min(during[1:]) > 10_000
    assert gc.get_freeze_count() == 0


def test_objects_that_others_have_frozen_stay_frozen(exposures, nothing_frozen):
    gc.freeze()
    with measuring_threads.Threads(QUICK, [CpuBackend()], 1, print) as run:
        assert len(list(run.measured(exposures))) == len(exposures)
    assert gc.get_freeze_count() > 10_000


def test_what_was_frozen_is_looked_through_again_after_an_error(exposures, nothing_frozen):
    def interrupted():
        with measuring_threads.Threads(QUICK, [CpuBackend()], 1, print) as run:
            for _ in run.measured(exposures):
                if gc.get_freeze_count():
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert gc.get_freeze_count() == 0


def test_readers_hand_errors_on_and_stop():
    readers = Readers(2)

    def task(i):
        if i == 3:
            raise ValueError("no")
        return i

    got = []
    try:
        with pytest.raises(ValueError, match="no"):
            got.extend(readers.ahead(task, range(10)))
    finally:
        readers.close()
    assert got == [0, 1, 2]


def test_a_thread_keeps_its_memory_and_no_other_thread_or_purpose_has_it():
    def image(ny, nx):
        return workspace("a test's image", (ny, nx), np.float32)

    first = image(10, 20)
    assert image(10, 20) is first
    assert not np.shares_memory(workspace("a test's mask", (10, 20), np.float32), first)
    assert image(20, 10).shape == (20, 10)
    of_other_thread = []
    thread = threading.Thread(target=lambda: of_other_thread.append(image(20, 10)))
    thread.start()
    thread.join()
    assert not np.shares_memory(of_other_thread[0], image(20, 10))


@pytest.mark.parametrize(("n_ccd", "n"), [(1, 1), (2, 1), (11, 1), (12, 3), (23, 5), (24, 6), (61, 11), (500, 12)])
def test_a_thread_reads_a_few_ccds_of_a_large_stack_before_it_hands_them_over(n_ccd, n):
    assert read_together(n_ccd) == n


@pytest.mark.parametrize(("most", "n"), [(1, 1), (4, 4), (7, 7), (10, 9), (20, 11)])
def test_a_thread_reads_no_more_ccds_together_than_one_read_may_give(most, n):
    assert read_together(61, most) == n
