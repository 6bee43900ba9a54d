"""Simulated histograms: p-values of exposures with few counts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gpuanom.scoring.histograms import simulated_p
from gpuanom.scoring.histograms.reference import Reference
from gpuanom.scoring.histograms.significance import noise_factor

BINS = 18


def reference_of(m, n, seed=1):
    """A reference of m histograms of n counts each, and those histograms."""
    rng = np.random.default_rng(seed)
    histograms = rng.multinomial(n, rng.dirichlet(np.full(BINS, 10.0)), size=m)
    return Reference.of(histograms), histograms


def dealt(counts, pool, simulations, *, replaced):
    draw = np.random.RandomState(4)
    return list(simulated_p._dealt(counts, np.array(pool), simulations, draw, replaced=replaced))


def test_without_replacement_the_counts_are_hypergeometric():
    pool, n, simulations = [7, 0, 20, 3, 1, 9], 12, 4000
    ((_, drawn),) = dealt([n], pool, simulations, replaced=False)
    assert (drawn.sum(axis=0) == n).all()
    for available, counts in zip(pool, drawn, strict=True):
        expected = stats.hypergeom(sum(pool), available, n).pmf(np.arange(available + 1)) * simulations
        found = np.bincount(counts, minlength=available + 1)
        # Rare counts are joined, as chi-squared needs. A chance of 1e-4 for each bin; the random numbers are fixed.
        common = expected > 10
        if common.sum() > 1:
            found, expected = (np.append(a[common], a[~common].sum() + 1e-9) for a in (found, expected))
            assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > 1e-4
        else:
            np.testing.assert_array_equal(found[common], expected[common])


def test_with_replacement_the_counts_are_multinomial():
    shares, n, simulations = np.array([0.1, 0.0, 0.35, 0.55]), 30, 4000
    ((_, drawn),) = dealt([n], shares, simulations, replaced=True)
    assert (drawn.sum(axis=0) == n).all()
    # Five standard deviations of a mean of 4000, and of their covariance.
    np.testing.assert_allclose(drawn.mean(axis=1), n * shares, atol=5 * np.sqrt(n / 4 / simulations))
    covariance = n * (np.diag(shares) - np.outer(shares, shares))
    np.testing.assert_allclose(np.cov(drawn), covariance, atol=5 * n / 4 * np.sqrt(2 / simulations))


def test_a_deal_is_not_changed_by_the_counts_that_others_need():
    """Exposures with equal counts get equal p, whoever else is in the dataset."""
    pool = [40, 50, 60]
    few = dealt([17, 33], pool, 50, replaced=False)
    many = dict(dealt([1, 17, 20, 33, 150], pool, 50, replaced=False))
    for n, drawn in few:
        np.testing.assert_array_equal(drawn, many[n])
    assert (pool == many[150].T).all()


def test_random_numbers_that_are_almost_1_are_dealt_too():
    class Last:
        def random_sample(self, shape):
            return np.full(shape, np.nextafter(1.0, 0.0))

    for replaced, pool in ((True, [0.1] * 10), (False, [2**60, 2**60])):
        ((_, drawn),) = simulated_p._dealt([5], np.array(pool), 3, Last(), replaced=replaced)
        assert (drawn.sum(axis=0) == 5).all()


@pytest.mark.parametrize(("m", "contained"), [(8, True), (8, False), (120, True), (120, False)])
def test_the_distribution_is_that_of_histograms_drawn_one_at_a_time(m, contained):
    """p against plain simulations with NumPy's own draws, which share no random number."""
    reference, _ = reference_of(m, 60)
    n, simulations, rng = 50, 3000, np.random.default_rng(8)
    f = noise_factor(np.array([n]), m, reference.inverse_counts, np.array([contained]))[0]
    x = []
    for _ in range(simulations):
        if m >= simulated_p.LARGE_REFERENCE:
            truth = reference.mean(contains=contained)
            drawn, mean, f = rng.multinomial(n, truth / truth.sum()), truth, 1.0
        elif contained:
            drawn = rng.multivariate_hypergeometric(reference.counts, n)
            rest = reference.counts - drawn
            mean = (rest / rest.sum() * (m - 1) + drawn / n) / m
        else:
            truth = reference.counts + 0.5
            drawn = rng.multinomial(n, truth / truth.sum())
            mean = rng.multinomial(60 * m, truth / truth.sum()) / (60 * m)
        x.append(2 * n * np.sum(drawn * np.log(np.where(drawn, drawn / n / np.where(mean, mean, 1), 1))) / n / f)
    looked_at = np.quantile(x, [0.5, 0.9, 0.99])
    p = simulated_p.p_values(
        looked_at.tolist(), [simulated_p.Sparse((n,), 0, contained)] * 3, reference, seed=0, simulations=simulations
    )
    # Both p and the quantiles have the scatter of 3000 draws; four standard deviations of the difference.
    nominal = np.array([0.5, 0.1, 0.01])
    assert (np.abs(p - nominal) < 4 * np.sqrt(2 * nominal * (1 - nominal) / simulations)).all()


def test_sparse_and_dense_histograms_of_an_exposure_are_independent():
    """The variance of the sum is the sum of variances, also of equal counts."""
    reference, _ = reference_of(120, 60)
    seed, simulations = 0, 4000
    one, four, dense = (
        simulated_p.Sparse((40,), 0, True),
        simulated_p.Sparse((40, 40, 40, 40), 0, True),
        simulated_p.Sparse((40,), 3, True),
    )
    parts = simulated_p._simulated_parts([one, four, dense], reference, seed, simulations)
    variance = {e: np.var(simulated_p._null(e, parts, BINS, seed, simulations)) for e in (one, four, dense)}
    # A variance of 4000 values near chi-squared is known to about 3%; five times that.
    assert variance[four] == pytest.approx(4 * variance[one], rel=0.15)
    assert variance[dense] == pytest.approx(variance[one] + 2 * 3 * (BINS - 1), rel=0.15)
