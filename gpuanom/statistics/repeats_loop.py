"""The peaks of a table of pairs of stars, and what chance gives around each: a native loop (METHOD.md 11)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from gpuanom.native import helper, native

_plane = types.float64[:, ::1]


@helper
def _sums(values: Any) -> Any:
    """The sums over all earlier rows and columns of a table: (n_rows + 1, n_columns + 1)."""
    n_rows, n_columns = values.shape
    total = np.zeros((n_rows + 1, n_columns + 1))
    for row in range(n_rows):
        of_row = 0.0
        for column in range(n_columns):
            of_row += values[row, column]
            total[row + 1, column + 1] = total[row, column + 1] + of_row
    return total


@helper
def _box(total: Any, i: Any, j: Any, rows: Any, columns: Any) -> Any:
    """The sum over the 2 x 2 bins of peak (i, j) and those up to so many rows and columns beyond, within the table."""
    top, bottom = max(0, i - rows), min(total.shape[0] - 1, i + 2 + rows)
    left, right = max(0, j - columns), min(total.shape[1] - 1, j + 2 + columns)
    return (total[bottom, right] - total[top, right]) - (total[bottom, left] - total[top, left])


@helper
def _around(total: Any, i: Any, j: Any, box: Any) -> Any:
    """The sum over the surroundings of peak (i, j) of one kind; `box` is a row of `boxes` of `count_bins`."""
    return _box(total, i, j, box[0], box[1]) - _box(total, i, j, box[2], box[3])


@native(types.void(_plane, types.int64[:, ::1], types.float64[:, :, ::1]))
def count_bins(known: Any, boxes: Any, bins: Any) -> None:
    """Count the bins of the surroundings of each peak.

    Parameters
    ----------
    known : ndarray, (n_rows, n_columns) float64
        1 for the bins that tell what chance gives, else 0.
    boxes : ndarray, (n, 4) int64
        The kinds of surroundings: rows and columns beyond the peak up to which they reach, and those that are left out.
    bins : ndarray, (n, n_rows - 1, n_columns - 1) float64
        Out: at least 1.
    """
    total = _sums(known)
    for k in range(bins.shape[0]):
        for i in range(bins.shape[1]):
            for j in range(bins.shape[2]):
                bins[k, i, j] = max(_around(total, i, j, boxes[k]), 1.0)


@native(types.void(_plane, _plane, types.boolean[:, ::1], types.int64[:, ::1], types.float64[:, :, ::1], types.float64,
                   _plane, _plane, _plane))  # fmt: skip
def find_peaks(counts: Any, known: Any, looked_at: Any, boxes: Any, bins: Any, least: Any, peaks: Any, expected: Any,
               evidence: Any) -> None:  # fmt: skip
    """Add the 2 x 2 bins of each peak, and find what chance gives there.

    Parameters
    ----------
    counts : ndarray, (n_rows, n_columns) float64
        Whole numbers, so that their sums have no rounding.
    known, boxes, bins
        See `count_bins`.
    looked_at : ndarray, (n_rows - 1, n_columns - 1) bool
        The peaks that are looked at.
    least : float
        What chance is granted at least.
    peaks, expected, evidence : ndarray, (n_rows - 1, n_columns - 1) float64
        Out: the sum of each peak; for those that are looked at the largest of the means over the surroundings, for as
        many bins as a peak has; and Chernoff's bound of -ln P for so many where so many are expected, else -1.
    """
    total = _sums(counts * known)
    for i in range(peaks.shape[0]):
        for j in range(peaks.shape[1]):
            found = counts[i, j] + counts[i + 1, j] + counts[i, j + 1] + counts[i + 1, j + 1]
            peaks[i, j], expected[i, j], evidence[i, j] = found, least, -1.0
            if looked_at[i, j]:
                chance = least
                for k in range(len(boxes)):
                    chance = max(chance, 4.0 * (_around(total, i, j, boxes[k]) / bins[k, i, j]))
                expected[i, j], evidence[i, j] = chance, 0.0
                if found > chance:
                    evidence[i, j] = found * math.log(found / chance) - (found - chance)
