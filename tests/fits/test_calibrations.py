"""Every keyword that marks calibrations is recognised, and no exposure of the sky is taken for a calibration."""

from pathlib import Path

import pytest
from astropy.io import fits

from gpuanom.cameras.builtin import BUILTIN_RULES
from gpuanom.fits.exposures.identity import describe

KEYWORDS = [keyword for keyword, _ in BUILTIN_RULES[-1].not_sky]
NUMBERS_OR_CATEGORIES = {"PICTTYPE": "3", "ESO DPR CATG": "CALIB", "DPR CATG": "CALIB", "DPRCATG": "CALIB"}


def outcome(cards, name="x.fits"):
    header = fits.Header({key if len(key) < 9 and " " not in key else f"HIERARCH {key}": v for key, v in cards.items()})
    return describe(header, None, BUILTIN_RULES, Path(name)).no_exposure


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_every_keyword_excludes_a_calibration_and_keeps_the_sky(keyword):
    calibration = NUMBERS_OR_CATEGORIES.get(keyword, "dark")
    assert outcome({keyword: calibration}) == f"not a sky exposure: {keyword} is '{calibration}'"
    for sky in ("OBJECT", "science", "SKYEXP", "LIGHT", "Light Frame", "OBJECT,SKY", "object", "sky", "1"):
        assert outcome({keyword: sky, "OBJECT": "dark"}) == "", sky


@pytest.mark.parametrize(
    "value", ["BIAS", "DARK", "FLAT", "FLAT,TWILIGHT", "FLAT,LAMP", "zero", "arc", "DFLAT", "SKYFLAT", "COMP",
              "ENGTEST", "Dark Frame", "domeflat", "TWILIGHT", "lamp", "CALIBRATION", "ACQ"],
)  # fmt: skip
@pytest.mark.parametrize("keyword", ["IMGTYPE", "ESO DPR TYPE", "FLAVOR"])
def test_words_of_calibrations(keyword, value):
    assert outcome({keyword: value})


@pytest.mark.parametrize("target", ["bias", "Dark", "FLAT FIELD", "domeflat", "zero", "master_bias", "Sky Flat"])
def test_a_target_that_is_a_calibration(target):
    assert outcome({"OBJECT": target})


@pytest.mark.parametrize(
    "target", ["dark cloud", "Flat galaxy", "M31", "zero point field", "Biasa", "darkness", "flatland", "LDN 1622 dark"]
)
def test_a_target_that_only_sounds_so(target):
    assert outcome({"OBJECT": target}) == ""


@pytest.mark.parametrize(
    ("name", "out"),
    [("bias_001", True), ("dark_300s_002", True), ("flat_r_01", True), ("masterbias", True), ("dark_cloud_001", False),
     ("flat_r_norm", True), ("norm_flat_r", True), ("mflat_r", True), ("nflat_r", True), ("pixelflat", True),
     ("biasframe", True), ("combined_bias", True), ("mdark60", True), ("badpix", True), ("fringe_i", True),
     ("illum_r", True), ("supersky_r", True), ("normalized-dome-flat_g", True), ("superdark", True), ("dome_r", True),
     ("dark_1.5s_002.", True), ("nflatiron", False), ("M31_flat_001", False), ("fringes_of_m31", False),
     ("mdarkcloud", False), ("illuminati", False), ("m_31", False), ("supersky_galaxy", False), ("domeA_r", False),
     ("flatfish", False), ("biased", False), ("zeropoint_3", False), ("darkfield_r_1", False), ("m31_flat", False)],
)  # fmt: skip
def test_names_count_only_where_the_header_is_silent(name, out):
    assert bool(outcome({}, f"{name}.fits")) is out
    assert outcome({"OBJECT": "M31"}, f"{name}.fits") == ""
    assert outcome({"OBSTYPE": "object"}, f"{name}.fits") == ""


def test_a_name_of_many_points_takes_no_time():
    for name in ("flat" + "." * 240, "flat" + "." * 240 + "x", "flat" + "_1.5" * 60 + "x", "mn" * 120 + "x"):
        outcome({}, f"{name}.fits")  # twenty-eight points took minutes


@pytest.mark.parametrize("name", ["M31_flat_001", "dark_cloud_001", "ngc1_biasframe"])
def test_a_name_that_may_be_a_calibrations_is_said(name):
    header = fits.Header({"INSTRUME": "X"})
    about = describe(header, None, BUILTIN_RULES, Path(f"{name}.fits"))
    assert not about.no_exposure
    assert "word of calibrations" in str(about.doubts[0])
    header["OBJECT"] = "M31"
    assert not describe(header, None, BUILTIN_RULES, Path(f"{name}.fits")).doubts


@pytest.mark.parametrize("name", ["nflatiron_001", "darkness", "m31_r", "flatfish", "zeropoint"])
def test_other_names_are_not(name):
    assert not describe(fits.Header(), None, BUILTIN_RULES, Path(f"{name}.fits")).doubts


@pytest.mark.parametrize(("exptime", "n"), [(0.0, 1), (0, 1), ("0.0", 1), (0.1, 0), (None, 0)])
def test_an_exposure_time_of_0_is_said(exptime, n):
    header = fits.Header({"OBSTYPE": "object"} | ({} if exptime is None else {"EXPTIME": exptime}))
    doubts = describe(header, None, BUILTIN_RULES, Path("x.fits")).doubts
    assert [str(doubt).partition(":")[0] for doubt in doubts] == [f"EXPTIME is '{exptime}'"] * n
