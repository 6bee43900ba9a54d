"""A refusal of the system that passes is no damage: gpuanom tries again, names the refusal, and never stores it."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import gpuanom
from gpuanom import system
from gpuanom.errors import InputError
from gpuanom.fits.opening import memory_map
from gpuanom.fits.opening.complete import lacking
from gpuanom.nights.events import WatchEvents
from gpuanom.nights.watch import watch
from gpuanom.paths import exists
from gpuanom.store.store import NAME, Store
from tests import nights

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300, simulations=200)
FOR_A_MOMENT = [errno.EMFILE, errno.ENFILE, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOMEM, errno.EAGAIN]

USUAL = [
    pytest.param(number, marks=() if number in (errno.EMFILE, errno.ESTALE) else pytest.mark.proof)
    for number in FOR_A_MOMENT
]
"""All of them; those that the usual run leaves to the proofs are treated alike, by one list of the package."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(system, "PAUSES", (0.001, 0.001, 0.001))
    monkeypatch.setattr(system, "_left", 60.0)


@pytest.fixture
def refuse(monkeypatch):
    """Let the system refuse a given number of times to open, map or look up some files."""
    left = {}

    def refusing(real, place):
        def task(first, *arguments, **options):
            key = place(first)
            number, times = left.get(key, (0, 0))
            if times:
                left[key] = number, times - 1
                raise OSError(number, os.strerror(number))
            return real(first, *arguments, **options)

        return task

    monkeypatch.setattr(Path, "open", refusing(Path.open, lambda path: ("open", path.name)))
    monkeypatch.setattr(Path, "stat", refusing(Path.stat, lambda path: ("stat", path.name)))
    monkeypatch.setattr(memory_map.mmap, "mmap", refusing(memory_map.mmap.mmap, lambda _: ("map", "")))

    def refuse(what, name, number, times):
        left[what, name] = number, times

    return refuse


def score(tmp_path, **options):
    return gpuanom.score(tmp_path / "in", tmp_path / "out", settings=QUICK, device="cpu", threads=1, **options)


@pytest.mark.parametrize("number", USUAL)
@pytest.mark.parametrize("what", ["open", "map"])
def test_a_refusal_that_passes_costs_nothing(tmp_path, refuse, number, what):
    nights.night(tmp_path / "in", exposures=2)
    whole = score(tmp_path).tables
    (tmp_path / "out" / NAME).unlink()
    refuse(what, "exposure_002.fits" if what == "open" else "", number, 2)
    night = score(tmp_path)
    assert night.failed == ()
    assert night.left_out == ()
    assert night.tables.ccds.pformat() == whole.ccds.pformat()


@pytest.mark.parametrize("number", USUAL)
def test_a_refusal_that_stays_is_named_and_the_next_run_tries_again(tmp_path, refuse, number):
    """Each CCD of an exposure is a file: one CCD is lost for this run, and measured by the next run."""
    for ccd in (1, 2):
        _one_ccd(tmp_path / "in" / f"a{ccd}.fits", nights.image(ccd), 1, ccd)
        _one_ccd(tmp_path / "in" / f"b{ccd}.fits", nights.image(10 + ccd), 2, ccd)
    found = gpuanom.fits.discover([tmp_path / "in"], QUICK)
    assert len(found.exposures) == 2
    refuse("map", "", number, 4)
    night = score(tmp_path)
    (group,) = night.left_out
    assert (group.status, group.lost) == ("unreadable", True)
    assert os.strerror(number) in group.reason
    assert "the next run tries again" in group.reason or "repeat the command" in group.reason
    assert "corrupt" not in group.reason
    assert "fetch it again" not in group.reason
    again = score(tmp_path)
    assert (again.left_out, again.failed) == ((), ())
    assert set(again.tables.ccds["status"]) == {"ok"}
    assert score(tmp_path).tables.ccds.pformat() == again.tables.ccds.pformat()


def test_a_header_that_cannot_be_read_when_files_are_looked_for(tmp_path, refuse):
    nights.night(tmp_path / "in", exposures=2)
    refuse("open", "exposure_002.fits", errno.EIO, 9)
    night = score(tmp_path)
    ((name, reason),) = night.failed
    assert name.endswith("exposure_002.fits")
    assert reason.startswith(f"cannot be read: {os.strerror(errno.EIO)}")
    assert set(night.tables.exposures["status"]) >= {"unreadable"}
    refuse("open", "exposure_002.fits", 0, 0)
    assert score(tmp_path).failed == ()


def test_a_mask_that_cannot_be_looked_up_is_not_taken_as_missing(tmp_path, refuse):
    from gpuanom.cameras.builtin import BUILTIN_RULES
    from gpuanom.fits.exposures.from_files import mask_sibling

    rule = next(rule for rule in BUILTIN_RULES if rule.mask_file)
    image, mask = (tmp_path / f"c4d_1_{token}_g_v1.fits" for token in rule.mask_file)
    assert mask_sibling(image, rule) is None
    refuse("stat", mask.name, errno.EIO, 99)
    assert mask_sibling(image, rule) == mask


def test_what_is_refused_for_a_moment_is_not_gone(tmp_path, refuse):
    (tmp_path / "a").touch()
    for number in (errno.EIO, errno.ESTALE, errno.EMFILE):
        refuse("stat", "a", number, 1)
        assert exists(tmp_path / "a")
    assert not exists(tmp_path / "b")
    assert not exists(tmp_path / ("x" * 300))
    assert not exists(Path("a\0b"))


def test_a_folder_that_could_not_be_read_is_forgotten_once_it_can(tmp_path):
    nights.night(tmp_path / "in", exposures=1)
    (tmp_path / "in" / "list").write_text("exposure_001.fits\n")
    failures = [
        gpuanom.records.Failure(str(place), "", "", place.name, "unreadable", "folder cannot be read")
        for place in (tmp_path / "in", tmp_path / "in" / "list")
    ]
    score(tmp_path)
    with Store(tmp_path / "out" / NAME, QUICK) as store:
        for failure in failures:
            store.add_failure(failure)
    assert score(tmp_path).failed == ()


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOENT, errno.EISDIR, errno.ENOSPC])
def test_what_waiting_does_not_change_is_not_tried_again(number):
    calls = []

    def task():
        calls.append(0)
        raise OSError(number, os.strerror(number))

    with pytest.raises(OSError, match=r"Errno"):
        system.patiently(task)
    assert len(calls) == 1


def test_a_server_that_is_gone_does_not_cost_a_second_a_file(monkeypatch):
    slept = []
    monkeypatch.setattr(system, "PAUSES", (5.0, 10.0, 20.0))
    monkeypatch.setattr(system.time, "sleep", slept.append)

    def task():
        raise OSError(errno.ESTALE, "Stale file handle")

    for _ in range(100):
        with pytest.raises(OSError, match="Stale"):
            system.patiently(task)
    assert sum(slept) <= 60
    assert system.patiently(lambda: 7) == 7
    assert system._left == 60.0


def test_every_refusal_names_its_reason_and_a_remedy():
    for number in sorted(errno.errorcode):
        error = system.refused(OSError(number, os.strerror(number)), "a.fits")
        assert isinstance(error, InputError)
        assert error.status == "unreadable"
        assert error.remedy
        assert os.strerror(number) in str(error) or number in (errno.EACCES, errno.EPERM, errno.ENOENT)


def test_a_page_that_the_disk_does_not_give_is_an_error_and_no_signal(tmp_path):
    """A mapped file whose pages are gone ends a process by SIGBUS when the pages are touched."""
    path = tmp_path / "a.fits"
    path.write_bytes(bytes(40_000))
    view = memory_map.Mapping(path).view()
    memory_map.prefault(view, 0, 40_000)
    if not memory_map._can_populate:
        pytest.skip("this system cannot be asked to read mapped pages (Linux 5.14 can)")
    os.truncate(path, 4096)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        memory_map.prefault(view, 0, 40_000)


def test_pixels_that_cannot_be_read_are_unreadable(tmp_path, monkeypatch):
    path = nights.write(tmp_path / "in", 1)
    real = memory_map.prefault
    size = path.stat().st_size

    def prefault(view, start, stop):
        if start > size // 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(view, start, stop)

    monkeypatch.setattr(gpuanom.fits.opening.file, "prefault", prefault)
    night = score(tmp_path)
    (group,) = night.left_out
    assert (group.status, group.n_ccds) == ("unreadable", 1)
    assert os.strerror(errno.EIO) in group.reason
    assert "ok" in set(night.tables.ccds["status"])
    monkeypatch.undo()
    assert score(tmp_path).left_out == ()


def test_a_file_that_is_replaced_while_it_is_read_is_read_by_the_next_run(tmp_path):
    path = nights.write(tmp_path / "in", 1)
    file = gpuanom.fits.opening.file.File(path)
    memory_map.unmap_idle_files()
    assert file.bytes[:6] == b"SIMPLE"  # the file is mapped again
    memory_map.unmap_idle_files()
    path.write_bytes(path.read_bytes() + bytes(2880))
    with pytest.raises(InputError, match="was changed while it was being read"):
        file.bytes  # noqa: B018


def test_a_watch_waits_for_what_cannot_be_opened(tmp_path, refuse):
    """The headers say nothing while they cannot be read; for that reason the file is not listed as incomplete."""
    path = nights.write(tmp_path / "in", 1)
    refuse("open", path.name, errno.EIO, 1)
    assert lacking(path) is None


def test_a_watch_tries_again_what_was_refused(tmp_path, refuse, monkeypatch):
    """No file changes; only time passes."""
    import threading

    from gpuanom.nights import retries
    from gpuanom.nights.arrivals import Pace

    monkeypatch.setattr(retries, "_PAUSE", 0.3)
    nights.write(tmp_path / "in", 1)
    stop = threading.Event()
    statuses = []

    def done(_exposure, result, _seconds):
        statuses.append({c.status for c in getattr(result, "ccds", ())})
        if statuses[-1] == {"ok"} or len(statuses) > 3:
            stop.set()

    refuse("map", "", errno.ESTALE, 4)
    left = []
    pace = Pace(every=0.02, settle=0.0, stop=stop)
    events = WatchEvents(done=done, left_out=left.append)
    watch(tmp_path / "in", tmp_path / "out", settings=QUICK, device="cpu", threads=1, pace=pace, events=events)
    assert statuses == [{"unreadable"}, {"ok"}]
    assert left == [()]


PROGRAM = """
import resource, sys
import gpuanom
from gpuanom import system
limit = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit // 2, limit))
settings = gpuanom.Settings(gradient_points=100, sigma_points=100, background_points=100, simulations=100)
night = gpuanom.score(sys.argv[1], sys.argv[2], settings=settings, device="cpu", threads=8)
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limit, limit)
assert night.left_out == (), night.left_out
assert night.failed == (), night.failed
assert len(night.tables.ccds) == 240
"""


def test_more_files_than_may_be_open(tmp_path):
    """12 exposures of 20 one-CCD files, 8 threads and 100 open files stand for 20 of 104 with 16 threads and 1024."""
    for number in range(1, 13):
        plane = nights.image(number, shape=(72, 72), n_stars=1)
        for ccd in range(20):
            _one_ccd(tmp_path / "in" / f"x{number:02d}{ccd:02d}.fits", plane, number, ccd)
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path / "in"), str(tmp_path / "out"), "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _one_ccd(path, plane, number, ccd):
    import numpy as np
    from astropy.io import fits

    path.parent.mkdir(exist_ok=True)
    cards = {"INSTRUME": "CAM", "FILTER": "r", "EXPNUM": number, "CCDNUM": ccd}
    fits.PrimaryHDU(np.array(plane), fits.Header(cards)).writeto(path)


def test_the_limit_of_open_files_is_raised_by_the_command_too(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    program = (
        "import resource, sys; from gpuanom.cli import main\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}))\n"
        "try:\n    main(['--version'])\n"
        "except SystemExit:\n    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == str(hard)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_refusals_that_an_earlier_version_kept_as_damage_are_tried_again(tmp_path):
    """The earlier version wrote: cannot be opened: [Errno 24] Too many open files."""
    nights.night(tmp_path / "in", exposures=2)
    whole = score(tmp_path).tables
    with closing(sqlite3.connect(tmp_path / "out" / NAME)) as db, db:
        reason = "a.fits: cannot be opened: [Errno 24] Too many open files: 'a.fits' (fetch it again)"
        db.execute("UPDATE ccds SET status = 'corrupt', reason = ? WHERE exposure = '2' AND position = 1", (reason,))
    db.close()
    again = score(tmp_path)
    assert again.left_out == ()
    assert again.tables.ccds.pformat() == whole.ccds.pformat()
