"""KL divergence (eq. 1) against naive.py, and by hand."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.harness import assert_close, device


def check_divergence(backend, counts, reference):
    counts, reference = np.array(counts, np.int64), np.array(reference, float)
    found = backend.to_host(backend.divergence(device(backend, counts), device(backend, reference)))
    expected = [naive.kl(row, reference.tolist()) for row in counts.tolist()]
    # 1e-14 (backends/protocol.py): each term is at most P ln(P / Pbar), with a few units of rounding of 1e-16; the
    # error is larger where a bin of the reference is nearly empty and the logarithm large.
    with np.errstate(divide="ignore"):
        scale = max(1.0, float(np.abs(np.log(reference[reference > 0])).max()))
    assert_close(found, expected, 1e-14 * scale, rms=0.5)
    return found


def test_by_hand(backend):
    half, log2 = [0.5, 0.5], math.log(2)
    found = check_divergence(backend, [[1, 1], [2, 0], [0, 7], [3, 1]], half)
    expected = [0, log2, log2, 0.75 * math.log(1.5) + 0.25 * math.log(0.5)]
    assert_close(found, expected, 1e-15, rms=1)
    found = check_divergence(backend, [[1, 1, 2, 0]], [0.5, 0.25, 0.125, 0.125])
    assert_close(found, [0.25 * math.log(0.5) + 0.5 * math.log(4)], 1e-15, rms=1)


def test_an_empty_histogram_has_none(backend):
    found = check_divergence(backend, [[0, 0, 0], [1, 1, 1]], [0.2, 0.3, 0.5])
    assert np.isnan(found).tolist() == [True, False]


def test_bins_empty_in_both_add_nothing(backend):
    assert check_divergence(backend, [[4, 0, 4]], [0.5, 0.0, 0.5])[0] == 0


@pytest.mark.parametrize("bins", [2, 18, 36, 360])
@pytest.mark.parametrize("n", [0, 1, 33, 1000])
def test_matches_naive(backend, bins, n):
    rng = np.random.default_rng(n + bins)
    counts = rng.poisson(rng.uniform(0.1, 1000, (n, 1)), (n, bins))
    check_divergence(backend, counts, rng.dirichlet(np.full(bins, 5.0)))


def test_more_histograms_than_any_block(backend):
    """The score of each row is the same, whether the rows are computed in blocks or not."""
    rng = np.random.default_rng(1)
    drawn_counts = rng.poisson(50, (257, 18))
    reference = rng.dirichlet(np.full(18, 20.0))
    alone = check_divergence(backend, drawn_counts, reference)
    many = backend.to_host(
        backend.divergence(device(backend, np.tile(drawn_counts, (300, 1))), device(backend, reference))
    )
    np.testing.assert_array_equal(many, np.tile(alone, 300))


@given(st.lists(st.integers(0, 10**9), min_size=2, max_size=40), st.integers(0, 2**32 - 1))
def test_never_below_0_but_for_rounding(backend, row, seed):
    reference = np.random.default_rng(seed).dirichlet(np.full(len(row), 3.0)) + 1e-6
    found = check_divergence(backend, [row], reference / reference.sum())
    assert not found[0] < -1e-14
    if sum(row):
        shares = np.array(row) / sum(row)
        assert abs(check_divergence(backend, [row], shares)[0]) < 1e-14
