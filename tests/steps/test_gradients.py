"""Smoothed gradients (METHOD.md 4) against naive.py, which smooths the whole image first, and for known patterns."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
import sky
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.records import Unfit
from steps.harness import (
    DEFAULT,
    REAL,
    assert_close,
    check_gradients,
    device,
    fitted,
    hand_made,
    points,
    real_crop,
    stack_of,
)

GAIN = 55  # 11 rows or columns times 5 distances: Dx of a slope of 1 for each pixel


def gradients_of(backend, image, drawn, *, coefficients=(0.0,) * 6, settings=DEFAULT):
    background = hand_made(backend, 1, coefficients=coefficients)
    return backend.to_host(backend.gradients(stack_of(backend, [image]), drawn, background, settings))


# Whole images


@pytest.mark.parametrize(("ny", "nx"), [(64, 64), (97, 70), (31, 200)])
def test_matches_naive_on_busy_skies(backend, ny, nx):
    images = [sky.night_sky(ny, nx, seed=ny + s) for s in range(3)]
    bads = [None, sky.bad_plane(ny, nx, fraction=0.001, seed=1), None]
    background = fitted(backend, stack_of(backend, images, bads))
    found = check_gradients(backend, images, bads, points(3, 300, ny, nx, seed=1, margin=10), background)
    assert set(found.ccd.tolist()) == {0, 1, 2}


@pytest.mark.real
@pytest.mark.proof(backend="gpu")  # tests/steps/test_chain.py has the real images on both backends
@pytest.mark.parametrize("name", REAL)
def test_matches_naive_on_real_images(backend, real_data, name):
    image, bad = real_crop(real_data, name)
    background = fitted(backend, stack_of(backend, [image], [bad]))
    check_gradients(backend, [image], [bad], points(1, 400, *image.shape, seed=1, margin=10), background)


@pytest.mark.parametrize(
    ("smooth_size", "reach"), [(2, 1), (4, 3), (10, 2), (12, 5), (16, 8), (6, 12), (20, 5), (2, 10)]
)
def test_other_filters(backend, smooth_size, reach):
    settings = DEFAULT.replace(smooth_size=smooth_size, gradient_reach=reach)
    image = sky.night_sky(90, 85, seed=2)
    half = smooth_size // 2 + reach
    assert settings.patch_size == 2 * half
    drawn = points(1, 200, 90, 85, seed=1, margin=half)
    found = check_gradients(backend, [image], None, drawn, fitted(backend, stack_of(backend, [image])), settings)
    assert found.dx.size > 20


@given(
    ny=st.integers(20, 120),
    nx=st.integers(20, 120),
    n_ccd=st.integers(1, 3),
    spoilt=st.sampled_from([0.0, 0.0005, 0.005]),
    n=st.integers(1, 600),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape(backend, ny, nx, n_ccd, spoilt, n, seed):
    rng = np.random.default_rng(seed)
    images = rng.normal(1000, 30, (n_ccd, ny, nx)).astype(np.float32)
    images[rng.random(images.shape) < spoilt] = rng.choice([np.nan, np.inf, -np.inf])
    bads = list(np.where(rng.random(images.shape) < spoilt, rng.choice([1, 2, 4, 7], images.shape), 0).astype(np.uint8))
    drawn = points(n_ccd, n, ny, nx, seed=seed % 2**31, margin=10)
    settings = DEFAULT.replace(gradient_points=100)
    background = hand_made(backend, n_ccd, coefficients=(900, 10, -20, 3, 4, 5))
    check_gradients(backend, [sky.frozen(i) for i in images], bads, drawn, background, settings)


@pytest.mark.parametrize("scale", [1e-41, 1e-12, 1e6])
def test_any_unit_will_do(backend, scale):
    image = sky.frozen(sky.make(60, 60, sky.plane(0.3, 0.1), noise=3, dtype=np.float64) * scale, np.float32)
    background = hand_made(backend, 1, sigma=scale, coefficients=np.array([1000, 3, 4, 0, 0, 0]) * scale)
    check_gradients(backend, [image], None, points(1, 200, 60, 60, seed=1, margin=10), background)


def test_pixels_of_zero_and_subnormal_ones_count_as_any_others(backend):
    image = np.array(sky.make(60, 60, sky.plane(0.3, 0.1), noise=3))
    image[10:30, 5:40] = 0.0
    image[35:38] = 3e-45 * np.arange(60)
    image[:, 50] = 1e-39
    check_gradients(backend, [image], None, points(1, 200, 60, 60, seed=1, margin=10), hand_made(backend, 1))


# Patterns with exactly known gradients


@pytest.mark.parametrize(("slope_x", "slope_y"), [(1.0, 0.0), (0.0, 1.0), (0.5, -0.25), (-2.0, 3.0)])
def test_a_plane(backend, slope_x, slope_y):
    image = sky.make(80, 100, sky.plane(slope_x, slope_y), sky=512)
    found = gradients_of(backend, image, points(1, 300, 80, 100, seed=1, margin=10))
    # Pixels are exact; 200 weighted differences of at most 60, each with one or two roundings of 1.1e-16: 1e-12 at
    # worst.
    assert_close(found.dx, np.full(300, GAIN * slope_x), 1e-12, rms=0.5)
    assert_close(found.dy, np.full(300, GAIN * slope_y), 1e-12, rms=0.5)


@pytest.mark.parametrize("reach", [1, 5, 8])
def test_the_gain_of_other_reaches(backend, reach):
    settings = DEFAULT.replace(gradient_reach=reach)
    image = sky.make(80, 100, sky.plane(1.0, -0.5), sky=512)
    found = gradients_of(backend, image, points(1, 50, 80, 100, seed=1, margin=5 + reach), settings=settings)
    gain = reach * (2 * reach + 1)
    np.testing.assert_allclose(found.dx, gain, rtol=1e-12)
    np.testing.assert_allclose(found.dy, -gain / 2, rtol=1e-12)


def test_a_sky_that_the_polynomial_fits_is_flat(backend):
    """A quadratic of whole numbers: c3 X^2 has the slope at the centre of the patch, half a pixel before the point."""
    ny, nx = 81, 101
    y, x = np.arange(ny)[:, None] - 40, np.arange(nx)[None, :] - 50  # so that X = x / 50 and Y = y / 40
    image = sky.frozen(5000 + 3 * x - 7 * y + 2 * x * x + x * y - 3 * y * y, np.float32)
    c = (5000.0, 3 * 50.0, -7 * 40.0, 2 * 50.0**2, 50.0 * 40.0, -3 * 40.0**2)
    drawn = points(1, 300, ny, nx, seed=1, margin=10)
    found = gradients_of(backend, image, drawn, coefficients=c)
    at_y, at_x = drawn[0, :, 0] - 40.5, drawn[0, :, 1] - 50.5
    # The tolerance of the plane above, for differences up to 10 000.
    assert_close(found.dx, GAIN * (3 + 4 * at_x + at_y), 2e-10, rms=0.1)
    assert_close(found.dy, GAIN * (-7 + at_x - 6 * at_y), 2e-10, rms=0.1)
    assert_close(found.flat_dx, np.zeros(300), 2e-10, rms=0.1)
    assert_close(found.flat_dy, np.zeros(300), 2e-10, rms=0.1)


def test_flat_takes_off_the_slope_of_the_fit(backend):
    image = sky.make(120, 140, sky.polynomial(0, 300, -200, 40, 50, 60), noise=2.0, seed=1)
    stack = stack_of(backend, [image])
    drawn = points(1, 400, 120, 140, seed=1, margin=10)
    found = backend.to_host(backend.gradients(stack, drawn, fitted(backend, stack), DEFAULT))
    slope = np.hypot(found.dx, found.dy)
    assert np.median(np.hypot(found.flat_dx, found.flat_dy)) < 0.2 * np.median(slope)


@pytest.mark.parametrize("kind", ["noise", "bright", "tiny", "wild"])
@pytest.mark.parametrize(("smooth_size", "reach"), [(10, 5), (4, 3), (12, 5)])
def test_a_pure_column_pattern_has_no_dy_and_a_row_pattern_no_dx(backend, kind, smooth_size, reach):
    """The value is exactly 0, without rounding noise of either sign on both sides of the bin edge at 0."""
    settings = DEFAULT.replace(smooth_size=smooth_size, gradient_reach=reach)
    values = np.random.default_rng(1).normal(1000, 30, 90)
    values *= {"noise": 1.0, "bright": 60.0, "tiny": 1e-14, "wild": 1.0}[kind]
    values[::7] *= 1e6 if kind == "wild" else 1
    drawn = points(1, 300, 90, 90, seed=1, margin=smooth_size // 2 + reach)
    columns = sky.frozen(np.broadcast_to(values, (90, 90)), np.float32)
    found = gradients_of(backend, columns, drawn, settings=settings)
    assert np.all(found.dy == 0)
    assert np.all(found.dx != 0)
    found = gradients_of(backend, sky.frozen(columns.T), drawn, settings=settings)
    assert np.all(found.dx == 0)
    assert np.all(found.dy != 0)


def test_an_exact_constant_added_changes_no_bit(backend):
    """Mirrored pixels are subtracted before anything is rounded."""
    image = np.round(sky.make(90, 90, sky.stars(9, seed=1), noise=9, seed=2).astype(float) * 8) / 8
    drawn = points(1, 300, 90, 90, seed=1, margin=10)
    a, b = (gradients_of(backend, sky.frozen(i, np.float32), drawn) for i in (image, image + 4096))
    np.testing.assert_array_equal(a.dx, b.dx)
    np.testing.assert_array_equal(a.dy, b.dy)


def wave_angle(wavelength, degrees):
    """The orientation that eqs. 6 and 7 give for a plane wave of any phase, from their transfer functions.

    Both have the mean filter in common; Dx responds with sum_d sin(kx d)/d times sum_k cos(ky k), and Dy with x and y
    exchanged.
    """
    kx, ky = (2 * math.pi / wavelength * f(math.radians(degrees)) for f in (math.cos, math.sin))
    odd = [math.fsum(math.sin(k * d) / d for d in range(1, 6)) for k in (kx, ky)]
    even = [1 + 2 * math.fsum(math.cos(k * d) for d in range(1, 6)) for k in (kx, ky)]
    return math.degrees(math.atan2(odd[1] * even[0], odd[0] * even[1]))


@pytest.mark.parametrize("degrees", [0, 30, 45, 90, 135, 170])
@pytest.mark.parametrize("wavelength", [40, 150])
def test_a_sine_pattern_has_its_angle(backend, wavelength, degrees):
    image = sky.make(120, 120, sky.stripes(wavelength, degrees, 200.0), sky=1000)
    found = gradients_of(backend, image, points(1, 400, 120, 120, seed=1, margin=10))
    theta = np.degrees(
        backend.to_host(backend.gradient_orientation(device(backend, found.dx), device(backend, found.dy)))
    )
    off = np.abs((theta - wave_angle(wavelength, degrees) + 90) % 180 - 90)
    # float32 pixels: an error of 6e-5 on slopes of at least a hundredth of the largest, away from crests.
    steep = np.hypot(found.dx, found.dy) > 0.01 * np.hypot(found.dx, found.dy).max()
    assert steep.sum() > 350
    assert off[steep].max() < 0.1
    assert abs((wave_angle(150, degrees) - degrees + 90) % 180 - 90) < 1  # for long waves this is the angle of the wave


# Which points are used


@pytest.mark.parametrize(("dy", "dx"), [(-10, 0), (9, 0), (0, -10), (0, 9), (-10, -10), (9, 9), (-10, 9), (0, 0)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, "masked"])
def test_a_patch_with_a_bad_pixel_is_not_used(backend, dy, dx, value):
    image, bad = np.array(sky.make(70, 75, noise=3.0, seed=1)), np.zeros((70, 75), np.uint8)
    if value == "masked":
        bad[30 + dy, 40 + dx] = Unfit.GRADIENTS
    else:
        image[30 + dy, 40 + dx] = value
    drawn = np.array([[(30, 40), (50, 60), (30, 40)]], np.int32)
    assert check_gradients(backend, [image], [bad], drawn, hand_made(backend, 1)).dx.size == 1


@pytest.mark.parametrize(("dy", "dx"), [(-11, 0), (10, 0), (0, -11), (0, 10), (-11, -11), (10, 10)])
def test_a_bad_pixel_beside_the_patch_does_no_harm(backend, dy, dx):
    image, bad = np.array(sky.make(70, 75, noise=3.0, seed=1)), np.zeros((70, 75), np.uint8)
    image[30 + dy, 40 + dx] = np.nan
    bad[30 + dy, 40 + dx] = 7
    drawn = np.array([[(30, 40)]], np.int32)
    assert check_gradients(backend, [image], [bad], drawn, hand_made(backend, 1)).dx.size == 1


@pytest.mark.parametrize("bits", [Unfit.BACKGROUND, Unfit.SOURCES])
def test_bits_of_other_steps_do_no_harm(backend, bits):
    image, bad = sky.make(70, 75, noise=3.0, seed=1), np.full((70, 75), bits, np.uint8)
    drawn = points(1, 50, 70, 75, seed=1, margin=10)
    assert check_gradients(backend, [image], [bad], drawn, hand_made(backend, 1)).dx.size == 50


def test_the_outermost_points(backend):
    image = sky.make(70, 75, noise=3.0, seed=1)
    corners = np.array([[(10, 10), (60, 65), (10, 65), (60, 10)]], np.int32)
    assert check_gradients(backend, [image], None, corners, hand_made(backend, 1)).dx.size == 4


def test_the_first_usable_points_count_in_draw_order(backend):
    """As many points as wanted are used, repeated points repeatedly, whatever the size of a backend's blocks."""
    image = np.array(sky.make(70, 75, noise=3.0, seed=1))
    image[20, 20] = np.nan
    drawn = points(1, 4000, 70, 75, seed=1, margin=10)
    for wanted in (100, 255, 256, 257, 1000, 3000, 4000):
        settings = DEFAULT.replace(gradient_points=wanted)
        found = check_gradients(backend, [image], None, drawn, hand_made(backend, 1), settings)
        assert found.dx.size == wanted or wanted > 3000
    assert found.dx.size < 4000


@pytest.mark.parametrize("more", [0, 1, 5, 15, 16, 17])
def test_draws_that_do_not_suffice_are_each_taken_once(backend, more):
    """Too few of the first points are usable: all others are tried, the last one included, and none of them twice."""
    image = np.array(sky.make(70, 75, noise=3.0, seed=1))
    image[10, 10] = np.nan
    drawn = np.array(points(1, 100 + more, 70, 75, seed=1, margin=30))
    drawn[0, :20] = 12
    settings = DEFAULT.replace(gradient_points=100)
    found = check_gradients(backend, [image], None, drawn, hand_made(backend, 1), settings)
    assert found.n_points.tolist() == [80 + more]


def test_unusable_ccds_are_skipped(backend):
    images = [sky.make(70, 75, noise=3.0, seed=s) for s in range(3)]
    background = hand_made(backend, 3, usable=[True, False, True])
    found = check_gradients(backend, images, None, points(3, 50, 70, 75, seed=1, margin=10), background)
    assert found.ccd.tolist() == [0] * 50 + [2] * 50
    none = hand_made(backend, 3, usable=[False] * 3)
    found = check_gradients(backend, images, None, points(3, 50, 70, 75, seed=1, margin=10), none)
    assert found.dx.size == found.flat_dy.size == 0


def test_no_usable_point_at_all(backend):
    image = np.array(sky.make(70, 75, noise=3.0, seed=1))
    image[::10, ::10] = np.nan
    found = check_gradients(backend, [image], None, points(1, 50, 70, 75, seed=1, margin=10), hand_made(backend, 1))
    assert found.dx.size == 0


def test_a_stack_gives_each_ccd_what_it_gets_alone(backend):
    """Equal bits: no result depends on the other CCDs of the stack."""
    images = [sky.night_sky(80, 90, seed=s) for s in range(3)]
    drawn = points(3, 700, 80, 90, seed=1, margin=10)
    whole = backend.to_host(backend.gradients(stack_of(backend, images), drawn, hand_made(backend, 3), DEFAULT))
    for i in range(3):
        one = stack_of(backend, [images[i]])
        alone = backend.to_host(backend.gradients(one, drawn[i : i + 1], hand_made(backend, 1), DEFAULT))
        for name in ("dx", "dy", "flat_dx", "flat_dy"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(whole, name)[whole.ccd == i])
    # The same holds for the number of points drawn together.
    few = backend.to_host(backend.gradients(one, drawn[2:3, :37], hand_made(backend, 1), DEFAULT))
    np.testing.assert_array_equal(few.dx, alone.dx[: few.dx.size])


def test_naive_by_hand():
    """A check of naive.py: one bright pixel at the upper right of a point, by eqs. 6 and 7 on the smoothed image."""
    image = np.zeros((40, 40), np.float32)
    image[20, 20] = 200.0  # S = 2 at rows and columns 16 ... 25
    smoothed = naive.smooth(image)
    assert np.argwhere(smoothed == 2).tolist() == [[y, x] for y in range(16, 26) for x in range(16, 26)]
    # At (14, 13): x + d reaches columns 16, 17, 18 for d = 3, 4, 5; rows 16 ... 19 for k = 2 ... 5.
    dx, dy = naive.gradient(smoothed, 14, 13)
    assert math.isclose(dx, 0.5 * 4 * 2 * (1 / 3 + 1 / 4 + 1 / 5))
    # y + d reaches rows 16 ... 19 for d = 2 ... 5; columns 16, 17, 18 for k = 3, 4, 5.
    assert math.isclose(dy, 0.5 * 3 * 2 * (1 / 2 + 1 / 3 + 1 / 4 + 1 / 5))
