"""The null against naive_null.py, which takes the steps of METHOD.md 12 and 13 one statistic at a time."""

from __future__ import annotations

import dataclasses

import naive_null
import numpy as np
import pytest

from gpuanom.scoring.evidence.fit_null import fit
from gpuanom.scoring.judged.judged_statistics import EVERY, OF_CCDS, VECTOR_KINDS
from gpuanom.scoring.judged.statistics_table import prepare
from tests.test_verdict import _night


def night(n, n_ccd, seed):
    """Noise with errors, anomalies and an exposure with few sources; its statistics depend on the conditions."""
    random, found = np.random.default_rng(seed), _night(n, n_ccd, seed)
    exposures, ccds = dict(found.exposures), dict(found.ccds)
    few = exposures["n_sources"] / np.median(exposures["n_sources"])
    exposures["source_kl"] = exposures["source_kl"] / few
    exposures["isophote_kl"] = exposures["isophote_kl"] ** np.clip(1.0 / few, 0.5, 2.0)
    exposures["sky"][: n // 10] *= 30.0
    exposures["sigma"] = 0.1 * np.sqrt(exposures["sky"])
    exposures["n_sources"][3] = 4.0
    ccds["n_sources"] = 1000.0 * ccds["n_sources"]  # above the floor: where many values are equal, other rules hold
    for name in ("e1", "e2", "fwhm", "e_gradient"):
        exposures[f"{name}_error"] = 0.05 * random.lognormal(0.0, 1.0, n)
    for name, error in (("e1", 0.005), ("fwhm", 0.05), ("kurtosis", 0.05)):
        ccds[f"{name}_error"] = error * random.lognormal(0.0, 1.0, n * n_ccd)
    for kind in VECTOR_KINDS:
        ccds[f"{kind}_variance"] = ccds[f"{kind}_variance"] * random.uniform(0.5, 2.0, n * n_ccd)
    ccds["glow"][5 * n_ccd] *= 1e4
    return dataclasses.replace(found, exposures=exposures, ccds=ccds)


@pytest.mark.parametrize(("n", "n_ccd", "seed"), [(40, 5, 1), (60, 9, 2), (150, 4, 3)])
def test_the_null_is_that_of_plain_loops(n, n_ccd, seed):
    measured = night(n, n_ccd, seed)
    ccds = {name: np.reshape(values, (n, n_ccd)) for name, values in measured.ccds.items()}
    place = measured.x[:n_ccd], measured.y[:n_ccd]
    of_statistics, of_exposures, of_ccds, second = naive_null.evidence(
        measured.exposures, ccds, *place, EVERY, OF_CCDS, VECTOR_KINDS
    )
    null, found = fit(measured)
    assert null.statistics == tuple(of_statistics)
    expected = np.array(list(of_statistics.values()))
    # 1e-8: sums in another order, and a ridge of 1e-9 that keeps the package's regression solvable.
    np.testing.assert_allclose(found.of_statistics, expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.of_exposures, of_exposures, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.of_ccds, of_ccds.ravel(), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(found.second_ccd, second, rtol=1e-8, atol=1e-8)


def test_of_three_ccds_one_may_be_the_median_itself():
    n, n_ccd = 60, 3
    measured = _night(n, n_ccd, 1)
    used = {**measured.exposures, "n_ccd_used": np.full(n, 3.0)}
    prepared = prepare(dataclasses.replace(measured, exposures=used), usual_ccds=3.0)
    for name in (*(f"{kind}_off" for kind in VECTOR_KINDS), "ellipticity_off"):
        assert np.isfinite(prepared.exposures[f"{name}_worst_ccd"]).all(), name
