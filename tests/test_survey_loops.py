"""What compiled loops and threads do with a survey gives the same bits as NumPy does with a night."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from gpuanom.scoring import medians
from gpuanom.scoring.judged import ccd_grid, statistics_table
from gpuanom.scoring.judged.judged_statistics import OF_CCDS
from gpuanom.side_by_side import side_by_side

VECTORS = [f"{kind}_{part}" for kind in ("source", "isophote") for part in ("cos", "sin", "variance")]


def measured(rng, sizes, few_values):
    """Statistics of exposures with these numbers of CCDs; some are missing, and trails cross some CCDs."""
    owner = np.repeat(np.arange(sizes.size), sizes)
    names = np.array([f"c{k}" for size in sizes for k in range(size)], dtype=np.str_)
    n = owner.size

    def column():
        values = rng.integers(0, 5, n).astype(np.float64) if few_values else rng.lognormal(size=n)
        values[rng.random(n) < 0.2] = np.nan
        return values

    columns = [j.name for j in OF_CCDS if not j.name.endswith("_off")] + VECTORS
    ccds = {name: column() for name in (*columns, "e1", "e2", "e1_error", "fwhm_error", "kurtosis_error")}
    ccds |= {"streak": (rng.random(n) < 0.1).astype(np.float64), "streak_angle": column()}
    exposures = {"repeat_evidence": rng.random(sizes.size), "repeat_angle": 180.0 * rng.random(sizes.size)}
    x, y = rng.normal(size=(2, n))
    return statistics_table.Measured(sizes.size, exposures, owner, names, ccds, x, y)


@pytest.mark.parametrize("full", [False, True], ids=["gaps", "full"])
@pytest.mark.parametrize("few_values", [False, True], ids=["all different", "many equal"])
@pytest.mark.parametrize("usual_ccds", [0.0, 3.0])
def test_statistics_of_ccds_are_compared_alike(full, few_values, usual_ccds, monkeypatch):
    rng = np.random.default_rng(7)
    for width in range(1, 10):
        sizes = np.full(20, width) if full else rng.integers(0, width + 1, 20)
        given = measured(rng, sizes, few_values)
        found = []
        for many in (10**9, 0):
            monkeypatch.setattr(ccd_grid, "MANY", many)
            found.append(statistics_table.prepare(given, usual_ccds=usual_ccds, least=2))
        plain, native = found
        assert plain.patterns == native.patterns
        for columns, others in ((plain.exposures, native.exposures), (plain.ccds, native.ccds)):
            assert list(columns) == list(others)
            for name, values in columns.items():
                np.testing.assert_array_equal(np.signbit(values), np.signbit(others[name]), err_msg=name)
                np.testing.assert_array_equal(values, others[name], err_msg=name)
        assert all(np.array_equal(native.worst[name], worst) for name, worst in plain.worst.items())


def test_a_median_of_many_values_is_that_of_the_sorted_ones():
    rng = np.random.default_rng(8)
    values = rng.integers(-3, 3, (12, medians._WIDE + 8)).astype(np.float64)
    values[1:, 5:9] = np.nan
    values[2:, 20] = np.nan
    values[3] = np.nan
    values[4, 1:] = np.nan
    values[5, 2:] = np.nan
    values[6, 7:9] = (np.inf, -np.inf)
    with np.errstate(all="ignore"):
        expected = [np.median(row[~np.isnan(row)]) if (~np.isnan(row)).any() else np.nan for row in values]
    np.testing.assert_array_equal(medians.median(values), expected)
    np.testing.assert_array_equal(medians.median(values[:, :30]), [
        np.median(row[~np.isnan(row)]) if (~np.isnan(row)).any() else np.nan for row in values[:, :30]
    ])  # fmt: skip


def test_threads_give_results_in_order_with_what_numpy_was_told(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(3))
    threads = set()

    def inverse(i):
        threads.add(threading.get_ident())
        barrier.wait(timeout=30)
        return float(1.0 / np.float64(i))

    barrier = threading.Barrier(3)
    with np.errstate(divide="ignore"):
        assert side_by_side(inverse, range(3)) == [np.inf, 1.0, 0.5]
    assert len(threads) == 3
    barrier = threading.Barrier(1)
    with pytest.warns(RuntimeWarning):
        side_by_side(inverse, [0], many=False)


def test_an_error_of_a_thread_is_the_callers(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(2))
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda i: 1 // i, range(4))
