"""Sums along all straight lines of a plane of bins, by halves: a native loop (METHOD.md 9.6).

The sum along a line of 2 h rows is that of its upper h rows and that of its lower h rows. A line that
moves by d columns over all its rows moves by d // 2 within each half, and by what is left between
the halves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import native


@native(types.void(types.int64[:, ::1], types.float64, types.float64, types.int64, types.float64[::1]))
def best_line(plane: Any, mean: Any, deviation: Any, least: Any, found: Any) -> None:
    """Find the highest of the lines that move by 1/64 to 1 column a row, towards higher columns.

    Parameters
    ----------
    plane : ndarray, (rows, columns) int64
        Sums of the bins, with 2^40 added to each, so that a sum over bins also holds their number.
    mean, deviation : float
        Of the sums of the bins.
    least : int
        Bins that a line crosses at least.
    found : ndarray, (3,) float64
        Out: height in standard deviations, columns a row, and column at the first row; all 0 without a line.
    """
    rows, columns = plane.shape
    height = 1
    while height < rows:
        height *= 2
    width = columns + height
    sums, merged = np.zeros((height, width), dtype=np.int64), np.empty((height, width), dtype=np.int64)
    # Lines that begin left of the plane have room there.
    sums[:rows, height:] = plane
    half = 1
    while half < height:
        for strip in range(0, height, 2 * half):
            for d in range(2 * half):
                upper, lower = sums[strip + d // 2], sums[strip + half + d // 2]
                target, moved = merged[strip + d], (d + 1) // 2
                target[:] = upper
                for x in range(width - moved):
                    target[x] += lower[np.uint64(x) + np.uint64(moved)]
        sums, merged = merged, sums
        half *= 2
    for d in range(max(1, height // 64), height):
        line = sums[d]
        for x in range(3, width - 3):
            n = (line[x] + (1 << 39)) >> 40
            if n < least:
                continue
            before, after = (line[x - 3] + (1 << 39)) >> 40, (line[x + 3] + (1 << 39)) >> 40
            if 2 * min(before, after) < n:
                continue
            total = np.float64(line[x] - (n << 40))
            around = 0.5 * np.float64(line[x - 3] - (before << 40) + line[x + 3] - (after << 40))
            own = total - around - mean * (n - 0.5 * (before + after))
            value = own / (deviation * np.sqrt(n + 0.25 * (before + after)))
            if value > found[0]:
                found[0], found[1], found[2] = value, d / max(height - 1, 1), x - height
