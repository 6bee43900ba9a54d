"""A night that is watched: files are scored when whole, once each, with one alert each, through kills and restarts.

The tables are those of `score`.
"""

from __future__ import annotations

import json
import logging
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import click
import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.cli.watch import Until
from gpuanom.errors import OutputError
from gpuanom.fits.opening.complete import lacking
from gpuanom.nights import alerts
from gpuanom.nights.arrivals import Arrivals, Pace
from gpuanom.nights.events import WatchEvents
from gpuanom.nights.watch import watch
from gpuanom.store.store import NAME, Store
from tests import nights

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300)
FLAGS = ("--points", "300", "--sigma-points", "500", "--background-points", "300", "--device", "cpu", "--threads", "1")
LONG = 120.0
"""Seconds to wait for events that take one second on an idle machine."""


def until(condition, what=""):
    """Wait until a condition holds."""
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end, what or condition
        time.sleep(0.02)


@contextmanager
def watched(folder, out, *more, every=0.05, settle=0.3, wanted=0, before=None):
    """`gpuanom watch` as a process, which SIGTERM ends with exit code 0."""
    command = [sys.executable, "-m", "gpuanom", "watch", str(folder), "-o", str(out), "--every", str(every)]
    command += ["--settle", str(settle), *FLAGS, *more]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=before)
    lines, said = [], []

    def read(stream, into):
        for line in stream:
            into.append(line)

    readers = [threading.Thread(target=read, args=pair) for pair in ((process.stdout, lines), (process.stderr, said))]
    for reader in readers:
        reader.start()
    process.lines, process.said = lines, said
    try:
        yield process
        if process.poll() is None:
            process.terminate()
        assert process.wait(LONG) == wanted, said
    finally:
        process.kill()
        process.wait()
        for reader in readers:
            reader.join()
        process.stdout.close()
        process.stderr.close()
    assert "Traceback" not in "".join(said)


def score_whole(folder, out):
    gpuanom.score(folder, out, settings=QUICK, device="cpu")
    return ranked(out)


def ranked(out):
    """The tables that both `score` and `watch` write."""
    return {name: (out / name).read_bytes() for name in ("exposures.ecsv", "ccds.ecsv")}


def once(folder, out, **options):
    """Watch until all exposures are scored; the notices of measurements and of alerts, and the messages."""
    told, alerted, said = [], [], []
    events = WatchEvents(scored=told.append, alert=alerted.append, say=said.append, debug=pytest.fail)
    options = {"settings": QUICK, "device": "cpu", "pace": Pace(every=0.02, settle=0.0, once=True), **options}
    watch(folder, out, events=events, **options)
    return told, alerted, said


def test_files_that_grow_or_are_renamed_are_scored_when_they_are_whole(tmp_path):
    """The file grows slowly, with pauses longer than the settling time: amid the pixels, and at an HDU's end."""
    nights.night(tmp_path / "made", exposures=3)
    nights.write(tmp_path / "made", 4, ccds=3, NEXTEND=3)
    (tmp_path / "in").mkdir()
    content = (tmp_path / "made" / "exposure_004.fits").read_bytes()
    with watched(tmp_path / "in", tmp_path / "out") as process:
        with (tmp_path / "in" / "exposure_004.fits").open("wb") as file:
            third = (len(content) - 2880) // 3
            for part in (50_000, 2880 + third - 50_000, third, third):
                file.write(content[file.tell() : file.tell() + part])
                file.flush()
                time.sleep(1.0)
            for i in (1, 2):
                shutil.copy(tmp_path / "made" / f"exposure_00{i}.fits", tmp_path / "in" / f".exposure_00{i}.part")
                (tmp_path / "in" / f".exposure_00{i}.part").rename(tmp_path / "in" / f"exposure_00{i}.fits")
        until(lambda: len(process.lines) == 3)
        shutil.copy(tmp_path / "made" / "exposure_003.fits", tmp_path / "in")
        until(lambda: len(process.lines) == 4)
    assert all(", early (" in line or "alone" in line for line in process.lines)
    assert not any(", ok" in line for line in process.lines)  # no verdict was given
    # Each exposure once, and never a part of one.
    assert sorted(line.split()[2] for line in process.lines) == ["1", "2", "3", "4"]
    assert ranked(tmp_path / "out") == score_whole(tmp_path / "in", tmp_path / "whole")


def test_killed_and_started_again_it_goes_on_and_alerts_once(tmp_path):
    """After kill -9 the hook hears once of the anomalous exposure, in values that never reach a shell."""
    nights.night(tmp_path / "in", exposures=11, ccds=1)
    odd = tmp_path / "in" / "exposure_003.fits"
    odd.unlink()
    pixels = nights.image(3) + 60 * np.sin(np.arange(nights.SHAPE[1]) / 8)
    made = nights.hdus(3, ccds=1, FILTER="r", OBJECT="x")
    made[1].data = pixels.astype(np.float32)
    made.writeto(odd)
    hook = tmp_path / "hook.py"
    hook.write_text(
        "import json, os, sys\n"
        f"with open({str(tmp_path / 'heard')!r}, 'a') as file:\n"
        "    print(json.dumps([json.load(sys.stdin)['exposure'], os.environ['GPUANOM_EXPOSURE']]), file=file)\n"
    )
    with watched(tmp_path / "in", tmp_path / "out", "--hook", f"{sys.executable} {hook}", wanted=-9) as process:
        until(lambda: len(process.lines) == 12)
        process.kill()
    for i in (12, 13):
        nights.write(tmp_path / "in", i, ccds=1)
    with watched(tmp_path / "in", tmp_path / "out", "--hook", f"{sys.executable} {hook}") as again:
        until(lambda: len(again.lines) == 2)
    heard = [json.loads(line) for line in (tmp_path / "heard").read_text().splitlines()]
    assert heard == [["3", "3"]]
    assert sum(line.startswith("ALERT") for line in process.lines) == 1
    assert sorted(line.split()[2] for line in again.lines) == ["12", "13"]
    (kept,) = map(json.loads, (tmp_path / "out" / alerts.NAME).read_text().splitlines())
    assert kept["exposure"] == "3"
    assert kept["deviation"] >= alerts.DEVIATION
    assert ranked(tmp_path / "out") == score_whole(tmp_path / "in", tmp_path / "whole")


def test_a_report_can_be_made_meanwhile_and_a_second_watch_not(tmp_path):
    nights.night(tmp_path / "in", exposures=3, ccds=1)
    with watched(tmp_path / "in", tmp_path / "out", "--json", "--least", "2") as process:
        # Two of three exposures stand out: their alerts follow the lines of the exposures, and may come at any time.
        until(lambda: sum(json.loads(line)["event"] == "exposure" for line in process.lines) == 3)
        assert {json.loads(line)["event"] for line in process.lines} <= {"exposure", "alert"}
        gpuanom.score([], tmp_path / "out", settings=QUICK)
        with pytest.raises(gpuanom.OutputError, match="another gpuanom watch"):
            once(tmp_path / "in", tmp_path / "out")
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG) == 0


@pytest.mark.proof
def test_a_signal_that_is_ignored_stays_so(tmp_path):
    """For example under nohup."""
    nights.night(tmp_path / "in", exposures=2, ccds=1)
    ignored = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)  # noqa: E731
    with watched(tmp_path / "in", tmp_path / "out", before=ignored) as process:
        until(lambda: len(process.lines) == 2)
        process.send_signal(signal.SIGHUP)
        nights.write(tmp_path / "in", 3, ccds=1)
        until(lambda: len(process.lines) == 3)


def test_against_a_reference(tmp_path):
    nights.night(tmp_path / "before", exposures=5, ccds=1)
    gpuanom.score(tmp_path / "before", tmp_path / "scored", settings=QUICK)
    gpuanom.make_references([tmp_path / "scored"]).save(tmp_path / "ref.ecsv")
    nights.write(tmp_path / "in", 21, ccds=1)
    told, _, _ = once(tmp_path / "in", tmp_path / "own")
    assert [about["status"] for about in told] == ["alone"]
    told, _, _ = once(tmp_path / "in", tmp_path / "out", reference=tmp_path / "ref.ecsv")
    assert [about["status"] for about in told] == ["ok"]
    gpuanom.score(tmp_path / "in", tmp_path / "whole", settings=QUICK, reference=tmp_path / "ref.ecsv")
    assert ranked(tmp_path / "out") == ranked(tmp_path / "whole")


def test_damaged_and_half_files_are_listed_and_taken_up_when_they_change(tmp_path):
    nights.night(tmp_path / "in", exposures=4, ccds=1)
    whole = {i: (tmp_path / "in" / f"exposure_00{i}.fits").read_bytes() for i in (2, 3)}
    (tmp_path / "in" / "exposure_002.fits").write_bytes(whole[2][: len(whole[2]) // 2])
    (tmp_path / "in" / "exposure_003.fits").write_bytes(b"no FITS at all" * 1000)
    with watched(tmp_path / "in", tmp_path / "out", "--patience", "0.5") as process:
        until(lambda: len(process.lines) == 2 and len(process.said) == 2, process)
        text = "".join(process.said)
        assert "exposure_002.fits: not whole: HDU 1: " in text
        assert "exposure_003.fits: not a FITS file" in text
        statuses = (tmp_path / "out" / "exposures.ecsv").read_text()
        until(lambda: "incomplete" in (tmp_path / "out" / "exposures.ecsv").read_text(), statuses)
        for i in (2, 3):
            (tmp_path / "in" / f"exposure_00{i}.fits").write_bytes(whole[i])
        until(lambda: len(process.lines) == 4)
    assert ranked(tmp_path / "out") == score_whole(tmp_path / "in", tmp_path / "whole")


def test_a_file_that_fails_wholly_is_a_loss_as_for_score(tmp_path):
    nights.night(tmp_path / "in", exposures=2, ccds=1)
    (tmp_path / "in" / "broken.fits").write_bytes(b"SIMPLE  =                    T" + bytes(5000))
    command = [sys.executable, "-m", "gpuanom", "watch", tmp_path / "in", "-o", tmp_path / "out", "--once"]
    command += ["--every", "0.02", "--settle", "0", "--patience", "0", *FLAGS]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "broken.fits" in done.stderr


def test_exposures_that_are_measured_again_are_told_once(tmp_path):
    nights.night(tmp_path / "in", exposures=9, ccds=1)
    once(tmp_path / "in", tmp_path / "out")
    other = replace(QUICK, gradient_points=QUICK.gradient_points + 1)
    _, _, said = once(
        tmp_path / "in", tmp_path / "out", settings=other
    )  # more rounds than one: four exposures at first
    assert [line for line in said if "measured again" in line] == ["9 exposures: measured again, the settings changed"]


def test_an_exposure_of_several_files_waits_for_all_and_is_measured_again_when_one_joins(tmp_path):
    (tmp_path / "in").mkdir()
    files = []
    for ccd in range(4):
        made = nights.hdus(1, ccds=1)
        made[1].name = f"CCD{ccd}"
        files.append(tmp_path / f"e1_{ccd}.fits")
        made.writeto(files[-1])
    nights.write(tmp_path / "in", 2, ccds=1)
    shutil.copy(files[0], tmp_path / "in")
    half = files[1].read_bytes()[:6000]  # its header says to which exposure the file belongs
    (tmp_path / "in" / files[1].name).write_bytes(half)
    with watched(tmp_path / "in", tmp_path / "out") as process:
        until(lambda: len(process.lines) == 1)
        time.sleep(0.6)  # twice the settling time
        assert process.lines[0].split()[2] == "2"
        assert len(process.lines) == 1
        shutil.copy(files[1], tmp_path / "in")
        until(lambda: len(process.lines) == 2)
        shutil.copy(files[2], tmp_path / "in")
        until(lambda: len(process.lines) == 3)
        shutil.copy(files[3], tmp_path / "in")
        until(lambda: len(process.lines) == 4)
    assert [line.split()[2] for line in process.lines] == ["2", "1", "1", "1"]
    assert len([line for line in process.said if "exposure 1: measured again" in line]) == 2
    assert ranked(tmp_path / "out") == score_whole(tmp_path / "in", tmp_path / "whole")


def test_a_folder_that_comes_goes_and_comes_back(tmp_path):
    with watched(tmp_path / "in", tmp_path / "out") as process:
        until((tmp_path / "out").exists)
        nights.night(tmp_path / "in", exposures=2, ccds=1)
        until(lambda: len(process.lines) == 2)
        (tmp_path / "in").rename(tmp_path / "away")
        time.sleep(0.3)
        (tmp_path / "away").rename(tmp_path / "in")
        nights.write(tmp_path / "in", 3, ccds=1)
        until(lambda: len(process.lines) == 3)
        time.sleep(0.3)
    assert sorted(line.split()[2] for line in process.lines) == ["1", "2", "3"]
    assert ranked(tmp_path / "out") == score_whole(tmp_path / "in", tmp_path / "whole")


def test_a_single_round_does_not_try_for_ever(tmp_path, monkeypatch):
    """Trouble with the store or the folder may end within a minute; a command that is to end waits no longer."""
    nights.night(tmp_path / "in", exposures=2, ccds=1)
    tried = []

    def fail(watching):
        tried.append(1)
        if len(tried) == 1:
            watching._unfinished = True  # the trouble begins after the first round
        else:
            raise OutputError("no room")

    monkeypatch.setattr("gpuanom.nights.watch._Watch._round", fail)
    monkeypatch.setattr("gpuanom.nights.watch.LASTING", 0.3)
    pace = Pace(every=0.02, settle=0.0, once=True, until=time.time() + LONG)
    with pytest.raises(OutputError, match="no room"):
        once(tmp_path / "in", tmp_path / "out", pace=pace)
    assert len(tried) > 3


def test_a_file_that_changes_while_it_is_measured_is_measured_later(tmp_path, monkeypatch):
    nights.night(tmp_path / "in", exposures=2, ccds=1)
    second = tmp_path / "in" / "exposure_002.fits"
    real, seen = gpuanom.measuring.threads.Threads.measured, []

    def measured(self, exposures):
        for exposure, result, seconds in real(self, exposures):
            if exposure.exposure == "2" and not seen:
                seen.append(exposure)
                second.unlink()
                nights.write(tmp_path / "in", 2, ccds=2)
            yield exposure, result, seconds

    monkeypatch.setattr(gpuanom.measuring.threads.Threads, "measured", measured)
    told, _, said = once(tmp_path / "in", tmp_path / "out")
    assert sorted(about["exposure"] for about in told) == ["1", "2"]
    assert "exposure 2: its files change; measured later" in said
    assert ranked(tmp_path / "out") == score_whole(tmp_path / "in", tmp_path / "whole")


def test_on_a_terminal_lines_are_whole_and_what_is_waited_for_is_shown(tmp_path):
    nights.night(tmp_path / "in", exposures=2, ccds=1)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "gpuanom", "watch", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    command += ["--every", "0.05", "--settle", "0.3", "--once", *FLAGS]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # on Linux this error says that the other end of the terminal was closed
        pass
    assert process.wait() == 0
    assert b"2 files are not settled yet" in shown
    plain = re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", shown).replace(b"\r", b"\n")
    lines = [line for line in plain.split(b"\n") if b" exposure " in line and b"TESTCAM" in line]
    assert len(lines) == 2
    assert all(re.match(rb"[0-9]{2}:[0-9]{2}:[0-9]{2} exposure ", line) for line in lines), lines


@pytest.mark.parametrize("text", ["07:00", "23:59", "2026-11-24T07:00", "2026-11-24T07:00+00:00"])
def test_times_to_end_at(text):
    found = Until().convert(text, None, None)
    if len(text) == 5:
        assert 0 < found - time.time() <= 86400
        assert time.strftime("%H:%M", time.localtime(found)) == text
    else:
        assert found == datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize("text", ["soon", "25:00", "7", "2026-13-01T00:00"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(click.BadParameter, match="is no time such as 07:00"):
        Until().convert(text, None, None)


def test_a_watch_ends_when_it_is_told_to(tmp_path):
    nights.night(tmp_path / "in", exposures=2, ccds=1)
    (tmp_path / "in" / "half.fits").write_bytes(b"SIMPLE  =")  # a watch would wait for this folder
    told, _, _ = once(tmp_path / "in", tmp_path / "out", pace=Pace(every=0.02, settle=0.0, until=time.time() + 1.5))
    assert len(told) == 2


def has_open(pid, name):
    """Whether a process has a file of this name open."""
    with suppress(OSError):  # one that is closed meanwhile
        return any(file.readlink().name == name for file in Path(f"/proc/{pid}/fd").iterdir())
    return False


def test_a_watch_that_ends_names_the_files_that_were_not_whole(tmp_path):
    incoming, out = tmp_path / "in", tmp_path / "out"
    whole = nights.write(tmp_path / "kept", 2, ccds=1)
    nights.write(incoming, 1, ccds=1)
    half = incoming / whole.name
    half.write_bytes(whole.read_bytes()[:20000])
    with watched(incoming, out) as process:
        until(lambda: process.lines, "the whole file is scored")
    (line,) = (line for line in process.said if "not whole" in line)
    assert line.startswith(f"1 file not scored, since not whole when the watch ended: {half} (")


def test_a_watch_that_is_told_to_stop_waits_for_the_store(tmp_path):
    """Somebody may read a survey for some seconds: what was measured is kept and ranked nevertheless."""
    nights.night(tmp_path / "in", exposures=2, ccds=1)
    nights.write(tmp_path / "later", 9, "9.fits", ccds=1)
    with watched(tmp_path / "in", tmp_path / "out") as process:
        until((tmp_path / "out" / "exposures.ecsv").exists)
        with Store(tmp_path / "out" / NAME, QUICK, read_only=True):
            shutil.move(tmp_path / "later" / "9.fits", tmp_path / "in" / "9.fits")
            until(lambda: has_open(process.pid, NAME))  # SQLite waits for the store
            process.terminate()
            time.sleep(6.0)  # longer than SQLite waits in two tries
            assert process.poll() is None
        process.wait(LONG)  # a second signal would end it at once


def test_what_cannot_be_is_refused_at_once(tmp_path):
    nights.night(tmp_path / "in", exposures=2, ccds=1)
    with pytest.raises(gpuanom.InputError, match="does not exist"):
        once(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(gpuanom.SettingsError, match="there is no command 'nonesuch'"):
        once(tmp_path / "in", tmp_path / "out", hook="nonesuch --all")
    with pytest.raises(gpuanom.SettingsError, match="No closing quotation"):
        once(tmp_path / "in", tmp_path / "out", hook="echo 'x")
    (tmp_path / "out" / alerts.NAME).unlink()
    os.mkfifo(tmp_path / "out" / alerts.NAME)
    with pytest.raises(gpuanom.OutputError, match="no regular file"):
        once(tmp_path / "in", tmp_path / "out")


def _row(exposure="7", deviation=9.0, z=20.0):
    row = {"exposure": exposure, "camera": "C", "band": "r", "date_obs": "", "file": "f", "status": "ok"}
    for kind in gpuanom.records.KINDS:
        row |= {f"{kind}_deviation": None, f"{kind}_z": None}
    return row | {"isophote_deviation": deviation, "isophote_z": z, "source_deviation": 30.0, "source_z": 0.1}


def test_what_noise_explains_is_no_alert_and_what_stands_out_is():
    about = alerts.notice(_row(), 10, 10)
    assert (about["score"], about["deviation"], about["early"]) == ("source_kl", 30.0, False)
    given = alerts.alert(_row(), about, 5.0)
    assert (given["score"], given["deviation"], given["z"]) == ("isophote_kl", 9.0, 20.0)
    assert alerts.alert(_row(), about, 9.5) is None
    assert alerts.alert(_row(z=2.0), about, 5.0) is None
    assert alerts.notice(_row(), 9, 10)["early"]


def test_alerts_that_were_cut_off_are_given_again_and_others_not(tmp_path):
    about = alerts.notice(_row("a"), 10, 10)
    with alerts.Alerts(tmp_path) as kept:
        kept.give(about, _row("a"))
        assert ("C", "a") in kept
    with (tmp_path / alerts.NAME).open("ab") as file:
        file.write(b'[1]\n{"x": 1}\n\xff\n' + json.dumps({"camera": "C", "exposure": "b"}).encode()[:-3])
    with alerts.Alerts(tmp_path) as kept:
        assert ("C", "a") in kept
        assert ("C", "b") not in kept
        kept.give(about | {"exposure": "b"}, _row("b"))
    with alerts.Alerts(tmp_path) as kept:
        assert ("C", "b") in kept


def test_a_hook_that_fails_or_hangs_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(alerts, "HOOK_SECONDS", 0.2)
    about, said = alerts.notice(_row(), 10, 10), []
    for i, hook in enumerate(("false", "sh -c 'sleep 1000 & sleep 1000'", "/")):
        (tmp_path / str(i)).mkdir()
        if hook == "/":
            monkeypatch.setattr(alerts.shutil, "which", lambda word: word)
        with alerts.Alerts(tmp_path / str(i), hook, said.append) as kept:
            kept.give(about, _row())
            assert ("C", "7") in kept
    assert [line.split(": ")[1][:8] for line in said] == ["ended wi", "ended, i", "cannot b"]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_arrivals_settle_by_their_own_clock(tmp_path):
    clock = Clock()
    arrivals = Arrivals([tmp_path / "in"], 10.0, 100.0, tmp_path / "in" / "out", clock)
    assert not arrivals.look()
    assert "does not exist" in arrivals.troubles[0]
    path = nights.write(tmp_path / "in", 1)
    nights.write(tmp_path / "in" / "out", 2)  # the folder of the night itself
    os.utime(path, (0, 0))  # the clock of a file server may differ from ours
    assert arrivals.look()
    assert arrivals.paths() == [path]
    assert not arrivals.is_settled(path)
    clock.now = 9.0
    assert not arrivals.look()
    os.utime(path, (5, 5))
    assert arrivals.look()
    clock.now = 18.0
    assert not arrivals.look()
    clock.now = 19.0
    assert arrivals.look()
    assert arrivals.is_settled(path)
    assert not arrivals.waiting()
    content = path.read_bytes()
    path.write_bytes(content[:-2880])
    assert arrivals.look()
    clock.now = 40.0
    assert not arrivals.look()
    assert "bytes are missing" in arrivals.waiting()[path]
    clock.now = 119.0
    assert arrivals.look()
    assert arrivals.paths() == []
    assert list(arrivals.given_up()) == [path]
    path.write_bytes(content)
    assert arrivals.look()
    assert arrivals.paths() == [path]
    assert not arrivals.given_up()
    (tmp_path / "in").rename(tmp_path / "away")
    assert arrivals.look()


@pytest.mark.parametrize("packed", [False, True])
def test_lacking_at_every_length(tmp_path, packed):
    """A file that is cut anywhere lacks something, or the answer is not certain; a whole file lacks nothing."""
    import gzip

    path = nights.write(tmp_path, 1, ccds=2)
    whole = path.read_bytes()
    if packed:
        whole = gzip.compress(whole[:40_000], 1)
        path = path.with_suffix(".fits.gz")
        path.write_bytes(whole)
    assert lacking(path) is None
    ends = {2880} | {len(whole) - (len(whole) - 2880) // 2} if not packed else set()
    for cut in sorted({0, 1, 2, 9, 100, 2879, *ends, *np.linspace(0, len(whole) - 1, 40).astype(int).tolist()}):
        path.write_bytes(whole[:cut])
        lack = lacking(path)
        assert (lack is None) == (cut in ends), cut


def test_lacking_what_the_headers_promise(tmp_path):
    path = nights.write(tmp_path, 1, ccds=3, NEXTEND=3)
    whole = path.read_bytes()
    assert lacking(path) is None
    third = (len(whole) - 2880) // 3
    path.write_bytes(whole[: 2880 + 2 * third])
    assert lacking(path) == ("it has 2 extensions, its NEXTEND says 3", True)
    path.write_bytes(whole[: 2880 + third])  # a file from which a CCD was removed looks like this
    assert lacking(path) == ("it has 1 extensions, its NEXTEND says 3", False)
    path.write_bytes(whole[: 2880 + 2 * third].ljust(len(whole), b"\0"))
    assert lacking(path) == ("zeros stand where an HDU may follow", False)
    path.write_bytes(bytes(len(whole)))
    assert lacking(path) == ("it is not written yet", True)
    path.write_bytes(b"no FITS" * 1000)
    assert lacking(path) is None
    path.unlink()
    assert lacking(path) is None


def test_links_and_folders_that_cannot_be_looked_at_are_named_once_and_linked_nights_are_scored(tmp_path):
    nights.night(tmp_path / "disk", exposures=3, ccds=1)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "night").symlink_to(tmp_path / "disk")
    (tmp_path / "in" / "gone").symlink_to(tmp_path / "nowhere")
    told, _, said = once(tmp_path / "in", tmp_path / "out")
    assert len(told) == 3
    reason = f"is a link to {tmp_path}/nowhere, which does not exist, so it cannot be read (mend or remove the link)"
    assert said == [f"failed {tmp_path}/in/gone: {reason}"]
    rows = {row["exposure"]: row for row in gpuanom.open_night(tmp_path / "out").exposures}
    assert (rows["gone"]["status"], rows["gone"]["note"]) == ("unreadable", reason)
    assert once(tmp_path / "in", tmp_path / "out")[2] == []
    # The row is that of `gpuanom score`, and goes when the link is mended.
    gpuanom.score(tmp_path / "in", tmp_path / "scored", settings=QUICK, device="cpu")
    tables = [(tmp_path / folder / "exposures.ecsv").read_bytes() for folder in ("out", "scored")]
    assert tables[0] == tables[1]
    (tmp_path / "in" / "gone").unlink()
    assert once(tmp_path / "in", tmp_path / "out")[2] == []
    assert "gone" not in gpuanom.open_night(tmp_path / "out").tables.exposures["exposure"]


def test_decisions_and_exposures_without_a_band_are_told_as_score_tells_them(tmp_path, caplog):
    """The camera rule and band of each file once, with -v, and once for each camera that its headers name no band."""
    nights.night(tmp_path / "in", exposures=2, ccds=1)
    lines = ("camera rule 'any'", "exposure told by EXPNUM", "band r told by FILTER")
    with caplog.at_level(logging.INFO, "gpuanom"):
        gpuanom.score(tmp_path / "in", tmp_path / "score", settings=QUICK, device="cpu")
        scored = [record.getMessage() for record in caplog.records]
        caplog.clear()
        _, _, said = once(tmp_path / "in", tmp_path / "out")
    watched = [record.getMessage() for record in caplog.records]
    assert watched == scored
    for line in lines:
        assert sum(line in text for text in watched) == 1, watched
    assert not [text for text in said if "names a band" in text]
    for number in (3, 4):
        path = nights.write(tmp_path / "in", number, ccds=1)
        with fits.open(path, mode="update") as hdus:
            del hdus[0].header["FILTER"]
    said = once(tmp_path / "in", tmp_path / "out")[2]
    assert [text for text in said if text.startswith("2 exposures: no card of the headers names a band")] == [
        text for text in said if "names a band" in text
    ]
    assert len([text for text in said if "names a band" in text]) == 1


def test_what_may_surprise_is_told_by_a_watch(tmp_path):
    """Here exposure times of 0, in one line as `score` tells them."""
    for number in (1, 2):
        nights.write(tmp_path / "in", number, ccds=1, EXPTIME=0.0)
    assert [text for text in once(tmp_path / "in", tmp_path / "out")[2] if "an exposure time of 0 s" in text] == [
        "2 files: an exposure time of 0 s, as a bias has, but scored as an exposure of the sky "
        "(such as EXPTIME is '0.0' in exposure_001.fits)"
    ]


def test_a_camera_rule_that_fits_no_file_is_told_by_a_watch_and_by_a_run(tmp_path):
    nights.night(tmp_path / "in", exposures=2, ccds=1)
    rules = gpuanom.Settings.from_mapping({"cameras": {"x": {"match": {"NOCARD": "y"}}}}).cameras
    settings, scored = QUICK.replace(cameras=rules), []
    watched = once(tmp_path / "in", tmp_path / "out", settings=settings)[2]
    gpuanom.score(tmp_path / "in", None, settings=settings, device="cpu", events=gpuanom.Events(say=scored.append))
    for said in (watched, scored):
        assert len([line for line in said if "the camera rule x of the settings does not fit any of" in line]) == 1
