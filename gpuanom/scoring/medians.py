"""Medians of rows in which values may be missing, and the scatter about them: what is usual, and how closely."""

from __future__ import annotations

import numpy as np

from gpuanom.records import Doubles

MAD = 1.4826
"""The standard deviation of a Gaussian, in units of its median absolute deviation."""
_EQUAL = 1e-7
"""Values that differ by less than this part of their size are equal as float32 numbers."""

_WIDE = 512
"""Rows of so many values are not sorted for their median: to put the middle in its place takes a third of the time."""


def median_and_scatter(values: Doubles) -> tuple[Doubles, Doubles]:
    """Return median and 1.4826 MAD of each row, (n_rows,) float64 each; NaN values are passed over.

    Parameters
    ----------
    values : ndarray, (n_rows, n) float64

    Returns
    -------
    median, scatter : ndarray, (n_rows,) float64
        NaN for a row without values. The scatter is 0 where values differ by their rounding alone.
    """
    centre = median(values)
    spread = MAD * median(np.abs(values - centre[:, None]))
    return centre, np.where(spread > _EQUAL * np.abs(centre), spread, 0.0 * spread)


def median(values: Doubles) -> Doubles:
    """Return the median of each row, (n_rows,) float64, NaN values passed over; NaN for a row without values.

    A median of zeros of both signs may have either sign.
    """
    if not values.size:
        return np.full(len(values), np.nan)
    n = np.count_nonzero(~np.isnan(values), axis=1)
    if values.shape[1] < _WIDE:
        ordered, rows = np.sort(values, axis=1), np.arange(len(values))
        low, high = ordered[rows, np.maximum(n - 1, 0) // 2], ordered[rows, n // 2]
        return np.asarray(np.where(n > 0, 0.5 * (low + high), np.nan))
    found = np.full(len(values), np.nan)
    for known in np.unique(n[n > 0]).tolist():
        rows, middle = n == known, known // 2
        # Only the middle has to be in its place, and NaN values at the end. For two places NumPy takes longer.
        ordered = np.partition(values if rows.all() else values[rows], middle, axis=1)
        high = ordered[:, middle]
        found[rows] = 0.5 * (high + (high if known % 2 else ordered[:, :middle].max(axis=1)))
    return found
