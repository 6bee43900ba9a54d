"""The detector and the library of stamps; a night has the same pixels in every file format."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from astropy.io import fits

pytest.importorskip("galsim")

import gpuanom
from gpuanom.errors import SettingsError
from gpuanom.simulate import INJECTORS, CcdPlace, Conditions, simulate_night
from gpuanom.simulate.detector import BAD_COLUMN, BLEED, COSMIC_RAY, SATURATED, SATURATION, observed, spoil_columns
from gpuanom.simulate.stamps import FINER, GALAXY_SHAPES, add_star, draw_library

SMALL = {"exposures": 4, "ccds": 2, "shape": (128, 128), "seed": 3, "bands": ("g",)}


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def library():
    conditions = Conditions(1, "g", 3.8, np.zeros((3, 2)), 1000.0, np.zeros(2), (10.0, -5.0))
    return draw_library(conditions, CcdPlace((256, 256), (-128.0, -128.0), 128.0), np.random.default_rng(1))


def test_a_star_lies_where_it_was_put():
    stamps = library()
    y, x = np.mgrid[:256, :256]
    for cy, cx in ((100.0, 90.0), (100.2, 89.6), (60.4, 200.8)):
        light = np.zeros((256, 256))
        add_star(light, stamps, cy, cx, 1000.0, 40)
        # The wings beyond 40 pixels are left out: 1e-5 of the light, equally on all sides.
        assert light.sum() == pytest.approx(1000, rel=1e-3)
        assert (light * y).sum() / light.sum() == pytest.approx(cy, abs=0.01)
        assert (light * x).sum() / light.sum() == pytest.approx(cx, abs=0.01)
    assert 1 / FINER == 0.2


def test_stamps_have_flux_1_and_a_cut_off_star_gives_what_lies_inside():
    stamps = library()
    assert stamps.galaxies.shape[0] == GALAXY_SHAPES
    # Exponential discs of a few pixels with the wings of a Moffat function: all but a few percent of the light lies
    # within 24 pixels.
    assert np.all(np.abs(stamps.galaxies.sum(axis=(1, 2)) - 1) < 0.06)
    light = np.zeros((256, 256))
    add_star(light, stamps, 0.0, 255.0, 1000.0, 30)
    assert 200 < light.sum() < 500
    add_star(light, stamps, -100.0, 50.0, 1000.0, 30)
    assert light.sum() < 500


def test_bleeding_keeps_the_charge():
    expected = np.full((200, 5), 100.0)
    expected[100, 2] = 500_000.0
    expected.setflags(write=False)
    image, codes = observed(expected, np.random.default_rng(1), bleeding=True, amplifier_step=0.0)
    plain, _ = observed(expected, np.random.default_rng(1), bleeding=False, amplifier_step=0.0)
    assert plain[:, 2].sum() < 100_000
    # Charge that bleeds is kept; the images differ only by read noise of 6 in 200 pixels and shot noise of 700.
    assert image[:, 2].sum() == pytest.approx(expected[:, 2].sum(), abs=5000)
    full = np.flatnonzero(codes[:, 2] == SATURATED)
    assert len(full) >= 8
    assert abs(full.mean() - 100) <= 1
    assert (codes[:, 2] == BLEED).any()
    assert not (codes[:, [0, 1, 3, 4]] == SATURATED).any()
    assert image.max() < SATURATION + 50


def test_bad_columns_belong_to_the_ccd():
    codes = []
    for exposure in (1, 2):
        image = np.random.default_rng(exposure).normal(1000, 30, (64, 2000))
        plane = np.zeros(image.shape, np.uint8)
        spoil_columns(image, plane, 3.0, np.random.default_rng(7))
        codes.append(plane)
        assert np.all(np.ptp(image[-1:, plane[-1] == BAD_COLUMN], axis=0) == 0)
    assert np.array_equal(*codes)
    assert 1 <= np.count_nonzero(codes[0][-1]) <= 15


def test_amplifiers_differ_by_the_step():
    image, _ = observed(np.full((64, 64), 400.0), np.random.default_rng(1), bleeding=False, amplifier_step=100.0)
    assert np.median(image[:, 32:]) - np.median(image[:, :32]) == pytest.approx(100, abs=3)


def test_processes_and_order_change_no_byte(tmp_path):
    simulate_night(tmp_path / "one", **SMALL, anomalies=["stripes", "guiding"])
    simulate_night(tmp_path / "two", **SMALL, anomalies=["stripes", "guiding"], processes=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_compressed_pixels_are_the_same(tmp_path):
    simulate_night(tmp_path / "plain", **SMALL)
    simulate_night(tmp_path / "rice", **SMALL, compress=True)
    for name in ("sim_000001.fits", "sim_000004.fits"):
        with fits.open(tmp_path / "plain" / name) as plain, fits.open(tmp_path / "rice" / f"{name}.fz") as rice:
            for ccd in ("CCD1", "CCD2"):
                assert isinstance(rice[ccd], fits.CompImageHDU)
                assert rice[ccd].header["ZCMPTYPE"] == "RICE_1" if "ZCMPTYPE" in rice[ccd].header else True
                np.testing.assert_array_equal(plain[ccd].data, rice[ccd].data)


def test_decam_like_nights_are_read_as_decams_with_their_masks(tmp_path):
    truth = simulate_night(tmp_path / "in", **SMALL, headers="decam", compress=True, anomalies=["stripes:1"])
    names = sorted(p.name for p in (tmp_path / "in").iterdir())
    assert names[:2] == ["c4d_260101_020000_ood_g_v1.fits.fz", "c4d_260101_020000_ooi_g_v1.fits.fz"]
    with fits.open(tmp_path / "in" / names[0]) as mask:
        assert set(np.unique(mask["N1"].data)) <= {0, BAD_COLUMN, SATURATED, BLEED, COSMIC_RAY}
    settings = gpuanom.Settings(gradient_points=300)
    night = gpuanom.score(tmp_path / "in", output=None, device="cpu", settings=settings)
    assert not night.failed
    exposures, ccds = night.tables
    assert set(exposures["camera"]) == {"DECam"}
    assert set(exposures["band"]) == {"g"}
    assert sorted(set(ccds["ccd"])) == ["N1", "S1"]
    assert (ccds["masked_fraction"] > 0).any()
    striped = exposures["exposure"][np.argmax(exposures["background_alignment"])]
    assert striped == truth["exposure"][truth["class"] == "stripes"][0]


def test_every_anomaly_of_a_night_is_in_its_truth(tmp_path):
    truth = simulate_night(tmp_path, exposures=len(INJECTORS) + 1, ccds=1, shape=(64, 64), anomalies=["all"])
    assert sorted(truth["class"]) == sorted([*INJECTORS, "none"])
    for row in truth[truth["class"] != "none"]:
        injector = INJECTORS[row["class"]]
        assert row["kind"] == injector.kind
        assert row["amplitude"] == injector.default
        assert np.isnan(row["direction"]) != injector.directed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"anomalies": ["stripesx9"]}, "asks for 9 anomalous exposures of 4"),
        ({"anomalies": "all"}, "must be a list"),
        ({"anomalies": ["nothing"]}, "unknown anomaly 'nothing'"),
        ({"headers": "hst"}, "'headers' is 'hst'"),
    ],
)
def test_impossible_nights_are_refused(tmp_path, options, message):
    with pytest.raises(SettingsError, match=message):
        simulate_night(tmp_path / "night", **SMALL, **options)
    assert not (tmp_path / "night").exists()
