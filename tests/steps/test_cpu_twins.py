"""The shortcuts of the CPU backend keep their promise: the same bits as the direct computation, in any batch."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.backends.cpu import gradients, isophote, pixels, polynomial, sources
from gpuanom.backends.gradient_filter import filter_weights
from gpuanom.records import Unfit
from gpuanom.scoring.histograms.divergences import _pooled

C = np.array([1200.3, 17.1, -9.7, 3.3, -2.9, 5.1])


def stamp_rows(image, bad, c, y, x, size):
    """The rows of v that the native loops compute for a stamp, given its first pixel."""
    terms, rows = polynomial.terms(c, *image.shape), np.empty((size, size))
    _fill(image, bad, *terms, y, x, rows)
    return rows


@numba.njit
def _fill(image, bad, offset, slope, across, bend, y, x, rows):
    for i in range(len(rows)):
        pixels.fill_row(image, bad, offset, slope, across, bend, y + i, x, rows[i])


@numba.njit
def _isophote(v, least):
    sums, grown = np.empty(3), np.empty(len(v), dtype=np.uint64)
    n = isophote.connected_moments(v, least, np.empty_like(grown), grown, sums)
    return n, sums


@pytest.mark.parametrize("size", [8, 16, 30, 64])
def test_stamps_have_the_bits_of_evaluate(size):
    ny, nx = 211, 173
    rng = np.random.default_rng(size)
    image = rng.normal(1200, 35, (ny, nx)).astype(np.float32)
    image[rng.random((ny, nx)) < 0.02] = np.nan
    image[rng.random((ny, nx)) < 0.02] = -np.inf
    bad = np.where(rng.random((ny, nx)) < 0.05, Unfit.SOURCES, Unfit.GRADIENTS).astype(np.uint8)
    Y, X = polynomial.scaled(np.arange(ny), ny)[:, None], polynomial.scaled(np.arange(nx), nx)[None, :]
    unfit = ~np.isfinite(image)
    whole = np.where(unfit, pixels.UNFIT, image.astype(np.float64) - polynomial.evaluate(C, Y, X))
    masked = np.where(bad & Unfit.SOURCES, pixels.UNFIT, whole)
    for y, x in zip(rng.integers(0, ny - size + 1, 37), rng.integers(0, nx - size + 1, 37), strict=True):
        window = slice(y, y + size), slice(x, x + size)
        np.testing.assert_array_equal(stamp_rows(image, pixels.NO_MASK, C, y, x, size), whole[window])
        np.testing.assert_array_equal(stamp_rows(image, bad, C, y, x, size), masked[window])


@given(
    size=st.sampled_from([16, 18, 30, 62, 64]),
    share=st.floats(0.3, 0.95),
    seed=st.integers(0, 2**32 - 1),
    snake=st.booleans(),
)
def test_isophotes_are_the_components_that_ndimage_labels(size, share, seed, snake):
    rng = np.random.default_rng(seed)
    v = rng.random((size, size))
    if snake:  # corridors that turn at alternate ends: the longest path through a stamp, up and down
        v[1::2] = 0.0
        v[1::4, -1] = v[3::4, 0] = 1.0
        v = v.T.copy() if seed % 2 else v
    check_isophote(v, 1.0 - share)


@pytest.mark.parametrize("turns", range(4))
def test_isophotes_go_round_corners(turns):
    v = np.zeros((64, 64))
    for start, rows, columns in ((0, slice(32, 50), 32), (1, 49, slice(32, 45)), (2, slice(3, 50), 44)):
        v[rows, columns] = 1.0 + start
    v[3, 44:60] = v[3:64, 59] = 2.5  # out of a U, over its rim and down again
    # The centre is at (32, 32) of 64: when it is turned within the odd square about it, it stays there.
    v[1:, 1:] = np.rot90(v[1:, 1:], turns)
    check_isophote(v, 0.5)


def check_isophote(v, least):
    """Compare the isophote around the centre of a stamp with scipy.ndimage."""
    size = len(v)
    labels, _ = scipy.ndimage.label(v > least)
    half = size // 2
    connected = labels == labels[half, half] if labels[half, half] else np.zeros_like(labels, dtype=bool)
    dy, dx = np.mgrid[-half : size - half, -half : size - half]
    n, sums = _isophote(v, least)
    assert n == np.count_nonzero(connected)
    expected = np.array([(v * connected * term).sum() for term in (dx * dx, dy * dy, dx * dy)])
    magnitude = (v * connected * (dx * dx + dy * dy)).sum()
    # 1e-12 of the sum of the magnitudes of the terms, the tolerance of the protocol.
    np.testing.assert_allclose(sums, expected, rtol=0, atol=1e-12 * magnitude)


@pytest.mark.parametrize("tile", [8, 32])
def test_bounds_hold_and_are_close(tile):
    ny, nx = 211, 173
    rng = np.random.default_rng(tile)
    for c in (C, rng.normal(size=6), np.zeros(6), np.array([0, 0, 0, 5.0, -7.0, 9.0])):
        Y, X = polynomial.scaled(np.arange(ny), ny)[:, None], polynomial.scaled(np.arange(nx), nx)[None, :]
        rows, columns = ny // tile, nx // tile
        tiles = polynomial.evaluate(c, Y, X)[: rows * tile, : columns * tile].reshape(rows, tile, columns, tile)
        lower, upper = polynomial.tile_bounds(c, ny, nx, tile)
        least, most = tiles.min(axis=(1, 3)), tiles.max(axis=(1, 3))
        assert (lower <= least).all()
        assert (upper >= most).all()
        assert (upper - lower <= 2 * (most - least).max() + 1e-11 * np.abs(c).sum()).all()


def test_a_pixel_reaches_a_bound_where_it_reaches_that_bound_as_float32():
    single = np.array([0.0, 1.0, -1.0, 1200.3, -7e-46, 3e-39, np.finfo(np.float32).max], dtype=np.float32)
    around = np.concatenate([np.nextafter(single, np.float32(-1e38)), single, np.nextafter(single, np.float32(1e38))])
    bounds = np.concatenate([around.astype(np.float64) * factor for factor in (1 - 1e-9, 1.0, 1 + 1e-9)])
    bounds = np.concatenate([bounds, [-np.inf, np.inf, 1e300, -1e300, 1e-300]])
    singles = polynomial.single_bounds(bounds)
    assert singles.dtype == np.float32
    values = np.concatenate([around, np.float32([np.nan, np.inf, -np.inf])])[:, None]
    np.testing.assert_array_equal(values >= singles, values.astype(np.float64) >= bounds)


@pytest.mark.parametrize("n", [1, 2, 3, 127, 129, 200])
def test_a_gradient_does_not_depend_on_its_batch(n):
    rng = np.random.default_rng(n)
    image = rng.normal(1200, 35, (150, 170)).astype(np.float32)
    at = np.stack([rng.integers(10, 141, 300), rng.integers(10, 161, 300)], axis=1).astype(np.int32)
    together, apart = np.empty((2, 300)), np.empty((2, n))
    gradients.filter_patches(image, pixels.NO_MASK, at, *filter_weights(10, 5), together)
    gradients.filter_patches(image, pixels.NO_MASK, at[:n], *filter_weights(10, 5), apart)
    assert np.isfinite(together).all()
    np.testing.assert_array_equal(apart, together[:, :n])


@pytest.mark.parametrize("mask", [None, "few", "rows"])
@pytest.mark.parametrize(("ny", "nx", "tile"), [(64, 64, 32), (97, 130, 32), (61, 47, 9), (33, 200, 31)])
def test_tiles_are_reduced_as_numpy_does_it(ny, nx, tile, mask):
    rng = np.random.default_rng(ny)
    image = rng.normal(100, 5, (ny, nx)).astype(np.float32)
    image[ny // 2, :7] = [np.nan, np.inf, -np.inf, 115, 116, np.finfo(np.float32).max, 114.5]
    bad = np.zeros((ny, nx), dtype=np.uint8)
    if mask == "few":
        bad[rng.random((ny, nx)) < 0.01] = Unfit.SOURCES
        bad[rng.random((ny, nx)) < 0.01] = Unfit.BACKGROUND
    elif mask == "rows":
        bad[5:20] = Unfit.SOURCES | Unfit.GRADIENTS
    finite = np.isfinite(image)
    fit = finite & ((bad & Unfit.SOURCES) == 0)
    counted = [(~finite | (bad != 0)).sum(), (finite & (image >= 115)).sum(), (~fit).sum()]
    rows, columns = ny // tile, nx // tile
    whole = np.where(fit, image, -np.inf)[: rows * tile, : columns * tile]
    maxima, counts = np.empty((rows, columns), dtype=np.float32), np.zeros(3, dtype=np.int64)
    plane = pixels.NO_MASK if mask is None else bad
    sources.reduce_tiles(image, plane, np.float32(115), tile, maxima, counts)
    np.testing.assert_array_equal(maxima, whole.reshape(rows, tile, columns, tile).max(axis=(1, 3)))
    assert counts.tolist() == counted


def test_exposures_without_histograms_pool_to_zeros():
    rng = np.random.default_rng(0)
    owner = np.sort(rng.choice(np.arange(0, 700, 3), 2000))
    counts = rng.poisson(5, (2000, 18)).astype(np.int32)
    expected = np.zeros((700, 18), dtype=np.int64)
    np.add.at(expected, owner, counts)
    np.testing.assert_array_equal(_pooled(counts, owner, 700), expected)
    np.testing.assert_array_equal(_pooled(counts[:0], owner[:0], 3), np.zeros((3, 18)))
