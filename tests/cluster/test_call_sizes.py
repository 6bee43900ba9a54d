"""Small exposures share a call, and whatever happens to a call is told exposure by exposure."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from dataclasses import replace
from types import SimpleNamespace

import pytest

from gpuanom.cluster import call_sizes, worker
from gpuanom.cluster.assignment import Assignment, Attempt, has_suspect
from gpuanom.cluster.call_sizes import MOST, SPAN, CallSizes
from gpuanom.cluster.job import Answer, Broken
from gpuanom.cluster.roster import Member
from gpuanom.records import Exposure, Failure, Measurement
from tests import nights

EXPOSURE = Exposure("1", "C", "r", "", 1.0, (), (), "", "")


@pytest.fixture
def new(tmp_path):
    """Many exposures of 1000 bytes."""
    path = tmp_path / "image.fits"
    path.write_bytes(bytes(1000))
    return deque(replace(EXPOSURE, exposure=str(i), files=(path,), masks=(None,)) for i in range(200))


def measured(seconds):
    return Answer(object.__new__(Measurement), seconds)


def counts(sizes, new, room, n=1):
    return [len(sizes.take(new, room)) for _ in range(n)]


def test_exposures_travel_alone_before_one_was_measured(new):
    assert counts(CallSizes(600.0), new, 4, 3) == [1, 1, 1]


@pytest.mark.parametrize(("seconds", "n"), [(0.001, MOST), (SPAN / 4.5, 4), (SPAN / 1.5, 1), (60.0, 1)])
def test_so_many_share_a_call_as_are_measured_within_the_span(new, seconds, n):
    calls = CallSizes(600.0)
    calls.note(2000, [measured(seconds), measured(seconds)])
    first = [e.exposure for e in new][:n]
    taken = calls.take(new, 4)
    assert [e.exposure for e, _ in taken] == first
    assert [size for _, ((_, size),) in taken] == [1000] * n
    assert new[0].exposure == str(n)


def test_a_large_exposure_does_not_hold_up_small_ones(new, tmp_path):
    large = tmp_path / "large.fits"
    large.write_bytes(bytes(100_000))
    new[2] = replace(new[2], files=(large,))
    calls = CallSizes(600.0)
    calls.note(1000, [measured(SPAN / 20)])
    assert counts(calls, new, 4, 3) == [2, 1, MOST]


def test_the_last_exposures_of_a_night_are_spread_over_the_workers(new):
    calls = CallSizes(600.0)
    calls.note(1000, [measured(0.001)])
    for _ in range(200 - 40):
        new.popleft()
    taken = []
    while new:
        taken += counts(calls, new, 5)
    assert taken == sorted(taken, reverse=True)
    assert taken[:3] == [4, 3, 3]
    assert taken.count(1) >= 2 * 5


def test_the_span_is_a_small_part_of_the_time_limit():
    assert CallSizes(600.0).span == SPAN
    assert CallSizes(1.0).span == pytest.approx(0.1)


def test_failures_say_nothing_of_the_time(new):
    calls = CallSizes(600.0)
    calls.note(1000, [Answer(Failure("f", "C", "r", "1", "failed", "why"), 0.0)])
    calls.note(0, [measured(0.0)])
    assert counts(calls, new, 4) == [1]


def test_the_slow_start_of_a_worker_is_forgotten(new):
    calls = CallSizes(600.0)
    calls.note(1000, [measured(3.0)])
    for _ in range(8):
        calls.note(1000, [measured(0.02)])
    assert counts(calls, new, 4) == [MOST]


@pytest.fixture
def one_worker(monkeypatch):
    """This process as a worker; what the worker tells the client."""
    told = []
    dask = SimpleNamespace(log_event=lambda *event: told.append(event), state=SimpleNamespace(nthreads=1))
    monkeypatch.setattr(worker, "_dask_worker", lambda: dask)
    return told


def call(monkeypatch, answer, n=4, span=0.2):
    """Measure so many exposures in one call, each by `answer`; the number of answers."""
    monkeypatch.setattr(worker, "_measured", lambda _run, _job, exposure, _files: answer(int(exposure.exposure)))
    parts = [(replace(EXPOSURE, exposure=str(i)), []) for i in range(n)]
    return len(worker.measured("run", b"", "name", parts, span))


def test_a_worker_answers_for_each_exposure_and_tells_nothing(one_worker, monkeypatch):
    assert call(monkeypatch, lambda _i: Answer(None)) == 4
    assert one_worker == []


def test_a_worker_tells_what_holds_it_up_and_begins_nothing_more(one_worker, monkeypatch):
    go = threading.Event()
    monkeypatch.setattr(
        worker, "_dask_worker", lambda: SimpleNamespace(log_event=lambda *e: (one_worker.append(e), go.set()))
    )
    assert call(monkeypatch, lambda i: Answer(None) if i < 1 else (go.wait(30), Answer(None))[1]) == 2
    ((topic, about),) = one_worker
    assert topic == worker.under_way_topic("run")
    assert (about["call"], about["under_way"]) == ("name", 1)
    assert 0.0 < about["seconds"] < 30


def test_a_single_exposure_takes_its_time(one_worker, monkeypatch):
    assert call(monkeypatch, lambda _i: (threading.Event().wait(0.1), Answer(None))[1], n=1, span=0.01) == 1
    assert one_worker == []


def test_a_device_that_fails_ends_the_call(one_worker, monkeypatch):
    assert call(monkeypatch, lambda i: Answer(Broken("gone") if i == 2 else None)) == 3


def test_only_what_the_worker_was_busy_with_is_suspected():
    attempts = [Attempt(replace(EXPOSURE, exposure=str(i))) for i in range(3)]
    assignment = Assignment(attempts, Member("w0", 1, nanny=True))
    assert (assignment.suspects, assignment.others) == (attempts, [])
    assignment.under_way = 1
    assert (assignment.suspects, assignment.others) == ([attempts[1]], [attempts[0], attempts[2]])


def test_a_suspect_is_seen_wherever_it_stands_in_a_call():
    member = Member("w0", 1, nanny=True)
    member.assignments.append(Assignment([Attempt(EXPOSURE), Attempt(EXPOSURE, alone=True)], member))
    assert has_suspect(member)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder of 18 exposures, and the tables of a run without a cluster."""
    import gpuanom
    from tests.cluster.conftest import QUICK

    folder = tmp_path_factory.mktemp("shared") / "night"
    nights.night(folder, exposures=18, ccds=1, bands=("r",))
    gpuanom.score(folder, folder.parent / "alone", settings=QUICK, device="cpu", threads=1)
    return folder, nights.tables(folder.parent / "alone")


@pytest.fixture
def calls(monkeypatch):
    """Exposures share calls from the beginning, three in each; the numbers of those in each call."""
    sent, whole = [], CallSizes.take

    def take(self, new, _room):
        self._pace, self.span = 1e-12, 2.0
        taken = whole(self, new, 1)
        sent.append([exposure.exposure for exposure, _ in taken])
        return taken

    monkeypatch.setattr(call_sizes, "MOST", 3)
    monkeypatch.setattr(CallSizes, "take", take)
    return sent


def test_calls_of_several_exposures_change_nothing(farm, score, many, calls, tmp_path):
    night, alone = many
    _, said = score(farm, paths=night)
    assert len(calls[0]) == 3
    assert nights.tables(tmp_path / "out") == alone
    assert sorted(said.measured, key=int) == [str(i) for i in range(1, 19)]


def test_an_exposure_that_kills_its_workers_harms_the_others_of_its_call_once(farm, score, many, calls):
    farm.befall("2", "die", always=True)
    night, said = score(farm, paths=many[0])
    rows = night.tables.exposures
    assert {row["exposure"]: row["status"] for row in rows if row["status"] == "worker_died"} == {"2": "worker_died"}
    assert calls[0] == ["1", "2", "3"]
    assert sorted(said.measured, key=int) == [str(i) for i in range(1, 19)]
    for other in ("1", "3"):
        assert sum(line.startswith(f"exposure {other}: ") for line in said.lines) == 1, said.lines


def test_an_exposure_that_holds_up_its_call_is_the_only_one_to_blame(farm, score, many, calls, tmp_path):
    farm.befall("2", "hang")
    _, said = score(farm, paths=many[0], timeout=8)
    assert calls[0] == ["1", "2", "3"]
    late = [line for line in said.lines if "no answer within 8 s" in line]
    assert [line.split(":")[0] for line in late] == ["exposure 2"], said.lines
    assert nights.tables(tmp_path / "out") == many[1]
    assert sorted(said.measured, key=int) == [str(i) for i in range(1, 19)]


def test_a_worker_that_is_killed_late_in_a_call_loses_one_try_of_one_exposure(farm, score, many, calls, tmp_path):
    farm.befall("2", "hang")

    def kill():
        (pid,) = farm.befallen("2", "hang")
        threading.Event().wait(4)  # by then the worker has told what holds it up
        os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    _, said = score(farm, paths=many[0])
    thread.join()
    assert calls[0] == ["1", "2", "3"]
    died = {line.split(":")[0] for line in said.lines if "it died; tried again" in line}
    assert "exposure 2" in died
    assert not died & {"exposure 1", "exposure 3"}, said.lines
    assert nights.tables(tmp_path / "out") == many[1]


def test_a_call_that_ends_with_an_error_is_made_again_exposure_by_exposure(farm, score, many, calls, tmp_path):
    """No error of one exposure should reach this far; one that does must not cost the others of its call."""
    farm.befall("1", "error", always=True)
    _, said = score(farm, paths=many[0])
    assert farm.befallen("1", "error")
    assert nights.tables(tmp_path / "out") == many[1]
    assert sorted(said.measured, key=int) == [str(i) for i in range(1, 19)]
