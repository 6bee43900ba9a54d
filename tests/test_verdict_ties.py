"""Statistics most of whose values are equal, or nearly so: nothing may stand out for that alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from gpuanom.scoring.evidence import tails
from gpuanom.scoring.judged.statistics_table import Measured
from gpuanom.scoring.verdict.judge import judge
from tests.test_verdict import _night


@pytest.mark.parametrize("equal", [0.5, 0.6, 0.77, 0.85, 0.9, 0.95])
@pytest.mark.parametrize("n", [80, 600])
def test_values_above_many_equal_ones_are_as_unlikely_as_they_are(equal, n):
    values = np.random.default_rng(4).standard_exponential((50, n))
    floor = np.quantile(values, equal, axis=1, keepdims=True)
    # What is subtracted from CCDs of one exposure makes some of the equal values smaller than the others.
    lower = np.maximum(values, floor) - floor - 0.5 * (np.random.default_rng(5).random((50, n)) < 0.05)
    evidence = tails.fit(lower).evidence(lower)
    known = np.isfinite(evidence)
    assert np.count_nonzero(known & (evidence > np.log(1000))) < 0.004 * evidence.size
    # What chance would give in one of e^40 cases is found where there are values to compare with.
    far = tails.fit(lower).evidence(np.full((50, 1), 40.0))
    assert (far[np.isfinite(far)] > 15).all()
    assert np.isfinite(far).any() or (1 - equal) * n < 20


@pytest.mark.parametrize("share", [0.05, 0.1])
@pytest.mark.parametrize("equal", [0.35, 0.5, 0.6, 0.7, 0.8])
@pytest.mark.parametrize("n", [100, 600])
def test_one_in_ten_with_the_same_anomaly_stands_out_of_values_most_of_which_are_equal(equal, share, n):
    rng = np.random.default_rng(6)
    floor = -np.log(1 - equal)
    values = np.maximum(rng.standard_exponential((50, n)), floor) - floor
    same = round(share * n)
    values[:, :same] = 50 + rng.normal(0, 1, (50, same))
    evidence = tails.fit(values).evidence(values)[:, :same]
    assert np.count_nonzero(evidence > 7) > 0.95 * evidence.size


@pytest.mark.parametrize("share", [0.1, 0.16, 0.2, 0.24])
def test_many_strong_anomalies_do_not_make_the_others_alike(share):
    """The others scatter as before, although far less than the anomalies stand out."""
    rng = np.random.default_rng(7)
    values = np.abs(rng.normal(0, 1, (50, 200)))
    same = round(share * 200)
    values[:, :same] = 60 + rng.normal(0, 1, (50, same))
    assert not tails.are_tied(values).any()
    assert (tails.fit(values).evidence(values)[:, :same] > 7).all()
    low = rng.normal(0, 0.1, (50, 200))
    low[:, :8] -= 6  # the logarithms of numbers of sources, a few of which are nearly 0
    assert not tails.are_tied(low).any()


def night(seed, n=30, ccds=4, glow=0.065):
    """A night of small CCDs: the largest values of their smoothed maps are near 0.06 sigma, and nothing is a glow."""
    rng = np.random.default_rng(seed)
    total = n * ccds
    columns = {"glow": rng.normal(glow, 0.7 * glow, total), "map_rms": np.exp(rng.normal(0, 0.2, total)),
               "masked_patch": rng.poisson(0.4, total) / 64}  # fmt: skip
    return Measured(
        n, {"n_ccd_used": np.full(n, float(ccds))}, np.repeat(np.arange(n), ccds),
        [f"C{k + 1}" for k in range(ccds)] * n, {**columns, "sky": np.full(total, 1e3), "sigma": np.full(total, 20.0)},
        np.tile(np.linspace(-1, 1, ccds), n), np.zeros(total),
    )  # fmt: skip


def test_a_night_without_a_glow_has_none():
    found = [judge(night(seed))[0] for seed in range(30)]
    exposures, ccds = sum(len(v.verdict) for v in found), sum(v.ccd_verdict.size for v in found)
    assert sum(v.verdict.count("bad") for v in found) <= 0.005 * exposures
    assert sum(len(v.verdict) - v.verdict.count("ok") for v in found) <= 0.03 * exposures
    assert sum(np.count_nonzero(v.ccd_verdict == "bad") for v in found) <= 0.001 * ccds


def test_a_glow_among_ccds_without_one_is_found():
    measured = night(1)
    measured.ccds["glow"][37] = 2.5
    verdicts = judge(measured)[0]
    assert verdicts.ccd_verdict[37] == "bad"
    assert verdicts.ccd_cause[37] == "glow on C2"
    assert verdicts.verdict[9] == "check"


@pytest.mark.parametrize("glow", [0.015, 0.03, 0.065])
def test_a_glow_is_found_where_hardly_any_ccd_has_a_tenth_of_the_noise(glow):
    """A floor of a tenth would make these CCDs equal: nothing would tell how far the others may be by chance."""
    for seed in range(5):
        measured = night(seed, glow=glow)
        measured.ccds["glow"][37] = 1.0
        verdicts = judge(measured)[0]
        assert verdicts.ccd_verdict[37] == "bad"
        assert verdicts.ccd_cause[37] == "glow on C2"


def partly_equal(seed, n, equal):
    """A night of 4 CCDs; so large a part of each statistic of CCDs, of which counts may be made, has one value."""
    every = _night(n, 4, seed)
    whole = {"sky", "sigma", "fwhm", "e1", "e2"}
    counts = [name for name in every.ccds if name not in whole and not name.endswith(("_cos", "_sin", "_variance"))]
    floored = {name: np.maximum(every.ccds[name], np.quantile(every.ccds[name], equal)) for name in counts}
    return dataclasses.replace(every, ccds={**every.ccds, **floored})


@pytest.mark.proof(n=30, equal=0.5)
@pytest.mark.proof(n=30, equal=0.6)
@pytest.mark.proof(n=150, equal=0.55)
@pytest.mark.parametrize(("n", "equal"), [(30, 0.4), (30, 0.5), (30, 0.55), (30, 0.6), (150, 0.5), (150, 0.55)])
def test_medians_that_are_taken_off_do_not_hide_that_values_are_equal(n, equal):
    """CCDs half of whose values are equal have medians that differ: a tail through what these make differ is wrong."""
    found = [judge(partly_equal(seed, n, equal))[0] for seed in range(600 // n)]
    ccds = np.concatenate([v.ccd_verdict for v in found])
    assert sum(n - v.verdict.count("ok") for v in found) <= 0.03 * 600
    assert np.count_nonzero(ccds == "bad") <= 0.003 * ccds.size


@pytest.mark.parametrize("equal", [0.4, 0.5, 0.6])
def test_a_ghost_among_partly_equal_values_is_found(equal):
    measured = partly_equal(3, 60, equal)
    measured.ccds["masked_patch"][50] *= 1e4
    verdicts = judge(measured)[0]
    assert verdicts.ccd_verdict[50] == "bad"
    assert verdicts.ccd_cause[50] == "ring or ghost, or a bright star on C2"


def test_equal_values_are_found_wherever_they_lie():
    values = np.random.default_rng(8).normal(0, 1, (5, 200))
    values[0, :60] = -3.0
    values[1, :60] = 0.0
    values[2, 100:] = np.nan
    values[2, :30] = 5.0
    values[3, :59] = -3.0
    assert tails.have_equal(values).tolist() == [True, True, True, False, False]
    assert tails.have_equal(np.full((2, 3), np.nan)).tolist() == [False, False]
    assert tails.have_equal(np.zeros((2, 1))).tolist() == [False, False]


@pytest.mark.parametrize("share", [0.05, 0.1, 0.16, 0.2, 0.24])
def test_a_cloudy_part_of_a_night_is_bad(share):
    n, ccds, rng = 100, 4, np.random.default_rng(0)
    measured = night(0, n, ccds)
    cloudy = np.arange(n) < round(share * n)
    measured.exposures["n_sources"] = np.exp(np.where(cloudy, 3.5, 8.0) + rng.normal(0, 0.05, n))
    verdicts = judge(measured)[0]
    assert {verdicts.verdict[i] for i in np.flatnonzero(cloudy)} == {"bad"}
    assert verdicts.verdict.count("bad") == np.count_nonzero(cloudy)
