"""Row and column profiles: jitter from row to row, and steps between amplifiers (METHOD.md 9.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpuanom.records import Doubles, FloatImage, Integers, Patterns
from gpuanom.records.patterns import STEP
from gpuanom.statistics.statistic import Statistic

STRIDE = 16
"""The step filter is taken at every so many rows and columns."""
REACH = 48
"""The step filter is the difference between the means of so many rows (columns) after and before a place."""
WINDOW = 31
"""Rows (columns) of the running median."""
CLIP = 4.0
"""Jitter is clipped at so many of its robust standard deviations."""
LEAST_SCALE = 0.7
"""Steps are divided by the exposure's median absolute step, at least by this."""

CCD_STATISTICS = (
    Statistic(
        "row_jitter",
        "",
        "Variance of the rows' means about their running median, over what pixel noise gives: about 1 without jitter.",
    ),
    Statistic("column_jitter", "", "The same of the columns' means."),
)
EXPOSURE_STATISTICS: tuple[Statistic, ...] = ()


def ccd_statistics(patterns: Patterns) -> FloatImage:
    """Return the jitter of each CCD of a stack.

    Parameters
    ----------
    patterns : Patterns
        On the host.

    Returns
    -------
    ndarray, (n_ccd, 2) float32
        In the order of `CCD_STATISTICS`.
    """
    return np.stack(
        [
            _jitter(patterns.row_sum, patterns.row_count, patterns.column_sum.shape[1]),
            _jitter(patterns.column_sum, patterns.column_count, patterns.row_sum.shape[1]),
        ],
        axis=1,
    ).astype(np.float32)


def _jitter(sums: Integers, counts: Integers, width: int) -> Doubles:
    """Variance of each profile around its running median, in units of what pixel noise of 1 sigma gives."""
    found = np.full(len(sums), np.nan)
    if sums.shape[1] >= WINDOW:
        from gpuanom.statistics.jitter import profile_jitter  # imports Numba, which a night ranked again needs not

        profile_jitter(sums, counts, width, STEP, WINDOW, CLIP, found)
    return found


def steps(patterns: Patterns) -> tuple[FloatImage, FloatImage]:
    """Return the step filter of each CCD's row and column profiles, at every 16th row and column.

    Parameters
    ----------
    patterns : Patterns
        On the host.

    Returns
    -------
    rows : ndarray, (n_ccd, len(step_places(ny))) float32
        Mean of the 48 rows from a place on, less the mean of the 48 rows before, in standard deviations of pixel
        noise; NaN where either side has less than a quarter of its pixels.
    columns : ndarray, (n_ccd, len(step_places(nx))) float32
        The same along x.
    """
    return (
        _steps(patterns.row_sum, patterns.row_count, patterns.column_sum.shape[1]),
        _steps(patterns.column_sum, patterns.column_count, patterns.row_sum.shape[1]),
    )


def _steps(sums: Integers, counts: Integers, width: int) -> FloatImage:
    """The step filter of each profile, in standard deviations of pixel noise."""
    from gpuanom.statistics.step_filter import filter_steps  # imports Numba, which a night ranked again needs not

    found = np.empty((len(sums), len(step_places(sums.shape[1]))), dtype=np.float32)
    filter_steps(np.ascontiguousarray(sums), np.ascontiguousarray(counts), width, REACH, STRIDE, STEP, found)
    return found


def step_places(size: int) -> Integers:
    """Return the rows or columns of an axis of `size` pixels at which `steps` are taken."""
    return np.arange(REACH, size - REACH + 1, STRIDE)


def step_scale(values: Sequence[FloatImage | Doubles]) -> float:
    """Return the median absolute step of an exposure, at least 0.7, what steps are divided by.

    Parameters
    ----------
    values : sequence of ndarray, (n,) float32
        Steps of all rows, or all columns, of the exposure's CCDs, less the static ones where these are known.

    Returns
    -------
    float
        In standard deviations of pixel noise, of which white noise gives 0.67.
    """
    every = np.concatenate([np.zeros(0), *values])
    every = np.abs(every[np.isfinite(every)])
    return max(LEAST_SCALE, float(np.median(every))) if every.size else LEAST_SCALE


def largest_step(values: FloatImage, static: FloatImage | None = None, scale: float | None = None) -> tuple[float, int]:
    """Return the largest step of one profile, and its index.

    Parameters
    ----------
    values : ndarray, (n,) float32
        From `steps`.
    static : ndarray, (n,) float32, optional
        The static steps of that CCD, which are taken off (METHOD.md 9.7).
    scale : float, optional
        The exposure's `step_scale`; by default that of this profile alone.

    Returns
    -------
    height : float
        The largest |step| over the scale; NaN where no step was measured.
    index : int
        Its index in `values`; -1 without a step.
    """
    left = values.astype(np.float64)
    left = left if static is None else left - static
    present = np.isfinite(left)
    if not present.any():
        return float("nan"), -1
    height = np.where(present, np.abs(left), -1.0)
    index = int(np.argmax(height))
    return float(height[index]) / (step_scale([left]) if scale is None else scale), index
