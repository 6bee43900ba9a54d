"""Statistics of the stars of CCDs and exposures (METHOD.md 10): choice of stars, means with errors, field of view."""

from __future__ import annotations

import math

import naive_shapes
import numpy as np
import pytest
import sky
from hypothesis import given, settings
from hypothesis import strategies as st
from steps.harness import DEFAULT, fitted, stack_of

from gpuanom.backends.cpu import CpuBackend
from gpuanom.backends.limits import SHAPES_A_CCD
from gpuanom.cameras.focalplane import Position
from gpuanom.records import Shapes, Turn
from gpuanom.statistics import shapes as stars_of
from gpuanom.statistics.shapes import CCD_STATISTICS, EXPOSURE_STATISTICS, Stars

NAMES = [statistic.name for statistic in EXPOSURE_STATISTICS]
SHAPE = (200, 100)


def record(t, *, width=1.5, signal=100.0, e1=0.0, e2=0.0, kurtosis=2.0, spoilt=0, y=50.0, x=50.0):
    """Shapes of one CCD as a step would give them."""
    n = len(t)
    moments, centre = np.full((1, SHAPES_A_CCD, 6), np.nan), np.full((1, SHAPES_A_CCD, 2), np.nan)
    for k, column in enumerate((1e4, signal, t, e1, e2, kurtosis)):
        moments[0, :n, k] = column
    centre[0, :n, 0], centre[0, :n, 1] = y, x
    flags = np.zeros((1, SHAPES_A_CCD), np.uint8)
    flags[0, :n] = spoilt
    return Shapes(centre, moments, flags, np.array([width]))


def plain(n, seed=0, **more):
    """Stars spread over a CCD, with a given mean in each number."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 1, (2, n))
    values = {name: more.get(name, 0.0) + 0.01 * rng.normal(size=n) for name in ("fwhm", "e1", "e2", "kurtosis")}
    return Stars(np.array([x, y, *values.values()]), SHAPE)


def named(values):
    """The statistics of an exposure by name."""
    assert values.dtype == np.float32
    assert len(values) == len(NAMES)
    return dict(zip(NAMES, values.tolist(), strict=True))


def half_sample_mode(ordered):
    return float(stars_of.half_sample_modes(ordered[np.newaxis], np.array([ordered.size]))[0])


def robust_mean(values):
    return tuple(stars_of.means_without_outliers(values, [values.size])[0].tolist())


# The choice of stars


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=60))
@settings(max_examples=60)
def test_the_half_sample_mode_is_naives(values):
    assert half_sample_mode(np.sort(np.array(values))) == pytest.approx(naive_shapes.half_sample_mode(values))


def test_the_half_sample_mode_by_hand():
    assert half_sample_mode(np.array([3.0])) == 3.0
    assert half_sample_mode(np.array([3.0, 5.0])) == 4.0
    assert half_sample_mode(np.array([1.0, 2.0, 4.0])) == 1.5
    assert half_sample_mode(np.array([1.0, 3.0, 5.0])) == 3.0
    assert half_sample_mode(np.array([0.0, 1.0, 1.125, 1.25, 5.0])) == 1.125


def test_stars_are_within_12_percent_of_the_mode_bright_and_whole():
    t = np.array([2.0] * 20 + [2.0 * 1.119, 2.0 * 1.121, 2.0 * 0.881, 2.0 * 0.879, 9.0, 0.4])
    found = stars_of.stars(record(t), 0, Turn.NONE, SHAPE)
    assert found.fwhm.size == 22
    signal, spoilt = np.full(len(t), 100.0), np.zeros(len(t), int)
    signal[:3], spoilt[3:7] = (19.9, 20.0, 7.0), 1
    assert stars_of.stars(record(t, signal=signal, spoilt=spoilt), 0, Turn.NONE, SHAPE).fwhm.size == 22 - 2 - 4


def test_size_and_ellipticity_are_those_without_the_weight():
    """A Gaussian of widths 2 and 1.8 under a weight of width 1.9, by the algebra of Gaussians."""
    q20, q02, width = 2.0**2, 1.8**2, 1.9
    weighted = [1 / (1 / q + 1 / width**2) for q in (q20, q02)]
    t, e1 = sum(weighted), (weighted[0] - weighted[1]) / sum(weighted)
    found = stars_of.stars(record(np.full(9, t), width=width, e1=e1), 0, Turn.NONE, SHAPE)
    # To first order in the ellipticity of 0.1, whose square is 0.01.
    np.testing.assert_allclose(found.fwhm, 2.355 * math.sqrt((q20 + q02) / 2), rtol=4e-3)
    np.testing.assert_allclose(found.e1, (q20 - q02) / (q20 + q02), rtol=1e-2)


@pytest.mark.parametrize("turn", list(Turn))
def test_ellipticities_and_places_turn_with_the_ccd(turn):
    angle, place = math.radians(20), (30.0, 80.0)
    given_ = record(np.full(5, 2.0), e1=0.1 * math.cos(2 * angle), e2=0.1 * math.sin(2 * angle), y=place[0], x=place[1])
    found = stars_of.stars(given_, 0, turn, SHAPE)
    expected = -angle if turn & Turn.MIRRORED else angle
    expected += math.pi / 2 if turn & Turn.QUARTER else 0
    assert math.atan2(found.e2[0], found.e1[0]) == pytest.approx(math.remainder(2 * expected, 2 * math.pi))
    x, y = 80.5 / 100, 30.5 / 200
    y = 1 - y if turn & Turn.MIRRORED else y
    x, y = (1 - y, x) if turn & Turn.QUARTER else (x, y)
    assert (found.x[0], found.y[0]) == pytest.approx((x, y))


def test_a_ccd_without_stars():
    for shapes in (record(np.zeros(0)), record(np.full(5, 2.0), spoilt=1), record(np.full(5, 2.0), signal=5.0)):
        found = stars_of.stars(shapes, 0, Turn.QUARTER, SHAPE)
        assert found.fwhm.size == 0
        values = stars_of.ccd_statistics([found])[0]
        assert values.dtype == np.float32
        assert np.isnan(values[:-1]).all()
        assert values[-1] == 0


# Means


def test_a_robust_mean_leaves_out_what_is_far_off():
    values = np.concatenate([np.linspace(-1, 1, 101), [50.0, -80.0]])
    mean, error = robust_mean(values)
    assert mean == pytest.approx(0.0, abs=1e-12)
    assert error == pytest.approx(np.std(values[:101], ddof=1) / math.sqrt(101))
    assert all(math.isnan(number) for number in robust_mean(values[:2]))
    assert robust_mean(np.full(4, 7.0)) == (7.0, 0.0)


def test_errors_are_those_of_the_scatter():
    """Of 200 samples of 60 numbers the means scatter as the errors say: to 15%, three times 1 / sqrt(2 x 200)."""
    rng = np.random.default_rng(3)
    means, errors = np.array([robust_mean(rng.normal(size=60)) for _ in range(200)]).T
    assert np.std(means) == pytest.approx(np.mean(errors), rel=0.15)


def test_the_statistics_of_a_ccd_have_their_names():
    assert [statistic.name for statistic in CCD_STATISTICS] == NAMES[:9]
    values = dict(
        zip(NAMES, stars_of.ccd_statistics([plain(50, fwhm=4.0, e1=0.1, e2=-0.2, kurtosis=2.2)])[0], strict=False)
    )
    assert values["n_stars"] == 50
    # Five times the error of 0.01 / sqrt(50).
    for name, truth in (("fwhm", 4.0), ("e1", 0.1), ("e2", -0.2), ("kurtosis", 2.2)):
        assert values[name] == pytest.approx(truth, abs=0.007)
        assert values[f"{name}_error"] == pytest.approx(0.01 / math.sqrt(50), rel=0.4)


# The focal plane


def test_a_plane_is_found_over_the_focal_plane():
    places = [Position(0.0, 0.0), Position(1.0, 0.0, upside_down=True), Position(0.0, 1.0)]
    found = [plain(80, seed=k, fwhm=4.0, kurtosis=2.0) for k in range(3)]
    u, v = stars_of.field_positions(found, places)
    assert u.max() == pytest.approx(0.5, abs=0.02)  # two CCDs of 100 pixels beside two of 200
    assert v.max() == pytest.approx(1.0, abs=0.02)
    assert v.min() == pytest.approx(-1.0, abs=0.02)
    np.testing.assert_allclose(u[80:160], 0.5 * (1.0 - found[1].x), rtol=1e-12)
    start = 0
    for stars in found:
        part = slice(start, start + 80)
        start += 80
        e1, e2 = 0.02 + 0.1 * u[part] - 0.05 * v[part], -0.01 + 0.03 * u[part] + 0.08 * v[part]
        e1[0] = 5.0  # far off
        stars.table[3:5] += e1, e2
    values = named(stars_of.exposure_statistics(found, places))
    truth = {"e1_constant": 0.02, "e2_constant": -0.01, "e1_gradient_x": 0.1, "e1_gradient_y": -0.05,
             "e2_gradient_x": 0.03, "e2_gradient_y": 0.08}  # fmt: skip
    for name, number in truth.items():
        error = values["e_constant_error" if "constant" in name else "e_gradient_error"]
        assert error < 0.004
        assert values[name] == pytest.approx(number, abs=4 * error)
    assert values["n_stars"] == 240


@given(st.permutations(range(3)))
@settings(max_examples=6)
def test_only_rounding_depends_on_the_order_of_the_ccds(order):
    found, places = [plain(30, seed=k, e1=0.1 * k) for k in range(3)], [Position(float(k), 0.0) for k in range(3)]
    values = stars_of.exposure_statistics(found, places)
    again = stars_of.exposure_statistics([found[k] for k in order], [places[k] for k in order])
    np.testing.assert_allclose(values, again, rtol=1e-5, atol=1e-9)


def test_stars_of_several_ccds_in_one_table_are_those_of_the_ccds():
    found, places = [plain(n, seed=n, e1=0.1 * n) for n in (12, 0, 30, 7)], [Position(float(k), 0.0) for k in range(4)]
    together = Stars(np.concatenate([stars.table for stars in found], axis=1), SHAPE, [12, 0, 30, 7])
    assert together.of_ccds(range(4)) is together
    for order in ([3, 1, 0, 2], [2, 3], [1]):
        chosen, where = together.of_ccds(order), [places[k] for k in order]
        apart = [found[k] for k in order]
        assert chosen.table.tobytes() == np.concatenate([stars.table for stars in apart], axis=1).tobytes()
        assert chosen.numbers == [stars.table.shape[1] for stars in apart]
        for given_ in ([chosen], [chosen.of_ccds([0]), chosen.of_ccds(range(1, len(order)))]):
            assert stars_of.ccd_statistics(given_).tobytes() == stars_of.ccd_statistics(apart).tobytes()
            together_, apart_ = (stars_of.exposure_statistics(one, where) for one in (given_, apart))
            assert together_.tobytes() == apart_.tobytes()


@pytest.mark.parametrize("numbers", [(), (0, 0), (5, 4), (2,)])
def test_too_few_stars_for_a_plane(numbers):
    found = [plain(n, seed=n) for n in numbers]
    values = named(stars_of.exposure_statistics(found, [Position(float(k), 0.0) for k in range(len(found))]))
    assert values["n_stars"] == sum(numbers)
    assert math.isnan(values["e1_constant"])
    assert math.isnan(values["fwhm"]) == (sum(numbers) < 3)


def test_stars_in_one_place_give_no_plane():
    stars = plain(40)
    same = Stars(np.array([np.full(40, 0.3), np.full(40, 0.2), *stars.table[2:]]), SHAPE)
    assert math.isnan(named(stars_of.exposure_statistics([same], [Position(0.0, 0.0)]))["e1_gradient_x"])


# From pixels


def test_a_sheared_field_has_its_shear_and_size():
    """Gaussians of FWHM 4.0 and axis ratio 0.9 along 30 degrees, of all brightnesses, in noise."""
    rng = np.random.default_rng(5)
    places = [(40 + 60 * i + rng.uniform(-1, 1), 40 + 60 * j + rng.uniform(-1, 1)) for i in range(5) for j in range(5)]
    long, ratio = 4.0 / 2.3548 * math.sqrt(2 / (1 + 0.9**2)), 0.9
    layers = [sky.gaussian(y, x, 10 ** rng.uniform(2.2, 4), long, degrees=30, ratio=ratio) for y, x in places]
    backend, image = CpuBackend(), sky.make(320, 322, *layers, noise=5.0, seed=6)
    stack = stack_of(backend, [image])
    background = fitted(backend, stack)
    sources = backend.sources(stack, background, DEFAULT)
    found = stars_of.stars(backend.shapes(stack, background, sources, DEFAULT), 0, Turn.NONE, (320, 322))
    values = dict(zip(NAMES, stars_of.ccd_statistics([found])[0].tolist(), strict=False))
    assert values["n_stars"] > 15
    e = (1 - ratio**2) / (1 + ratio**2)
    # Five of their own errors, or 1%, to which the weight is taken off.
    assert values["fwhm"] == pytest.approx(4.0, abs=max(5 * values["fwhm_error"], 0.04))
    assert values["e1"] == pytest.approx(e * math.cos(math.radians(60)), abs=5 * values["e1_error"])
    assert values["e2"] == pytest.approx(e * math.sin(math.radians(60)), abs=5 * values["e2_error"])
    assert values["kurtosis"] == pytest.approx(2.0, abs=5 * values["kurtosis_error"] + 0.01)
