"""Alignment CCD by CCD (METHOD.md 5b): by hand, calibrated, and sensitive to patterns that cancel over the field."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from gpuanom.backends.choice import select
from gpuanom.records import BACKGROUND, ISOPHOTE, SOURCE, Dataset
from gpuanom.scoring.histograms.comparison import dataset_reference
from gpuanom.scoring.histograms.ranking import score_dataset
from gpuanom.settings import Settings

BACKEND = select("cpu")  # the backend computes only the divergence here, which this test does not use
BINS = 18
QUICK = Settings(simulations=100, sparse_counts=0)


def drawn(rng, exposures, ccds, n, *, bias=0.0, aligned=None):
    """Exposures whose CCDs have n orientations each (n may be an array over the CCDs), with a preferred direction of 0.

    `aligned` is (exposure, R): the CCDs of this exposure have alignment R about directions that turn from CCD to CCD,
    so that the directions cancel over the field.
    """
    n = np.broadcast_to(n, exposures * ccds)
    counts = np.zeros((n.size, 4, BINS), np.int64)
    sums = np.zeros((2, n.size, 4))
    whose = np.repeat(np.arange(n.size), n)
    two = _angles(rng, whose.size, bias)
    if aligned is not None:
        odd = whose // ccds == aligned[0]
        turn = 2 * np.pi * (whose[odd] % ccds) / ccds
        two[odd] = np.angle(np.exp(1j * (_angles(rng, turn.size, aligned[1]) + turn)))
    bins = np.minimum(((two / (2 * np.pi) + 0.5) * BINS).astype(int), BINS - 1)
    np.add.at(counts, (whose, SOURCE, bins), 1)
    for part, values in zip(sums, (np.cos(two), np.sin(two)), strict=True):
        np.add.at(part, (whose, SOURCE), values)
    owner = np.repeat(np.arange(exposures), ccds)
    ids = tuple(f"e{i:04d}" for i in range(exposures))
    return Dataset("camera", "r", ids, owner, counts, sums[0], sums[1])


def _angles(rng, n, strength):
    """Twice the orientations, with density 1 + 2 R cos, by inverting the distribution on a fine grid."""
    grid = np.linspace(-np.pi, np.pi, 4001)
    return np.interp(rng.uniform(-np.pi, np.pi, n), grid + 2 * strength * np.sin(grid), grid)


def by_hand(data, exposure):
    """(X - degrees of freedom) / standard deviation, in loops, with the harmonics of the reference."""
    exposures = len(data.exposures)
    owner, counts = data.owner.tolist(), data.counts[:, SOURCE].tolist()
    totals = [sum(sum(c) for c, o in zip(counts, owner, strict=True) if o == e) for e in range(exposures)]
    share = [0.0] * BINS
    for c, o in zip(counts, owner, strict=True):
        for j in range(BINS):
            share[j] += c[j] / totals[o] / exposures
    mx = my = xx = xy = yy = 0.0
    steps = 400  # orientations are spread evenly over a bin
    for j in range(BINS):
        for s in range(steps):
            two = 2 * math.pi * ((j + (s + 0.5) / steps) / BINS - 0.5)
            c, s_ = math.cos(two), math.sin(two)
            w = share[j] / steps
            mx, my = mx + w * c, my + w * s_
            xx, xy, yy = xx + w * c * c, xy + w * c * s_, yy + w * s_ * s_
    xx, xy, yy = xx - mx * mx, xy - mx * my, yy - my * my
    det = xx * yy - xy * xy

    def distance(u, v):
        return (yy * u * u - 2 * xy * u * v + xx * v * v) / det

    fourth = 0.0
    for j in range(BINS):
        two = 2 * math.pi * ((j + 0.5) / BINS - 0.5)
        fourth += share[j] * distance(math.cos(two) - mx, math.sin(two) - my) ** 2
    x = degrees = variance = 0.0
    for i, o in enumerate(owner):
        n = sum(counts[i])
        if o != exposure or n == 0:
            continue
        f = 1 - 2 * n / (exposures * totals[o]) + n * sum(1 / t for t in totals) / exposures**2
        x += distance(data.cosine[i, SOURCE] - n * mx, data.sine[i, SOURCE] - n * my) / (n * f)
        degrees += 2
        variance += 4 + (fourth - 8) / n
    return (x - degrees) / math.sqrt(variance)


def test_matches_plain_loops():
    data = drawn(np.random.default_rng(1), 4, 3, [5, 40, 9, 17, 0, 3, 60, 7, 8, 30, 31, 32], bias=0.2)
    z = score_dataset(data, QUICK, BACKEND)[SOURCE].local.z
    # The integrals of the loops have 7200 steps: 1e-7 of the harmonics.
    np.testing.assert_allclose(z, [by_hand(data, e) for e in range(4)], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("exposures", "ccds", "n", "bias"),
    [
        (3, 4, 40, 0.0),
        (8, 1, 300, 0.0),
        (8, 8, 30, 0.2),
        (30, 4, 10, 0.0),
        pytest.param(30, 8, 5, 0.0, marks=pytest.mark.proof),
        pytest.param(30, 8, 40, 0.3, marks=pytest.mark.proof),
        (30, 61, 15, 0.1),
        (100, 8, [3, 100, 10, 20, 40, 4, 5, 6] * 100, 0.1),
    ],
)
def test_normal_exposures_are_calibrated(exposures, ccds, n, bias):
    """As in tests/test_significance.py: p is uniform by a KS test and has the right tail, over at least 400 values."""
    rng = np.random.default_rng(exposures + ccds)
    taken = max(1, exposures // 10)
    p, z = [], []
    for _ in range(-(-400 // taken)):
        data = drawn(rng, exposures, ccds, n, bias=bias)
        local = score_dataset(data, QUICK, BACKEND)[SOURCE].local
        chosen = rng.permutation(exposures)[:taken]
        p += local.p[chosen].tolist()
        z += local.z[chosen].tolist()
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert abs(np.mean(np.array(p) < 0.05) - 0.05) < 4 * math.sqrt(0.05 * 0.95 / len(p))
    # The mean of 400 values scatters by 0.05; the standard deviation, with the skewness of 2 degrees of freedom, by
    # 0.1.
    assert abs(np.mean(z)) < 0.2
    assert 0.8 < np.std(z) < 1.25


def test_against_a_saved_reference_that_does_not_contain_them():
    rng = np.random.default_rng(5)
    p = []
    for _ in range(400):
        saved = dataset_reference(drawn(rng, 8, 4, 30, bias=0.2))
        p.append(score_dataset(drawn(rng, 1, 4, 30, bias=0.2), QUICK, BACKEND, saved)[SOURCE].local.p[0])
    assert stats.kstest(p, "uniform").pvalue > 0.001
    assert abs(np.mean(np.array(p) < 0.05) - 0.05) < 4 * math.sqrt(0.05 * 0.95 / len(p))


def test_what_cancels_over_the_field_is_found():
    """Each CCD is aligned along another axis, which the histogram of the exposure does not show."""
    data = drawn(np.random.default_rng(2), 30, 8, 60, aligned=(4, 0.4))
    scores = score_dataset(data, QUICK, BACKEND)[SOURCE]
    assert scores.z[4] < 4
    assert scores.local.z[4] == np.max(scores.local.z) > 15
    assert scores.local.p[4] < 1e-9
    assert scores.local.deviation[4] == np.nanmax(scores.local.deviation)
    # R of 0.4 for 8 x 60 orientations; its scatter is about 1/sqrt(2 x 480).
    assert scores.local.alignment[4] == pytest.approx(0.4, abs=4 / math.sqrt(960))


def test_other_kinds_and_lonely_exposures_have_none():
    data = drawn(np.random.default_rng(3), 3, 2, [10, 10, 10, 10, 0, 0])
    scores = score_dataset(data, QUICK, BACKEND)
    assert np.isnan(scores[SOURCE].local.p[2])
    assert np.isfinite(scores[SOURCE].local.p[:2]).all()
    for kind in (ISOPHOTE, BACKGROUND):
        assert np.isnan(np.array(scores[kind].local)).all()
    alone = score_dataset(drawn(np.random.default_rng(3), 1, 2, 10), QUICK, BACKEND)[SOURCE]
    assert np.isnan(np.array(alone.local)).all()


def test_orientations_without_any_spread():
    data = drawn(np.random.default_rng(3), 3, 2, 10)
    data.counts[:] = 0
    data.counts[:, SOURCE, 4] = 10
    assert np.isnan(np.array(score_dataset(data, QUICK, BACKEND)[SOURCE].local)).all()
