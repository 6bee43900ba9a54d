"""HDUs and files that are planes beside an image are never scored as CCDs, and no CCD is taken for a plane."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty, VarianceUncertainty

from gpuanom.cameras.builtin import BUILTIN_RULES
from gpuanom.fits import discover
from gpuanom.fits.ccds.plane_kinds import plane_reason
from gpuanom.settings import Settings

ANY = BUILTIN_RULES[-1]


def image(seed=0):
    return np.random.default_rng(seed).normal(1000, 10, (70, 80)).astype(np.float32)


@pytest.mark.parametrize(
    "name",
    ["UNCERT", "MASK", "PSFIMAGE", "VARIANCE", "0-1.RMS", "0-1.FLG", "1-2.WGT", "ERR", "DQ", "SAMP", "TIME", "BPM",
     "MSK", "D2IMARR", "WCSDVARR", "NPOLEXT", "VAR_0", "MSK_0", "PSF_0", "STAMP", "WEIGHT", "WHT", "IVAR", "INVVAR",
     "SIGMA", "CTX", "EXPMAP", "FLAGS", "DQ_FLAGS", "BKG", "BACKGROUND", "EXP", "ERROR", "SCI_ERR", "QUALITY"],
)  # fmt: skip
def test_names_of_planes(name):
    assert plane_reason(ANY, fits.Header({"EXTNAME": name}))
    assert plane_reason(ANY, fits.Header({"EXTNAME": name.lower()}))


@pytest.mark.parametrize(
    "name",
    ["S29", "CHIP1", "ccd02", "ERRATA", "FLAGSTAFF", "0-1.SCI", "SCI_0", "im1", "Segment10", "NE", "Q1", "R11_S20",
     "ESO_CCD_#65", "EXP1", "VARUNA", "MSX1", "DATA", "BKS", "CONE", "TIMES2"],
)  # fmt: skip
def test_names_of_ccds(name):
    assert not plane_reason(ANY, fits.Header({"EXTNAME": name}))


@pytest.mark.parametrize(
    "cards",
    [{"HDUCLAS2": "ERROR", "HDUCLAS3": "MSE"}, {"HDUCLAS2": "QUALITY"}, {"HDUCLAS1": "IMAGE", "HDUCLAS3": "MASKZERO"},
     {"SCIDATA": "DATA"}, {"UTYPE": "StdDevUncertainty"}, {"UTYPE": "VarianceUncertainty"}, {"BUNIT": "electron**2"},
     {"BUNIT": "adu2"}, {"BUNIT": "ADU^2"}, {"BUNIT": "(electron/s)**2"}, {"BUNIT": "1/nanomaggy^2"},
     {"EXTTYPE": "VARIANCE"}, {"DES_EXT": "WEIGHT"}],
)  # fmt: skip
@pytest.mark.parametrize("rule", [ANY, BUILTIN_RULES[1]], ids=lambda rule: rule.name)
def test_other_cards_of_planes(cards, rule):
    assert plane_reason(rule, fits.Header({"EXTNAME": "X1"} | cards))


@pytest.mark.parametrize(
    "cards",
    [{"HDUCLAS1": "IMAGE", "HDUCLAS2": "DATA"}, {"BUNIT": "adu"}, {"BUNIT": "electron"}, {"BUNIT": "MJy/pix^2"},
     {"BUNIT": "counts/arcsec^2"}, {"BUNIT": "electron/s"}, {"UTYPE": "image"}, {"EXTTYPE": "IMAGE"}, {"BUNIT": 2},
     {"ERRDATA": "ERR", "QUALDATA": "DQ", "HDUCLAS2": "DATA"}],
)  # fmt: skip
def test_other_cards_of_ccds(cards):
    assert not plane_reason(ANY, fits.Header({"EXTNAME": "X1"} | cards))


@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
def test_a_ccddata_is_one_ccd_with_its_mask(tmp_path, read, kind):
    data = image()
    mask = data > 1020
    path = tmp_path / "e.fits"
    CCDData(data, unit="adu", uncertainty=kind(np.abs(data)), mask=mask, meta={"FILTER": "r"}).write(path)
    items = read(path)
    assert list(items) == ["0"]
    np.testing.assert_array_equal(items["0"].bad != 0, mask)
    assert read(path, settings=Settings(mask=False))["0"].bad is None


def test_every_ccd_of_a_file_has_its_own_mask(write, read):
    planes = [np.zeros((70, 80), np.uint8) for _ in range(2)]
    planes[0][1, 2], planes[1][3, 4] = 1, 1
    extensions = []
    for n in (0, 1):
        extensions += [(image(seed=n), {"EXTNAME": "CHIP", "EXTVER": n + 1})]
        extensions += [(planes[n], {"EXTNAME": "MASK", "EXTVER": n + 1})]
    items = read(write("a.fits", *extensions, FILTER="r"))
    assert {name: np.argwhere(ccd.bad).tolist() for name, ccd in items.items()} == {
        "CHIP-1": [[1, 2]],
        "CHIP-2": [[3, 4]],
    }


def test_a_plane_whose_values_mean_nothing_known_is_not_applied_and_said(write, read, caplog):
    plane = np.zeros((70, 80), np.int16)
    plane[1, 2], plane[3, 4] = 1, 64
    path = write("a.fits", (image(), {"EXTNAME": "C1"}), (plane, {"EXTNAME": "MASK"}), FILTER="r")
    with caplog.at_level("INFO", "gpuanom"):
        assert read(path)["C1"].bad is None
    assert "several values" in caplog.text
    assert "a.fits[2]" in caplog.text


@pytest.mark.parametrize(
    ("name", "left_out"),
    [("exp.weight", True), ("exp.flag", True), ("exp_bpm", True), ("exp_mask", True), ("a_conf", True), ("b.msk", True),
     ("fpM-006377-g4-0399", True), ("ztf_c01_q1_uncimg", True), ("exp_rms", True), ("exp_err", True), ("exp_sky", True),
     ("exp.wt", True), ("lone_err", False), ("night_sky", False), ("exp17", False), ("flagstaff", False),
     ("errata", False), ("fpC-006377-g4-0399", False), ("ztf_c01_q1_sciimg", False)],
)  # fmt: skip
def test_files_beside_an_image(write, tmp_path, settings, name, left_out):
    write("exp.fits", data=image(), FILTER="r")
    write(f"{name}.fits", data=image(), FILTER="r")
    found = discover([tmp_path], settings)
    assert (name in {e.exposure for e in found.exposures}) is not left_out
    assert [s.kind for s in found.skipped] == (["a weight or mask file"] if left_out else [])


def test_a_variance_alone_in_its_file_is_left_out(write, tmp_path, settings):
    write("a1.fits", data=image(), BUNIT="electron**2")
    (skipped,) = discover([tmp_path], settings).skipped
    assert "BUNIT" in skipped.reason


def test_raw_lsst_segments_are_no_calexp(write, read, one):
    cards = {"INSTRUME": "CAMERA", "OBSID": 20459, "CHIPID": "R11_S20", "IMGTYPE": "SKYEXP", "FILTER": "i"}
    segments = [(image(seed=n), {"EXTNAME": f"Segment1{n}", "EXTTYPE": "IMAGE"}) for n in range(3)]
    path = write("raw.fits", *segments, **cards)
    assert one(path).rule == "any"
    assert list(read(path)) == ["Segment10", "Segment11", "Segment12"]


def test_a_ztf_quadrant_takes_its_mask_file(write, tmp_path, read):
    plane = np.zeros((70, 80), np.int16)
    plane[5, 6], plane[7, 8] = 512, 2  # dead; part of a detected source
    for q in (1, 2):
        cards = {"INSTRUME": "ZTF/MOSAIC", "FILTER": "ZTF_r", "EXPID": 5, "CCDID": 1, "QID": q, "IMGTYPE": "object"}
        write(f"ztf_c01_o_q{q}_sciimg.fits", data=image(seed=q), **cards)
        write(f"ztf_c01_o_q{q}_mskimg.fits", data=plane * (q == 2))
    items = read(tmp_path)
    assert list(items) == ["1-1", "1-2"]
    assert items["1-1"].bad is None
    assert items["1-2"].bad[5, 6] == 7
    assert items["1-2"].bad[7, 8] == 1
