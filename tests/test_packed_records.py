"""Measurements travel between processes as a few large arrays, and nothing of them is lost."""

from __future__ import annotations

import dataclasses
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gpuanom.records import CcdMeasurement, CcdStatistics, Exposure, Measurement, Reconstruction

EXPOSURE = Exposure("7", "C", "r", "", 1.0, (Path("/data/7.fits"),), (None,), "f", "r")


def ccd(i, cells=(3, 2), steps=4):
    rng = np.random.default_rng(i)
    shape = tuple(10 * n for n in cells)
    counts = rng.integers(0, 9, (4, 5))
    floats = [rng.normal(size=n) for n in (6, 4, 4)]
    own = CcdStatistics(
        rng.normal(size=3).astype("f4"),
        rng.integers(-9, 9, cells).astype("i1"),
        rng.normal(size=steps).astype("f4"),
        rng.normal(size=steps + 1).astype("f4"),
    )
    numbers = (1, 2, 3, 4, 5, 6, 0.5, np.nan)
    return CcdMeasurement(
        *(f"N{i}", "ok", "", floats[0], 1.5 * i, 2.0, *numbers, counts, *floats[1:], (1.0, 0.0, 0.0, 1.0)),
        *(Reconstruction(3, 0.25 * i, rng.normal(size=(2, 3))), shape, "turned", own),
    )


def lost(i):
    nothing = np.full(6, np.nan), np.nan, np.nan, 0, 0, 0, 0, 0, 0, 0.0, np.nan
    return CcdMeasurement(
        *(f"N{i}", "unreadable", "cut off", *nothing, np.zeros((4, 5), np.int64), np.zeros(4), np.zeros(4), None)
    )


def require_same(a, b):
    """Records, their fields, and so on; arrays of the same values and kind."""
    assert type(a) is type(b)
    if dataclasses.is_dataclass(a):
        for f in dataclasses.fields(a):
            require_same(getattr(a, f.name), getattr(b, f.name))
    elif isinstance(a, tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            require_same(one, other)
    elif isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b or (a != a and b != b)


CASES = {
    "all alike": [ccd(1), ccd(2), ccd(3)],
    "two sizes": [ccd(1), ccd(2, cells=(5, 4), steps=9)],
    "one is lost": [ccd(1), lost(2), ccd(3)],
    "all are lost": [lost(1), lost(2)],
    "none": [],
    "one": [ccd(1)],
    "maps of no cells": [ccd(1, cells=(0, 0), steps=0), ccd(2, cells=(0, 0), steps=0)],
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_lost_on_the_way(case):
    measurement = Measurement(EXPOSURE, tuple(CASES[case]), "settings", "model")
    require_same(pickle.loads(pickle.dumps(measurement, protocol=5)), measurement)


def test_an_exposure_of_many_ccds_travels_as_few_arrays():
    measured = Measurement(EXPOSURE, tuple(replace(ccd(i), reconstruction=None) for i in range(50)), "s")
    loaded = pickle.loads(pickle.dumps(measured, protocol=5))
    assert len({id(c.counts.base) for c in loaded.ccds}) == len({id(c.statistics.map.base) for c in loaded.ccds}) == 1
