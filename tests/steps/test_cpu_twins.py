"""What the NumPy backend's short cuts promise: the same bits as the plain way, in any batch."""

from __future__ import annotations

import numpy as np
import pytest

from gpuanom.cpu import gradients, moments, polynomial
from gpuanom.gradientfilter import filter_weights
from gpuanom.ranking import _pooled

C = np.array([1200.3, 17.1, -9.7, 3.3, -2.9, 5.1])


@pytest.mark.parametrize("size", [8, 16, 30, 64])
def test_windows_have_the_bits_of_evaluate(size):
    ny, nx = 211, 173
    rng = np.random.default_rng(size)
    y, x = rng.integers(0, ny - size + 1, 37), rng.integers(0, nx - size + 1, 37)
    found = np.empty((37, size, size))
    polynomial.Windows(C, ny, nx, size).fill(y, x, found)
    Y, X = polynomial.scaled(np.arange(ny), ny)[:, None], polynomial.scaled(np.arange(nx), nx)[None, :]
    whole = polynomial.evaluate(C, Y, X)
    for i in range(37):
        np.testing.assert_array_equal(found[i], whole[y[i] : y[i] + size, x[i] : x[i] + size])


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


@pytest.mark.parametrize("n", [1, 2, 3, 127, 129, 200])
def test_a_gradient_does_not_depend_on_its_batch(n):
    rng = np.random.default_rng(n)
    image = rng.normal(1200, 35, (150, 170)).astype(np.float32)
    at = np.stack([rng.integers(10, 140, 300), rng.integers(10, 160, 300)], axis=1).astype(np.int32)
    filtered = gradients._Filter(image, None, *filter_weights(10, 5))
    dx, dy, good = filtered(at)
    assert good.all()
    some = filtered(at[:n])
    np.testing.assert_array_equal(some[0], dx[:n])
    np.testing.assert_array_equal(some[1], dy[:n])


def test_moments_do_not_depend_on_their_batch():
    weights = np.random.default_rng(0).normal(size=(30, 64, 64))
    together = moments._moments(weights)
    for i in range(30):
        np.testing.assert_array_equal(moments._moments(weights[i : i + 1])[0], together[i])


def test_exposures_without_histograms_pool_to_zeros():
    rng = np.random.default_rng(0)
    owner = np.sort(rng.choice(np.arange(0, 700, 3), 2000))
    counts = rng.poisson(5, (2000, 18)).astype(np.int32)
    expected = np.zeros((700, 18), dtype=np.int64)
    np.add.at(expected, owner, counts)
    np.testing.assert_array_equal(_pooled(counts, owner, 700), expected)
    np.testing.assert_array_equal(_pooled(counts[:0], owner[:0], 3), np.zeros((3, 18)))
