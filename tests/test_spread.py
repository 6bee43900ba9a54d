"""The same departure is common under one condition and rare under another: scatter that follows from the conditions."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from gpuanom.scoring.evidence import regression
from gpuanom.scoring.evidence.fit_null import fit
from gpuanom.scoring.verdict.judge import judge

SCRIPT = Path(__file__).parent.parent / "profiling" / "verdict_thresholds.py"


def noise(n, n_ccd, seed):
    spec = importlib.util.spec_from_file_location("verdict_thresholds", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.noise(np.random.default_rng(seed), n, n_ccd)


def test_the_scatter_is_fitted_where_it_follows_from_a_condition():
    random = np.random.default_rng(1)
    x = random.normal(size=(2, 1000))
    residual = random.normal(size=(1, 1000)) * np.exp(0.5 * x[0])
    residual[0, :100] = 60.0  # one exposure in ten is anomalous
    residual[0, 100:150] = np.nan
    found = regression.fit_spread(residual, x, np.array([[True, True]]))[0]
    assert found[0] == 0.0
    # Four errors of 0.9 / sqrt(850), and what is taken off the slope.
    assert found[1:] == pytest.approx([0.5, 0.0], abs=4 * 0.9 / math.sqrt(850))
    assert not regression.fit_spread(residual, x, np.array([[False, False]])).any()
    assert not regression.fit_spread(np.full((1, 1000), np.nan), x, np.array([[True, True]])).any()
    assert not regression.fit_spread(np.zeros((1, 1000)), x, np.array([[True, True]])).any()


@pytest.mark.parametrize("n", [30, 150])
def test_the_scatter_of_noise_follows_from_nothing(n):
    """Slopes of less than three errors count as 0: chance alone reaches these in 3 cases of 1000."""
    random = np.random.default_rng(n)
    x = random.normal(size=(2, n))
    used = np.ones((2000, 2), dtype=bool)
    values = random.normal(size=(2000, n))
    residual = values - regression.predicted(regression.fit(values, x, used), x)
    slopes = regression.fit_spread(residual, x, used)[:, 1:]
    # 4000 slopes: the share is known to 0.1%; with 30 exposures their tails are longer than those of a Gaussian.
    assert np.mean(slopes != 0.0) < 0.01


def test_the_scatter_changes_by_e_at_most():
    spread = regression.usual_spread(np.array([[0.0, 0.8]]), np.array([[-5.0, -1.0, 0.0, 5.0]]))
    assert spread[0] == pytest.approx([math.exp(-1.0), math.exp(-0.8), 1.0, math.e])


def _rougher_when_crowded(seed):
    """A night in which one statistic scatters by exp(0.8 x), x being how crowded an exposure is."""
    random = np.random.default_rng(seed)
    night = noise(300, 1, seed)
    x = random.normal(size=300)
    exposures = {
        **night.exposures,
        "n_sources": 1000.0 * np.exp(x),
        "flat_background_kl": np.exp(random.normal(size=300) * np.exp(0.8 * x)),
    }
    return dataclasses.replace(night, exposures=exposures), x


def test_normal_exposures_are_not_accused_of_their_conditions():
    large, total = 0, 0
    for seed in range(6):
        night, x = _rougher_when_crowded(seed)
        null, found = fit(night)
        row = null.statistics.index("flat_background_kl")
        large += int((found.of_statistics[row, x > 0.7] > math.log(100.0)).sum())
        total += int((x > 0.7).sum())
    # Of 430 exposures of the most crowded quarter 4 would be above by chance; without the spread 11% are.
    assert large <= 0.03 * total


def test_a_departure_tells_more_where_it_is_rare():
    night, x = _rougher_when_crowded(3)
    calm, crowded = (int(np.argmin(np.abs(x - at))) for at in (-1.0, 1.0))
    values = night.exposures["flat_background_kl"].copy()
    values[[calm, crowded]] = math.exp(6.0)
    night = dataclasses.replace(night, exposures={**night.exposures, "flat_background_kl": values})
    found, null = judge(night)
    assert (found.verdict[calm], found.score[calm]) == ("bad", "flat_background_kl")
    assert found.verdict[crowded] == "ok"
    # What a stored null says of the same exposures is the same.
    again = judge(night, known=null)[0]
    assert again.verdict == found.verdict
    assert again.evidence.tolist() == found.evidence.tolist()


@pytest.mark.parametrize(("error", "verdict"), [(0.01, "bad"), (0.5, "ok")])
def test_of_the_error_of_a_ccd_only_what_exceeds_the_usual_one_counts(error, verdict):
    night = noise(150, 9, 4)
    fwhm, errors = np.full(150 * 9, 4.0), np.full(150 * 9, 0.01)
    fwhm *= np.exp(0.01 * np.random.default_rng(4).normal(size=150 * 9))
    fwhm[9 * 40 + 3] = 4.8
    errors[9 * 40 + 3] = error
    found = judge(dataclasses.replace(night, ccds={**night.ccds, "fwhm": fwhm, "fwhm_error": errors}))[0]
    assert found.ccd_verdict[9 * 40 + 3] == verdict


@pytest.mark.parametrize(("n_stars", "verdict"), [(8, "bad"), (7, "ok")])
def test_a_ccd_with_few_stars_says_nothing_of_its_shapes(n_stars, verdict):
    """Some galaxies of one size may pass for stars; where nobody counted the stars, shapes count as they are."""
    night = noise(150, 9, 4)
    fwhm, stars = 4.0 * np.exp(0.01 * np.random.default_rng(4).normal(size=150 * 9)), np.full(150 * 9, 40.0)
    fwhm[9 * 40 + 3] = 6.8
    stars[9 * 40 + 3] = n_stars
    found = judge(dataclasses.replace(night, ccds={**night.ccds, "fwhm": fwhm, "n_stars": stars}))[0]
    assert found.ccd_verdict[9 * 40 + 3] == verdict
    uncounted = judge(dataclasses.replace(night, ccds={**night.ccds, "fwhm": fwhm}))[0]
    assert uncounted.ccd_verdict[9 * 40 + 3] == "bad"


def test_a_glow_of_less_than_a_tenth_of_the_noise_is_none():
    """The largest value of a map without any glow is close to 0: its logarithm would tell of differences of nothing."""
    random = np.random.default_rng(5)
    glow = 0.02 * np.exp(random.normal(size=150 * 9))
    glow[9 * 40 + 3] = 0.099
    night = noise(150, 9, 4)
    quiet = judge(dataclasses.replace(night, ccds={**night.ccds, "glow": np.full(150 * 9, 0.02)}))[0]
    found = judge(dataclasses.replace(night, ccds={**night.ccds, "glow": np.minimum(glow, 0.099)}))[0]
    assert found.evidence.tolist() == quiet.evidence.tolist()
