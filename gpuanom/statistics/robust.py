"""Means of many short lists of numbers without outliers, and a plane without outliers: native loops (METHOD.md 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import helper, native
from gpuanom.sums_and_medians import median, pairwise_sum


@helper
def _limits(values: Any, off: Any) -> Any:
    """The median of the values, at least one, and three of their robust standard deviations; infinite where that is 0.

    `off` is scratch, as long as the values.
    """
    for k in range(len(values)):  # for `off[:] = values` Numba compiles the text of an error as well
        off[k] = values[k]
    middle = median(off)
    for k in range(len(values)):
        off[k] = abs(values[k] - middle)
    limit = 3.0 * 1.4826 * median(off)
    return middle, limit if limit > 0.0 else np.inf


@native(types.void(types.float64[::1], types.int64[::1], types.float64[:, ::1]))
def robust_means(values: Any, sizes: Any, found: Any) -> None:
    """Find the mean of the values within three robust standard deviations of their median, and the mean's error.

    Parameters
    ----------
    values : ndarray, (sum of sizes,) float64
        One list after the other; finite.
    sizes : ndarray, (n,) int64
        Of the lists.
    found : ndarray, (n, 2) float64
        Out: mean and error; NaN with fewer than three values.
    """
    scratch = np.empty(len(values))
    first = 0
    for i in range(len(sizes)):
        n = sizes[i]
        here, off = values[first : first + n], scratch[:n]
        first += n
        found[i] = np.nan
        if n < 3:
            continue
        middle, limit = _limits(here, off)
        kept = 0
        for k in range(n):
            if abs(here[k] - middle) <= limit:
                off[kept] = here[k]
                kept += 1
        if kept < 3:
            continue
        mean = pairwise_sum(off[:kept]) / kept
        found[i, 0] = mean
        for k in range(kept):
            off[k] = (off[k] - mean) * (off[k] - mean)
        found[i, 1] = np.sqrt(pairwise_sum(off[:kept]) / (kept - 1)) / np.sqrt(kept)


@native(types.void(types.float64[::1], types.float64[::1], types.float64[::1], types.float64[::1], types.float64[::1]))
def plane_sums(u: Any, v: Any, e: Any, fit: Any, sums: Any) -> None:
    """Compute the sums that a plane e(u, v) is fitted with, without the outliers from the plane fitted before.

    Parameters
    ----------
    u, v, e : ndarray, (n,) float64
        Positions and values.
    fit : ndarray, (3,) float64
        The plane fitted before: constant, and factors of u and v.
    sums : ndarray, (10,) float64
        Out, of the values whose residual from that plane is within three robust standard deviations of the median
        residual: their number; the sums of u, u u, v, u v, v v, e, u e and v e; and the standard deviation of the
        residuals, with three degrees of freedom taken off. Without a value the sums are NaN; with fewer than four
        values the standard deviation is NaN.
    """
    n = len(e)
    off, scratch, terms = np.empty(n), np.empty(n), np.empty((4, n))
    sums[:] = np.nan
    sums[0] = 0.0
    if n == 0:
        return
    for k in range(n):
        off[k] = e[k] - (fit[0] + fit[1] * u[k] + fit[2] * v[k])
    middle, limit = _limits(off, scratch)
    m = 0
    for k in range(n):
        if abs(off[k] - middle) <= limit:
            terms[0, m], terms[1, m], terms[2, m], terms[3, m], off[m] = 1.0, u[k], v[k], e[k], off[k]
            m += 1
    sums[0] = m
    part, place = scratch[:m], 1
    for last in range(1, 4):
        for first in range(min(last, 2) + 1):
            one, other = terms[first, :m], terms[last, :m]
            for k in range(m):
                part[k] = one[k] * other[k]
            sums[place] = pairwise_sum(part)
            place += 1
    if m < 4:
        return
    mean = pairwise_sum(off[:m]) / m
    for k in range(m):
        part[k] = (off[k] - mean) * (off[k] - mean)
    sums[9] = np.sqrt(pairwise_sum(part) / (m - 3))


@helper
def _half_sample_mode(ordered: Any) -> Any:
    """The half-sample mode of ordered numbers, at least one: see `gpuanom.statistics.shapes.half_sample_modes`."""
    first, n = 0, len(ordered)
    while n > 3:
        half = (n + 1) // 2
        best = first
        for k in range(first + 1, first + n - half + 1):
            if ordered[k + half - 1] - ordered[k] < ordered[best + half - 1] - ordered[best]:
                best = k
        first, n = best, half
    if n == 3:
        lower, upper = ordered[first + 1] - ordered[first], ordered[first + 2] - ordered[first + 1]
        if lower == upper:
            return ordered[first + 1]
        first, n = first if lower < upper else first + 1, 2
    return ordered[first] if n == 1 else (ordered[first] + ordered[first + 1]) / 2.0


@native(types.void(types.float64[:, ::1], types.int64[::1], types.float64[::1]))
def densest(rows: Any, sizes: Any, found: Any) -> None:
    """Find the half-sample mode of the first numbers of each row.

    Parameters
    ----------
    rows : ndarray, (n, m) float64
        Each row is ordered as far as the numbers are used.
    sizes : ndarray, (n,) int64
        How many numbers of each row are used.
    found : ndarray, (n,) float64
        Out; NaN where no number is used.
    """
    for i in range(len(rows)):
        found[i] = _half_sample_mode(rows[i, : sizes[i]]) if sizes[i] > 0 else np.nan
