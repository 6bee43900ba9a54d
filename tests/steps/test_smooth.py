"""The mean filter (METHOD.md 4.1) against naive.py."""

from __future__ import annotations

import naive
import numpy as np
import pytest
import sky

from steps.harness import DEFAULT, REAL, assert_close, real_crop, stack_of


def check_smooth(backend, images, settings=DEFAULT):
    found = backend.to_host(backend.smooth(stack_of(backend, images), settings))
    assert found.dtype == np.float32
    assert found.shape == (len(images), *images[0].shape)
    for image, smoothed in zip(images, found, strict=True):
        expected = naive.smooth(image, smooth_size=settings.smooth_size)
        # One unit in the last place of float32; and where positive and negative pixels cancel, the rounding of float64
        # sums of them, 1e-15 of the largest. A float32 rounding scatters with 0.29 units.
        finite = np.where(np.isfinite(expected), expected, 1.0).astype(np.float32)
        with np.errstate(invalid="ignore"):
            largest = np.abs(naive.smooth(np.abs(image), smooth_size=settings.smooth_size))
        tolerance = np.spacing(np.abs(finite)).astype(float) + np.where(np.isfinite(largest), 1e-15 * largest, 0)
        infinite = np.isinf(expected)
        np.testing.assert_array_equal(smoothed[infinite], expected[infinite])
        assert_close(np.where(infinite, 0, smoothed), np.where(infinite, 0, expected), tolerance, rms=0.4)
    return found


@pytest.mark.parametrize(("ny", "nx"), [(64, 64), (33, 97), (10, 10), (11, 40)])
def test_matches_naive(backend, ny, nx):
    check_smooth(backend, [sky.make(ny, nx, sky.stars(5, seed=s), noise=5, seed=s) for s in range(3)])


@pytest.mark.parametrize("size", [2, 4, 16, 30])
def test_other_sizes(backend, size):
    image = sky.make(70, 80, sky.stars(5, seed=1), noise=5, seed=1)
    check_smooth(backend, [image], DEFAULT.replace(smooth_size=size))


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_matches_naive_on_real_images(backend, real_data, name):
    check_smooth(backend, [real_crop(real_data, name)[0]])


def test_one_pixel_spreads_over_its_windows(backend):
    """Rows y-5 ... y+4: a pixel at 40 is in the windows of 36 ... 45."""
    image = sky.make(80, 90, sky.dots([(40, 50, 100.0)]), sky=0.0)
    smoothed = check_smooth(backend, [image])[0]
    inside = np.zeros((80, 90), bool)
    inside[36:46, 46:56] = True
    there = ~np.isnan(smoothed)
    np.testing.assert_array_equal(smoothed[there], np.where(inside, np.float32(1.0), 0)[there])


def test_nan_where_the_window_leaves_the_ccd(backend):
    smoothed = check_smooth(backend, [sky.make(50, 60, noise=1.0)])[0]
    there = np.zeros((50, 60), bool)
    there[5:46, 5:56] = True
    np.testing.assert_array_equal(~np.isnan(smoothed), there)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_not_finite_spoils_its_own_windows_alone(backend, value):
    image = np.array(sky.make(60, 70, noise=3.0, seed=1))
    image[30, 30] = value
    smoothed = check_smooth(backend, [image])[0]
    assert np.count_nonzero(~np.isfinite(smoothed)) == 60 * 70 - 51 * 61 + 100


def binned(smoothed, binning):
    """Cell by cell, in the order of the loops."""
    ny, nx = smoothed.shape
    cells = []
    for y in range(0, ny, binning):
        for x in range(0, nx, binning):
            cell = [float(v) for v in smoothed[y : y + binning, x : x + binning].ravel() if np.isfinite(v)]
            cells.append(sum(cell) / len(cell) if cell else np.nan)
    return np.reshape(cells, (-(-ny // binning), -(-nx // binning)))


@pytest.mark.parametrize(("ny", "nx", "binning"), [(64, 64, 16), (70, 97, 16), (33, 40, 8), (61, 37, 2), (40, 40, 64)])
def test_binning_averages_what_is_finite(backend, ny, nx, binning):
    images = [np.array(sky.make(ny, nx, sky.stars(5, seed=s), noise=5, seed=s)) for s in range(3)]
    images[1][20:24, 20:30] = np.nan
    smoothed = check_smooth(backend, images)
    found = backend.to_host(backend.smooth(stack_of(backend, images), DEFAULT, binning))
    assert found.dtype == np.float32
    for cells, whole in zip(found, smoothed, strict=True):
        expected = binned(whole, binning)
        # The same float32 numbers, summed in float64 in another order: one rounding to float32 at most differs.
        assert_close(cells, expected, np.spacing(np.float32(2000)) * np.ones(expected.shape), rms=1.0)
