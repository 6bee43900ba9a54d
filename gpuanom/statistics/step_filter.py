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
    n_places = found.shape[1]
    for i in range(len(sums)):
        for k in range(n_places):
            place = reach + k * stride
            before = after = n_before = n_after = 0
            for y in range(place - reach, place):
                before += sums[i, y]
                n_before += counts[i, y]
            for y in range(place, place + reach):
                after += sums[i, y]
                n_after += counts[i, y]
            if 4 * min(n_before, n_after) < reach * width:
                found[i, k] = np.nan
                continue
            # An axis of no pixels has no sums, and divides nothing by nothing.
            n_before, n_after = max(n_before, 1), max(n_after, 1)
            step = after / n_after - before / n_before
            found[i, k] = step * unit / np.sqrt(1.0 / n_before + 1.0 / n_after)
