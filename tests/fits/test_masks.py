import numpy as np
import pytest
from astropy.io import fits

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import InputError
from gpuanom.fits.ccds.mask_bits import decode
from gpuanom.fits.headers.values import Cards
from gpuanom.records import Unfit
from gpuanom.settings import Settings

B, S, G = Unfit.BACKGROUND, Unfit.SOURCES, Unfit.GRADIENTS
ALL = B | S | G
DECAM = CameraRule(name="r", mask="decam-cp", mask_file=("ooi", "ood"))


def plane_of(values, dtype=np.int32):
    return np.array([values], dtype)


def run(values, rule=DECAM, dtype=np.int32, settings=None, **cards):
    header = fits.Header({key if len(key) <= 8 else f"HIERARCH {key}": value for key, value in cards.items()})
    plane = values if isinstance(values, np.ndarray) else plane_of(values, dtype)
    bad = decode(plane, header, Cards(header), rule, settings or Settings())
    return None if bad is None else bad[0].tolist()


def test_codes_from_3_5_0():
    # Codes 1 and 2 (bad, no value) count in every step, 5 (cosmic ray) for background and sources, the other codes for
    # the background only; 9 and negative numbers are unknown, and count as 'other'.
    got = run([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, -1, -256], PLVER="V4.8.2a")
    assert got == [0, ALL, ALL, B, B, B | S, B, B, B, B, B, B]


def test_bits_before_3_5_0():
    # bad; saturated; bad and saturated; interpolated; cosmic ray; bleed; transient; a bit without a meaning
    got = run([0, 1, 2, 3, 4, 16, 64, 128, 8], PLVER="V3.4.9")
    assert got == [0, ALL, B, ALL, B, B | S, B, B, B]


@pytest.mark.parametrize(
    ("version", "codes"),
    [("V3.5.0", True), ("V3.4.9", False), ("V3.5", False), ("V4.1", True), ("3.9", True), ("4.8.2a", True),
     ("DES 3.4.1", False), ("V3.10.2", True), ("V10.0", True), ("nonsense", True), (None, True)],
)  # fmt: skip
def test_plver_decides(version, codes):
    """The value 2 means 'no value' as a code (every step), and 'saturated' as a bit (background only)."""
    cards = {} if version is None else {"PLVER": version}
    assert run([2, 0], **cards) == [ALL if codes else B, 0]


def test_a_plane_too_high_for_codes_holds_bits():
    """Such planes exist: PLVER V3.5.3, with the values 0, 2 and 64."""
    assert run([0, 2, 64], PLVER="V3.5.3") == [0, B, B]


def test_settings_choose_the_classes():
    settings = Settings(mask_background=(), mask_sources=("saturated",), mask_gradients=("all",))
    assert run([0, 1, 3], settings=settings, PLVER="4") == [0, G, S | G]
    nothing = Settings(mask_background=(), mask_sources=(), mask_gradients=())
    assert run([1, 2, 3], settings=nothing, PLVER="4") is None


def test_nothing_flagged_is_none():
    assert run([0, 0, 0]) is None


def test_desdm_bits():
    rule = CameraRule(name="r", mask="desdm", mask_hdu="MSK")
    got = run([0, 1, 16, 32, 16 | 32, 1024, 4096], rule, np.uint16)
    assert got == [0, ALL, B | S, B, B | S, B, B]


def test_lsst_planes_by_their_cards():
    rule = CameraRule(name="r", mask="mp-cards", mask_hdu="MASK")
    cards = {"MP_BAD": 3, "MP_CR": 0, "MP_DETECTED": 5, "MP_NO_DATA": 1, "MP_MYSTERY": 2}
    got = run([8, 1, 32, 2, 4, 32 | 1], rule, np.int32, **cards)
    assert got == [ALL, B | S, 0, ALL, B, B | S]


def test_lsst_plane_of_the_sign_bit():
    rule = CameraRule(name="r", mask="mp-cards", mask_hdu="MASK")
    assert run(np.array([[np.iinfo(np.int32).min, 0]], np.int32), rule, MP_BAD=31) == [ALL, 0]
    assert run(np.array([[-128, 1]], np.int8), rule, MP_BAD=7, MP_DETECTED=0) == [ALL, 0]


@pytest.mark.parametrize("dtype", [">i2", ">i4", ">i8", "u1", "u2", "f4", "f8"])
def test_any_width_and_byte_order(dtype):
    assert run([0, 5, 1], dtype=dtype, PLVER="4.1") == [0, B | S, ALL]


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf])
def test_fractions_are_no_mask(value):
    with pytest.raises(InputError) as caught:
        run([0, value], dtype="f4")
    assert caught.value.status == "mask_unreadable"


def test_a_users_own_values():
    rule = CameraRule(name="r", mask="bits", mask_hdu="DQ", mask_values=(("4", "bad"), ("32", "cosmic_ray")))
    assert run([4, 32, 36, 1], rule) == [ALL, B | S, ALL, B]
    rule = CameraRule(name="r", mask="codes", mask_hdu="DQ", mask_values=(("4", "bad"), ("200", "cosmic_ray")))
    assert run([4, 200, 36, 300], rule) == [ALL, B | S, B, B]
