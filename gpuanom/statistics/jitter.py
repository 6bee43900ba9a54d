"""The jitter of profiles about their running median: a native loop (METHOD.md 9.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import helper, native
from gpuanom.statistics.sorting import LANES, empty_columns, sort_columns
from gpuanom.statistics.sums_and_medians import median, pairwise_sum

EVERY = 8
"""The running median is taken at every eighth row or column, and interpolated between these."""


@helper
def _running_medians(mean: Any, window: Any, columns: Any, at: Any, medians: Any) -> Any:
    """Find the medians of the windows that hold a value, and where their middles are; return the number of medians.

    A profile has many windows, of which LANES are sorted together in `columns`, which `empty_columns` gives. NaN are
    left out.
    """
    n_windows = (len(mean) - window) // EVERY + 1
    n_values = np.zeros(LANES, np.int64)
    n = 0
    for first in range(0, n_windows, LANES):
        here = min(LANES, n_windows - first)
        columns[window:] = np.inf
        n_values[:] = 0
        for lane in range(here):
            values = mean[EVERY * (first + lane) : EVERY * (first + lane) + window]
            for k in range(window):
                missing = np.isnan(values[k])
                columns[k, lane] = np.inf if missing else values[k]
                n_values[lane] += 0 if missing else 1
        sort_columns(columns)
        for lane in range(here):
            if n_values[lane]:
                medians[n] = (columns[(n_values[lane] - 1) // 2, lane] + columns[n_values[lane] // 2, lane]) / 2.0
                at[n] = EVERY * (first + lane) + window // 2
                n += 1
    return n


@helper
def _subtract(at: Any, medians: Any, n: Any, left: Any) -> None:
    """Take the running median off a profile, interpolated as `numpy.interp` does."""
    k, slope = -1, 0.0
    for y in range(len(left)):
        while k + 1 < n and at[k + 1] <= y:
            k += 1
            slope = (medians[k + 1] - medians[k]) / (at[k + 1] - at[k]) if k + 1 < n else 0.0
        left[y] -= medians[0] if k < 0 else slope * (y - at[k]) + medians[k]


@native(
    types.void(
        types.int64[:, ::1], types.int64[:, ::1], types.int64, types.float64, types.int64, types.float64,
        types.float64[::1],
    )
)  # fmt: skip
def profile_jitter(sums: Any, counts: Any, width: Any, step: Any, window: Any, clip: Any, found: Any) -> None:
    """Find the variance of each profile about its running median, in units of what pixel noise of 1 sigma gives.

    Parameters
    ----------
    sums, counts : ndarray, (n, size) int64
        Sums of the residual in rows or columns, in units of `step`, and the numbers of pixels behind them.
    width : int
        Pixels of a row or column; rows or columns with less than a quarter of these are left out.
    step : float
        In sigma.
    window : int
        Rows or columns of the running median, at most `size`.
    clip : float
        Number of the profile's robust standard deviations at which the profile is clipped.
    found : ndarray, (n,) float64
        Out; NaN where no row or column is left.
    """
    size = sums.shape[1]
    columns, left, values = empty_columns(window), np.empty(size), np.empty(size)
    at, medians = np.empty(size, np.int64), np.empty(size)
    for i in range(len(sums)):
        found[i] = np.nan
        for y in range(size):
            left[y] = sums[i, y] * step / max(counts[i, y], 1) if 4 * counts[i, y] >= width else np.nan
        n = _running_medians(left, window, columns, at, medians)
        if n == 0:
            continue
        _subtract(at, medians, n, left)
        n = 0
        for y in range(size):
            left[y] *= np.sqrt(counts[i, y])
            if not np.isnan(left[y]):
                values[n] = abs(left[y])
                n += 1
        if n == 0:
            continue
        limit = clip * 1.4826 * median(values[:n])
        for y in range(size):
            clipped = min(max(left[y], -limit), limit)
            values[y] = 0.0 if np.isnan(left[y]) else clipped * clipped
        found[i] = pairwise_sum(values) / n
