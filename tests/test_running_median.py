"""The running median of maps and what is made of it, against SciPy: the same numbers to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from gpuanom.statistics import background_map
from gpuanom.statistics.beyond_pattern import beyond_pattern
from gpuanom.statistics.patches import largest_patches
from gpuanom.statistics.running_median import running_median


@pytest.mark.parametrize("shape", [(64, 32), (1, 1), (2, 9), (9, 2), (7, 7), (5, 40), (33, 64)])
@pytest.mark.parametrize("kind", ["noise", "ties", "slope", "constant"])
def test_the_running_median_is_that_of_scipy(shape, kind):
    rng = np.random.default_rng(3)
    noise = rng.normal(size=shape)
    slope = np.add.outer(0.7 * np.arange(shape[0]), -0.3 * np.arange(shape[1]))
    values = {"noise": noise, "ties": np.round(noise), "slope": slope, "constant": np.zeros(shape)}[kind]
    expected = ndimage.median_filter(values, size=7, mode="nearest")
    np.testing.assert_array_equal(running_median(values), expected)


@pytest.mark.parametrize("missing", [0.0, 0.1, 0.6, 0.96])
def test_glow_and_edge_are_those_of_the_plain_steps(missing):
    rng = np.random.default_rng(4)
    values = background_map.decoded(background_map.encoded(rng.normal(0, 0.1, (20, 31)).astype(np.float32)))
    values[rng.random(values.shape) < missing] = np.nan
    static = rng.normal(0, 0.05, values.shape).astype(np.float32)
    left = values.astype(np.float64) - static
    known = np.isfinite(left)
    smooth, weight = (
        ndimage.gaussian_filter(a, 1.5, mode="constant") for a in (np.where(known, left, 0.0), known.astype(float))
    )
    assert background_map.glow(values, static)[0] == (smooth[known] / weight[known]).max()
    filled = np.where(known, left, np.median(left[known]))
    off = np.abs(filled - ndimage.median_filter(filled, size=7, mode="nearest"))
    assert background_map.edge(values, static) == np.mean(np.sort(off[known])[-120:])


@pytest.mark.parametrize("missing", [0.0, 0.1, 0.6, 0.97, 1.0])
@pytest.mark.parametrize("shape", [(64, 32), (20, 31), (3, 40), (1, 1)])
def test_the_native_loop_is_the_plain_steps(shape, missing):
    """To nine digits: the loop adds in another order than NumPy, and what is kept of it is float32."""
    rng = np.random.default_rng(5)
    values = rng.normal(0, 0.1, shape).astype(np.float32)
    values[rng.random(shape) < missing] = np.nan
    static = rng.normal(0, 0.05, shape).astype(np.float32)
    static[rng.random(shape) < missing / 4] = np.nan
    stored = background_map.encoded(values)
    cells = background_map.decoded(stored)
    glow, rms = background_map.glow(cells, static)
    expected = [glow, background_map.edge(cells, static), rms]
    np.testing.assert_allclose(beyond_pattern(stored, static), expected, rtol=1e-9, atol=1e-12)


def test_a_map_of_one_value_has_no_glow_edge_or_rms_beyond_it():
    stored = np.full((9, 12), 5, np.int8)
    found = beyond_pattern(stored, background_map.decoded(stored))
    np.testing.assert_array_equal(found, 0.0)


@pytest.mark.parametrize("shape", [(64, 32), (1, 1), (2, 9), (9, 2), (33, 64)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.55, 0.7, 1.0])
def test_the_largest_patch_is_that_of_scipy(shape, share):
    """Cells that touch at corners alone are two patches."""
    chosen = np.random.default_rng(5).random(shape) < share
    several = np.array([chosen, np.zeros_like(chosen), np.ones_like(chosen), chosen])
    labels, n = ndimage.label(chosen)
    expected = np.bincount(labels.ravel())[1:].max() if n else 0
    before = several.copy()
    assert largest_patches(several).tolist() == [expected, 0, chosen.size, expected]
    assert largest_patches(np.asfortranarray(several)).tolist() == [expected, 0, chosen.size, expected]
    assert np.array_equal(several, before)


def test_a_median_far_from_the_one_before():
    """Values rise and fall by much from cell to cell, so that the search passes over many numbers both ways."""
    rng = np.random.default_rng(6)
    values = rng.normal(size=(64, 32)) + 5 * np.sign(np.sin(np.arange(32) * 0.7)) + 9 * (np.arange(64)[:, None] % 9 > 4)
    expected = ndimage.median_filter(values, size=7, mode="nearest")
    np.testing.assert_array_equal(running_median(values), expected)
