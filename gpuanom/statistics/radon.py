"""Sums along all straight lines of a plane of bins, by halves: a native loop (METHOD.md 9.6).

The sum along a line of 2 h rows is that of its upper h rows and that of its lower h rows. A line that
moves by d columns over all its rows moves by d // 2 within each half, and by what is left between
the halves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import helper, native

MISSING = -1e300


@helper
def _merge(upper: Any, lower: Any, moved: Any, target: Any) -> None:
    """Add the sums of two halves, the lower one moved to the left."""
    n = len(target) - moved
    for x in range(n):
        target[x] = upper[x] + lower[np.uint64(x) + np.uint64(moved)]
    for x in range(n, len(target)):
        target[x] = upper[x]


@helper
def _contrast(line: Any, x: Any, mean: Any, least: Any) -> Any:
    """How far a line is above the mean of those three columns beside it, over the bins' deviation.

    `MISSING` where the line crosses fewer than `least` bins, or one beside it fewer than half as many.
    """
    n = (line[x] + (1 << 39)) >> 40
    if n < least:
        return MISSING
    one, other = line[x - 3], line[x + 3]
    before, after = (one + (1 << 39)) >> 40, (other + (1 << 39)) >> 40
    if 2 * before < n or 2 * after < n:
        return MISSING
    around = one + other - ((before + after) << 40)
    height = np.float64(line[x] - (n << 40)) - 0.5 * np.float64(around) - mean * (n - 0.5 * (before + after))
    return height / np.sqrt(n + 0.25 * (before + after))


@helper
def _highest(line: Any, mean: Any, least: Any, best: Any) -> Any:
    """The highest of parallel lines and its column; `best` and -1 if none is higher."""
    column = -1
    for x in range(3, len(line) - 3):
        value = _contrast(line, x, mean, least)
        if value > best:
            best, column = value, x
    return best, column


@helper
def _beside(line: Any, column: Any, mean: Any, least: Any) -> Any:
    """Of the lines that are parallel to one: the largest contrast more than 5 columns away, and the darkest nearer."""
    largest = darkest = 0.0
    for x in range(3, len(line) - 3):
        value = _contrast(line, x, mean, least)
        if value == MISSING:
            continue
        if abs(x - column) > 5:
            largest = max(largest, abs(value))
        else:
            darkest = max(darkest, -value)
    return largest, darkest


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
    found : ndarray, (5,) float64
        Out: height in standard deviations, columns a row, column at the first row; the largest height or depth of
        a line that is parallel to it and elsewhere, and the largest depth beside it; all 0 without a line.
    """
    rows, columns = plane.shape
    height = 1
    while height < rows:
        height *= 2
    width = columns + height
    sums = np.zeros((2, height, width), dtype=np.int64)
    for y in range(rows):
        for x in range(columns):
            sums[0, y, height + x] = plane[y, x]  # lines that begin left of the plane have room there
    half, now = 1, 0
    while half < height:
        for strip in range(0, height, 2 * half):
            for d in range(2 * half):
                upper = strip + d // 2
                _merge(sums[now, upper], sums[now, upper + half], (d + 1) // 2, sums[1 - now, strip + d])
        half, now = 2 * half, 1 - now
    best = 0.0
    for d in range(max(1, height // 64), height):
        best, column = _highest(sums[now, d], mean, least, best)
        if column >= 0:
            found[0], found[1], found[2] = best / deviation, d / max(height - 1, 1), column - height
            elsewhere, beside = _beside(sums[now, d], column, mean, least)
            found[3], found[4] = elsewhere / deviation, beside / deviation
