"""`gpuanom inject` ends with the verdicts before and after, or says why there are none."""

from __future__ import annotations

import pytest
from astropy.table import Table

pytest.importorskip("galsim")

import gpuanom
from gpuanom.nights.merge import make_references
from tests import nights
from tests.test_cli import run

SETTINGS = gpuanom.Settings(gradient_points=500, sigma_points=1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A night of 22 exposures, scored, and its settings."""
    folder = tmp_path_factory.mktemp("inject")
    nights.night(folder / "in", exposures=22, ccds=1)
    (folder / "quick.toml").write_text("gradient_points = 500\nsigma_points = 1000\n")
    gpuanom.score(folder / "in", folder / "scored", settings=SETTINGS, device="cpu")
    return folder


def inject(capfd, folder, *images, to, more=()):
    """Standard output and error of the command, which puts stripes into images."""
    code, out, err = run(capfd, "inject", *images, "--anomaly", "stripes:1.5@30/16", "-o", to,
                         "--config", folder / "quick.toml", *more)  # fmt: skip
    assert code == 0, err
    return out, err


def verdicts(tables):
    return dict(zip(tables.exposures["exposure"], tables.exposures["verdict"], strict=True))


def test_a_whole_night_is_its_own_measure(folder, tmp_path, capfd):
    """All copies have stripes: compared with each other, they would all be normal."""
    out, _ = inject(capfd, folder, folder / "in", to=tmp_path / "odd")
    lines = [line for line in out.splitlines() if line.startswith("exposure ")]
    assert len(lines) == 22
    known = make_references(folder / "scored", keep_all=True)
    before = {row["exposure"]: row["verdict"] for row in Table.read(folder / "scored" / "exposures.ecsv")}
    after = verdicts(gpuanom.score(tmp_path / "odd", settings=SETTINGS, device="cpu", reference=known).tables)
    for line in lines:
        name = line.split()[1].rstrip(":")
        first, _, second = line.partition("; after ")
        assert first.startswith(f"exposure {name}: before {before[name]}")
        assert second.startswith(after[name])
    assert set(after.values()) == {"bad"}
    assert all("stripes" in line.partition("; after ")[2] for line in lines)


@pytest.mark.parametrize("form", ["a scored night", "a saved reference"])
def test_one_image_is_judged_by_a_reference(folder, tmp_path, capfd, form):
    reference = folder / "scored"
    if form == "a saved reference":
        reference = tmp_path / "ref.ecsv"
        make_references(folder / "scored").save(reference)
    image = folder / "in" / "exposure_007.fits"
    out, _ = inject(capfd, folder, image, to=tmp_path / "odd", more=("--reference", reference))
    assert out.startswith("exposure 7: before ok")
    _, _, after = out.partition("; after ")
    assert after.startswith("bad, ")
    assert "stripes" in after


def test_a_line_says_why_there_is_no_verdict(folder, tmp_path, capfd):
    image = folder / "in" / "exposure_007.fits"
    out, _ = inject(capfd, folder, image, to=tmp_path / "odd")
    assert out.splitlines() == [
        "no verdict: 1 exposure of TESTCAM r, and a verdict needs 20 "
        "(give --reference: a saved reference, or the folder of a scored night)"
    ]
    (folder / "paper.toml").write_text("statistics = false\n")
    out, _ = inject(capfd, folder, image, to=tmp_path / "odd2", more=("--config", folder / "paper.toml"))
    assert out == "these settings give no verdict (the setting statistics is false)\n"
    out, _ = inject(capfd, folder, image, to=tmp_path / "odd3", more=("--no-verdict",))
    assert out == ""


def test_a_reference_of_another_band_says_so(folder, tmp_path, capfd):
    image = nights.write(tmp_path, 7, band="z", ccds=1)
    out, _ = inject(capfd, folder, image, to=tmp_path / "odd", more=("--reference", folder / "scored"))
    assert out.startswith("exposure 7: before no verdict: the reference holds nothing of TESTCAM z; after no verdict")


def test_a_wrong_reference_is_refused_before_anything_is_written(folder, tmp_path, capfd):
    code, _, err = run(capfd, "inject", folder / "in", "--anomaly", "stripes", "-o", tmp_path / "odd",
                       "--reference", folder / "quick.toml")  # fmt: skip
    assert code == 2
    assert "quick.toml: not a reference" in err
    assert not (tmp_path / "odd").exists()
