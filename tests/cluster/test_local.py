"""Runs on workers of this machine, as users start them: the same tables, interrupted or not, and no process left
behind.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import gpuanom
from gpuanom import installing, nvidia
from gpuanom.cli import main
from gpuanom.errors import ClusterError
from tests import nights
from tests.cluster.conftest import QUICK
from tests.cluster.farm import HOOKS, ROOT, Hooks, alive, until

POINTS = [f"--{name}={n}" for name, n in (("points", 300), ("sigma-points", 500), ("background-points", 300))]


@pytest.fixture
def hooks(tmp_path, monkeypatch):
    """Faults for the workers of this machine, set by Dask's own configuration."""
    hooks = Hooks(tmp_path / "hooks")
    for name, value in {**hooks.environment, "DASK_DISTRIBUTED__WORKER__PRELOAD": str(HOOKS)}.items():
        monkeypatch.setenv(name, value)
    return hooks


def command(*arguments, cwd, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "gpuanom", *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def below(pid):
    """A process and all processes below it."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            child = int(stat.parent.name)
            found += [child, *below(child)]
    return found


@pytest.mark.parametrize(
    ("workers", "threads"),
    [(2, 1), pytest.param(1, 3, marks=pytest.mark.proof), pytest.param(4, 1, marks=pytest.mark.proof)],
)
def test_workers_threads_and_order_change_nothing(night, undisturbed, tmp_path, workers, threads):
    files = sorted(night.iterdir())
    random.Random(workers).shuffle(files)
    options = {"settings": QUICK, "device": "cpu", "workers": workers, "threads": threads}
    gpuanom.score(files, tmp_path / "out", **options)
    assert nights.tables(tmp_path / "out") == undisturbed
    gpuanom.score([night], tmp_path / "alone", settings=QUICK, device="cpu", threads=threads)
    assert nights.tables(tmp_path / "alone") == undisturbed


def test_relative_paths_are_kept_as_they_were_given(night, tmp_path, monkeypatch, farm):
    """Reasons of failed exposures and CCDs name the files as the user did: the tables are those of one process."""
    (tmp_path / "here").mkdir()
    for path in night.iterdir():
        (tmp_path / "here" / path.name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    gpuanom.score("here", "alone", settings=QUICK, device="cpu")
    gpuanom.score("here", "out", settings=QUICK, device="cpu", scheduler=farm.file)
    assert b"here/exposure_007.fits" in nights.tables(Path("out"))["ccds.ecsv"]
    assert nights.tables(Path("out")) == nights.tables(Path("alone"))


RUN = "-o", "out", "--workers", 1, "--threads", 1, "--device", "cpu", *POINTS


def test_a_client_that_is_killed_leaves_nobody_and_the_same_command_goes_on(night, undisturbed, tmp_path, hooks):
    hooks.befall("4", "hang")
    process = command("score", night, *RUN, cwd=tmp_path)
    hooks.befallen("4", "hang")
    for line in process.stderr:
        if line.startswith("exposure 3"):
            break
    workers = below(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.communicate()
    again = command("score", night, *RUN, cwd=tmp_path)
    said = again.communicate(timeout=120)[1]
    assert again.returncode == 1, said  # the CCD that is cut off is lost
    assert "measured already" in said
    assert nights.tables(tmp_path / "out") == undisturbed
    until(lambda: not any(alive(pid) for pid in workers), "the end of the workers")


def test_an_interrupt_ends_at_once_and_leaves_nobody(night, tmp_path, hooks):
    hooks.befall("4", "hang")
    process = command("score", night, *RUN, cwd=tmp_path, start_new_session=True)
    hooks.befallen("4", "hang")
    workers = below(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends the signal to the whole foreground group
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert [line for line in said.splitlines() if line and not line.startswith(("exposure", "cluster"))] == [
        "gpuanom: interrupted; what was measured is kept, and the same command continues from there"
    ]
    assert not any(alive(pid) for pid in workers)


def test_a_script_needs_no_guard_and_a_report_is_written(night, undisturbed, tmp_path):
    """Dask's local cluster would run an unguarded script again in each worker."""
    pytest.importorskip("bokeh")
    script = tmp_path / "script.py"
    values = {name: getattr(QUICK, name) for name in ("gradient_points", "sigma_points", "background_points")}
    script.write_text(
        "import sys, gpuanom\n"
        "print('once')\n"
        f"settings = gpuanom.Settings(**{values!r})\n"
        "options = {'device': 'cpu', 'workers': 1, 'performance_report': 'report.html'}\n"
        "gpuanom.score(sys.argv[1], 'out', settings=settings, **options)\n"
    )
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "error", script, night],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "once\n", "")
    assert nights.tables(tmp_path / "out") == undisturbed
    report = (tmp_path / "report.html").read_text()
    assert "gpuanom-exposure" in report


def test_gpus_get_a_worker_each(night, undisturbed, tmp_path, hooks, monkeypatch):
    """The calls of dask-cuda, tested with a stand-in: no GPU has run this code."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "standin"))
    monkeypatch.setenv("GPUANOM_TEST_CHOICES", "1")
    gpuanom.score(night, tmp_path / "out", settings=QUICK, workers=1, device="3")
    assert nights.tables(tmp_path / "out") == undisturbed
    assert [path.read_text() for path in hooks.folder.glob("chosen-*")] == ["0 of 3"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--scheduler", "tcp://h:1", "--workers", "2"], "--scheduler and --workers name different workers"),
        (["--scheduler", "tcp://h:1", "--scheduler-file", "f"], "--scheduler and --scheduler-file name"),
        (["--timeout", "5"], "--timeout is for workers"),
        (["--performance-report", "r.html"], "--performance-report is for workers"),
        (["--workers", "0"], "--workers"),
        (["--workers", "2", "--timeout", "0"], "--timeout"),
        (["--workers", "2", "--device", "0"], "2 workers cannot share device 0: one worker a GPU"),
    ],
)
def test_options_that_make_no_sense_are_refused(night, tmp_path, capfd, options, said):
    with pytest.raises(SystemExit) as end:
        main(["score", str(night), "-o", str(tmp_path / "out"), *options])
    assert end.value.code == 2
    assert said in capfd.readouterr().err


def test_what_is_not_installed_is_named(night, tmp_path, monkeypatch):
    missing, hint = [], installing.install("cluster")
    monkeypatch.setattr(nvidia, "driver_cuda", lambda: 12040)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in missing else name)
    missing.append("bokeh")
    with pytest.raises(ClusterError, match=re.escape(f"needs Bokeh, which is not installed ({hint})")):
        gpuanom.score(night, tmp_path / "out", workers=1, performance_report=tmp_path / "r.html")
    missing.append("distributed")
    with pytest.raises(ClusterError, match=re.escape(f"needs Dask, which is not installed ({hint})")):
        gpuanom.score(night, tmp_path / "out", workers=1)
    missing.append("dask_cuda")
    missing.remove("distributed")
    with pytest.raises(ClusterError, match=re.escape(installing.install("cluster-cuda12"))):
        gpuanom.score(night, tmp_path / "out", workers=2, device="0,1")


@pytest.mark.parametrize(
    "wrong", [{"workers": 0}, {"workers": 1.5}, {"workers": 1, "timeout": -1}, {"scheduler": "a", "workers": 1}]
)
def test_arguments_that_make_no_sense_are_refused(night, tmp_path, wrong):
    with pytest.raises(gpuanom.SettingsError):
        gpuanom.score(night, tmp_path / "out", **wrong)
    with pytest.raises(gpuanom.SettingsError, match="a performance report is about workers"):
        gpuanom.score(night, tmp_path / "out", performance_report="r.html")


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, ["100ms", "500ms", "500ms", "2s"]),
        ({"worker.profile.interval": "20ms", "admin.tick.interval": "30ms"}, ["20ms", "30ms", "500ms", "2s"]),
    ],
)
def test_dask_looks_less_often_at_what_workers_do(own, expected):
    """A user's own intervals stay."""
    names = ("worker.profile.interval", "admin.tick.interval", "worker.memory.monitor-interval",
             "admin.system-monitor.interval")  # fmt: skip
    code = (
        "import dask; from gpuanom.cluster.local import _look_less; _look_less()\n"
        f"for name in {names}: print(dask.config.get(f'distributed.{{name}}'))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    env |= {f"DASK_DISTRIBUTED__{name.replace('.', '__').upper()}": value for name, value in own.items()}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == expected
