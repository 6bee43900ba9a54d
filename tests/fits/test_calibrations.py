"""Every keyword that marks calibrations is recognised, and no exposure of the sky is taken for a calibration."""

from pathlib import Path

import pytest
from astropy.io import fits

from gpuanom.cameras.builtin import BUILTIN_RULES
from gpuanom.fits.identity import describe

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
     ("flatfish", False), ("biased", False), ("zeropoint_3", False), ("darkfield_r_1", False), ("m31_flat", False)],
)  # fmt: skip
def test_names_count_only_where_the_header_is_silent(name, out):
    assert bool(outcome({}, f"{name}.fits")) is out
    assert outcome({"OBJECT": "M31"}, f"{name}.fits") == ""
    assert outcome({"OBSTYPE": "object"}, f"{name}.fits") == ""
