"""One exposure as text and as a picture."""

from __future__ import annotations

import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import gpuanom
from gpuanom.cli.show import _bad_ccds, judged_as, text_histogram
from gpuanom.review.opened import Histogram
from tests import nights
from tests.report import made
from tests.test_cli import run

SETTINGS = gpuanom.Settings(gradient_points=500, sigma_points=1000)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    folder = tmp_path_factory.mktemp("show")
    nights.night(folder / "in", exposures=4, odd=2)
    (folder / "in" / "bad.fits").write_text("no FITS")
    gpuanom.score(folder / "in", folder / "night", settings=SETTINGS, device="cpu")
    return folder


def test_text_holds_every_bin():
    counts = np.zeros(18, dtype=np.int64)
    counts[5] = 90
    counts[6] = 10
    lines = text_histogram(Histogram("source", counts, np.full(18, 1 / 18)), ascii_only=True)
    assert len(lines) == 18 + 2
    assert lines[6].startswith(" -40 to -30 deg ##")
    assert "90.0% *" in lines[6]
    assert lines[6].count("#") == 39  # forty, one of which is the mark of the reference
    assert all(line.isascii() for line in lines)
    assert text_histogram(Histogram("source", counts * 0, None)) == ["source orientations, n = 0"]
    assert len(text_histogram(Histogram("source", counts, None))) == 18 + 1


def test_show_on_a_terminal(scored, capfd):
    code, out, _ = run(capfd, "show", scored / "night", "2")
    assert code == 0
    assert "exposure 2: TESTCAM, r, 2026-01-02T03:04:05, 2 of 2 CCDs\nno verdict: " in out
    assert out.count("the reference;") == 4
    # Without a verdict no statistic stands out, but what was measured is told beside what is usual.
    assert "stands out most" not in out
    numbers = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line and line[0].islower()}
    rows = {row["exposure"]: row for row in gpuanom.open_night(scored / "night").exposures}
    usual = np.median([row["n_sources"] for row in rows.values() if row["n_sources"] is not None])
    assert numbers["n_sources"] == [str(rows["2"]["n_sources"]), f"{usual:.0f}"]
    assert len(numbers["sky"]) == 2


def test_an_exposure_alone_has_no_usual_numbers_and_what_was_not_measured_none(tmp_path, capfd):
    nights.night(tmp_path / "in", exposures=1)
    gpuanom.score(tmp_path / "in", tmp_path / "out", settings=SETTINGS, device="cpu")
    _, out, _ = run(capfd, "show", tmp_path / "out", "1")
    assert "usual" not in out
    assert [len(line.split()) for line in out.splitlines() if line.startswith(("n_sources", "sky"))] == [2, 2]
    with fits.open(nights.write(tmp_path / "in", 2), mode="update") as hdus:
        for hdu in hdus[1:]:
            hdu.data[:] = 7.0
    gpuanom.score(tmp_path / "in", tmp_path / "out", settings=SETTINGS, device="cpu")
    _, out, _ = run(capfd, "show", tmp_path / "out", "2")
    assert "0 of 2 CCDs" in out
    assert not [line for line in out.splitlines() if line.startswith(("n_sources", "sky", "usual"))]


def _ccds(*rows):
    """A night whose exposure 7 has these CCDs: verdict, cause and evidence of each."""
    columns = ("verdict", "cause", "evidence")
    table = Table({name: [row[i] for row in rows] for i, name in enumerate(columns)})
    table["camera"], table["exposure"], table["ccd"] = "CAM", "7", [f"N{i}" for i in range(1, len(rows) + 1)]
    return SimpleNamespace(tables=SimpleNamespace(plain=(None, table)), folder="night")


def test_the_worst_ccds_have_lines_and_all_with_one_cause_share_one():
    row = {"camera": "CAM", "exposure": "7", "cause": "ring on N2"}
    assert _bad_ccds(_ccds(*[("check", "ring on N2", 3.0)] * 9), row) == ["all 9 CCDs: check"]
    assert _bad_ccds(_ccds(("bad", "glow on N1", 3.0), ("bad", "glow on N2", 9.0)), row) == ["all 2 CCDs: bad, glow"]
    checked = [("check", f"noise on N{i}", float(i)) for i in range(1, 6)]
    lines = _bad_ccds(_ccds(("ok", "", 0.0), *checked, ("bad", "glow", math.nan)), row)
    assert lines[:2] == ["CCD N7: bad, glow", "CCD N6: check, noise on N5"]
    assert lines[-1] == "and 1 more CCD (gpuanom tables night --table ccds)"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("ok", "bad", "donut", 55.7), "bad: donut (evidence 56)"),
        (("ok", "check", "glow on C4", 8.74), "check: glow on C4 (evidence 9)"),
        (("ok", "ok", "", 1.2), "ok"),
        (("ok", "ok", "streak", 1.2), "ok: streak"),
        (("other_size", "bad", "tilted", 12.0), "other_size, bad: tilted (evidence 12)"),
        (("ok", "", "3 exposures, fewer than 20", None), "no verdict: 3 exposures, fewer than 20"),
        (("ok", "", "no verdict: exposed for 10 s", None), "no verdict: exposed for 10 s"),
        (("unusable", "", "", None), "unusable"),
        (("ok", None, None, None), "measured, without a verdict"),
    ],
)
def test_a_bad_exposure_is_not_called_ok(row, words):
    assert judged_as(dict(zip(("status", "verdict", "cause", "evidence"), row, strict=True))) == words


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_show_as_a_picture(scored, tmp_path, capfd, suffix):
    pytest.importorskip("matplotlib")
    code, _, err = run(capfd, "show", scored / "night", "2", "-o", tmp_path / f"two.{suffix}")
    assert (code, err) == (0, "")
    assert (tmp_path / f"two.{suffix}").stat().st_size > 20_000


def test_what_cannot_be_shown_is_said(scored, tmp_path, capfd):
    code, _, err = run(capfd, "show", scored / "night", "77")
    assert code == 2
    assert "no exposure '77'" in err
    shutil.copytree(scored / "in", tmp_path / "in")
    gpuanom.score(tmp_path / "in", tmp_path / "moved", settings=SETTINGS, device="cpu")
    shutil.rmtree(tmp_path / "in")
    pytest.importorskip("matplotlib")
    code, out, err = run(capfd, "show", tmp_path / "moved", "2", "-o", tmp_path / "two.png")
    assert code == 1
    assert "exposure_002.fits" in err
    assert "picture:" in out


NAMES = (*made.HOSTILE, "$x_{$", "[red]a[/red]")


def test_an_exposure_may_be_named_by_its_file(scored, tmp_path, capfd, monkeypatch):
    night, file = scored / "night", scored / "in" / "exposure_002.fits"
    (tmp_path / "link.fits").symlink_to(file)
    monkeypatch.chdir(scored)
    for name in (file, "in/exposure_002.fits", "exposure_002.fits", tmp_path / "link.fits"):
        code, out, _ = run(capfd, "show", night, name)
        assert (code, out.startswith("exposure 2: TESTCAM, r")) == (0, True)
    code, out, _ = run(capfd, "show", night, "in/bad.fits")
    assert (code, "not a FITS file" in out) == (0, True)
    code, _, err = run(capfd, "show", night, "elsewhere/exposure_002.fits")
    assert (code, "no exposure 'elsewhere/exposure_002.fits'" in err) == (2, True)


def test_near_ids_and_files_of_one_name_are_told(tmp_path, capfd):
    for i, folder in enumerate(("a", "b")):
        nights.write(tmp_path / "in" / folder, 84529 + i, name="img.fits")
    gpuanom.score(tmp_path / "in", tmp_path / "night", settings=SETTINGS, device="cpu")
    code, _, err = run(capfd, "show", tmp_path / "night", "img.fits")
    assert (code, "several exposures have a file img.fits: " in err) == (2, True)
    code, out, _ = run(capfd, "show", tmp_path / "night", tmp_path / "in" / "b" / "img.fits")
    assert (code, out.startswith("exposure 84530: ")) == (0, True)
    code, _, err = run(capfd, "show", tmp_path / "night", "845290")
    assert (code, "(do you mean 84529 or 84530?)" in err) == (2, True)


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory):
    return made.night(tmp_path_factory.mktemp("names") / "n", len(NAMES), names=NAMES, bands=("$r",))


# The usual run has what Matplotlib, rich and a terminal might take for commands.
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if "\x1b" in n or "$" in n or "[" in n else pytest.mark.proof) for n in NAMES],
    ids=range(len(NAMES)),
)
def test_names_of_any_kind_can_be_shown(odd_names, tmp_path, capfd, name):
    pytest.importorskip("matplotlib")
    code, out, _ = run(capfd, "show", odd_names, name, "-o", tmp_path / "shown.png")
    assert code == 1  # there are no files
    assert "\x1b" not in out
