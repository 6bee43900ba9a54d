"""FITS images in folders that are not named as such: a line tells of them, and files of other kinds give none."""

from __future__ import annotations

import gzip
import json
import time

import numpy as np
import pytest
from astropy.io import fits
from click.testing import CliRunner

import gpuanom
from gpuanom.cli import cli
from gpuanom.fits.discover import discover
from gpuanom.fits.explain import other_names
from gpuanom.fits.exposures import other_names as module
from gpuanom.fits.exposures.inputs import OtherNameError, expand
from gpuanom.nights.arrivals import Arrivals, Pace
from gpuanom.nights.events import WatchEvents
from gpuanom.nights.watch import watch
from gpuanom.settings import Settings
from tests import nights

QUICK = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300, simulations=100)


def write(path, hdu=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    (hdu or fits.PrimaryHDU(np.arange(12.0, dtype=np.float32).reshape(3, 4))).writeto(path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Images under five names, and what else lies in folders of nights."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "night" / "a.fits")
    image = write(tmp_path / "night" / "img1").read_bytes()
    for name in ("e2.fits.bak", "e10.fits.1", "sub/c.fits~"):
        path = tmp_path / "night" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image)
    (tmp_path / "night" / "d.gz").write_bytes(gzip.compress(image))
    write(tmp_path / "night" / "sources.ldac", fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([])]))
    for name in ("README", "notes.txt", "core.123", ".hidden", "empty", "seeing.dat", "log.gz"):
        (tmp_path / "night" / name).write_bytes(b"" if name == "empty" else b"SIMPLY a text\n")
    (tmp_path / "night" / "list.txt").write_bytes(image)  # plainly a text by its name: nobody looks into it
    return tmp_path / "night"


OTHERS = ["night/d.gz", "night/e2.fits.bak", "night/e10.fits.1", "night/img1", "night/sub/c.fits~"]


def test_images_of_other_names_are_found_and_nothing_else_is(folder):
    found = discover(["night"], Settings())
    assert [str(path) for path in found.other_names] == OTHERS
    assert [str(e.files[0]) for e in found.exposures] == ["night/a.fits"]
    assert (found.failures, found.skipped) == ((), ())
    line = other_names(found.other_names)
    assert line == (
        "skipped 5 FITS images, not named as FITS files are (.fits, .fit, .fts): night/d.gz, ... "
        "(name the files, or give a pattern such as 'night/d*')"
    )
    assert other_names(found.other_names[1:2]).startswith("skipped 1 FITS image, not named as FITS files are")
    assert other_names(()) == ""


def test_a_file_that_is_named_itself_is_taken_and_not_told_of(folder):
    found = discover(["night", "night/img*", str(folder / "d.gz")], Settings())
    assert [str(path) for path in found.other_names] == [OTHERS[1], OTHERS[2], OTHERS[4]]
    assert {e.files[0].name for e in found.exposures} == {"a.fits", "img1", "d.gz"}


def test_folders_that_match_a_pattern_are_searched_in_the_same_way(folder):
    assert [str(path) for path in discover(["nig*"], Settings()).other_names] == OTHERS
    assert sum(isinstance(item, OtherNameError) for item in expand(["nig*"])) == len(OTHERS) + 6


def test_many_files_of_one_ending_are_not_all_read(tmp_path, monkeypatch):
    """A webcam writes thousands of frames into the folder of a night, and a file server is slow to open each."""
    read = []
    monkeypatch.setattr(module, "read_headers", lambda path: read.append(path) or module_error())
    for i in range(200):
        (tmp_path / f"frame.{i:03d}").write_bytes(b"no image")
    assert module.images_among(tmp_path.iterdir()) == []
    assert len(read) == 50


def module_error():
    raise gpuanom.InputError("not a FITS file")


def test_score_tells_in_one_line_and_names_each_with_v(folder):
    for more, lines in (([], 1), (["-v"], 5)):
        done = CliRunner().invoke(cli, ["score", "night", "-o", "out", "--device", "cpu", *more])
        said = [line for line in done.stderr.splitlines() if line.startswith("skipped")]
        assert len(said) == lines, done.stderr
        assert said[0].startswith("skipped 5 FITS images, not named as FITS files are")


def test_explain_and_inject_tell_of_each(folder):
    done = CliRunner().invoke(cli, ["explain", "night", "--json"])
    told = {account["file"]: account for account in json.loads(done.stdout)}
    assert [told[name]["outcome"] for name in OTHERS] == ["skipped"] * 5
    assert all("name the file itself, or give a pattern" in told[name]["reason"] for name in OTHERS)
    assert "skipped 5 files: a FITS image not named as one" in CliRunner().invoke(cli, ["explain", "night"]).stdout
    done = CliRunner().invoke(cli, ["inject", "night", "--anomaly", "stripes:0.1", "-o", "new", "--no-verdict"])
    assert "skipped 5 FITS images" in done.stderr


def test_what_was_measured_by_a_pattern_is_not_dropped_when_the_folder_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nights.night(tmp_path / "night", exposures=3)
    for path in (tmp_path / "night").glob("*.fits"):
        path.rename(path.with_suffix(""))
    settings = QUICK
    first = gpuanom.score("night/*", "out", settings=settings, device="cpu")
    again = gpuanom.score("night", "out", settings=settings, device="cpu")
    assert first.n_exposures == again.n_exposures == 3


def test_watch_tells_once_when_such_a_file_is_whole(tmp_path):
    nights.night(tmp_path / "night", exposures=2)
    first, second = sorted((tmp_path / "night").glob("*.fits"))
    first.rename(tmp_path / "night" / "img1")
    said = []

    def say(line):
        if line.startswith("skipped 1 FITS image, not named as FITS files are"):
            said.append(line)
            second.rename(tmp_path / "night" / "img2")

    pace = Pace(every=0.05, settle=0.0, until=time.time() + 2.0)
    watch(tmp_path / "night", tmp_path / "out", settings=QUICK, device="cpu", pace=pace, events=WatchEvents(say=say))
    assert len(said) == 1


def test_a_single_round_tells_of_files_that_are_not_settled(tmp_path):
    nights.night(tmp_path / "night", exposures=1)
    (file,) = (tmp_path / "night").glob("*.fits")
    file.rename(tmp_path / "night" / "img1")
    said = []
    pace = Pace(every=0.02, settle=60.0, once=True)
    with pytest.raises(gpuanom.InputError, match="no FITS file among the inputs"):
        watch(tmp_path / "night", tmp_path / "new", settings=QUICK, device="cpu", pace=pace,
              events=WatchEvents(say=said.append))  # fmt: skip
    assert [line.partition(",")[0] for line in said] == ["skipped 1 FITS image"]


def test_a_copy_that_grows_under_another_name_is_not_told_of(tmp_path):
    clock = [0.0]
    image = write(tmp_path / "night" / "e1.part").read_bytes()
    arrivals = Arrivals([tmp_path / "night"], 10.0, 600.0, tmp_path / "out", clock=lambda: clock[0])
    for size in range(1, 5):
        (tmp_path / "night" / "e1.part").write_bytes(image * size)
        clock[0] += 6.0
        arrivals.look()
        assert arrivals.other_names() == []
    clock[0] += 10.0
    arrivals.look()
    assert [path.name for path in arrivals.other_names()] == ["e1.part"]
    assert arrivals.other_names() == []
    (tmp_path / "night" / "e1.part").rename(tmp_path / "night" / "e1.fits")
    arrivals.look()
    assert arrivals.other_names(unsettled=True) == []
