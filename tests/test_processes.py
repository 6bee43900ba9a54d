"""Several processes for one device: the same tables, whatever becomes of a process."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

import gpuanom
from gpuanom.backends.cpu import CpuBackend
from gpuanom.errors import DeviceError
from gpuanom.fits import discover
from gpuanom.measuring import process_program, processes
from gpuanom.measuring import threads as measuring_threads
from gpuanom.measuring.processes import Processes
from gpuanom.records import Failure, Measurement
from tests import nights

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300)


@pytest.fixture
def several(monkeypatch):
    """A CPU that several processes share as they share a GPU, also for short nights."""
    monkeypatch.setattr(CpuBackend, "share_memory", lambda _self, most: (most, 0))
    monkeypatch.setattr(processes, "LEAST_EXPOSURES", 1)
    monkeypatch.setattr(processes, "MOST_PROCESSES", 2)
    monkeypatch.setattr(processes.os, "cpu_count", lambda: 8)
    monkeypatch.delenv("GPUANOM_PROCESSES", raising=False)


@pytest.fixture
def only_others(several, monkeypatch):
    """This process measures nothing, until the others have ended."""
    monkeypatch.setattr(processes, "_measure_in_this_process", lambda _works, _source, done: done.put(None))


@pytest.fixture
def exposures(tmp_path):
    nights.night(tmp_path / "night", exposures=7, ccds=2)
    return discover([tmp_path / "night"], QUICK).exposures


def program(monkeypatch, tmp_path, text):
    """Have the further processes run another program, which begins with the two connections."""
    path = tmp_path / "program.py"
    path.write_text(
        "import sys\nfrom multiprocessing.connection import Connection\n"
        f"requests, answers = (Connection(int(number)) for number in sys.argv[1:])\njob = requests.recv()\n{text}\n"
    )
    monkeypatch.setattr(processes, "PROGRAM", (str(path),))


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_tables_are_those_of_one_process(tmp_path, exposures, several):
    """Whichever process measures an exposure: also one whose file is damaged, and one that lacks a CCD."""
    damaged = tmp_path / "night" / "exposure_003.fits"
    damaged.write_bytes(damaged.read_bytes()[:40000])
    (tmp_path / "night" / "exposure_004.fits").write_bytes(b"SIMPLE  =                    T")
    found = []
    for out, many in (("several", True), ("one", False)):
        with pytest.MonkeyPatch.context() as patch:
            if not many:
                patch.setattr(processes, "LEAST_EXPOSURES", 1000)
            gpuanom.score([tmp_path / "night"], tmp_path / out, settings=QUICK, device="cpu")
        found.append(nights.tables(tmp_path / out))
    assert found[0] == found[1]
    assert len(found[0]) > 1


def test_the_others_measure_all(exposures, only_others):
    with Processes(QUICK, [CpuBackend()], 1, print) as run:
        done = {exposure.exposure: result for exposure, result, _ in run.measured(exposures)}
        pids = [other._process.pid for other in run._further]
    assert len(pids) == 1
    assert not any(map(alive, pids))
    assert sorted(done) == [str(i) for i in range(1, 8)]
    assert all(isinstance(result, Measurement) for result in done.values())
    assert run._further[0]._source._n_underway == 0  # each one makes room for another


def test_a_further_process_gets_more_than_it_works_on(exposures, only_others, monkeypatch):
    """Otherwise it would wait for one more exposure, and nobody would get what it has measured."""
    monkeypatch.setattr(measuring_threads, "MORE_ON_HOST", 5)
    with Processes(QUICK, [CpuBackend()], 1, print) as run:
        list(run.measured(exposures))
        assert run._further[0]._ahead > run._own_threads.most_underway


def test_exposures_that_fill_a_pipe(exposures, only_others):
    """Both processes send more than a pipe holds, and neither waits for the other one to read."""
    large = [replace(exposure, remarks=("x" * 10**6,)) for exposure in exposures]
    with Processes(QUICK, [CpuBackend()], 1, print) as run:
        assert len(list(run.measured(large))) == 7


def test_a_process_that_is_killed_costs_nothing(exposures, only_others, caplog):
    with Processes(QUICK, [CpuBackend()], 1, print) as run:
        done = []
        for exposure, result, _ in run.measured(exposures):
            if not done:
                os.kill(run._further[0]._process.pid, signal.SIGKILL)
            assert not isinstance(result, Failure)
            done.append(exposure.exposure)
    assert sorted(done) == [str(i) for i in range(1, 8)]
    assert "it ended with status -9; the run goes on without it" in caplog.text
    assert run._further[0]._source._n_underway == 0


def test_a_process_that_cannot_use_the_device(exposures, only_others, monkeypatch, caplog):
    monkeypatch.setattr(CpuBackend, "device_name", "nonsense")
    with Processes(QUICK, [CpuBackend()], 1, print) as run:
        assert len(list(run.measured(exposures))) == 7
    assert "unknown device 'nonsense'" in caplog.text


def test_a_program_that_does_not_start(exposures, only_others, monkeypatch, caplog):
    monkeypatch.setattr(processes, "PROGRAM", ("-c", "raise SystemExit(3)"))
    with Processes(QUICK, [CpuBackend()], 1, print) as run:
        assert len(list(run.measured(exposures))) == 7
    assert "it ended with status 3" in caplog.text


def test_python_cannot_be_run(exposures, only_others, monkeypatch, caplog):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with Processes(QUICK, [CpuBackend()], 1, print) as run:
        assert len(list(run.measured(exposures))) == 7
    assert "No such file" in caplog.text


def test_a_device_that_fails_ends_the_run(tmp_path, exposures, several, monkeypatch):
    program(monkeypatch, tmp_path, "answers.send(('ready',)); requests.recv(); answers.send(('broken', 'gpu 0 fails'))")
    monkeypatch.setattr(processes, "_measure_in_this_process", lambda _works, _source, _done: time.sleep(0.1))
    with Processes(QUICK, [CpuBackend()], 1, print) as run, pytest.raises(DeviceError, match="gpu 0 fails"):
        list(run.measured(exposures))


def test_messages_of_the_others_are_heard(tmp_path, exposures, only_others, monkeypatch, caplog):
    program(
        monkeypatch, tmp_path, "answers.send(('log', 30, 'less memory')); answers.send(('debug', 'a traceback'))"
    )  # fmt: skip
    said = []
    with Processes(QUICK, [CpuBackend()], 1, said.append) as run:
        assert len(list(run.measured(exposures))) == 7
    assert "less memory" in caplog.text
    assert said == ["a traceback"]


def test_who_stops_early_leaves_nothing_behind(exposures, several, monkeypatch):
    monkeypatch.setattr(processes, "MOST_NOT_STORED", 0)
    before = threading.active_count()
    with Processes(QUICK, [CpuBackend()], 1, print) as run:
        for _ in run.measured(exposures):
            break
        pids = [other._process.pid for other in run._further if other._process]
    assert run._further[0]._source._waiting
    assert run._further[0]._source.take() is None
    assert not any(map(alive, pids))
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_a_process_ends_when_the_first_one_is_gone(exposures):
    """Nobody else would end it: an interrupt, which the terminal sends to all of them, is left to the first one."""
    job = processes.Job(QUICK, "cpu", 1, 0, 30)
    other = processes._FurtherProcess(job, 1, processes._ExposureQueue([], 1), None, print)
    with other._started() as (receiver, sender):
        sender.send(job)
        assert receiver.recv() == ("ready",)
        other._process.send_signal(signal.SIGINT)
    assert other._process.wait(60) == 1


class Talking:
    """Measures nothing, in an order of its own, and says something."""

    def __init__(self, _settings, _backends, _threads, debug):
        self.debug = debug

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def measured(self, exposures):
        self.debug("a traceback")
        for exposure in reversed(list(iter(exposures.take, None))):
            logging.getLogger("gpuanom").info("of no interest")
            logging.getLogger("gpuanom").warning("less memory for %s", exposure)
            yield exposure, f"result of {exposure}", 0.1


@pytest.fixture
def logger():
    log = logging.getLogger("gpuanom")
    level, handlers, propagate = log.level, log.handlers[:], log.propagate
    yield
    log.setLevel(level)
    log.handlers[:], log.propagate = handlers, propagate


@pytest.mark.usefixtures("logger")
def test_what_the_program_answers(monkeypatch):
    """Messages from the level of the first process on, and the memory that it gave."""
    limits, answers = [], []
    monkeypatch.setattr(CpuBackend, "limit_memory", lambda _self, n_bytes: limits.append(n_bytes))
    monkeypatch.setattr(process_program, "Threads", Talking)
    asked = iter([processes.Job(QUICK, "cpu", 1, 1000, logging.WARNING), (0, "a"), (1, "b"), (2, None)])
    process_program.serve(
        SimpleNamespace(recv=lambda: next(asked)), SimpleNamespace(send=lambda *message: answers.append(message))
    )
    assert limits == [1000]
    assert answers == [
        ("ready",),
        ("debug", "a traceback"),
        ("log", logging.WARNING, "less memory for b"),
        (1, "result of b", 0.1),
        ("log", logging.WARNING, "less memory for a"),
        (0, "result of a", 0.1),
    ]


def test_a_short_night_starts_no_process(exposures, several, monkeypatch):
    monkeypatch.setattr(processes, "LEAST_EXPOSURES", 8)
    with Processes(QUICK, [CpuBackend()], 1, print) as run:
        assert len(list(run.measured(exposures))) == 7
        assert not run._further


@pytest.mark.parametrize(("cores", "n"), [(1, 1), (4, 1), (5, 2), (8, 3), (16, 6), (96, 6)])
def test_processes_by_cores(monkeypatch, cores, n):
    monkeypatch.setattr(processes.os, "cpu_count", lambda: cores)
    assert Processes(QUICK, [CpuBackend()], None, print)._n_processes(10**4) == n
    assert Processes(QUICK, [CpuBackend()] * 2, None, print)._n_processes(10**4) == max(1, min(6, cores // 5))
    assert Processes(QUICK, [CpuBackend()], None, print)._n_processes(processes.LEAST_EXPOSURES - 1) == 1


def test_a_number_from_the_environment(monkeypatch, exposures):
    monkeypatch.setenv("GPUANOM_PROCESSES", "3")
    assert Processes(QUICK, [CpuBackend()], None, print)._n_processes(1) == 3
    monkeypatch.setenv("GPUANOM_PROCESSES", "many")
    with pytest.raises(gpuanom.errors.SettingsError, match="GPUANOM_PROCESSES is 'many' but must be a whole number"):
        list(Processes(QUICK, [CpuBackend()], None, print).measured(exposures))


def test_exposures_are_given_out_as_they_are_stored():
    source = processes._ExposureQueue(range(10), 3)
    closed = processes._ExposureQueue(range(10), 3)
    closed.close()
    assert closed.take() is None
    assert [source.take() for _ in range(3)] == [0, 1, 2]
    taker = threading.Thread(target=lambda: taken.append(source.take()))
    taken = []
    taker.start()
    time.sleep(0.05)
    assert not taken
    assert source.take(wait=False) is None
    source.stored(None)
    taker.join(20)
    assert taken == [3]
    source.give_back([1])
    assert source._n_underway == 2
    assert source.take() == 4
    assert source.rest() == [5, 6, 7, 8, 9, 1]
    assert source.take() is None


def test_of_small_exposures_more_are_given_out():
    """As many times more as share a stack of a GPU; the exposures with the most CCDs decide."""
    source = processes._ExposureQueue(range(1000), 2)
    assert [source.take(wait=False) for _ in range(3)] == [0, 1, None]
    source.stored(Measurement(None, (None,) * 61, "", "", None))
    assert source.sharing == 4
    assert [source.take(wait=False) for _ in range(8)] == [*range(2, 9), None]
    source.stored(Measurement(None, (None,), "", "", None))
    assert source.sharing == 4


def test_requests_are_taken_as_they_come_and_their_end_is_told_to_who_waits():
    """Where the other process has gone, tasks that look for one more exposure find none; the run itself is told."""
    begin = threading.Event()
    asked = iter([(7, "a"), (8, "b")])

    def receive():
        begin.wait(30)
        try:
            return next(asked)
        except StopIteration:
            raise EOFError from None

    requested = process_program._Requested(SimpleNamespace(recv=receive))
    assert requested.take(wait=False) is None
    begin.set()
    first = requested.take()
    assert (first, requested.number(first)) == ("a", 7)
    assert requested.take() == "b"
    for _ in range(2):
        with pytest.raises(EOFError):
            requested.take()
        assert requested.take(wait=False) is None


def test_an_interrupt_never_leaves_the_list_of_exposures_locked():
    """Python handles a signal where a function begins, and where a call has ended."""
    files = processes.__file__, threading.__file__
    left = 0

    def trace(frame, event, _):
        nonlocal left
        if frame.f_code.co_filename in files and event in ("call", "return"):
            left -= 1
            if left == 0:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    for n in range(1, 100):
        source, left = processes._ExposureQueue(range(3), 3), n
        try:
            sys.settrace(trace)
            source.stored(None)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        taken = SimpleQueue()
        threading.Thread(target=lambda s=source, q=taken: q.put(s.take()), daemon=True).start()
        assert taken.get(timeout=30) == 0
        if left > 0:
            break
    assert 2 < n < 100
