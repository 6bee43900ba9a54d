"""A telescope that goes back and forth between a rich and a poor field: neither is anomalous, whatever their order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gpuanom.scoring.evenly_spread import evenly_spread
from gpuanom.scoring.evidence import regression, tails
from gpuanom.scoring.verdict.judge import judge
from tests.test_verdict import _night


@pytest.mark.parametrize("n", [1, 7, 512, 513, 1024, 1025, 5000])
@pytest.mark.parametrize("period", [2, 3, 4, 5, 8])
def test_some_of_many_are_of_each_part_of_a_regular_sequence(n, period):
    places = np.arange(n)[evenly_spread(n, 512)]
    assert places.size <= 512
    if n <= 512:
        assert places.tolist() == list(range(n))
        return
    assert (np.diff(places) > 0).all()
    assert np.diff(places).max() < 2 * -(-n // 512)
    assert places.size > 0.4 * 512
    counted = np.bincount(places % period, minlength=period) / places.size
    assert np.abs(counted - 1 / period).max() < 0.03


def night(n):
    """A night of one CCD; every second exposure is of a field with three times as many sources."""
    every = _night(n, 1)
    rich, rng = np.arange(n) % 2 == 1, np.random.default_rng(2)
    sources = rng.poisson(np.where(rich, 2400.0, 800.0) * np.exp(rng.normal(0.0, 0.05, n))).astype(np.float64)
    exposures, ccds = {**every.exposures, "n_sources": sources}, {**every.ccds, "n_sources": sources}
    return dataclasses.replace(every, exposures=exposures, ccds=ccds)


@pytest.mark.parametrize("n", [513, 800, 1023])
def test_two_fields_in_turn_are_ok(n):
    verdicts = judge(night(n))[0]
    assert verdicts.verdict.count("bad") <= 0.01 * n
    assert n - verdicts.verdict.count("ok") <= 0.03 * n


def test_a_regression_on_part_of_the_exposures_sees_both_fields():
    n = regression.MOST_FITTED + 1
    x = np.where(np.arange(n) % 2 == 1, 1.0, -1.0)[None] + np.random.default_rng(3).normal(0.0, 0.05, (1, n))
    y = 2.0 * x + np.random.default_rng(4).normal(0.0, 0.1, (1, n))
    assert regression.fit(y, x, np.array([[True]]))[0] == pytest.approx([0.0, 2.0], abs=0.02)
    # Where the scatter itself goes up and down.
    apart = np.where(np.arange(n) % 2 == 1, 3.0, 0.0) + y[0] - 2.0 * x[0]
    assert regression.fit(apart[None], x, np.array([[True]]))[0] == pytest.approx([1.5, 1.5], abs=0.02)


def test_a_tail_is_that_of_all_ccds_of_a_survey():
    """Of an even number of CCDs an exposure, every second value is one of the same half of the CCDs."""
    n = tails.MOST_FITTED + 2
    values = np.random.default_rng(5).standard_exponential(n)
    values[1::2] *= 4.0
    far = tails.fit(values[None]).evidence(values[None])[0]
    # 1 in 100 to within five standard deviations of a binomial, and what two scales do to an exponential tail.
    assert np.mean(far > np.log(100.0)) == pytest.approx(0.01, abs=0.004)


def night_of_four(seed, n):
    """A night of four CCDs; every second exposure is of a rich field, and one in twelve lacks a CCD."""
    every, rng = _night(n, 4, seed), np.random.default_rng(seed)
    rich = np.where(np.arange(n) % 2 == 1, 3.0, 1.0) * np.exp(rng.normal(0.0, 0.02, n))
    columns = {**every.ccds, "n_sources": rng.poisson(2000.0 * rich[every.owner]).astype(np.float64)}
    lacking = rng.choice(n, n // 12, replace=False)
    keep = np.ones(4 * n, dtype=bool)
    keep[4 * lacking + rng.integers(0, 4, lacking.size)] = False
    exposures = {**every.exposures, "n_ccd_used": np.bincount(every.owner[keep], minlength=n).astype(np.float64)}
    exposures["n_sources"] = np.bincount(every.owner[keep], columns["n_sources"][keep], minlength=n)
    names = [name for name, kept in zip(every.names, keep, strict=True) if kept]
    measured = dataclasses.replace(
        every, exposures=exposures, owner=every.owner[keep], names=names, x=every.x[keep], y=every.y[keep],
        ccds={name: values[keep] for name, values in columns.items()},
    )  # fmt: skip
    for name in ("sky", "sigma"):
        exposures[name] = measured.grid.medians(measured.ccds[name])
    return measured, lacking


@pytest.mark.parametrize("n", [61, 101, 200])
def test_what_is_normal_for_a_ccd_is_of_no_field(n):
    """The median over as many exposures of one field as of the other is of the one that lacks the CCD less often."""
    lack, others = [], []
    for seed in range(600 // n):
        measured, lacking = night_of_four(seed, n)
        verdict = np.array(judge(measured)[0].verdict)
        lack += verdict[lacking].tolist()
        others += np.delete(verdict, lacking).tolist()
    assert len(lack) - lack.count("ok") <= 2
    assert len(others) - others.count("ok") <= 0.03 * len(others)
