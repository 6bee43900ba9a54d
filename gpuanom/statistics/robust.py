"""Means without what lies far off, of many short lists of numbers: a native loop (METHOD.md 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import native
from gpuanom.statistics.pairwise import median, pairwise_sum


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
        off[:] = here
        middle = median(off)
        for k in range(n):
            off[k] = abs(here[k] - middle)
        limit = 3.0 * 1.4826 * median(off)
        limit = limit if limit > 0.0 else np.inf
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


@native(types.float64(types.float64[::1]))
def densest(ordered: Any) -> Any:
    """Find the half-sample mode of ordered numbers, at least one: see `gpuanom.statistics.shapes.half_sample_mode`."""
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
