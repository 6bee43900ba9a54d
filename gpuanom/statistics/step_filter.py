"""The step filter of profiles of rows and columns: a native loop (METHOD.md 9.3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import native

_profiles = types.Array(types.int64, 2, "C", readonly=True)


@native(types.void(_profiles, _profiles, types.int64, types.int64, types.int64, types.float64, types.float32[:, ::1]))
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
