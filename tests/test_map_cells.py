"""The native loops over the cells of maps, against the same in NumPy, where cells are just counted or just not."""

from __future__ import annotations

import numpy as np
import pytest

from gpuanom.records import MAP_STEP, NO_CELL
from gpuanom.records.patterns import STEP
from gpuanom.statistics.map_cells import cell_means, cell_steps, hidden_cells, windowed
from gpuanom.statistics.spectrum import map_powers

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("area", [4, 64, 4096])
def test_a_cell_has_a_mean_where_a_quarter_of_its_pixels_are_left(area):
    counts = np.array([0, area // 4 - 1, area // 4, area // 4 + 1, area])
    sums = np.array([5, -70_000, 70_001, 3, -1])
    found = np.empty(5, np.float32)
    cell_means(sums, counts, area, STEP, found)
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = np.where((counts > 0) & (4 * counts >= area), sums * STEP / counts, np.nan).astype(np.float32)
    assert np.isnan(found[:2]).all()
    assert found.tobytes() == expected.tobytes()


def test_steps_are_rounded_to_even_and_end_at_127():
    values = np.array([np.nan, 0.0, 0.01, 0.03, -0.05, 2.54, 2.56, -2.54, -2.56, 1e9, -1e9, np.inf], np.float32)
    found = np.empty(values.shape, np.int8)
    cell_steps(values, MAP_STEP, NO_CELL, found)
    expected = np.clip(np.rint(values[1:].astype(np.float64) / MAP_STEP), -127, 127)
    assert found.tolist() == [NO_CELL, *expected.tolist()]


def test_cells_are_hidden_where_less_than_a_quarter_is_left():
    usable = np.array([[0, 1, 8, 8, 8, 4096], [0, 0, 0, 0, 0, 0]])
    counts = np.array([[0, 0, 1, 2, 3, 1023], [0, 0, 0, 0, 0, 0]])
    totals, hidden = np.empty((2, 2), np.int64), np.empty((2, 6), bool)
    hidden_cells(counts, usable, totals, hidden)
    assert hidden.tolist() == [[False, True, True, False, False, True], [False] * 6]
    assert totals.tolist() == [[1029, 0], [4121, 0]]


@pytest.mark.parametrize("n_empty", [0, 1, 99, 100, 101, 200])
def test_a_map_is_used_where_half_of_its_cells_have_values(n_empty):
    values = RNG.normal(3.0, 1.0, (2, 200)).astype(np.float32)
    values[1, RNG.permutation(200)[:n_empty]] = np.nan
    window, found = RNG.random(200), np.full((2, 200), 7.0)
    windowed(values, window, found)
    for one, result in zip(values.astype(np.float64), found, strict=True):
        known = np.isfinite(one)
        filled = np.where(known, one, 0.0)
        mean = filled.sum() / max(1, known.sum())
        expected = window * np.where(known, filled - mean, 0.0) * (2 * known.sum() >= 200)
        assert np.array_equal(result, expected)


def test_a_map_that_is_not_used_has_no_power():
    values = np.full((2, 8, 10), np.nan, np.float32)
    values[0, :4] = RNG.normal(0.0, 1.0, (4, 10))
    values[1, :4, 1:] = values[0, :4, 1:]
    powers = map_powers(values)
    assert powers.shape == (2, 64, 33)
    assert powers[0].max() > 0.0
    assert not powers[1].any()
