"""The native loops of the statistics against plain NumPy: the same numbers to the bit."""

from __future__ import annotations

import naive_shapes
import naive_statistics
import numba
import numpy as np
import pytest

from gpuanom.native import sort
from gpuanom.statistics import background_map, peaks, shapes
from gpuanom.statistics.robust import plane_sums
from gpuanom.sums_and_medians import select

EDGES = (22.0, 14.0, 9.0, 6.0, 4.2, 3.0, 2.2)


@pytest.mark.parametrize("kind", ["noise", "ties", "holes"])
@pytest.mark.parametrize(("size", "pixel", "axes_apart"), [(128, 1.0, True), (32, 3.0, True), (64, 2.0, False)])
def test_the_largest_peaks(size, pixel, axes_apart, kind):
    rng = np.random.default_rng(11)
    power = rng.exponential(size=(5, size, size // 2 + 1))
    if kind == "ties":
        power = np.round(2 * power)
    elif kind == "holes":
        power *= rng.random(power.shape) < 0.4
    power[3] = 0.0
    added = np.array([49.0, 0.6, 1.2, 5.0, 0.0])
    grid = peaks.grid(size, pixel, EDGES, axes_apart=axes_apart)
    np.testing.assert_array_equal(peaks.largest(power, added, grid), naive_statistics.largest(power, added, grid))


def test_robust_means_of_several_lists():
    rng = np.random.default_rng(13)
    lists = [rng.normal(size=n) * (1 + 20 * (rng.random(n) < 0.1)) for n in (0, 1, 2, 3, 7, 8, 60, 61, 400, 3000)]
    lists += [np.full(4, 7.0), np.array([1.0, 1.0, 1.0, 5.0]), np.round(rng.normal(size=90))]
    expected = [naive_statistics.robust_mean(values) for values in lists]
    found = shapes.means_without_outliers(np.concatenate(lists), [values.size for values in lists])
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [1, 7, 8, 130, 2048])
def test_the_rms_of_maps_is_that_of_numpy_to_the_last_bit(size):
    rng = np.random.default_rng(size)
    values = rng.normal(3.0, 1.0, (4, size, 1))
    values[1, ::3], values[2] = np.nan, np.nan
    values[3, 0] = np.inf
    expected = [background_map._rms(of_ccd) for of_ccd in values]
    np.testing.assert_array_equal(background_map._rms_of_each(values), expected)


def test_the_half_sample_modes_of_several_rows():
    rows, sizes = np.sort(np.random.default_rng(3).normal(size=(5, 40)), axis=1), np.array([40, 1, 0, 2, 7])
    rows[1:, 7:] = np.nan
    expected = [naive_shapes.half_sample_mode(row[:n]) if n else np.nan for row, n in zip(rows, sizes, strict=True)]
    np.testing.assert_allclose(shapes.half_sample_modes(rows, sizes), expected, rtol=1e-15)


@pytest.mark.parametrize("kind", ["noise", "ties", "outliers", "one column"])
@pytest.mark.parametrize("n", [9, 10, 12, 300, 5000])
def test_planes(n, kind):
    rng = np.random.default_rng(14)
    u, v = rng.uniform(-1, 1, (2, n))
    e = 0.01 + 0.02 * u - 0.03 * v + rng.normal(0, 0.02, n)
    if kind == "ties":
        e = np.round(e, 1)
    elif kind == "outliers":
        e[: n // 4] += 5.0
    elif kind == "one column":
        u = np.full(n, 0.3)
    found, expected = shapes.fitted_plane(u, v, e), naive_statistics.plane(u, v, e)
    assert (found is None) == (expected is None)
    if found is not None:
        np.testing.assert_array_equal(found, expected)


def test_medians_of_many_kinds():
    rng = np.random.default_rng(15)
    for n in [1, 2, 3, 4, 9, 10, 64, 257, 3000]:
        values = rng.normal(size=n)
        for kind in (values, np.sort(values), -np.sort(-values), np.round(values), np.full(n, 2.0)):
            table = np.concatenate([np.full(7, np.nan), kind])[None]
            median = shapes._medians(kind, np.isfinite(table))
            np.testing.assert_array_equal(median, np.median(kind))
            sums = np.empty(10)
            plane_sums(np.zeros(n), np.zeros(n), kind, np.zeros(3), sums)
            assert sums[0] == np.count_nonzero(naive_statistics.within(kind))


@numba.njit
def selected_and_sorted(values, k):
    select(values, k)
    sort(values[k:])


@pytest.mark.parametrize("n", [1, 2, 3, 10, 57, 400, 1500])
def test_sort_and_select(n):
    rng = np.random.default_rng(n)
    for numbers in (rng.normal(size=n), rng.integers(0, 4, n).astype(float), np.arange(n, 0.0, -1), np.zeros(n)):
        for k in {0, n // 3, n - 1}:
            values = numbers.copy()
            selected_and_sorted(values, k)
            np.testing.assert_array_equal(values[k:], np.sort(numbers)[k:])
            np.testing.assert_array_equal(np.sort(values[:k]), np.sort(numbers)[:k])
