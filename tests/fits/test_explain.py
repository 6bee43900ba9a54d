"""`gpuanom explain` says what `score` would do, and with -v which rules and cards decided."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from gpuanom.cli import cli
from gpuanom.fits import discover, open_ccds
from gpuanom.fits.explain import explain
from gpuanom.records import CcdOnDisk
from gpuanom.settings import Settings


def image(seed=0, size=(200, 210)):
    return np.random.default_rng(seed).normal(1000, 10, size).astype(np.float32)


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments], standalone_mode=False)


@pytest.fixture
def folder(write, tmp_path, instcal):
    instcal()
    write("any.fits", (image(), {"EXTNAME": "C1"}), (image(), {"EXTNAME": "UNCERT"}), WFFBAND="r", INSTRUME="WFC")
    write("bias.fits", data=image(), OBSTYPE="BIAS")
    write("guide.fits", (image(), {"EXTNAME": "FS1"}), (image(), {"EXTNAME": "S2"}),
          INSTRUME="DECam", PROCTYPE="RAW", EXPNUM=3, FILTER="g DECam")  # fmt: skip
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE  = no FITS")
    return tmp_path


def test_every_file_gets_a_paragraph(folder):
    result = run("explain", folder)
    assert result.exception is None
    text = result.output
    for words in (
        "exposure: 845291 (told by: EXPNUM is '845291')", "by rule 'DECam InstCal' (INSTRUME is 'DECam'",
        "band: r (WFFBAND)", "no CCD: HDU 2 (UNCERT): a plane, no CCD: EXTNAME is 'UNCERT'",
        "skipped: not a sky exposure: OBSTYPE is 'BIAS'", "failed: ", "a guide or focus sensor: CCD FS1",
        "mask: HDU 1 of c4d_190402_050618_ood_g_v1.fits, decoded as", "C1: HDU 1, 210 x 200 pixels, whole",
    ):  # fmt: skip
        assert words in text
    paragraphs = text.strip().split("\n\n")
    assert len(paragraphs) == 7
    assert paragraphs[-1].splitlines() == [
        "6 files in all",
        "1 exposure of DECam g",
        "1 exposure of DECam-raw g",
        "1 exposure of WFC r",
        "failed 1 file: corrupt",
        "skipped 1 file: a weight or mask file",
        "skipped 1 file: not a sky exposure",
    ]
    assert "in all" not in run("explain", folder / "any.fits").output
    assert result.return_value == 1  # one file is damaged


def test_json_holds_the_same(folder):
    result = run("explain", folder, "--json")
    accounts = {a["file"].rsplit("/", 1)[-1]: a for a in json.loads(result.output)}
    assert accounts["any.fits"]["band_told_by"] == "WFFBAND"
    assert [c["name"] for c in accounts["any.fits"]["ccds"]] == ["C1"]
    assert accounts["bias.fits"]["outcome"] == "skipped"


def test_explain_and_score_agree(folder, settings):
    found = discover([folder], settings)
    told = {a.file: a for a in explain([folder], settings)}
    for exposure in found.exposures:
        names = [c.name for c in open_ccds(exposure, settings) if isinstance(c, CcdOnDisk)]
        accounts = [told[str(f)] for f in exposure.files]
        assert [c.name for a in accounts for c in a.ccds if not c.problem] == names
        assert {(a.exposure, a.camera, a.band) for a in accounts} == {
            (exposure.exposure, exposure.camera, exposure.band)
        }
    assert {a.file for a in told.values() if a.outcome == "skipped"} == {str(s.path) for s in found.skipped}


@pytest.mark.parametrize("inputs", [["gone.fits"], ["empty*"], ["@none.txt"]])
def test_no_file_is_a_line(inputs):
    result = run("explain", *inputs)
    assert result.return_value == 1
    assert "failed: " in result.output


@pytest.mark.real
def test_every_real_file_is_explained(real_data, settings):
    told = explain([real_data], settings)
    assert {a.outcome for a in told} == {"scored", "skipped"}
    assert not [c.problem for a in told for c in a.ccds if c.problem]
    assert all(a.to_text().count("\n") for a in told)


def test_score_says_with_v_what_decided_and_always_that_no_band_is_told(write, tmp_path):
    for n in range(2):
        write(f"in/n{n}.fits", data=image(n))
        write(f"in/b{n}.fits", data=image(n + 5), WFFBAND="r", INSTRUME="WFC")
    result = run("score", tmp_path / "in", "-o", tmp_path / "out", "--device", "cpu")
    assert "2 exposures: no card of the headers names a band" in result.output
    assert "camera rule 'any'" not in result.output
    result = run("score", tmp_path / "in", "-o", tmp_path / "out2", "--device", "cpu", "-v")
    assert "2 files: band r told by WFFBAND" in result.output
    assert "4 files: camera rule 'any'" in result.output
    assert "no card of its header names a band" in (tmp_path / "out2" / "exposures.ecsv").read_text()


def test_cards_are_quoted_as_the_header_has_them(write, tmp_path):
    """Ids and names have no colons and slashes; what explain quotes does."""
    for n in range(2):
        write(f"{n}.fits", (image(), {"EXTNAME": "C1"}), (image(), {"EXTNAME": "A/B_MASK"}), INSTRUME="A/B:C",
              EXPNUM=1001, **{"DATE-OBS": f"2026-01-01T0{n}:30:00"})  # fmt: skip
    write("2.fits", data=image(), INSTRUME="A", OBSTYPE="flat/dome")
    write("3.fits", data=image(), INSTRUME="A", OBJECT="sky flat")
    match = {"mine": {"match": {"INSTRUME": "a/b*"}}}
    first, second, flat, target = explain([tmp_path], Settings.from_mapping({"cameras": match}))
    assert first.exposure == "2026-01-01T00_30_00"
    shared = "EXPNUM '1001' is shared by exposures of other starts"
    assert first.exposure_told_by == f"DATE-OBS is '2026-01-01T00:30:00'; {shared}"
    assert second.exposure_told_by == f"DATE-OBS is '2026-01-01T01:30:00'; {shared}"
    assert first.rule_told_by == "INSTRUME is 'A/B:C'"
    assert first.not_ccds == ("HDU 2 (A/B_MASK): a plane, no CCD: EXTNAME is 'A/B_MASK'",)
    assert flat.reason == "not a sky exposure: OBSTYPE is 'flat/dome'"
    assert target.reason == "not a sky exposure: OBJECT is 'sky flat'"


def test_an_id_of_several_exposures_is_said_where_another_card_names_them(write, tmp_path):
    for n in (1, 2):
        write(f"{n}.fits", data=image(), EXPNUM=5, OBSID=f"o{n}", INSTRUME="A")
    told = [account.exposure_told_by for account in explain([tmp_path], Settings())]
    assert told == [f"OBSID is 'o{n}'; EXPNUM '5' is shared by other exposures" for n in (1, 2)]
