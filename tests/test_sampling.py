"""The random points (METHOD.md 6): evenly distributed, dependent on their key alone, and the same for ever."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from scipy import stats

from gpuanom import sampling
from gpuanom.backends.cpu import CpuBackend

WORD = 2**64 - 1

PINNED = {
    "background": [[3129, 1086], [3227, 1340], [682, 1951]],
    "gradients": [[419, 275], [560, 572], [1791, 127]],
}


def philox_words(key, n):
    """Philox4x64 with 10 rounds in plain Python, after Salmon et al. 2011; the counter starts at 1, as in NumPy."""
    out = []
    block = 0
    while len(out) < n:
        block += 1
        c, (k0, k1) = [block, 0, 0, 0], key
        for _ in range(10):
            high0, low0 = divmod(0xD2E7470EE14C6C93 * c[0], 2**64)
            high1, low1 = divmod(0xCA5A826395121157 * c[2], 2**64)
            c = [high1 ^ c[1] ^ k0, low1, high0 ^ c[3] ^ k1, low0]
            k0, k1 = (k0 + 0x9E3779B97F4A7C15) & WORD, (k1 + 0xBB67AE8584CAA73B) & WORD
        out += c
    return out[:n]


def points(seed, exposure, ccd, purpose, n, ny, nx, margin=0):
    """The points of one CCD on the CPU; tests/steps/test_points.py compares both backends."""
    return CpuBackend().points(sampling.keys(seed, [exposure], [ccd], purpose), n, ny, nx, margin)[0]


def test_points_from_first_principles():
    """Hash, counter-based words, multiply and shift, all three computed with Python's whole numbers."""
    words = philox_words(naive.key("7", "c4d_123", "N4", "sigma"), 101)
    drawn = points(7, "c4d_123", "N4", "sigma", 101, 4094, 2046)
    assert drawn.dtype == np.int32
    assert drawn.tolist() == [[((w >> 32) * 4094) >> 32, ((w & 0xFFFFFFFF) * 2046) >> 32] for w in words]
    inner = points(7, "c4d_123", "N4", "sigma", 101, 4094, 2046, 10)
    spans = 4094 - 20 + 1, 2046 - 20 + 1
    assert inner.tolist() == [
        [10 + (((w >> 32) * spans[0]) >> 32), 10 + (((w & 0xFFFFFFFF) * spans[1]) >> 32)] for w in words
    ]


def test_points_are_the_same_for_ever():
    """A change of these numbers would change every measurement ever made."""
    assert points(1, "exposure", "N1", "background", 3, 4094, 2046).tolist() == PINNED["background"]
    assert points(1, "exposure", "N1", "gradients", 3, 4094, 2046, 10).tolist() == PINNED["gradients"]


def test_fewer_points_are_the_first_of_more():
    many = points(1, "a", "b", "sigma", 1000, 300, 200)
    np.testing.assert_array_equal(points(1, "a", "b", "sigma", 10, 300, 200), many[:10])


def test_points_differ_with_every_part_of_their_key():
    """The points differ even for ids that are equal when joined."""
    keys = [
        (1, "a", "b", "sigma"),
        (2, "a", "b", "sigma"),
        (1, "ab", "", "sigma"),
        (1, "", "ab", "sigma"),
        (1, "a", "b", "background"),
        (1, "a", "b", "gradients"),
        (1, "b", "a", "sigma"),
        (12, "", "ab", "sigma"),
        (1, "2", "ab", "sigma"),
        (1, "a\x00", "b", "sigma"),
        (1, "é", "b", "sigma"),
    ]
    drawn = {points(*key, 20, 1000, 1000).tobytes() for key in keys}
    assert len(drawn) == len(keys)


def test_the_order_of_asking_does_not_matter():
    names = [f"N{i}" for i in range(5)]
    once = {name: points(1, "a", name, "sigma", 50, 100, 100).tolist() for name in names}
    again = {name: points(1, "a", name, "sigma", 50, 100, 100).tolist() for name in reversed(names)}
    assert once == again


@pytest.mark.parametrize("margin", [0, 10])
@pytest.mark.parametrize(("ny", "nx"), [(64, 97), (21, 300)])
def test_points_are_even_and_keep_their_margin(ny, nx, margin):
    drawn = points(3, "a", "b", "gradients", 50_000, ny, nx, margin)
    for axis, size in enumerate((ny, nx)):
        low, high = (margin, size - margin) if margin else (0, size - 1)
        values = drawn[:, axis] - low
        counts = np.bincount(values, minlength=high - low + 1)
        assert values.min() == 0
        assert values.max() == high - low == counts.size - 1
        if counts.size > 1:
            # This draw is fixed for ever: a p below 1e-4 would be an error, not bad luck.
            assert stats.chisquare(counts).pvalue > 1e-4


def test_rows_and_columns_and_neighbours_are_independent():
    drawn = points(3, "a", "b", "gradients", 50_000, 1000, 1000).astype(float)
    y, x = drawn.T
    # The correlation of 50 000 independent pairs scatters by 1 / sqrt(50 000) = 0.0045. The bound is four of those.
    for a, b in ((y, x), (y[1:], y[:-1]), (x[1:], x[:-1]), (y[1:], x[:-1])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.018


def test_no_points_at_all():
    assert points(1, "a", "b", "sigma", 0, 100, 100).shape == (0, 2)
