"""Jitter and steps of the profiles of rows and columns, the twin of kernels/profiles.cu (METHOD.md 9.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.backends.pattern_layout import (
    PROFILE_CLIP,
    PROFILE_EVERY,
    PROFILE_WINDOW,
    STEP_REACH,
    STEP_STRIDE,
    step_places,
)
from gpuanom.native import helper, native
from gpuanom.records import Doubles, FloatImage, Integers, Profiles, ProfileSums
from gpuanom.records.patterns import STEP
from gpuanom.sorting import LANES, empty_columns, sort_columns
from gpuanom.sums_and_medians import median

PARTIAL_SUMS = 512
"""Squares of every 512th row are added together, and then the sums, in the order of the threads of a GPU's block."""


_sums = types.Array(types.int64, 2, "C", readonly=True)


def profiles(sums: ProfileSums) -> Profiles:
    """See `gpuanom.backends.protocol.Backend.profiles`."""
    ny, nx = sums.row_sum.shape[1], sums.column_sum.shape[1]
    row_jitter, row_steps = _of_axis(sums.row_sum, sums.row_count, nx)
    column_jitter, column_steps = _of_axis(sums.column_sum, sums.column_count, ny)
    return Profiles(row_jitter, column_jitter, row_steps, column_steps)


def _of_axis(sums: Integers, counts: Integers, width: int) -> tuple[Doubles, FloatImage]:
    """Jitter and steps of the profiles of one axis, whose rows or columns have so many pixels."""
    n, size = sums.shape
    jitter, steps = np.full(n, np.nan), np.empty((n, len(step_places(size))), np.float32)
    if size >= PROFILE_WINDOW:
        profile_jitter(sums, counts, width, STEP, PROFILE_WINDOW, PROFILE_CLIP, jitter)
    filter_steps(sums, counts, width, STEP_REACH, STEP_STRIDE, STEP, steps)
    return jitter, steps


@helper
def _running_medians(mean: Any, window: Any, columns: Any, at: Any, medians: Any) -> Any:
    """Find the medians of the windows that hold a value, and where their middles are; return the number of medians.

    A profile has many windows, of which LANES are sorted together in `columns`, which `empty_columns` gives. NaN are
    left out.
    """
    n_windows = (len(mean) - window) // PROFILE_EVERY + 1
    n_values = np.zeros(LANES, np.int64)
    n = 0
    for first in range(0, n_windows, LANES):
        here = min(LANES, n_windows - first)
        columns[window:] = np.inf
        n_values[:] = 0
        for lane in range(here):
            values = mean[PROFILE_EVERY * (first + lane) : PROFILE_EVERY * (first + lane) + window]
            for k in range(window):
                missing = np.isnan(values[k])
                columns[k, lane] = np.inf if missing else values[k]
                n_values[lane] += 0 if missing else 1
        sort_columns(columns)
        for lane in range(here):
            if n_values[lane]:
                medians[n] = (columns[(n_values[lane] - 1) // 2, lane] + columns[n_values[lane] // 2, lane]) / 2.0
                at[n] = PROFILE_EVERY * (first + lane) + window // 2
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
        _sums, _sums, types.int64, types.float64, types.int64, types.float64, types.float64[::1],
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
    at, medians, partial = np.empty(size, np.int64), np.empty(size), np.empty(PARTIAL_SUMS)
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
        partial[:] = 0.0
        for first in range(0, size, PARTIAL_SUMS):
            for k in range(min(PARTIAL_SUMS, size - first)):
                value = left[first + k]
                clipped = min(max(value, -limit), limit)
                partial[k] += 0.0 if np.isnan(value) else clipped * clipped
        total = 0.0
        for k in range(PARTIAL_SUMS):
            total += partial[k]
        found[i] = total / n


@native(types.void(_sums, _sums, types.int64, types.int64, types.int64, types.float64, types.float32[:, ::1]))
def filter_steps(sums: Any, counts: Any, width: Any, reach: Any, stride: Any, unit: Any, found: Any) -> None:
    """Find the difference between the means after and before each place of each profile.

    Parameters
    ----------
    sums, counts : ndarray, (n, size) int64
        Sums of the residual in rows or columns, in units of `unit`, and the numbers of pixels behind them.
    width : int
        Pixels of a row or column; a side with less than a quarter of its pixels gives no step.
    reach : int
        Rows or columns on each side.
    stride : int
        From one place to the next; the first one is at `reach`.
    unit : float
        In sigma.
    found : ndarray, (n, n_places) float32
        Out: in standard deviations of pixel noise; NaN where there is no step.
    """
    size, n_places = sums.shape[1], found.shape[1]
    # Sums over all rows or columns before each: a difference of two of them is a side of a place.
    total, count = np.zeros(size + 1, np.int64), np.zeros(size + 1, np.int64)
    for i in range(len(sums)):
        for y in range(size):
            total[y + 1] = total[y] + sums[i, y]
            count[y + 1] = count[y] + counts[i, y]
        for k in range(n_places):
            place = reach + k * stride
            n_before, n_after = count[place] - count[place - reach], count[place + reach] - count[place]
            if 4 * min(n_before, n_after) < reach * width:
                found[i, k] = np.nan
                continue
            # An axis of no pixels has no sums, and divides nothing by nothing.
            n_before, n_after = max(n_before, 1), max(n_after, 1)
            low, high = (
                (total[place] - total[place - reach]) / n_before,
                (total[place + reach] - total[place]) / n_after,
            )
            found[i, k] = (high - low) * unit / np.sqrt(1.0 / n_before + 1.0 / n_after)
