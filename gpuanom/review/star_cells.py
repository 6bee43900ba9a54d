"""Size and ellipticity of the stars in cells of a CCD: what whisker plots show (METHOD.md 10)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpuanom.records import Doubles, Flags, Integers, Turn
from gpuanom.statistics.shapes import Stars

CELL = 1024
"""Side of a cell of a whisker map, pixels."""

LEAST_STARS = 3
"""A cell with fewer stars has no values."""

_A_CELL = 4
"""There are at most so many cells that each has this number of stars on average."""


@dataclass(frozen=True, eq=False)
class StarCells:
    """Means over the stars of each cell of one CCD, as its picture shows the CCD.

    Attributes
    ----------
    columns, rows : int
    fwhm, e1, e2 : ndarray, (rows * columns,) float64
        Row by row from the lower left; NaN in cells with fewer than `LEAST_STARS`.
    n : ndarray, (rows * columns,) int64
        Stars in each cell.
    squares : float
        Sum of the squares of what e1 and e2 of the stars are beside the means of their cells.
    freedom : int
        How many independent numbers are in that sum.
    """

    columns: int
    rows: int
    fwhm: Doubles
    e1: Doubles
    e2: Doubles
    n: Integers
    squares: float
    freedom: int


def star_cells(stars: Stars, turn: Turn, upside_down: bool = False) -> StarCells:
    """Average the stars of a CCD in cells.

    Stars further than three robust standard deviations from the CCD's median ellipticity are left out: blends and
    galaxies.

    Parameters
    ----------
    stars : Stars
        In focal-plane axes.
    turn : Turn
        From the axes of the CCD to those of the focal plane.
    upside_down : bool, optional
        Whether the picture of the CCD is shown turned by half a turn.

    Returns
    -------
    StarCells
    """
    ny, nx = stars.shape
    if turn & Turn.QUARTER:
        ny, nx = nx, ny
    kept = _near_median(stars.e1) & _near_median(stars.e2)
    u, v = (1.0 - stars.x[kept], 1.0 - stars.y[kept]) if upside_down else (stars.x[kept], stars.y[kept])
    columns, rows, cell = in_cells(u, v, nx, ny, _A_CELL)
    n = np.bincount(cell, minlength=rows * columns)
    enough = n >= LEAST_STARS

    def mean(values: Doubles) -> Doubles:
        total = np.bincount(cell, values[kept], minlength=rows * columns)
        return np.where(enough, total / np.maximum(n, 1), np.nan)

    e1, e2 = mean(stars.e1), mean(stars.e2)
    off = np.concatenate(
        [(values[kept] - means[cell])[enough[cell]] for values, means in ((stars.e1, e1), (stars.e2, e2))]
    )
    freedom = 2 * int((n[enough] - 1).sum())
    return StarCells(columns, rows, mean(stars.fwhm), e1, e2, n, float((off * off).sum()), freedom)


def in_cells(u: Doubles, v: Doubles, nx: int, ny: int, a_cell: int) -> tuple[int, int, Integers]:
    """Divide a CCD into cells.

    Parameters
    ----------
    u, v : ndarray, (n,) float64
        Places of sources on the CCD, from 0 to 1.
    nx, ny : int
        Pixels of the CCD along u and v.
    a_cell : int
        There are at most so many cells that each has this number of sources on average.

    Returns
    -------
    columns, rows : int
    cell : ndarray, (n,) int64
        The cell of each source, counted row by row.
    """
    columns, rows = max(1, round(nx / CELL)), max(1, round(ny / CELL))
    if columns * rows == 1:
        columns = rows = 2
    while columns * rows > 1 and u.size < a_cell * columns * rows:
        columns, rows = max(1, columns // 2), max(1, rows // 2)
    cell = (v * rows).astype(np.int64).clip(0, rows - 1) * columns
    cell += (u * columns).astype(np.int64).clip(0, columns - 1)
    return columns, rows, cell


def _near_median(values: Doubles) -> Flags:
    off = np.abs(values - np.median(values)) if values.size else values
    limit = 3.0 * 1.4826 * float(np.median(off)) if values.size else 0.0
    return np.asarray(off <= limit if limit > 0.0 else np.isfinite(values))


def scatter(cells: list[StarCells]) -> float:
    """Return the standard deviation of a component of one star's ellipticity about the mean of its cell.

    Parameters
    ----------
    cells : list of StarCells
        Of all CCDs of an exposure: a mean over n stars has this over sqrt(n) as its error.

    Returns
    -------
    float
        NaN where no cell has enough stars.
    """
    freedom = sum(cell.freedom for cell in cells)
    return float(np.sqrt(sum(cell.squares for cell in cells) / freedom)) if freedom else float("nan")
