"""Noise floor, z, p, directions, deviations (METHOD.md 5b) against naive.py, and calibrated on normal histograms."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gpuanom.records import BACKGROUND, ISOPHOTE, SOURCE, Dataset
from gpuanom.scoring.histograms import significance
from gpuanom.scoring.histograms.ranking import score_dataset
from gpuanom.scoring.histograms.reference import DatasetReference, Reference
from gpuanom.settings import Settings

BINS = 18
# 500 simulations in place of 10 000: p-values in steps of 1/501, far finer than a KS test of 400 values resolves
# (1/20).
QUICK = Settings(simulations=500)


def dataset(histograms, per_exposure=1, kind=SOURCE):
    """A dataset whose CCDs have these histograms of one kind, with `per_exposure` CCDs in each exposure."""
    m = len(histograms)
    counts = np.zeros((m, 4, histograms.shape[1]), np.int64)
    counts[:, kind] = histograms
    owner = np.arange(m) // per_exposure
    ids = tuple(f"e{i:04d}" for i in range(owner[-1] + 1))
    return Dataset("camera", "r", ids, owner, counts, np.zeros((m, 4)), np.zeros((m, 4)))


def drawn(rng, m, n, truth, sizes=(0.7, 1.0, 1.3)):
    """Normal histograms: multinomial counts of one true distribution, each with a total drawn from n times `sizes`."""
    sizes = n * np.array(sizes)[rng.integers(0, len(sizes), m)]
    return np.stack([rng.multinomial(int(k), truth) for k in sizes])


# Comparison with naive.py


@given(
    n=st.integers(1, 10**6),
    m=st.integers(2, 5000),
    kl=st.floats(1e-6, 3),
    bins=st.integers(2, 60),
    contained=st.booleans(),
    per_histogram=st.floats(1e-6, 1),
)
def test_formulas_match_naive(n, m, kl, bins, contained, per_histogram):
    H = m * per_histogram
    one, flag = np.array([n]), np.array([contained])
    f = significance.noise_factor(one, m, H, flag)
    expected = naive.noise_factor(n, m, H, contained=contained)
    # A few roundings each; 1 - 2/M may cancel.
    assert f[0] == pytest.approx(expected, rel=1e-12, abs=1e-15)
    f = np.array([expected if expected > 0.01 else 0.5])
    x = significance.statistic(one, np.array([kl]), f)
    assert significance.floor(one, f, bins)[0] == pytest.approx(naive.floor(n, bins, f[0]), rel=1e-14)
    assert x[0] == pytest.approx(naive.statistic(n, kl, f[0]), rel=1e-14)
    assert significance.z_score(x, bins - 1)[0] == pytest.approx(naive.z_score(x[0], bins - 1), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("degrees", [1, 2, 16, 17, 61 * 17, 60 * 17])
def test_the_tail_is_that_of_chi_squared(degrees):
    """The tail against the finite sums for whole degrees of freedom."""
    x = degrees * np.array([0.0, 0.1, 0.5, 0.9, 1.0, 1.1, 1.5, 2.0])
    expected = [naive.chi2_tail(v, degrees) for v in x]
    # Logarithms of a thousand terms lose three of sixteen digits in the sums, and as many again in the exponentials.
    np.testing.assert_allclose(significance.p_value(x, degrees), expected, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("n", [1, 2, 100, 3000])
def test_directions_match_naive(n):
    rng = np.random.default_rng(n)
    theta = 0.4 + 0.5 * rng.standard_normal(n)
    cosine, sine = np.array([np.cos(2 * theta).sum()]), np.array([np.sin(2 * theta).sum()])
    angle, R = significance.direction(cosine, sine, np.array([n]))
    expected_R, expected_angle, _ = naive.alignment(theta)
    assert R[0] == pytest.approx(expected_R, abs=1e-12)
    assert angle[0] == pytest.approx(math.degrees(expected_angle), abs=1e-9)


@pytest.mark.parametrize(("degrees", "expected"), [(0, 0), (90, 90), (-90, 90), (45, 45), (-45, -45), (30, 30)])
def test_directions_by_hand(degrees, expected):
    two = 2 * math.radians(degrees)
    sine = 0.0 if degrees in (0, 90) else -0.0 if degrees == -90 else math.sin(two)
    angle, R = significance.direction(np.array([5 * math.cos(two)]), np.array([5 * sine]), np.array([5]))
    assert angle[0] == pytest.approx(expected, abs=1e-12)
    assert R[0] == pytest.approx(1, abs=1e-15)
    assert R[0] <= 1


def test_no_direction_without_orientations_or_when_they_cancel():
    angle, R = significance.direction(np.zeros(2), np.zeros(2), np.array([0, 4]))
    assert np.isnan(angle).all()
    assert np.isnan(R[0])
    assert R[1] == 0


@given(st.lists(st.floats(1e-9, 10) | st.just(0.0) | st.none(), min_size=1, max_size=40))
def test_deviations_match_naive(scores):
    found = significance.deviation(np.array([math.nan if s is None else s for s in scores]))
    expected = naive.deviations(scores)
    for a, b in zip(found, expected, strict=True):
        assert math.isnan(a) if b is None else a == pytest.approx(b, rel=1e-9, abs=1e-9)


def test_deviations_by_hand():
    """The logarithms are 0, 1, 2, 3 and 9: median 2, MAD 1."""
    found = significance.deviation(np.exp([0.0, 1.0, 2.0, 3.0, 9.0]))
    np.testing.assert_allclose(found, np.array([-2, -1, 0, 1, 7]) / 1.4826, rtol=1e-12)
    assert np.isnan(significance.deviation(np.array([2.0, 2.0, 2.0, 5.0]))).all()
    assert np.isnan(significance.deviation(np.array([math.nan, 0.0]))).all()


# Calibration: the p of normal histograms is uniform


def assert_calibrated(p, z=None, *, z_mean=0.2):
    """Check that p is uniform by a Kolmogorov-Smirnov test, and that its tail is right.

    The draws are fixed, so that only an error crosses a threshold of 0.001: for 400 values it allows a distance of
    0.097 at most. The share of p below 0.05 scatters by 0.011 for 400 values. The bound is four of those.
    """
    p = np.array(p)
    assert len(p) >= 300
    assert np.all((p > 0) & (p <= 1))
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert abs(np.mean(p < 0.05) - 0.05) < 4 * math.sqrt(0.05 * 0.95 / len(p))
    if z is not None:
        # The mean is 0 to 0.05, its scatter for 400 values; the standard deviation is 1, within the scatter that the
        # skewness of chi-squared allows.
        assert abs(np.mean(z)) < z_mean
        assert 0.85 < np.std(z) < 1.2


def scores_of_normal_datasets(backend, m, n, *, seed, kind=SOURCE, per_exposure=1, uneven=True, settings=QUICK):
    """p and z of at least 400 exposures, of which small datasets give one each and M = 30 and 300 every tenth.

    The exposures of a dataset share a reference, and so are not independent.
    """
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet(np.full(BINS, 30.0)) if uneven else np.full(BINS, 1 / BINS)
    taken = max(1, m // 10)
    p, z = [], []
    for _ in range(-(-400 // taken)):
        # Exposures of several CCDs get equal counts, since each set of counts needs its own simulation.
        histograms = drawn(rng, m * per_exposure, n, truth, (0.7, 1.0, 1.3) if per_exposure == 1 else (1.0,))
        scores = score_dataset(dataset(histograms, per_exposure, kind), settings, backend)[kind]
        chosen = rng.permutation(m)[:taken]
        p += scores.p[chosen].tolist()
        z += scores.z[chosen].tolist()
    return p, z


# Of small datasets many are drawn. The scores of both backends are the same to 1e-14 (tests/steps/test_divergence.py).
@pytest.mark.proof(m=3, n=200)
@pytest.mark.proof(m=8)
@pytest.mark.proof(n=1000)
@pytest.mark.proof(backend="gpu")
@pytest.mark.parametrize("uneven", [True, False])
@pytest.mark.parametrize("n", [200, 1000, 20_000])
@pytest.mark.parametrize("m", [3, 8, 30, 300])
def test_dense_histograms_are_calibrated(backend, m, n, uneven):
    assert_calibrated(*scores_of_normal_datasets(backend, m, n, seed=m + n, uneven=uneven))


@pytest.mark.proof(backend="gpu")
@pytest.mark.parametrize(
    ("m", "n"),
    [
        *((8, 10), (30, 10), (30, 100), (300, 10), (300, 40), (300, 100)),
        *(
            pytest.param(m, n, marks=pytest.mark.proof)
            for m, n in ((3, 10), (3, 40), (3, 100), (8, 20), (8, 40), (8, 100), (30, 40))
        ),
    ],
)
def test_sparse_histograms_are_calibrated(backend, m, n):
    """With fewer than 10 counts a bin p comes from simulation, since z has a positive mean there."""
    p, _ = scores_of_normal_datasets(backend, m, n, seed=m + n)
    assert_calibrated(p)


def test_the_simulation_is_what_calibrates_sparse_ones(backend):
    """Without simulation the tail is wrong (METHOD.md 5b: .10 at n = 40), and this test sees the difference."""
    p, _ = scores_of_normal_datasets(backend, 30, 40, seed=1, settings=QUICK.replace(sparse_counts=0))
    assert np.mean(np.array(p) < 0.05) > 0.07


@pytest.mark.parametrize(
    ("m", "ccds", "n"),
    [(3, 4, 1000), (8, 9, 5000), (30, 4, 1000), pytest.param(8, 4, 60, marks=pytest.mark.proof)],
)
@pytest.mark.proof(backend="gpu")
def test_exposures_of_several_ccds_are_calibrated(backend, m, ccds, n):
    """Background scores: X summed over the CCDs of an exposure, with C (N - 1) degrees of freedom."""
    p, z = scores_of_normal_datasets(backend, m, n, seed=m + ccds, kind=BACKGROUND, per_exposure=ccds)
    assert_calibrated(p, z if n > 10 * BINS else None)


@pytest.mark.proof(backend="gpu")
@pytest.mark.proof(m=3, n=60)
@pytest.mark.proof(m=30, n=1000)
@pytest.mark.parametrize("n", [60, 1000])
@pytest.mark.parametrize("m", [3, 30])
def test_against_a_saved_reference_that_does_not_contain_them(backend, m, n):
    """f has no term -2/M here: the noise of the reference adds to that of the histogram."""
    rng = np.random.default_rng(m + n)
    truth = rng.dirichlet(np.full(BINS, 30.0))
    p = []
    for _ in range(400):
        tested, other = dataset(drawn(rng, 2, n, truth)), drawn(rng, m, 4 * n, truth)
        kinds = tuple(Reference.of(other) for _ in range(4))
        saved = DatasetReference("camera", "r", kinds, {f"x{i}": "" for i in range(m)})
        p.append(score_dataset(tested, QUICK, backend, saved)[SOURCE].p[0])
    assert_calibrated(p)


@pytest.mark.parametrize(("m", "n", "share"), [(3, 1000, 0.2), (30, 1000, 0.2), (300, 60, 0.6)])
def test_what_is_wrong_is_found(backend, m, n, share):
    """Calibration is not enough: a histogram with a share of its counts in one direction must stand out."""
    rng = np.random.default_rng(m)
    histograms = drawn(rng, m, n, np.full(BINS, 1 / BINS))
    histograms[1] = rng.multinomial(n, np.full(BINS, (1 - share) / BINS) + share * (np.arange(BINS) == 7))
    scores = score_dataset(dataset(histograms, kind=ISOPHOTE), QUICK, backend)[ISOPHOTE]
    assert scores.rank[1] == 1
    assert scores.z[1] > 5
    assert scores.p[1] < 0.01


def test_simulated_p_values_do_not_depend_on_company(backend):
    """Equal exposures in another order get equal p, since the counts alone are the key of the simulation."""
    rng = np.random.default_rng(3)
    histograms = drawn(rng, 12, 60, np.full(BINS, 1 / BINS))
    order = rng.permutation(12)
    a = score_dataset(dataset(histograms), QUICK, backend)[SOURCE]
    b = score_dataset(dataset(histograms[order]), QUICK, backend)[SOURCE]
    # The sums of the reference run in another order: a difference of 1e-16 may decide a tie.
    np.testing.assert_allclose(b.p, a.p[order], atol=2.5 / 501)
    again = score_dataset(dataset(histograms), QUICK, backend)[SOURCE]
    np.testing.assert_array_equal(again.p, a.p)
