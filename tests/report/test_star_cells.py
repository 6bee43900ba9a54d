"""Cells of stars: means, places, and the error that decides whether a whisker is drawn."""

from __future__ import annotations

import numpy as np
import pytest

from gpuanom.records import Turn
from gpuanom.review.star_cells import scatter, star_cells
from gpuanom.statistics.shapes import Stars


def stars(n=400, shape=(4094, 2046), seed=1, noise=0.02):
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 1, (2, n))
    e1, e2 = 0.1 * y + rng.normal(0, noise, n), rng.normal(0, noise, n)
    return Stars(np.array([x, y, 3.0 + y, e1, e2, np.full(n, 2.0)]), shape)


@pytest.mark.parametrize("upside_down", [False, True])
def test_cells_are_means_of_their_stars(upside_down):
    found = stars()
    cells = star_cells(found, Turn(0), upside_down)
    assert (cells.columns, cells.rows) == (2, 4)
    x, y = (1 - found.x, 1 - found.y) if upside_down else (found.x, found.y)
    for k in range(8):
        inside = (np.floor(2 * x) == k % 2) & (np.floor(4 * y) == k // 2)
        # A few stars further than three robust deviations from the CCD's median are left out.
        assert cells.n[k] == pytest.approx(inside.sum(), abs=3)
        assert cells.fwhm[k] == pytest.approx(found.fwhm[inside].mean(), abs=0.03)
        assert cells.e1[k] == pytest.approx(found.e1[inside].mean(), abs=0.003)
        assert cells.e2[k] == pytest.approx(found.e2[inside].mean(), abs=0.003)


def test_the_scatter_is_that_of_one_star():
    # 0.02 of scatter and the slope of 0.1 over a quarter of the CCD: 0.025 / sqrt(12) = 0.007 in e1 alone. 784 numbers
    # tell the scatter to 2.5%.
    expected = np.sqrt((0.02**2 + 0.02**2 + 0.025**2 / 12) / 2)
    assert scatter([star_cells(stars(), Turn(0))]) == pytest.approx(expected, rel=0.08)
    assert np.isnan(scatter([]))


def test_few_stars_have_few_cells_and_too_few_none():
    assert star_cells(stars(12), Turn(0)).columns * star_cells(stars(12), Turn(0)).rows <= 3
    for n in (0, 2):
        cells = star_cells(stars(n), Turn(0))
        assert np.isnan(cells.e1).all()
        assert np.isnan(scatter([cells]))
    assert (star_cells(stars(), Turn.QUARTER).columns, star_cells(stars(), Turn.QUARTER).rows) == (4, 2)
    small = star_cells(stars(40, (500, 500)), Turn(0))
    assert (small.columns, small.rows) == (2, 2)
