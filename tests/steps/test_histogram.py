"""Orientation histograms (METHOD.md 5) against naive.py: counts exactly, sums to rounding."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuanom.records import Turn
from steps.harness import assert_close, device

HALF = math.pi / 2
TURNS = [Turn.NONE, Turn.QUARTER, Turn.MIRRORED, Turn.MIRRORED_QUARTER]


def check_histogram(backend, theta, ccd, turns, bins=18):
    theta, ccd, turns = np.array(theta, float), np.array(ccd, np.int64), np.array(turns, np.int64)
    found = backend.to_host(backend.histogram(device(backend, theta), device(backend, ccd), turns, bins))
    assert found.counts.shape == (len(turns), bins)
    assert np.issubdtype(found.counts.dtype, np.integer)
    for i, turn in enumerate(turns):
        quarter, mirrored = bool(turn & 1), bool(turn & 2)
        angles = [naive.turned(t, quarter, mirrored) for t in theta[ccd == i] if not math.isnan(t)]
        assert found.counts[i].tolist() == naive.histogram(angles, bins)
        # 1e-12 of n: 1e-16 each for a cosine and for its addition to the sum; a turned angle adds the rounding of pi.
        n = max(len(angles), 1)
        assert_close(found.cosine[i], math.fsum(math.cos(2 * t) for t in angles), 1e-12 * n, rms=0.1)
        assert_close(found.sine[i], math.fsum(math.sin(2 * t) for t in angles), 1e-12 * n, rms=0.1)
    return found


@pytest.mark.parametrize("bins", [2, 7, 18, 36, 360])
@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 257, 5000])
def test_matches_naive(backend, bins, n):
    rng = np.random.default_rng(n)
    theta = rng.uniform(-HALF, HALF, n)
    theta[rng.random(n) < 0.1] = np.nan
    check_histogram(backend, theta, rng.integers(0, 4, n), TURNS, bins)


@given(
    theta=st.lists(st.floats(-HALF, HALF, exclude_min=True) | st.just(math.nan), max_size=200),
    bins=st.integers(2, 60),
    turn=st.sampled_from(TURNS),
)
def test_any_angles(backend, theta, bins, turn):
    found = check_histogram(backend, theta, [0] * len(theta), [turn], bins)
    assert found.counts.sum() == sum(not math.isnan(t) for t in theta)


def test_bins_are_right_closed(backend):
    """Bin 8 ends at 0 and bin 13 at 50 degrees; the first bin holds angles just above -90, the last bin holds 90."""
    barely = math.nextafter(-HALF, 0)
    theta = [0.0, -0.0, math.nextafter(0, 1), 1e-9, -1e-9, HALF, barely, -1.5]
    found = check_histogram(backend, theta, [0] * 8, [0])
    # The smallest number above 0 equals 0 once 1/2 is added; it may fall into either bin, but must not be lost.
    assert found.counts[0].tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("turn", "degrees", "lands"),
    [
        (Turn.NONE, 25, 25),
        (Turn.QUARTER, 25, -65),
        (Turn.QUARTER, -25, 65),
        (Turn.QUARTER, 90, 0),
        (Turn.QUARTER, 0, 90),
        (Turn.MIRRORED, 25, -25),
        (Turn.MIRRORED, 90, 90),
        (Turn.MIRRORED_QUARTER, 25, 65),
        (Turn.MIRRORED_QUARTER, -25, -65),
        (Turn.MIRRORED_QUARTER, 90, 0),
    ],
)
def test_turns_by_hand(backend, turn, degrees, lands):
    """Mirrored first, then turned by a quarter. The angles are 1 degree away from the edges of the bins."""
    for off in (-1, 1):
        mirrored = -off if turn & Turn.MIRRORED else off
        theta = math.radians(degrees + off if degrees + off <= 90 else degrees + off - 180)
        found = check_histogram(backend, [theta], [0], [turn])
        place = (lands + mirrored + 90) % 180
        assert int(np.argmax(found.counts[0])) == int(place // 10)
        assert found.cosine[0] == pytest.approx(math.cos(2 * math.radians(lands + mirrored)), abs=1e-12)
        assert found.sine[0] == pytest.approx(math.sin(2 * math.radians(lands + mirrored)), abs=1e-12)


def test_a_quarter_turn_moves_the_histogram_by_half(backend):
    rng = np.random.default_rng(5)
    theta = rng.uniform(-HALF, HALF, 1000)
    plain, turned, flipped = (check_histogram(backend, theta, [0] * 1000, [t]).counts[0] for t in (0, 1, 2))
    np.testing.assert_array_equal(np.roll(plain, 9), turned)
    np.testing.assert_array_equal(plain[::-1], flipped)


def test_each_ccd_has_its_own(backend):
    found = check_histogram(backend, [0.1, 0.1, -0.1, 1.0], [0, 0, 2, 2], [0, 0, 0, 0])
    assert found.counts.sum(axis=1).tolist() == [2, 0, 2, 0]


def test_in_any_order_the_counts_are_the_same(backend):
    rng = np.random.default_rng(6)
    theta, ccd = rng.uniform(-HALF, HALF, 500), rng.integers(0, 3, 500)
    order = rng.permutation(500)
    a = check_histogram(backend, theta, ccd, [0, 1, 2])
    b = check_histogram(backend, theta[order], ccd[order], [0, 1, 2])
    np.testing.assert_array_equal(a.counts, b.counts)


@pytest.mark.parametrize("nobody", [-1, 3])
@pytest.mark.parametrize("first", [True, False])
def test_the_gpu_leaves_out_what_is_of_no_ccd(gpu, nobody, first):
    """An index outside the valid range: alone in a block, at its head (which decides for the block), or behind."""
    ccd = [nobody, 0, 2] if first else [0, 2, nobody]
    for n in (1, 3):
        theta, owner = gpu.to_device(np.full(n, 0.1)), gpu.to_device(np.array(ccd[:n]))
        found = gpu.to_host(gpu.histogram(theta, owner, np.zeros(3, np.int64), 18))
        expected = [ccd[:n].count(i) for i in range(3)]
        assert found.counts.sum(axis=1).tolist() == expected
        np.testing.assert_allclose(found.cosine, np.array(expected) * np.cos(0.2), atol=1e-12)
