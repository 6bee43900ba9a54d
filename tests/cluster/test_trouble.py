"""Workers that die, hang or run out of memory: the exposure is tried on another worker, and the tables are the same."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from gpuanom.errors import ClusterError
from tests import nights
from tests.cluster.farm import alive, until


def failed(night, exposure):
    """The status and note of an exposure that failed."""
    rows = night.tables.exposures
    (row,) = rows[rows["exposure"] == exposure]
    return row["status"], row["note"]


def test_a_worker_killed_in_the_middle_of_an_exposure_costs_nothing(farm, score, undisturbed, tmp_path):
    farm.befall("3", "hang")
    killed = []

    def kill():
        killed.extend(farm.befallen("3", "hang"))
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    _, said = score(farm)
    thread.join()
    assert not alive(killed[0])
    assert nights.tables(tmp_path / "out") == undisturbed
    assert any(
        "exposure 3: worker tcp://" in line and "it died; tried again (2 of 3)" in line for line in said.lines
    ), said.lines
    assert sorted(said.measured) == [str(i) for i in range(1, 8)]


def test_an_exposure_that_kills_its_workers_fails_alone(farm, score):
    farm.befall("2", "die", always=True)
    night, said = score(farm)
    status, note = failed(night, "2")
    assert status == "worker_died"
    assert note.startswith("tried 3 times; worker tcp://")
    assert note.count("it died") == 3
    assert sorted(said.measured) == [str(i) for i in range(1, 8)]
    assert [name.rpartition("_")[2] for name, _ in night.failed] == ["002.fits"]


def test_a_worker_that_is_stopped_is_started_anew(farm, score, undisturbed, tmp_path):
    farm.befall("4", "stop")
    _, said = score(farm, timeout=4)
    (pid,) = farm.befallen("4", "stop")
    assert nights.tables(tmp_path / "out") == undisturbed
    assert any("no answer within 4 s; tried again (2 of 3)" in line for line in said.lines), said.lines
    assert sorted(said.measured) == [str(i) for i in range(1, 8)]
    until(lambda: not alive(pid), "the end of the worker that was stopped")


def test_a_worker_over_its_memory_is_stopped_and_named(farm, score, undisturbed, tmp_path):
    farm.befall("5", "hog")
    _, said = score(farm)
    assert nights.tables(tmp_path / "out") == undisturbed
    assert any("stopped for its use of memory; tried again (2 of 3)" in line for line in said.lines), said.lines


@pytest.mark.parametrize("always", [False, True])
def test_what_finds_no_memory_is_tried_elsewhere(farm, score, undisturbed, tmp_path, always):
    farm.befall("1", "memory", always)
    night, said = score(farm)
    assert sum("memory did not suffice" in line for line in said.lines) == (2 if always else 1), said.lines
    if always:
        status, note = failed(night, "1")
        assert status == "out_of_memory"
        assert note.count("memory did not suffice") == 3
    else:
        assert nights.tables(tmp_path / "out") == undisturbed


def test_a_device_that_fails_takes_its_worker_out(farm, score, undisturbed, tmp_path):
    farm.befall("3", "device")
    _, said = score(farm)
    assert nights.tables(tmp_path / "out") == undisturbed
    assert any("is left out: device '0': it has fallen off the bus" in line for line in said.lines), said.lines


def test_devices_that_fail_everywhere_end_the_run(own_farm, score, monkeypatch):
    monkeypatch.setattr("gpuanom.cluster.roster.LATE", 0.0)
    own_farm.worker(nanny=False)
    own_farm.befall("3", "device", always=True)
    with pytest.raises(ClusterError, match=r"no worker can be used: worker tcp://.*: device '0': it has fallen off"):
        score(own_farm)


def test_an_answer_that_comes_too_late_is_not_taken(own_farm, score, undisturbed, tmp_path):
    """Without a nanny nothing can end a worker that hangs: the worker is used again once it has finished."""
    own_farm.worker(nanny=False)
    own_farm.befall("2", "doze")
    # A busy machine takes seconds for an ordinary exposure; the first exposure also imports the measuring code.
    _, said = score(own_farm, timeout=6)
    assert sorted(said.measured) == [str(i) for i in range(1, 8)]
    assert sum("no answer within 6 s" in line for line in said.lines) == 1, said.lines
    assert nights.tables(tmp_path / "out") == undisturbed
