"""What the map of one CCD shows beyond its static pattern: a native loop for `background_map.glow` and `edge`.

A survey has a million maps, and threads make them side by side, without the interpreter's lock. The definitions are
those of `gpuanom.statistics.background_map`, whose functions the tests compare this loop with (METHOD.md 9.4, 9.7).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from gpuanom.native import helper, native
from gpuanom.records import MAP_STEP, NO_CELL, Doubles, FloatImage
from gpuanom.statistics.background_map import EDGE_CELLS, SMOOTH
from gpuanom.statistics.running_median import median_numbers_of

RADIUS = int(4.0 * SMOOTH + 0.5)
"""Cells on either side of the middle that the Gaussian of the glow reaches, as in SciPy."""
_MOST, _STEP, _NONE = EDGE_CELLS, MAP_STEP, NO_CELL


@cache
def gaussian() -> Doubles:
    """Return the weights of the Gaussian of 1.5 cells, (2 RADIUS + 1,) float64, whose sum is 1."""
    heights = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / SMOOTH) ** 2)
    weights: Doubles = heights / heights.sum()
    return weights


@helper
def _smoothed(values: Any, weights: Any, between: Any, out: Any) -> None:
    """Convolve a map with the weights along both axes; beyond its edges the map is 0."""
    ny, nx = values.shape
    reach = len(weights) // 2
    for y in range(ny):
        for x in range(nx):
            total = 0.0
            for k in range(max(0, y - reach), min(ny, y + reach + 1)):
                total += weights[k - y + reach] * values[k, x]
            between[y, x] = total
    for y in range(ny):
        for x in range(nx):
            total = 0.0
            for k in range(max(0, x - reach), min(nx, x + reach + 1)):
                total += weights[k - x + reach] * between[y, k]
            out[y, x] = total


_cells = types.Array(types.int8, 2, "C", readonly=True)
_map = types.Array(types.float32, 2, "C", readonly=True)
_weights = types.Array(types.float64, 1, "C", readonly=True)


@native(types.void(_cells, _map, _weights, types.float64[::1]))
def of_map(stored: Any, usual: Any, weights: Any, out: Any) -> None:
    """Compute glow, edge and rms of one map less its static pattern.

    Parameters
    ----------
    stored : ndarray, (my, mx) int8
        The map as it is stored, see `background_map.encoded`.
    usual : ndarray, (my, mx) float32
        The static pattern, in sigma; NaN where it has no value.
    weights : ndarray, (2 RADIUS + 1,) float64
        From `gaussian`.
    out : ndarray, (3,) float64
        Out: glow, edge and rms, in sigma; NaN where no cell has a value.
    """
    ny, nx = stored.shape
    left, known = np.zeros((ny, nx)), np.zeros((ny, nx))
    values = np.empty(ny * nx)
    n, total = 0, 0.0
    for y in range(ny):
        for x in range(nx):
            value = np.float64(np.float32(stored[y, x] * _STEP)) - np.float64(usual[y, x])
            if stored[y, x] != _NONE and np.isfinite(value):
                left[y, x], known[y, x], values[n] = value, 1.0, value
                n, total = n + 1, total + value
    out[:] = np.nan
    if n == 0:
        return
    mean, square = total / n, 0.0
    for i in range(n):
        square += (values[i] - mean) ** 2
    between, smooth, weight = np.empty((ny, nx)), np.empty((ny, nx)), np.empty((ny, nx))
    _smoothed(left, weights, between, smooth)
    _smoothed(known, weights, between, weight)
    middle = 0.0
    if n < ny * nx:
        middle = np.median(values[:n])
    largest = -np.inf
    for y in range(ny):
        for x in range(nx):
            if known[y, x] == 1.0:
                largest = max(largest, smooth[y, x] / weight[y, x])
            else:
                left[y, x] = middle
    flat = left.reshape(-1)
    order = np.argsort(flat)
    numbers, medians = np.empty(ny * nx, np.int64), np.empty((ny, nx), np.int64)
    for i in range(ny * nx):
        numbers[order[i]] = i
    median_numbers_of(numbers.reshape((ny, nx)), medians)
    k = 0
    for y in range(ny):
        for x in range(nx):
            if known[y, x] == 1.0:
                values[k] = abs(left[y, x] - flat[order[medians[y, x]]])
                k += 1
    values[:n].sort()
    most = min(n, _MOST)
    total = 0.0
    for i in range(n - most, n):
        total += values[i]
    out[0], out[1], out[2] = largest, total / most, np.sqrt(square / n)


def beyond_pattern(stored: npt.NDArray[np.int8], usual: FloatImage) -> Doubles:
    """Return what the map of one CCD shows beyond its static pattern.

    Parameters
    ----------
    stored : ndarray, (my, mx) int8
        The map as it is stored, see `background_map.encoded`.
    usual : ndarray, (my, mx) float32
        The static pattern, scaled to the exposure, in sigma.

    Returns
    -------
    ndarray, (3,) float64
        Glow, edge and rms, in sigma; NaN where no cell has a value.
    """
    found = np.empty(3)
    of_map(np.ascontiguousarray(stored), np.ascontiguousarray(usual), gaussian(), found)
    return found
