"""The process that hands out exposures keeps up with many workers; see profiling/bench_scheduler.py."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import gpuanom

PROFILING = Path(__file__).parents[2] / "profiling"
WORKERS = 40


@pytest.fixture(scope="module")
def bench():
    """The benchmark, and a drawn measurement of two CCDs, which takes no time to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROFILING)
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
            patch.setenv(name, "1")
        script = importlib.import_module("bench_scheduler")
        survey = importlib.import_module("synthetic_survey")
        rng = np.random.default_rng(1)
        (measurement,) = survey.measurements("r", 1, 1, gpuanom.Settings(), rng, n_ccds=2)
        patch.setattr(script, "measured_exposure", lambda _ccds, _shape: measurement)
        yield script


def test_all_exposures_are_stored_and_few_are_under_way(bench):
    measurement = bench.measured_exposure(2, (1, 1))
    result = bench.run(measurement, WORKERS, 1000, 0.01)
    # Each worker measures one exposure, and one more waits there.
    assert WORKERS <= result.most_waiting <= 2 * WORKERS
    # Ten times below what a quiet machine does: other tests run beside this one.
    assert result.rate > 50
    assert len(result.memory) == len(bench.SAMPLES)
    assert result.growth < bench.GROWTH


def test_several_answers_share_a_transaction(bench, monkeypatch):
    commits = []

    class Counted(bench.Store):
        def commit(self):
            commits.append(1)
            super().commit()

    monkeypatch.setattr(bench, "Store", Counted)
    bench.run(bench.measured_exposure(2, (1, 1)), WORKERS, 400, 0.0)
    assert len(commits) < 400 / 2


@pytest.mark.parametrize(("rate", "code", "word"), [("1", 0, "second placed and stored: held"), ("1e9", 1, "NOT held")])
def test_a_missed_bar_is_told(bench, monkeypatch, capsys, rate, code, word):
    results = sorted((PROFILING / "results").iterdir())
    command = ["bench_scheduler.py", "--short", "--workers", "4", "--exposures", "40", "--seconds", "0", "--rate", rate]
    monkeypatch.setattr(sys, "argv", command)
    assert bench.main() == code
    assert word in " ".join(capsys.readouterr().out.split())
    assert sorted((PROFILING / "results").iterdir()) == results


def test_copies_of_a_ccd_share_no_memory(bench):
    measurement = bench.measured_exposure(2, (1, 1))
    many = bench.with_ccds(replace(measurement, ccds=measurement.ccds[:1]), 3).ccds
    assert [ccd.name for ccd in many] == ["S1", "S2", "S3"]
    assert not np.shares_memory(many[0].counts, many[1].counts)
