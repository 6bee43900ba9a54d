"""Background and sigma (METHOD.md 1) against naive.py, and for skies whose polynomial is known."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
import sky
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.records import Unfit
from steps.harness import DEFAULT, REAL, assert_close, check_background, points, real_crop, stack_of

ONLY_BACKGROUND, ONLY_OTHERS = int(Unfit.BACKGROUND), int(Unfit.SOURCES | Unfit.GRADIENTS)


def draws(n_ccd, ny, nx, *, seed=0, n_fit=1500, n_sigma=3000):
    return points(n_ccd, n_fit, ny, nx, seed=seed), points(n_ccd, n_sigma, ny, nx, seed=seed + 1)


@pytest.mark.parametrize(("ny", "nx"), [(64, 64), (150, 97), (65, 255)])
def test_matches_naive_on_busy_skies(backend, ny, nx):
    images = [sky.night_sky(ny, nx, seed=s) for s in range(3)]
    bads = [None, sky.bad_plane(ny, nx, fraction=0.05, seed=1), sky.bad_plane(ny, nx, fraction=0.5, seed=2)]
    found = check_background(backend, images, bads, *draws(3, ny, nx, seed=ny))
    assert found.usable.all()


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_matches_naive_on_real_images(backend, real_data, name):
    image, bad = real_crop(real_data, name)
    found = check_background(backend, [image], [bad], *draws(1, *image.shape, n_fit=1000, n_sigma=4000))
    assert found.usable.all()


@pytest.mark.parametrize("scale", [1e-11, 1.0, 1e6])
def test_any_unit_will_do(backend, scale):
    image = sky.night_sky(96, 80, seed=5).astype(np.float64) * scale
    check_background(backend, [sky.frozen(image, np.float32)], None, *draws(1, 96, 80))


def test_as_many_points_for_the_fit_as_for_sigma(backend):
    """The memory of both draws then ends at the last point of each draw."""
    settings = DEFAULT.replace(background_points=1000, sigma_points=1000)
    image = sky.night_sky(96, 80, seed=5)
    found = check_background(backend, [image], None, *draws(1, 96, 80, n_fit=2000, n_sigma=2000), settings)
    assert found.n_points.tolist() == found.n_sigma_points.tolist() == [1000]


def test_the_polynomial_has_the_same_bits_from_scalars_and_arrays():
    c = (1000.0, 3.1, -2.7, 0.3, 1.9, -0.7)
    whole = naive.background_image(c, 7, 9)
    for y in range(7):
        for x in range(9):
            assert naive.background_value(c, y, x, 7, 9) == whole[y, x]


def test_a_known_polynomial_comes_back(backend):
    known = np.array([0.0, 40.0, -25.0, 12.0, 8.0, -17.0])
    image = sky.make(200, 260, sky.polynomial(*known), sky=500, noise=6.0, seed=3)
    found = check_background(backend, [image], None, *draws(1, 200, 260, n_fit=1000, n_sigma=10_000))
    known[0] = 500
    # 800 points: 6 / sqrt(800) = 0.21 for a term of unit power. The powers of the terms go down to 4/45, and clipping
    # by value (a steep sky loses its extremes) costs a little more. The bound is five of those.
    assert np.all(np.abs(found.coefficients[0] - known) < 5 * 0.21 * np.sqrt([2, 3, 3, 12, 9, 12]))
    # The MAD of 10 000 normal deviates scatters by 1.17 / sqrt(20 000) = 0.8%. The bound is four of those.
    assert abs(found.sigma[0] / 6.0 - 1) < 0.033


def test_sigma_is_not_raised_by_stars(backend):
    image = sky.make(200, 200, sky.stars(20, seed=1), noise=5.0, seed=2)
    found = check_background(backend, [image], None, *draws(1, 200, 200, n_fit=1000, n_sigma=10_000))
    assert abs(found.sigma[0] / 5.0 - 1) < 0.1  # 3% of the pixels belong to stars


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(100, 260), levels=st.integers(2, 6))
def test_clipping_ties_goes_by_draw_order(backend, seed, n, levels):
    """With few grey levels nearly every clip falls among equal values."""
    rng = np.random.default_rng(seed)
    image = sky.frozen(1000 + rng.integers(0, levels, (40, 50)), np.float32)
    check_background(backend, [image], None, *draws(1, 40, 50, seed=seed % 1000, n_fit=n, n_sigma=300))


def test_zeros_of_both_signs_are_one_number(backend):
    """A masked part that was multiplied by 0 holds both: the clip falls among them, and goes by draw order."""
    image = np.array(sky.make(256, 256, sky=3.0, noise=2.0, seed=6))
    image[:, :40] = sky.make(256, 40, sky=0.0, noise=2.0, seed=7) * np.float32(0.0)
    assert 0.4 < np.signbit(image[:, :40]).mean() < 0.6
    check_background(backend, [image], None, *draws(1, 256, 256))


@pytest.mark.parametrize("clip_fraction", [0.0, 0.07, 0.25, 0.4])
def test_other_clip_fractions_and_numbers_of_points(backend, clip_fraction):
    settings = DEFAULT.replace(clip_fraction=clip_fraction, background_points=300, sigma_points=500)
    image = sky.night_sky(90, 70, seed=8)
    found = check_background(backend, [image], None, *draws(1, 90, 70), settings=settings)
    assert found.n_points[0] == 300
    assert found.n_sigma_points[0] == 500


def test_only_the_first_usable_points_count(backend):
    """Points that are drawn after enough usable points must not matter, whatever the values of their pixels."""
    image = np.array(sky.make(60, 60, noise=3.0, seed=1))
    image[30:] = 1e6
    fit, noise = np.array(points(1, 4000, 30, 60, seed=1)), np.array(points(1, 40_000, 30, 60, seed=2))
    image[3, 3:40] = np.nan
    good_fit, good_noise = (np.isfinite(image[p[0, :, 0], p[0, :, 1]]) for p in (fit, noise))
    fit[0, np.cumsum(good_fit) > 1000, 0] += 30
    noise[0, np.cumsum(good_noise) > 10_000, 0] += 30
    found = check_background(backend, [sky.frozen(image)], None, sky.frozen(fit), sky.frozen(noise))
    assert (found.n_points[0], found.n_sigma_points[0]) == (1000, 10_000)
    assert abs(found.coefficients[0, 0] - 1000) < 2


def test_only_bits_for_the_background_count(backend):
    image = np.array(sky.make(60, 60, noise=3.0, seed=1))
    image[:, :20] = 5000.0
    here, elsewhere = np.zeros((60, 60), np.uint8), np.zeros((60, 60), np.uint8)
    here[:, :20], elsewhere[:, :20] = ONLY_BACKGROUND, ONLY_OTHERS
    found = check_background(backend, [image, image], [here, elsewhere], *draws(2, 60, 60))
    assert abs(found.coefficients[0, 0] - 1000) < 2
    assert found.n_points[0] < found.n_points[1] + 1
    assert abs(found.coefficients[1, 0] - 1000) > 100


def test_one_mask_in_a_stack_spoils_no_other_ccd(backend):
    images = [sky.make(60, 60, noise=3.0, seed=s) for s in (1, 2)]
    fit, noise = draws(2, 60, 60)
    bads = [np.full((60, 60), 7, np.uint8), None]
    found = check_background(backend, images, bads, fit, noise)
    assert found.usable.tolist() == [False, True]
    assert found.n_points.tolist() == [0, 1000]


@pytest.mark.parametrize("kind", ["constant", "zero", "nan", "inf", "masked", "99 points"])
def test_unusable_ccds_leave_the_others_alone(backend, kind):
    good = sky.night_sky(70, 70, seed=4)
    spoilt, bad = np.full((70, 70), 1234.5), np.zeros((70, 70), np.uint8)
    if kind == "99 points":
        spoilt = np.array(sky.make(70, 70, noise=4.0, seed=9))
    spoilt[...] = {"zero": 0.0, "nan": np.nan, "inf": np.inf}.get(kind, spoilt)
    bad[...] = ONLY_BACKGROUND if kind == "masked" else 0
    fit, noise = (np.array(p) for p in draws(3, 70, 70))
    if kind == "99 points":
        bad[:, :35] = ONLY_BACKGROUND
        fit[1, 99:, 1] %= 35
        fit[1, :99, 1] = 35 + fit[1, :99, 1] % 35
    images = [good, sky.frozen(spoilt, np.float32), good]
    found = check_background(backend, images, [None, bad, None], fit, noise)
    assert found.usable.tolist() == [True, False, True]
    assert np.isnan(found.coefficients[1]).all()
    assert math.isnan(found.sigma[1])


@pytest.mark.parametrize(("n", "usable"), [(99, False), (100, True)])
def test_exactly_the_minimum_of_points(backend, n, usable):
    image = sky.make(70, 70, noise=4.0, seed=9)
    fit, noise = draws(1, 70, 70, n_fit=n, n_sigma=3000)
    assert check_background(backend, [image], None, fit, noise).usable[0] == usable
    fit, noise = draws(1, 70, 70, n_fit=1000, n_sigma=n)
    assert check_background(backend, [image], None, fit, noise).usable[0] == usable


@pytest.mark.parametrize(("step", "usable"), [(2.0**-24, False), (2.0**-18, True)])
def test_constant_up_to_rounding_is_constant(backend, step, usable):
    """Half of the pixels are one step above the others: sigma is about 1.4826 x step / 2, and the median is 1."""
    rng = np.random.default_rng(0)
    image = sky.frozen(1.0 + step * 2.0 * rng.integers(0, 2, (60, 60)), np.float32)
    assert check_background(backend, [image], None, *draws(1, 60, 60)).usable[0] == usable


def test_points_on_one_line_do_not_determine_a_sky(backend):
    image = sky.make(60, 60, noise=3.0, seed=1)
    fit, noise = (np.array(p) for p in draws(1, 60, 60))
    fit[..., 0] = 7
    found = backend.to_host(backend.background(stack_of(backend, [image]), fit, noise, DEFAULT))
    assert not found.usable[0]


def test_a_stack_gives_each_ccd_what_it_gets_alone(backend):
    """Equal bits: no result depends on the other CCDs of the stack."""
    images = [sky.night_sky(80, 90, seed=s) for s in range(3)]
    fit, noise = draws(3, 80, 90)
    whole = backend.to_host(backend.background(stack_of(backend, images), fit, noise, DEFAULT))
    for i in range(3):
        one = stack_of(backend, [images[i]])
        alone = backend.to_host(backend.background(one, fit[i : i + 1], noise[i : i + 1], DEFAULT))
        np.testing.assert_array_equal(alone.coefficients[0], whole.coefficients[i])
        assert alone.sigma[0] == whole.sigma[i]


def test_a_constant_added_moves_the_sky_alone(backend):
    image = np.round(sky.night_sky(80, 90, seed=3).astype(float) * 8) / 8
    image[~np.isfinite(image)] = 0
    fit, noise = draws(1, 80, 90)
    both = [sky.frozen(image, np.float32), sky.frozen(image + 4096, np.float32)]
    a, b = (backend.to_host(backend.background(stack_of(backend, [i]), fit, noise, DEFAULT)) for i in both)
    # Eighths up to 30 000 + 4096 are exact in float32; only the rounding of the fit at 5000 remains.
    assert_close(b.coefficients[0] - a.coefficients[0], [4096, 0, 0, 0, 0, 0], 1e-12 * 5000, rms=0.3)
    assert_close(a.sigma, b.sigma, 4e-12 * 5000, rms=0.3)
