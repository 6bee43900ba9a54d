"""What an exposure would do if it were kept: against sums over the single stars, and answers known beforehand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from gpuanom.review.impact import Impact, impacts, left_over, usual_ellipticity


def ccd(name, stars, verdict="ok", n_sources=100):
    """The row of a CCD from the ellipticities of its stars, (n, 2)."""
    n = len(stars)
    e, errors = stars.mean(axis=0), stars.std(axis=0, ddof=1) / np.sqrt(n)
    return {
        "ccd": name, "e1": e[0], "e2": e[1], "e1_error": errors[0], "e2_error": errors[1], "n_stars": n,
        "verdict": verdict, "n_sources": n_sources,
    }  # fmt: skip


def test_the_usual_ellipticity_is_the_median_of_a_ccd_over_its_dataset():
    rng = np.random.default_rng(2)
    e = rng.normal(0, 0.1, (25, 2))
    exposures = [[{"ccd": "N4", "e1": a, "e2": b}, {"ccd": "S1", "e1": None, "e2": b}] for a, b in e.tolist()]
    assert usual_ellipticity(exposures) == {"N4": pytest.approx(np.median(e, axis=0).tolist())}
    assert usual_ellipticity(exposures[:19]) == {}


def test_what_is_left_is_the_mean_over_all_stars():
    rng = np.random.default_rng(3)
    of_ccds = {"N4": rng.normal((0.05, 0.02), 0.03, (40, 2)), "S1": rng.normal((0.01, -0.02), 0.03, (160, 2))}
    usual = {"N4": [0.04, 0.0], "S1": [0.0, 0.0]}
    rows = [ccd(name, stars) for name, stars in of_ccds.items()] + [{"ccd": "new", "e1": 0.5, "e2": 0.5}]
    e1, e2, error = left_over(rows, usual)
    stars = np.concatenate([stars - usual[name] for name, stars in of_ccds.items()])
    assert (e1, e2) == pytest.approx(stars.mean(axis=0))
    # 0.03 / sqrt(200); 200 stars tell a standard deviation to 5%.
    assert error == pytest.approx(0.03 / np.sqrt(200), rel=0.1)
    assert left_over(rows[2:], usual) is None


def test_the_impact_of_what_is_not_ok():
    rng = np.random.default_rng(4)
    exposures, of_ccds = [], {}
    for i in range(21):
        odd = i == 3
        shift = (0.08, 0.06) if odd else (0.0, 0.0)
        name = str(i)
        exposures.append({
            "camera": "A", "band": "r", "exposure": name, "verdict": "check" if odd else "ok",
            "n_sources": 400 if odd else 100,
        })  # fmt: skip
        rows = [ccd("1", rng.normal(shift, 1e-4, (50, 2)), "bad" if odd else "ok", 300 if odd else 50)]
        of_ccds["A", name] = [*rows, ccd("2", rng.normal(shift, 1e-4, (50, 2)), "ok", 100 if odd else 50)]
    night = SimpleNamespace(exposures=exposures, ccds=lambda: of_ccds)
    found = impacts(night, 0.1)
    assert list(found) == [("A", "3")]
    of_exposure = found["A", "3"]
    # |e| = 0.1, to the scatter of the stars.
    assert (of_exposure.e1, of_exposure.e2) == pytest.approx((0.08, 0.06), abs=1e-4)
    assert of_exposure.shear == pytest.approx(0.05, abs=1e-4)
    assert of_exposure.bias == pytest.approx(0.1 * of_exposure.shear)
    assert of_exposure.affected == pytest.approx(0.75)
    assert of_exposure.lost == pytest.approx(400 / 2400)
    few = SimpleNamespace(exposures=exposures[:5], ccds=lambda: of_ccds)
    assert impacts(few)["A", "3"] == Impact(None, None, None, None, None, 0.75, 0.5)
    assert impacts(SimpleNamespace(exposures=[], ccds=dict)) == {}
