"""The cells of the maps of the residual sky, from sums to stored steps: native loops (METHOD.md 9.2 and 9.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import native
from gpuanom.sums_and_medians import pairwise_sum

_sums = types.Array(types.int64, 1, "C", readonly=True)
_values = types.Array(types.float32, 1, "C", readonly=True)
_maps_of_sums = types.Array(types.int64, 2, "C", readonly=True)
_maps = types.Array(types.float32, 2, "C", readonly=True)
_window = types.Array(types.float64, 1, "C", readonly=True)


@native(types.void(_sums, _sums, types.int64, types.float64, types.float32[::1]))
def cell_means(sums: Any, counts: Any, area: Any, step: Any, found: Any) -> None:
    """Find the mean of the residual sky in each cell.

    Parameters
    ----------
    sums, counts : ndarray, (n,) int64
        Of each cell: the sum in steps, and the number of pixels.
    area : int
        Pixels of a cell.
    step : float
        One step, sigma.
    found : ndarray, (n,) float32
        Out, in sigma; NaN where fewer than a quarter of the cell's pixels are left.
    """
    for i in range(len(sums)):
        found[i] = np.nan
        if counts[i] > 0 and 4 * counts[i] >= area:
            found[i] = sums[i] * step / counts[i]


@native(types.void(_values, types.float64, types.int64, types.int8[::1]))
def cell_steps(values: Any, step: Any, none: Any, found: Any) -> None:
    """Round each cell to a step from -127 to 127.

    Parameters
    ----------
    values : ndarray, (n,) float32
        NaN where a cell has no value.
    step : float
        In the unit of the values.
    none : int
        Stands for no value.
    found : ndarray, (n,) int8
        Out.
    """
    for i in range(len(values)):
        rounded = np.rint(np.float64(values[i]) / step)
        found[i] = none if np.isnan(rounded) else np.int64(min(max(rounded, -127.0), 127.0))


@native(types.void(_maps_of_sums, _maps_of_sums, types.int64[:, ::1], types.boolean[:, ::1]))
def hidden_cells(counts: Any, usable: Any, totals: Any, hidden: Any) -> None:
    """Find the cells of which sources hide more than three quarters.

    Parameters
    ----------
    counts, usable : ndarray, (n_ccd, n) int64
        Of each cell: the number of pixels that are not masked, and of those that are not bad.
    totals : ndarray, (2, n_ccd) int64
        Out: the sums of both over all cells.
    hidden : ndarray, (n_ccd, n) bool
        Out.
    """
    for i in range(counts.shape[0]):
        n_left = n_usable = 0
        for k in range(counts.shape[1]):
            n_left += counts[i, k]
            n_usable += usable[i, k]
            hidden[i, k] = usable[i, k] > 0 and 4 * counts[i, k] < usable[i, k]
        totals[0, i], totals[1, i] = n_left, n_usable


@native(types.void(_maps, _window, types.float64[:, ::1]))
def windowed(values: Any, window: Any, found: Any) -> None:
    """Take the mean off each map, and multiply the map by a window.

    Parameters
    ----------
    values : ndarray, (n_ccd, n) float32
        NaN where a cell has no value.
    window : ndarray, (n,) float64
    found : ndarray, (n_ccd, n) float64
        Out: 0 where a cell has no value, and everywhere where fewer than half of a map's cells have one. Sums are added
        as NumPy adds them.
    """
    for i in range(values.shape[0]):
        n = 0
        for k in range(values.shape[1]):
            known = np.isfinite(values[i, k])
            n += known
            found[i, k] = values[i, k] if known else 0.0
        mean = pairwise_sum(found[i]) / n if n > 0 else 0.0
        for k in range(values.shape[1]):
            used = 2 * n >= values.shape[1] and np.isfinite(values[i, k])
            found[i, k] = window[k] * (found[i, k] - mean) if used else 0.0
