"""Workers that do not see the files, workers of another version, and schedulers that do not exist."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from queue import SimpleQueue
from types import SimpleNamespace

import pytest

import gpuanom
from gpuanom.cluster import roster
from gpuanom.cluster.job import Job
from gpuanom.errors import ClusterError
from gpuanom.settings import Settings
from tests import nights
from tests.cluster.conftest import Said
from tests.cluster.farm import until

NO_MOUNTS = "this user may not make a mount namespace (unshare -m)"


@pytest.fixture
def nobody_else(monkeypatch):
    """No waiting for other workers to join."""
    monkeypatch.setattr("gpuanom.cluster.roster.LATE", 0.0)


@pytest.fixture
def blind(night):
    """The command prefix of a worker that does not see the night, because an empty folder is mounted over it."""
    hidden = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none "{night}" && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*hidden, "true"], capture_output=True).returncode:
        pytest.skip(NO_MOUNTS)
    return hidden


def test_workers_that_see_no_files_are_named_with_the_remedy(own_farm, score, blind, night, nobody_else):
    own_farm.worker(before=blind, nanny=False)
    with pytest.raises(ClusterError) as error:
        score(own_farm, timeout=60)
    text = str(error.value)
    assert text.startswith("no worker can be used: worker tcp://127.0.0.1:")
    assert f"it does not see {night / 'exposure_001.fits'}: no such file or directory" in text
    assert "inputs must lie on a file system that all workers share" in text


def test_a_worker_that_sees_no_files_is_left_out(own_farm, score, blind, undisturbed, tmp_path):
    own_farm.worker(before=blind, nanny=False, threads=2)
    own_farm.worker(nanny=False)
    _, said = score(own_farm)
    assert nights.tables(tmp_path / "out") == undisturbed
    left_out = [line for line in said.lines if "is left out" in line]
    assert len(left_out) <= 1  # the night may be over before this worker has answered


def test_a_file_that_one_worker_does_not_see_is_measured_by_another(farm, score, night, undisturbed, tmp_path):
    """As when a folder is mounted on some nodes only; all workers see the files of the first exposure."""
    farm.befall("5", "lose")
    _, said = score(farm)
    assert nights.tables(tmp_path / "out") == undisturbed
    assert any("does not see a file of exposure 5" in line for line in said.lines), said.lines


def test_a_file_that_no_worker_sees_fails_alone(farm, score, monkeypatch):
    monkeypatch.setattr("gpuanom.cluster.tries.LATE", 0.5)
    farm.befall("5", "lose", always=True)
    night, _ = score(farm)
    rows = night.tables.exposures
    (row,) = rows[rows["exposure"] == "5"]
    assert row["status"] == "unreadable"
    assert row["note"].startswith("no worker sees a file of exposure 5: it is elsewhere")


def test_workers_of_another_version_are_refused(own_farm, score, nobody_else):
    own_farm.worker(nanny=False, env={"GPUANOM_TEST_VERSION": "9.9"})
    with pytest.raises(ClusterError, match=r"gpuanom 9\.9 there, .* here \(install the same gpuanom"):
        score(own_farm, timeout=60)


def test_workers_without_gpuanom_are_refused(own_farm, score, nobody_else):
    own_farm.worker(nanny=False, env={"GPUANOM_TEST_VERSION": "none"})
    with pytest.raises(ClusterError, match="gpuanom cannot be imported there"):
        score(own_farm, timeout=60)


def test_other_versions_of_packages_are_told(own_farm, score, undisturbed, tmp_path):
    own_farm.worker(nanny=False, env={"GPUANOM_TEST_NUMPY": "1.0"})
    _, said = score(own_farm)
    assert any("numpy 1.0 there, " in line and "last digits" in line for line in said.lines), said.lines
    assert nights.tables(tmp_path / "out") == undisturbed


def test_a_report_that_cannot_be_written_costs_no_measurement(farm, score, undisturbed, tmp_path):
    (tmp_path / "report.html").mkdir()
    _, said = score(farm, performance_report=tmp_path / "report.html")
    assert any("report.html: no performance report: IsADirectoryError" in line for line in said.lines), said.lines
    assert nights.tables(tmp_path / "out") == undisturbed


def test_the_schedulers_versions_are_compared():
    from distributed.versions import get_versions

    from gpuanom.cluster.connect import differing, shared

    ours = shared(get_versions())
    assert {"python", "dask", "distributed", "msgpack", "cloudpickle", "tornado"} <= set(ours)
    assert differing(ours, ours) == ""
    assert differing({**ours, "msgpack": "0.1"}, ours) == f"msgpack 0.1 there, {ours['msgpack']} here"


def test_no_worker_within_the_time_ends_the_run(own_farm, score, monkeypatch):
    monkeypatch.setattr("gpuanom.cluster.roster.WAITING", 1.0)
    with pytest.raises(ClusterError, match="no worker has been there for 1 s"):
        score(own_farm)


def workers_of(client):
    return client.scheduler_info(n_workers=-1)["workers"].values()


def test_a_worker_that_is_paused_for_its_memory_is_told_with_the_remedy(own_farm, score, monkeypatch):
    monkeypatch.setattr("gpuanom.cluster.roster.PAUSED", 1.0)
    monkeypatch.setattr("gpuanom.cluster.roster.WAITING", 6.0)
    from distributed import Client

    memory = "DASK_DISTRIBUTED__WORKER__MEMORY__"
    env = {f"{memory}PAUSE": "0.001", f"{memory}TERMINATE": "False", f"{memory}MONITOR_INTERVAL": "50ms"}
    own_farm.worker("--memory-limit", "4GiB", env=env.items())
    with Client(scheduler_file=str(own_farm.file)) as client:
        until(lambda: "paused" in {w["status"] for w in workers_of(client)}, "a paused worker")
    why = r"Dask has paused it, since it uses \d+ of its 4096 MiB of memory"
    said = Said()
    with pytest.raises(ClusterError, match=rf"has been there for 6 s at .*: worker .*: {why} .*--memory-limit"):
        score(own_farm, events=said)
    (line,) = [line for line in said.lines if "paused" in line]
    assert re.search(rf"worker .*: {why} \(start workers with more memory, --memory-limit\)", line)


@pytest.mark.parametrize(
    "told",
    [{"metrics": {}, "memory_limit": 0}, {"metrics": None, "memory_limit": None}, {"metrics": {"memory": 2**20}}],
)
def test_a_paused_worker_without_a_limit_is_told_without_numbers(monkeypatch, told):
    monkeypatch.setattr(roster, "PAUSED", -1.0)
    about = {"nthreads": 1, "nanny": None, "status": "paused", **told}
    connection = SimpleNamespace(workers=lambda: {"tcp://host:1": about})
    said = []
    found = roster.Roster(connection, Job(Settings(), "cpu", None), [], SimpleQueue(), said.append, said.append)
    found.members["tcp://host:1"] = roster.Member("tcp://host:1", 1, nanny=False)
    assert found.look()
    assert said == [f"{found.members['tcp://host:1']}: Dask has paused it ({roster.MEMORY})"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("tcp://127.0.0.1:9", "no scheduler answers at tcp://127.0.0.1:9"),
        ("host", "host: is no scheduler's address"),
        ("nonsense://host:1", "is no scheduler's address"),
    ],
)
def test_schedulers_that_are_not_there(night, tmp_path, monkeypatch, address, said):
    monkeypatch.setattr("gpuanom.cluster.connect.CONNECTING", 0.5)
    with pytest.raises(ClusterError, match=said):
        gpuanom.score(night, tmp_path / "out", scheduler=address)


@pytest.mark.parametrize("content", [None, "{}", "no JSON", "[]"])
def test_files_that_tell_of_no_scheduler(night, tmp_path, monkeypatch, content):
    monkeypatch.setattr("gpuanom.cluster.connect.FILE", 0.1)
    file = tmp_path / "scheduler.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ClusterError, match=r"scheduler\.json: tells of no scheduler"):
        gpuanom.score(night, tmp_path / "out", scheduler=file)


def test_a_scheduler_that_goes_away_ends_the_run_and_the_same_command_goes_on(
    mortal_farm, farm, score, undisturbed, tmp_path
):
    mortal_farm.worker(nanny=False)
    mortal_farm.befall("4", "hang")

    def kill():
        mortal_farm.befallen("4", "hang")
        os.killpg(mortal_farm.scheduler.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    with pytest.raises(
        ClusterError, match=r"the scheduler at .* is gone, or was restarted \(what was measured is kept"
    ):
        score(mortal_farm)
    thread.join()
    _, said = score(farm)
    assert 0 < len(said.measured) < 7
    assert nights.tables(tmp_path / "out") == undisturbed
