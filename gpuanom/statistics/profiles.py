"""Row and column profiles: jitter from row to row, and steps between amplifiers (METHOD.md 9.3)."""

from __future__ import annotations

from gpuanom.records import Doubles, FloatImage, Patterns
from gpuanom.statistics.statistic import Statistic

STRIDE = 16
"""The step filter is taken at every so many rows and columns."""
REACH = 48
"""The step filter is the difference between the means of so many rows (columns) after and before a place."""

CCD_STATISTICS = (
    Statistic(
        "row_jitter", "", "Variance of the rows' means, less what pixel noise gives, over the variance of noise."
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
    raise NotImplementedError


def steps(patterns: Patterns) -> tuple[FloatImage, FloatImage]:
    """Return the step filter of each CCD's row and column profiles, at every 16th row and column.

    Parameters
    ----------
    patterns : Patterns
        On the host.

    Returns
    -------
    rows : ndarray, (n_ccd, len(step_places(ny))) float32
        Mean of the 48 rows from a place on, less the mean of the 48 rows before, in sigma; NaN where either side has
        too few pixels.
    columns : ndarray, (n_ccd, len(step_places(nx))) float32
        The same along x.
    """
    raise NotImplementedError


def step_places(size: int) -> Doubles:
    """Return the rows or columns of an axis of `size` pixels at which `steps` are taken."""
    raise NotImplementedError


def largest_step(values: FloatImage, static: FloatImage | None = None) -> tuple[float, int]:
    """Return the largest step of one profile, and its index, over the profile's own median absolute step.

    Parameters
    ----------
    values : ndarray, (n,) float32
        From `steps`.
    static : ndarray, (n,) float32, optional
        The static steps of that CCD, which are taken off (METHOD.md 9.7).

    Returns
    -------
    height : float
        The largest |step| over the median |step|, or over 0.7 of what noise gives where that is more; NaN where no
        step was measured.
    index : int
        Its index in `values`; -1 without a step.
    """
    raise NotImplementedError
