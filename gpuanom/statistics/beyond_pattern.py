"""Glow, edge and rms of the map of one CCD less its static pattern, in native loops (METHOD.md 9.4, 9.7).

A survey has a million maps. Several threads work on them at the same time, without the interpreter's lock. The
definitions are `glow` and `edge` of `gpuanom.statistics.background_map`; tests compare these loops with them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from gpuanom.native import helper, native, sort
from gpuanom.records import MAP_STEP, NO_CELL, Doubles, FloatImage
from gpuanom.statistics.background_map import EDGE_CELLS, SMOOTH
from gpuanom.statistics.running_median import median_numbers_of
from gpuanom.sums_and_medians import median, select

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
    between[:] = 0.0
    out[:] = 0.0
    # The innermost loops run along rows, so that they are vectorised.
    for y in range(ny):
        for k in range(max(0, y - reach), min(ny, y + reach + 1)):
            weight = weights[k - y + reach]
            for x in range(nx):
                between[y, x] += weight * values[k, x]
    for y in range(ny):
        for k in range(-reach, reach + 1):
            weight = weights[k + reach]
            for x in range(max(0, -k), min(nx, nx - k)):
                out[y, x] += weight * between[y, x + k]


_cells = types.Array(types.int8, 2, "C", readonly=True)
_map = types.Array(types.float32, 2, "C", readonly=True)
_weights = types.Array(types.float64, 1, "C", readonly=True)
_grid = types.float64[:, ::1]


@native(types.int64(_cells, _map, _weights, _grid, _grid, types.float64[::1]))
def glow_and_rms(stored: Any, usual: Any, weights: Any, left: Any, known: Any, out: Any) -> Any:
    """Take the static pattern off a map, and compute its glow and rms.

    Parameters
    ----------
    stored : ndarray, (my, mx) int8
        The map as it is stored, see `background_map.encoded`.
    usual : ndarray, (my, mx) float32
        The static pattern, in sigma; NaN where it has no value.
    weights : ndarray, (2 RADIUS + 1,) float64
        From `gaussian`.
    left : ndarray, (my, mx) float64
        Out: the map less its static pattern; the median of these values in cells without a value.
    known : ndarray, (my, mx) float64
        Out: 1 where the map has a value, else 0.
    out : ndarray, (3,) float64
        Out: glow and rms in the first and the last place, in sigma.

    Returns
    -------
    int
        Number of cells with a value; if it is 0, nothing is written to `out`.
    """
    ny, nx = stored.shape
    values = np.empty(ny * nx)
    n, total = 0, 0.0
    for y in range(ny):
        for x in range(nx):
            value = np.float64(np.float32(stored[y, x] * _STEP)) - np.float64(usual[y, x])
            left[y, x], known[y, x] = 0.0, 0.0
            if stored[y, x] != _NONE and np.isfinite(value):
                left[y, x], known[y, x], values[n] = value, 1.0, value
                n, total = n + 1, total + value
    if n == 0:
        return n
    mean, square = total / n, 0.0
    for i in range(n):
        square += (values[i] - mean) ** 2
    between, smooth, weight = np.empty((ny, nx)), np.empty((ny, nx)), np.empty((ny, nx))
    _smoothed(left, weights, between, smooth)
    _smoothed(known, weights, between, weight)
    middle = 0.0
    if n < ny * nx:
        middle = median(values[:n])
    largest = -np.inf
    for y in range(ny):
        for x in range(nx):
            if known[y, x] == 1.0:
                largest = max(largest, smooth[y, x] / weight[y, x])
            else:
                left[y, x] = middle
    out[0], out[2] = largest, np.sqrt(square / n)
    return n


@native(types.float64(_grid, _grid, types.int64[::1], types.int64))
def edges(left: Any, known: Any, order: Any, n: Any) -> Any:
    """Compute the mean of the largest magnitudes of a map less its running median.

    Parameters
    ----------
    left, known : ndarray, (my, mx) float64
        From `glow_and_rms`.
    order : ndarray, (my mx,) int64
        The indices that sort the values of the flattened `left`.
    n : int
        Number of cells with a value, at least 1.

    Returns
    -------
    float
        In sigma.
    """
    ny, nx = left.shape
    flat = left.reshape(-1)
    numbers, medians = np.empty(ny * nx, np.int64), np.empty((ny, nx), np.int64)
    for i in range(ny * nx):
        numbers[order[i]] = i
    median_numbers_of(numbers.reshape((ny, nx)), medians)
    values = np.empty(n)
    k = 0
    for y in range(ny):
        for x in range(nx):
            if known[y, x] == 1.0:
                values[k] = abs(left[y, x] - flat[order[medians[y, x]]])
                k += 1
    most = min(n, _MOST)
    select(values, n - most)
    highest = values[n - most :]
    sort(highest)
    total = 0.0
    for i in range(most):
        total += highest[i]
    return total / most


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
    found = np.full(3, np.nan)
    left, known = np.empty(stored.shape), np.empty(stored.shape)
    n = glow_and_rms(np.ascontiguousarray(stored), np.ascontiguousarray(usual), gaussian(), left, known, found)
    if n:
        # NumPy sorts four times as fast as a loop that Numba compiles.
        found[1] = edges(left, known, np.argsort(left, axis=None), n)
    return found
