"""Statistics of CCDs become statistics of their exposure: that of the CCD that stands out most, and the median.

Large datasets go through compiled loops, with the same result.
"""

from __future__ import annotations

import numpy as np

from gpuanom.records import Doubles, Flags, Integers
from gpuanom.scoring.judged.ccd_grid import LEAST_CCDS, Grid
from gpuanom.scoring.judged.crossed_ccds import without_crossed
from gpuanom.scoring.judged.judged_statistics import TYPICAL, WORST, JudgedStatistic


def relative_errors(error: Doubles | None, grid: Grid) -> Doubles:
    """Return the error of each CCD in units of the usual one of the exposure's CCDs, (n_ccd,); 1 where it is smaller.

    Parameters
    ----------
    error : ndarray, (n_ccd,) float64, or None
        Errors of a statistic of CCDs; None where there are none.
    grid : Grid
    """
    if error is None:
        return np.ones(grid.owner.size)
    usual = grid.medians(np.asarray(error, dtype=np.float64))[grid.owner]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.fmax(np.where(usual > 0.0, error / usual, 1.0), 1.0)


def compare_ccds(
    judged: JudgedStatistic,
    values: Doubles,
    normal: Doubles,
    crossed: Flags,
    grid: Grid,
    error: Doubles | None,
    *,
    always: bool,
) -> tuple[dict[str, Doubles], Doubles, Integers]:
    """Compare the CCDs of each exposure with each other by one statistic.

    Parameters
    ----------
    judged : JudgedStatistic
        The statistic.
    values : ndarray, (n_ccd,) float64
        Of a large grid this array is written over.
    normal : ndarray, (n_names,) float64
        What is normal for the CCD of each name of the grid.
    crossed : ndarray, (n_ccd,) bool
        Which CCDs a satellite's trail crosses.
    grid : Grid
    error : ndarray, (n_ccd,) float64, or None
        `relative_errors`: differences are given in these units, since of a CCD's own error only what exceeds the usual
        one counts.
    always : bool
        See `crossed_ccds.without_crossed`.

    Returns
    -------
    of_exposures : dict of str to ndarray, (n_exposures,) float64
        The statistic of the worst CCD and of a typical one.
    off : ndarray, (n_ccd,) float64
        How far each CCD is from the median of its exposure's CCDs.
    worst : ndarray, (n_exposures,) int64
        Which CCD is the worst, -1 without any.
    """
    if grid.is_large:
        return _natively(judged, values, normal, crossed, grid, error, always=always)
    less = values - normal[grid.name] if grid.names else values
    left = without_crossed(less, crossed, grid, always=always)
    enough = grid.counted(left) >= LEAST_CCDS
    middle = np.where(enough, grid.medians(left), np.nan)
    off = left - np.where(enough, middle, 0.0)[grid.owner]
    if error is not None:
        off = off / error
    compared = np.abs(off) if judged.two_sided else off
    full = grid.spread(np.where(np.isfinite(compared), compared, -np.inf))
    full = np.where(np.isnan(full), -np.inf, full)
    n, width = grid.shape
    if not width:
        return {judged.name + TYPICAL: middle}, off, np.full(n, -1, dtype=np.int64)
    place = np.argmax(full, axis=1)
    largest = full[np.arange(n), place]
    found = {judged.name + TYPICAL: middle, judged.name + WORST: np.where(np.isfinite(largest), largest, np.nan)}
    return found, off, np.where(np.isfinite(largest), grid.starts[:-1] + place, -1)


def _natively(
    judged: JudgedStatistic,
    values: Doubles,
    normal: Doubles,
    crossed: Flags,
    grid: Grid,
    error: Doubles | None,
    *,
    always: bool,
) -> tuple[dict[str, Doubles], Doubles, Integers]:
    """Do what `compare_ccds` does in compiled loops."""
    from gpuanom.scoring.judged import exposure_loops

    n, starts = grid.shape[0], grid.starts
    off, enough = values, np.empty(n, dtype=np.bool_)  # in place: the values are not asked for again
    of_each = np.zeros(0) if error is None else error
    exposure_loops.without_crossed(values, normal, grid.name, crossed, starts, LEAST_CCDS, always, off, enough)
    middle = grid.medians(off)
    largest, worst = np.empty(n), np.empty(n, dtype=np.int64)
    exposure_loops.compare_with_medians(off, middle, enough, starts, of_each, judged.two_sided, largest, worst)
    return {judged.name + TYPICAL: np.where(enough, middle, np.nan), judged.name + WORST: largest}, off, worst
