"""CCDs without a measurement are listed once at the end, with number and reason; lost CCDs set the exit code."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest
from astropy.io import fits

import gpuanom
from gpuanom.tables.left_out import NOT_LOST, LeftOut, left_out
from tests import nights
from tests.test_cli import run

QUICK = ("--points", "300", "--sigma-points", "500", "--background-points", "300", "--device", "cpu", "--threads", "1")
LOST = ("unreadable", "corrupt", "mask_unreadable", "mask_mismatch", "duplicate", "out_of_memory", "too_large")


def _change(path, *, constant=(), saturated=(), nan=(), duplicate=False, cut=0):
    with fits.open(path, mode="update") as hdus:
        for n in constant:
            hdus[n].data[:] = 7
        for n in saturated:
            hdus[n].data[:] = 65000
        for n in nan:
            hdus[n].data[:] = np.nan
    if duplicate:  # the same exposure given twice
        shutil.copy(path, path.with_name(f"copy-of-{path.name}"))
    if cut:
        path.write_bytes(path.read_bytes()[:-cut])


@pytest.fixture
def dead(tmp_path):
    """A night with dead CCDs in every exposure, as with DECam."""
    for path in nights.night(tmp_path / "in", exposures=3, ccds=5):
        _change(path, constant=[2], saturated=[3], nan=[4])
    return tmp_path


def _told(err):
    return [line for line in err.splitlines() if re.match(r"(lost|left out) \d", line)]


@pytest.mark.parametrize("command", ["score", "watch"])
def test_dead_ccds_are_said_once_and_are_no_failure(dead, capfd, command):
    more = ("--once", "--settle", "0", "--every", "0.05") if command == "watch" else ()
    for _ in range(2):  # the second run measures nothing, and prints the same lines
        code, _, err = run(capfd, command, dead / "in", "-o", dead / "out", *QUICK, *more)
        assert code == 0
        told = _told(err)
        assert [line.partition(":")[0] for line in told] == [
            "left out 3 CCDs of 3 exposures, constant",
            "left out 3 CCDs of 3 exposures, saturated",
            "left out 3 CCDs of 3 exposures, too_few_pixels",
        ]
        assert "CCD CCD2: no noise to measure by" in told[0]


@pytest.mark.parametrize("command", ["score", "watch"])
@pytest.mark.parametrize(("change", "status"), [({"cut": 60_000}, "corrupt"), ({"duplicate": True}, "duplicate")])
def test_a_lost_ccd_is_exit_code_1_also_when_nothing_new_is_measured(tmp_path, capfd, command, change, status):
    paths = nights.night(tmp_path / "in", exposures=3)
    _change(paths[0], **change)
    more = ("--once", "--settle", "0", "--every", "0.05", "--patience", "0") if command == "watch" else ()
    if command == "watch" and "cut" in change:
        pytest.skip("a watch lists a file that is cut off as incomplete, and scores nothing of it")
    for quiet in ((), (), ("-q",)):
        code, _, err = run(capfd, command, tmp_path / "in", "-o", tmp_path / "out", *QUICK, *more, *quiet)
        assert code == 1
        (line,) = _told(err)
        lost = "2 CCDs" if status == "duplicate" else "1 CCD"  # both CCDs of the file that was given twice
        assert line.startswith(f"lost {lost} of 1 exposure, {status}: ")
        assert paths[0].name in line


def test_merge_says_what_is_left_out(dead, capfd):
    run(capfd, "score", dead / "in", "-o", dead / "a", *QUICK)
    nights.write(dead / "in2", 9, ccds=2)
    _change(dead / "in2" / "exposure_009.fits", duplicate=True)
    run(capfd, "score", dead / "in2", "-o", dead / "b", *QUICK)
    code, out, err = run(capfd, "merge", dead / "a", "-o", dead / "m1")
    assert (code, len(_told(err)), "3 exposures" in out) == (0, 3, True)
    code, _, err = run(capfd, "merge", dead / "a", dead / "b", "-o", dead / "m2")
    assert code == 1
    assert _told(err)[0].split(",")[0] == "lost 2 CCDs of 1 exposure"


def test_python_is_told_too(dead):
    settings = gpuanom.Settings(gradient_points=300, sigma_points=500, background_points=300)
    night = gpuanom.score(dead / "in", settings=settings, device="cpu")
    assert [(g.status, g.n_ccds, g.n_exposures, g.lost) for g in night.left_out] == [
        ("constant", 3, 3, False), ("saturated", 3, 3, False), ("too_few_pixels", 3, 3, False),
    ]  # fmt: skip
    assert left_out(night.tables) == night.left_out


def test_which_statuses_are_losses():
    assert all(LeftOut(status, 1, 1, "").lost for status in LOST)
    assert not any(LeftOut(status, 1, 1, "").lost for status in ("constant", "saturated", "too_few_pixels"))
    assert not NOT_LOST & set(LOST)


def test_masks_that_are_applied_are_counted_as_applied(tmp_path, capfd):
    for n in range(1, 4):
        name = f"c4d_190402_05061{n}_oo{{}}_r_v1.fits"
        cards = {"camera": "DECam", "PROCTYPE": "InstCal", "PRODTYPE": "image", "PLVER": "V4.1"}
        image = nights.write(tmp_path / "in", n, name=name.format("i"), **cards)
        for kind in "dw":
            with fits.open(image) as hdus:
                for hdu in hdus[1:]:
                    hdu.data = np.zeros(hdu.data.shape, np.int16)
                hdus.writeto(image.with_name(name.format(kind)))
    code, _, err = run(capfd, "score", tmp_path / "in", "-o", tmp_path / "out", *QUICK)
    assert code == 0
    assert "3 masks applied\n" in err
    assert "skipped 3 files: a weight or mask file\n" in err  # the file with the weights
    _, _, err = run(capfd, "score", tmp_path / "in", "-o", tmp_path / "out2", "--no-mask", "-v", *QUICK)
    assert "masks applied" not in err
    assert err.count(": a weight or mask file: ") == 6


def test_the_help_says_what_the_exit_code_means(capfd):
    for command in ("score", "watch", "merge"):
        _, out, _ = run(capfd, command, "--help")
        assert "exit code" in " ".join(out.lower().split())
        assert "lost" in out
    _, out, _ = run(capfd, "score", "--help")
    assert "--no-checksum" in out
    assert ".bz2" in out
