import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.cameras.builtin import BUILTIN_RULES
from gpuanom.cameras.rules import CameraRule
from gpuanom.fits.ccds.axes import turn_by_rule
from gpuanom.fits.ccds.names import ccd_name_in_header, measured_ccd_name
from gpuanom.fits.ccds.plane_kinds import side_file
from gpuanom.fits.ccds.saturation import saturation
from gpuanom.fits.ccds.wcs import sky_axes
from gpuanom.fits.exposures.identity import describe
from gpuanom.fits.headers.values import Cards, clean, number, plver
from gpuanom.fits.opening.file_names import stem
from gpuanom.records import Turn

NAN = math.nan
RULES = {rule.name: rule for rule in BUILTIN_RULES}


def about(header, extension=None, name="x.fits"):
    return describe(header, extension, BUILTIN_RULES, Path(name))


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "rule", "camera", "exposure", "band", "date", "ccd", "level"),
    [
        ("fitsheader-decam", "DECam raw", "DECam-raw", "229388", "z", "2013-09-01T06:02:55.753848", "S1", 43266.0),
        ("fitsheader-decam-instcal-c4d_190402_050618_ooi_VR_v1", "DECam InstCal", "DECam", "845291", "VR",
         "2019-04-02T05:06:18.382875", "S29", 42423.5001001058),
        ("fitsheader-megaprime", "MegaCam", "MegaCam", "1038843", "i", "2008-11-01T14:33:32.40", "ccd02", 65535.0),
        ("fitsheader-megaprime-calexp-849375-14", "LSST calexp", "MegaPrime-calexp", "849375", "r", None, None, NAN),
        ("fitsheader-decam-calexp-0412037_10", "LSST calexp", "DECam-calexp", "412037", "g", None, "1", NAN),
        ("fitsheader-hsc", "HSC", "HSC", "HSCA90402400", "HSC-i", "2013-11-02T06:15:55.927", "50", NAN),
        ("fitsheader-hsc-HSCA04090107", "HSC", "HSC", "HSCA04090000", "HSC-r", "2015-10-10T08:20:06.627", "37", NAN),
        ("fitsheader-suprimecam-CORR40535770", "LSST calexp", "SuprimeCam-calexp", "SUPE00535770", "r", None, "0", NAN),
        ("fitsheader-sdss-fpC-006377-g4-0399", "any", "unknown", "x", "g", None, None, NAN),
        ("bad-megaprime", "MegaCam", "MegaCam", "1038843", "i", "2008-11-01T14:33:32.40", "ccd02", 65535.0),
    ],
)  # fmt: skip
def test_real_headers(real_header, name, rule, camera, exposure, band, date, ccd, level):
    header = real_header(name)
    got = about(header)
    assert (got.rule.name, got.camera, got.exposure, got.band.name) == (rule, camera, exposure, band)
    assert got.no_exposure == ""
    if date:
        assert got.date_obs == date
    if ccd:
        assert ccd_name_in_header(got.rule, Cards(header)) == ccd
    np.testing.assert_equal(saturation(got.rule, Cards(header)), level)


@pytest.mark.real
def test_a_real_bias_is_no_exposure(real_header):
    assert about(real_header("fitsheader-decam-0160496")).no_exposure == "not a sky exposure: OBSTYPE is 'zero'"


@pytest.mark.parametrize(
    ("card", "value"),
    [("OBSTYPE", "dark"), ("IMAGETYP", "Dome Flat"), ("DATA-TYP", "BIAS"), ("OBSTYPE", "focus"),
     ("PROCTYPE", "Stacked"), ("PROCTYPE", "Resampled"), ("PRODTYPE", "dqmask"), ("PRODTYPE", "wtmap"),
     ("EXPTYPE", "FLAT"), ("OBSTYPE", "ARC"), ("OBSTYPE", "arcs"), ("IMAGETYP", "Test frame"), ("OBSTYPE", "sky test"),
     ("OBSTYPE", "arc_2"), ("DATA-TYP", "DOMEFLAT"), ("DATA-TYP", "FOCUSING"), ("IMAGETYP", "Bias Frame"),
     ("OBSTYPE", "SKYFLAT"), ("IMAGETYP", "masterbias"), ("IMAGETYP", "Flat Field"), ("DATA-TYP", "COMPARISON"),
     ("OBSTYPE", "AUTOFOCUS"), ("OBSTYPE", "pointing"), ("PROCTYPE", "MasterCal-Stack"), ("IMAGETYP", "darks")],
)  # fmt: skip
def test_what_is_no_exposure(card, value):
    assert about(fits.Header({card: value})).kind.startswith(("a weight", "not a sky exposure (", "a stack ("))
    assert (
        clean(value) in about(fits.Header({card: value})).no_exposure
        or "weight" in about(fits.Header({card: value})).no_exposure
    )


@pytest.mark.parametrize(
    ("card", "value"),
    [("OBSTYPE", "object"), ("IMAGETYP", "LIGHT"), ("OBSTYPE", "EXPOSE"), ("PRODTYPE", "image"),
     ("OBSTYPE", "research"), ("OBSTYPE", "latest"), ("IMAGETYP", "search field"), ("OBSTYPE", "contest 2"),
     ("PROCTYPE", "unstacked"), ("OBSTYPE", "appointing")],
)  # fmt: skip
def test_what_is_an_exposure(card, value):
    assert about(fits.Header({card: value})).no_exposure == ""


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("c4d_1_ood_r_v1.fits", True), ("a-OOW.fits", True), ("c4d_ooi_v1.fits", False), ("food_r.fits", False),
     ("oodles.fits", False), ("oow.fits.fz", True)],
)  # fmt: skip
def test_weight_and_mask_names(name, wanted):
    assert bool(side_file(Path(name))) is wanted


def test_the_ccds_header_comes_before_the_primary():
    cards = Cards(fits.Header({"EXPTIME": 2.0, "EMPTY": ""}), fits.Header({"EXPTIME": 1.0, "EMPTY": "full", "P": 5}))
    assert (cards.get("EXPTIME"), cards.get("EMPTY"), cards.get("P"), cards.get("Q")) == (2.0, "full", 5, None)


def test_a_card_that_cannot_be_parsed_counts_as_absent():
    text = "EXPNUM  = 'never closed".ljust(80) + "EXPTIME = 1.2.3".ljust(80) + "END".ljust(80)
    header = fits.Header.fromstring(text.ljust(2880))
    got = about(header, name="fallback.fits")
    assert got.exposure == "fallback"
    assert math.isnan(got.exptime)


@given(st.text())
def test_ids_are_safe(text):
    got = clean(text)
    assert got.isprintable()
    assert len(got) <= 80
    assert not set(got) & set('/\\:*?"<>|\n\r\t\x1b')
    assert not got.startswith((".", " "))
    assert clean(got) == got


def test_a_hostile_exposure_id_stays_an_id():
    got = about(fits.Header({"EXPNUM": "../../etc/passwd", "INSTRUME": "a/b"}))
    assert got.exposure == "_.._etc_passwd"
    assert got.camera == "a_b"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("V4.8.2a", ((4, 8, 2), "a")), ("V4.1", ((4, 1), "")), ("DES 3.9", ((3, 9), "")), ("4.8.2a", ((4, 8, 2), "a")),
     ("", ((), "")), (None, ((), "")), ("V5", ((5,), "")), (4.1, ((4, 1), ""))],
)  # fmt: skip
def test_plver(text, wanted):
    assert plver(text) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("53.9", 53.9), (3, 3.0), (True, NAN), ("x", NAN), ("inf", NAN), (None, NAN)],
)
def test_number(value, wanted):
    np.testing.assert_equal(number(value), wanted)


@pytest.mark.parametrize(
    ("name", "wanted"), [("a.fits", "a"), ("a.b.FITS.FZ", "a.b"), ("a.fit.gz", "a"), ("noending", "noending")]
)
def test_stem(name, wanted):
    assert stem(Path(name)) == wanted


def is_skipped(rule, name):
    header = fits.Header({rule.ccd[0]: name})
    return not measured_ccd_name(rule, header, Cards(header), 1)


@pytest.mark.parametrize("name", ["FS1", "FN4", "fs2"])
def test_decam_focus_sensors_are_skipped(name):
    assert is_skipped(RULES["DECam raw"], name)
    assert is_skipped(RULES["DECam InstCal"], name)


def test_no_decam_science_ccd_is_skipped():
    science = [f"{side}{n}" for side in "NS" for n in range(1, 32)]
    assert not any(is_skipped(RULES["DECam raw"], name) for name in science)


def test_hsc_focus_sensors_are_skipped_and_science_is_not():
    assert [n for n in range(112) if is_skipped(RULES["HSC"], str(n))] == list(range(104, 112))


def test_saturation_of_amplifiers_is_the_lowest():
    cards = Cards(fits.Header({"SATURATA": 43266.0, "SATURATB": 41000.0, "SATURATE": 50000.0}))
    assert saturation(RULES["DECam raw"], cards) == 41000.0
    assert saturation(RULES["DECam InstCal"], cards) == 50000.0
    assert math.isnan(saturation(RULES["any"], Cards(fits.Header({"SATURATE": -1}))))


TAN = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}


def test_sky_axes_from_cd():
    cd = {"CD1_1": 1e-5, "CD1_2": 2e-5, "CD2_1": -3e-5, "CD2_2": 4e-5}
    assert sky_axes(Cards(fits.Header(TAN | cd))) == (1e-5, 2e-5, -3e-5, 4e-5)


@pytest.mark.parametrize("angle", [0.0, 30.0, -120.0])
def test_three_ways_to_write_one_matrix(angle):
    """CROTA2, PC and CD of the same frame agree with astropy's reading of each."""
    from astropy.wcs import WCS

    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    dx, dy = -2e-5, 3e-5
    old = fits.Header(TAN | {"CDELT1": dx, "CDELT2": dy, "CROTA2": angle})
    pc = {"PC1_1": c, "PC1_2": -s * dy / dx, "PC2_1": s * dx / dy, "PC2_2": c, "CDELT1": dx, "CDELT2": dy}
    for header in (old, fits.Header(TAN | pc)):
        wanted = WCS(header).pixel_scale_matrix.ravel()
        # One product and one cosine: a few units in the last place.
        np.testing.assert_allclose(sky_axes(Cards(header)), wanted, rtol=1e-13, atol=1e-19)


def test_a_latitude_first_is_put_second():
    cards = {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CD1_1": 1.0, "CD1_2": 2.0, "CD2_1": 3.0, "CD2_2": 4.0}
    assert sky_axes(Cards(fits.Header(cards))) == (3.0, 4.0, 1.0, 2.0)


@pytest.mark.parametrize(
    "cards",
    [{}, {"CD1_1": 1.0, "CD2_2": 1.0}, TAN | {"CD1_1": 1.0, "CD1_2": 1.0, "CD2_1": 1.0, "CD2_2": 1.0},
     TAN | {"CD1_1": "x", "CD2_2": 1.0}, {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR", "CD1_1": 1.0, "CD2_2": 1.0}],
)  # fmt: skip
def test_no_sky(cards):
    assert sky_axes(Cards(fits.Header(cards))) is None


BY_WCS = CameraRule(name="r", turn="wcs")


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
@pytest.mark.parametrize("flip", [1, -1])
@given(theta=st.floats(-1.5, 1.5))
def test_a_turn_takes_an_orientation_to_the_focal_plane(quarter, flip, theta):
    """The sky angle of a line on a turned and flipped CCD, read through an unturned CCD, is the angle from Turn."""
    reference = np.array([[0.0, 1.0], [-1.0, 0.0]]) * 5e-5
    c, s = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarter]
    mount = np.array([[c, -s], [s, c]]) @ np.diag([1, flip])
    t = turn_by_rule(BY_WCS, "1", tuple((reference @ mount).ravel()))
    line = np.linalg.inv(reference) @ reference @ mount @ np.array([math.cos(theta), math.sin(theta)])
    wanted = math.atan2(line[1], line[0])
    got = (-theta if t & 2 else theta) + (math.pi / 2 if t & 1 else 0)
    # Orientations are equal modulo pi; the matrices hold 0 and 1, so that only atan2 rounds.
    assert abs(math.sin(got - wanted)) < 1e-12


def test_no_turn_without_wcs_or_rule():
    matrix = (5e-5, 0.0, 0.0, 5e-5)
    assert turn_by_rule(BY_WCS, "1", None) is Turn.NONE
    assert turn_by_rule(CameraRule(name="r"), "1", matrix) is Turn.NONE
    assert turn_by_rule(BY_WCS, "1", matrix) is Turn.QUARTER


def test_hsc_turns_four_ccds_whatever_the_rotator():
    turned = [n for n in range(104) if turn_by_rule(RULES["HSC"], str(n), (5e-5, 0.0, 0.0, 5e-5)) is Turn.QUARTER]
    assert turned == [100, 101, 102, 103]


@pytest.mark.real
@pytest.mark.parametrize("name", ["fitsheader-hsc", "fitsheader-hsc-HSCA04090107"])
def test_an_ordinary_real_hsc_ccd_is_not_turned(real_header, name):
    cards = Cards(real_header(name))
    assert turn_by_rule(RULES["HSC"], ccd_name_in_header(RULES["HSC"], cards), sky_axes(cards)) is Turn.NONE
    assert turn_by_rule(BY_WCS, "1", sky_axes(cards)) is Turn.NONE
