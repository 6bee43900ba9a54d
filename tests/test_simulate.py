"""Simulated nights: the same seed gives the same bytes, and the images agree with the truth table."""

from __future__ import annotations

import hashlib
import inspect
import math
import sys
from datetime import timedelta

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

pytest.importorskip("galsim")

from gpuanom import installing
from gpuanom.cli.simulate import processes_for, simulate
from gpuanom.errors import GpuanomError, OutputError, SettingsError
from gpuanom.simulate import Anomaly, CcdPlace, Conditions, simulate_night
from gpuanom.simulate.detector import READ_NOISE, SATURATION
from gpuanom.simulate.injectors import INJECTORS
from gpuanom.simulate.night import MOST_A_NIGHT, _Form
from gpuanom.simulate.plan import plan_night
from gpuanom.simulate.sky import draw as draw_ccd

STRIPE_PERIOD = INJECTORS["stripes"].size

SMALL = {"exposures": 5, "ccds": 2, "shape": (96, 128), "bands": ("g", "r"), "seed": 7}


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A small night: the folder, and the table that `simulate_night` returned."""
    folder = tmp_path_factory.mktemp("night") / "made" / "here"
    return folder, simulate_night(folder, **SMALL)


def draw(anomaly=Anomaly(), *, density=1.0, seed=3, shape=(512, 512), sky=1000.0):  # noqa: B008
    """One CCD under a round PSF and a level sky."""
    conditions = Conditions(
        number=1,
        band="g",
        fwhm=3.8,
        shear=np.zeros((3, 2)),
        sky=sky,
        slope=np.zeros(2),
        pointing=(10.0, -5.0),
        density=density,
        anomaly=anomaly,
    )
    return draw_ccd(conditions, CcdPlace(shape, (0.0, 0.0), 256.0), np.random.default_rng(seed)).image


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_same_arguments_same_bytes(night, tmp_path):
    folder, _ = night
    simulate_night(tmp_path, **SMALL)
    assert digests(tmp_path) == digests(folder)
    simulate_night(tmp_path, **SMALL, overwrite=True)  # over the file itself
    assert digests(tmp_path) == digests(folder)


def test_another_seed_another_night(night, tmp_path):
    folder, truth = night
    other = simulate_night(tmp_path, **SMALL | {"seed": 8})
    assert list(other["direction"]) != list(truth["direction"])
    ours, theirs = digests(folder), digests(tmp_path)
    assert all(ours[name] != theirs[name] for name in ours)


def test_every_ccd_is_another(night):
    folder, _ = night
    with fits.open(folder / "sim_000002.fits") as two, fits.open(folder / "sim_000003.fits") as three:
        assert not np.array_equal(two["CCD1"].data, two["CCD2"].data)
        assert not np.array_equal(two["CCD1"].data, three["CCD1"].data)


def test_truth_table(night):
    folder, truth = night
    read = Table.read(folder / "truth.ecsv")
    assert read.colnames == ["exposure", "band", "kind", "class", "amplitude", "direction", "size", "ccds"]
    assert list(read["exposure"]) == ["1", "2", "3", "4", "5"]
    assert list(read["band"]) == ["g", "r", "g", "r", "g"]
    assert str(read["direction"].unit) == "deg"
    assert sorted(read["class"]) == ["donuts", "elongation", "none", "none", "stripes"]
    for row in truth:
        kind = {"elongation": "source", "donuts": "source", "stripes": "background", "none": "none"}[row["class"]]
        assert row["kind"] == kind
        assert row["ccds"] == ("none" if kind == "none" else "CCD1 CCD2")
        if kind == "none":
            assert row["amplitude"] == 0
            assert math.isnan(row["direction"])
        else:
            assert row["amplitude"] > 0
            assert math.isnan(row["direction"]) if row["class"] == "donuts" else -90 < row["direction"] <= 90


def test_a_night_has_48_exposures_of_one_band_unless_asked_otherwise():
    """Of the command and of the function; three different anomalies of one band are plain to see among as many."""
    function = inspect.signature(simulate_night).parameters
    command = {p.name: p.default for p in simulate.params}
    assert function["exposures"].default == command["exposures"] == 48
    assert function["ccds"].default == command["ccds"] == 4
    assert function["bands"].default == ("r",) == (command["bands"],)
    assert ",".join(map(str, function["shape"].default)) == command["shape"]
    night = plan_night(48, ("r",), 1)
    assert sorted(c.anomaly.name for c in night if c.anomaly.kind != "none") == ["donuts", "elongation", "stripes"]


@pytest.mark.parametrize(("exposures", "ccds", "cpus", "expected"), [(48, 4, 2, 2), (48, 4, 64, 4), (5, 2, 8, 1)])
def test_a_process_for_each_cpu_but_one_for_a_small_night(monkeypatch, exposures, ccds, cpus, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(cpus)))
    assert processes_for(exposures * ccds) == expected


def test_nights_of_one_camera_hold_other_exposures(night, tmp_path):
    folder, _ = night
    second = simulate_night(tmp_path / "second", **SMALL, night=2)
    assert second["exposure"].tolist() == ["1001", "1002", "1003", "1004", "1005"]
    (tmp_path / "same").mkdir()
    simulate_night(tmp_path / "same", **SMALL, night=1)
    assert digests(tmp_path / "same") == digests(folder)
    begun, skies = [], []
    for path in (folder / "sim_000001.fits", tmp_path / "second" / "sim_001001.fits"):
        with fits.open(path) as hdus:
            begun.append(hdus[0].header["DATE-OBS"])
            skies.append(np.median(hdus[1].data))
    assert begun == ["2026-01-01T02:00:00", "2026-01-02T02:00:00"]
    assert skies[0] != skies[1]
    plans = [plan_night(40, ("r",), 1, [Anomaly("source", "donuts", 16.0)], night=n, first=n) for n in (1, 2, 3)]
    assert len({plan[0].sky for plan in plans}) == 3
    assert len({next(i for i, c in enumerate(plan) if c.anomaly.kind != "none") for plan in plans}) > 1
    with pytest.raises(OutputError, match="its night: 2, not 3"):
        simulate_night(tmp_path / "second", **SMALL, night=3)
    with pytest.raises(OutputError, match="its night: 2, not 1"):
        simulate_night(tmp_path / "second", **SMALL)
    with pytest.raises(SettingsError, match="'night' is 0"):
        simulate_night(tmp_path / "other", **SMALL, night=0)


def test_the_longest_night_ends_before_the_next_one():
    (last,) = plan_night(1, ("r",), 1, night=2, first=1000 + MOST_A_NIGHT)
    (first,) = plan_night(1, ("r",), 1, night=3, first=2001)
    starts = [_Form(1, (64, 64), 1, "plain", False, night).start(c) for night, c in ((2, last), (3, first))]
    assert timedelta() < starts[1] - starts[0] <= timedelta(minutes=2)


@pytest.mark.parametrize("seed", range(20))
def test_plan_of_a_default_night(seed):
    night = plan_night(16, ("g", "r"), seed)
    of_band = {band: [c.anomaly.name for c in night if c.band == band] for band in "gr"}
    assert of_band["g"].count("elongation") == of_band["r"].count("donuts") == 1
    assert sum(name != "none" for name in of_band["g"] + of_band["r"]) == 3
    assert (of_band["g"] + of_band["r"]).count("stripes") == 1
    assert len({c.sky for c in night}) == len({c.fwhm for c in night}) == 16


@pytest.mark.parametrize(
    ("exposures", "bands", "anomalies"),
    [(1, ("g",), 0), (2, ("g", "r"), 1), (3, ("i",), 2), (4, ("i",), 3), (2, ("g", "r", "i"), 1)],
)
def test_plan_of_a_short_night_keeps_a_normal_exposure(exposures, bands, anomalies):
    night = plan_night(exposures, bands, 1)
    assert sum(c.anomaly.kind != "none" for c in night) == anomalies


def test_headers(night):
    folder, _ = night
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"sim_{i:06d}.fits" for i in range(1, 6)),
        "truth.ecsv",
    ]
    with fits.open(folder / "sim_000002.fits") as hdus:
        hdus.verify("exception")
        primary = hdus[0].header
        assert primary["INSTRUME"] == "GPUANOM-SIM"
        assert primary["EXPNUM"] == 2
        assert primary["FILTER"] == "r"
        assert primary["DATE-OBS"] == "2026-01-01T02:01:30"
        assert primary["EXPTIME"] == 60.0
        assert primary["OBSTYPE"] == "object"
        assert [hdu.name for hdu in hdus[1:]] == ["CCD1", "CCD2"]
        for hdu in hdus[1:]:
            assert hdu.data.shape == (96, 128)
            assert hdu.header["SATURATE"] == SATURATION
            assert hdu.data.max() <= SATURATION
        # The two CCDs lie side by side, 40 pixels apart, in the same projection about the pointing.
        left, right = (WCS(hdu.header) for hdu in hdus[1:])
        assert right.world_to_pixel(left.pixel_to_world(168, 50)) == pytest.approx((0, 50), abs=1e-6)
        assert left.wcs.crval == pytest.approx(right.wcs.crval)


def test_progress(tmp_path):
    seen = []
    simulate_night(tmp_path, exposures=2, ccds=1, shape=(64, 64), progress=lambda *args: seen.append(args))
    assert seen == [(1, 2), (2, 2)]


def test_noise_is_that_of_the_counts_and_the_read_out():
    image = draw(density=0.0, sky=900.0)
    spread = 1.4826 * np.median(np.abs(image - np.median(image)))
    # Rounding to whole electrons adds a variance of 1/12; 262,144 pixels determine the MAD to 0.2%.
    assert spread == pytest.approx(math.sqrt(900 + READ_NOISE**2), rel=0.02)
    assert np.median(image) == pytest.approx(900, abs=1)


def star_shapes(image):
    """(e1, e2) of stars between 20 sigma and saturation, from moments above a fifth of the peak in 21 x 21 pixels."""
    v = image - np.median(image)
    sigma = 1.4826 * np.median(np.abs(v))
    y0, x0 = np.nonzero((v > 20 * sigma) & (image < 0.8 * SATURATION))
    dy, dx = np.mgrid[-10:11, -10:11]
    shapes = []
    for y, x in zip(y0, x0, strict=True):
        if not (10 <= y < v.shape[0] - 10 and 10 <= x < v.shape[1] - 10):
            continue
        stamp = v[y - 10 : y + 11, x - 10 : x + 11]
        if stamp.max() > v[y, x]:
            continue
        light = np.where(stamp > 0.2 * v[y, x], stamp, 0)
        qxx, qyy, qxy = (light * dx * dx).sum(), (light * dy * dy).sum(), (light * dx * dy).sum()
        shapes.append(((qxx - qyy) / (qxx + qyy), 2 * qxy / (qxx + qyy)))
    return np.array(shapes)


@pytest.mark.parametrize("direction", [0.0, 30.0, 90.0, -60.5])
def test_elongated_stars_lie_along_the_stated_axis(direction):
    e1, e2 = np.median(star_shapes(draw(Anomaly("source", "elongation", 0.25, direction))), axis=0)
    assert math.hypot(e1, e2) > 0.3
    turned = np.exp(1j * np.radians(2 * direction))
    # The median of about 60 stars and galaxies of random shapes.
    assert abs(np.degrees(np.angle((e1 + 1j * e2) / turned)) / 2) < 5


def test_normal_stars_are_round():
    e1, e2 = np.median(star_shapes(draw()), axis=0)
    assert math.hypot(e1, e2) < 0.06


@pytest.mark.parametrize("direction", [0.0, 30.0, 90.0, -60.5])
def test_stripes_run_along_the_stated_direction(direction):
    image = draw(Anomaly("background", "stripes", 0.5, direction), density=0.0)
    power = np.abs(np.fft.rfft2(image - image.mean())) ** 2
    y, x = np.unravel_index(np.argmax(power), power.shape)
    fy, fx = np.fft.fftfreq(512)[y], np.fft.rfftfreq(512)[x]
    assert 1 / math.hypot(fx, fy) == pytest.approx(STRIPE_PERIOD, rel=0.05)
    # The wave runs perpendicular to the stripes; one step of the frequency grid is 3.6 degrees here.
    assert abs(math.sin(math.atan2(fy, fx) - math.radians(direction + 90))) < math.sin(math.radians(4))
    # The height of the wave by projection; a wave between two steps of the grid loses a part of its height.
    wave = np.exp(2j * np.pi * (fx * np.arange(512) + fy * np.arange(512)[:, None]))
    assert 2 * abs((image * wave).mean()) == pytest.approx(0.5 * math.sqrt(1000 + READ_NOISE**2), rel=0.25)


def test_output_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        simulate_night(tmp_path / "file", **SMALL)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"exposures": 0}, "'exposures' is 0"),
        ({"ccds": 0}, "'ccds' is 0"),
        ({"shape": (63, 512)}, r"'shape\[0\]' is 63"),
        ({"shape": (512, 40_000)}, r"'shape\[1\]' is 40000"),
        ({"seed": -1}, "'seed' is -1"),
        ({"night": 0}, "'night' is 0"),
        ({"night": 2, "exposures": 961}, "'exposures' is 961 but must be at most 960"),
        ({"bands": ()}, "'bands'"),
        ({"bands": ("g", "g")}, "'bands'"),
        ({"bands": "gr"}, "'bands'"),
        ({"bands": ("../g",)}, "'bands'"),
    ],
)
def test_impossible_arguments_are_refused_by_name(tmp_path, arguments, message):
    with pytest.raises(SettingsError, match=message):
        simulate_night(tmp_path / "night", **arguments)
    assert not (tmp_path / "night").exists()


def test_without_galsim_the_remedy_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "galsim", None)
    with pytest.raises(GpuanomError) as caught:
        simulate_night(tmp_path / "night", **SMALL)
    remedy = installing.install("simulate")
    assert str(caught.value) == f"simulating a night needs GalSim, which is not installed ({remedy})"
    assert not (tmp_path / "night").exists()
