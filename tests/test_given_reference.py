"""A saved reference that lacks cameras and bands of a night: what is said, and the exit codes."""

from __future__ import annotations

import pytest

import gpuanom
from tests import nights
from tests.commands import run

QUICK = ("--points", "500", "--sigma-points", "1000", "--device", "cpu")


@pytest.fixture
def reference_of_r(tmp_path, capfd):
    nights.night(tmp_path / "before", exposures=4)
    run(capfd, "score", tmp_path / "before", "-o", tmp_path / "known", *QUICK)
    run(capfd, "reference", tmp_path / "known", "-o", tmp_path / "ref.ecsv")
    return tmp_path


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_a_reference_without_any_dataset_of_the_night_is_a_failure(reference_of_r, capfd, quiet):
    folder = reference_of_r
    nights.night(folder / "in", exposures=3, bands=("g",))
    given = ("--reference", folder / "ref.ecsv", *QUICK, *quiet)
    said = "the reference holds no camera and band of this night (TESTCAM g): 3 exposures, all without scores"
    for inputs in ((folder / "in",), ()):  # ranked again, too
        code, _, err = run(capfd, "score", *inputs, "-o", folder / "out", *given)
        assert (code, err.count(said)) == (1, 1)
    code, _, err = run(capfd, "watch", folder / "in", "-o", folder / "watched", "--once", "--settle", "0", *given)
    assert (code, err.count("the reference holds no exposure of TESTCAM g: no scores")) == (1, 1)


def test_a_reference_without_one_of_several_bands_is_told(reference_of_r, capfd):
    folder = reference_of_r
    nights.night(folder / "in", exposures=4, bands=("g", "r"))
    given = ("-o", folder / "out", "--reference", folder / "ref.ecsv", *QUICK)
    said = "the reference holds no exposure of TESTCAM g: 2 exposures without scores (status no_reference)"
    code, _, err = run(capfd, "score", folder / "in", *given)
    assert (code, err.count(said)) == (0, 1)
    assert run(capfd, "score", folder / "in", *given, "-q") == (0, "", "")
    assert "4 exposures, 8 CCDs, 2 without a reference" in repr(gpuanom.open_night(folder / "out"))
    code, _, err = run(
        capfd, "watch", folder / "in", "-o", folder / "watched", "--once", "--settle", "0", *given[2:], "-q"
    )
    assert (code, err.count("the reference holds no exposure of TESTCAM g: no scores")) == (0, 1)


def test_a_reference_that_holds_the_night_is_not_told(reference_of_r, capfd):
    code, out, err = run(
        capfd, "score", reference_of_r / "before", "-o", reference_of_r / "out", *QUICK,
        "--reference", reference_of_r / "ref.ecsv",
    )  # fmt: skip
    assert (code, "the reference holds no" in out + err) == (0, False)
