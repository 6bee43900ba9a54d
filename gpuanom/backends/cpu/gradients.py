"""Smoothed gradients at random points, the twin of kernels/gradients.cu (METHOD.md 4, eqs. 6 and 7).

Mean filter and derivative sums are one linear filter on a patch of raw pixels: Dx has weights B[v] K[u], Dy K[v] B[u],
with K antisymmetric and B symmetric about the patch's middle. For Dx columns are summed by B and mirrored columns then
subtracted; for Dy mirrored rows are subtracted first: all columns (rows) of a pure row (column) pattern then differ by
0, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from gpuanom.backends.cpu import polynomial
from gpuanom.backends.cpu.pixels import DOUBLES, IMAGE, MASK, NO_MASK, UNFIT_GRADIENTS
from gpuanom.backends.gradient_filter import filter_weights
from gpuanom.native import doubles, native, prefetch_row
from gpuanom.records import Background, CcdStack, Doubles, FloatImage, Gradients, Integers
from gpuanom.settings import Settings

AHEAD = 2
"""How many patches before its turn a patch is asked for from memory."""


def gradients(stack: CcdStack, points: npt.NDArray[np.int32], background: Background, settings: Settings) -> Gradients:
    """See `gpuanom.backends.protocol.Backend.gradients`."""
    n_ccd, ny, nx = stack.shape
    along, across = filter_weights(settings.smooth_size, settings.gradient_reach)
    gain = settings.gradient_reach * (2 * settings.gradient_reach + 1)
    parts: list[tuple[Integers, Doubles, Doubles, Doubles, Doubles]] = []
    for i in range(n_ccd):
        if not background.usable[i]:
            continue
        bad = None if stack.bad is None else stack.bad[i]
        used, dx, dy = _usable(stack.images[i], bad, points[i], settings.gradient_points, along, across)
        # The patch's middle lies half a pixel before the point, and a quadratic's answer is its slope there.
        Y, X = polynomial.scaled(used[:, 0] - 0.5, ny), polynomial.scaled(used[:, 1] - 0.5, nx)
        sky_x, sky_y = polynomial.slope(background.coefficients[i], Y, X, ny, nx)
        parts.append((np.full(len(used), i), dx, dy, dx - gain * sky_x, dy - gain * sky_y))
    if not parts:
        empty = np.zeros(0)
        return Gradients(np.zeros(0, dtype=np.int64), empty, empty, empty, empty, np.zeros(n_ccd, dtype=np.int64))
    ccd, dx, dy, flat_dx, flat_dy = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Gradients(ccd, dx, dy, flat_dx, flat_dy, np.bincount(ccd, minlength=n_ccd))


def _usable(
    image: FloatImage,
    bad: npt.NDArray[np.uint8] | None,
    drawn: npt.NDArray[np.int32],
    wanted: int,
    along: Doubles,
    across: Doubles,
) -> tuple[npt.NDArray[np.int32], Doubles, Doubles]:
    """The first `wanted` drawn points with usable patches: (n, 2) points, Dx and Dy."""
    used, sums, start, missing = [drawn[:0]], [np.zeros((2, 0))], 0, wanted
    while missing and start < len(drawn):
        batch = drawn[start : start + missing]
        start += len(batch)
        found = np.empty((2, len(batch)))
        filter_patches(image, NO_MASK if bad is None else bad, batch, along, across, found)
        good = ~np.isnan(found[0])
        used.append(batch[good])
        sums.append(found[:, good])
        missing -= int(np.count_nonzero(good))
    dx, dy = np.concatenate(sums, axis=1)
    return np.concatenate(used), dx, dy


@native(
    types.void(IMAGE, MASK, types.Array(types.int32, 2, "C", readonly=True), DOUBLES, DOUBLES, types.float64[:, ::1])
)
def filter_patches(image: Any, bad: Any, points: Any, along: Any, across: Any, sums: Any) -> None:
    """The fused filter at some points.

    Parameters
    ----------
    image : ndarray, (ny, nx) float32
    bad : ndarray, (ny, nx) uint8
        `Unfit` bits, or `NO_MASK`.
    points : ndarray, (n, 2) int32
    along : ndarray, (half,) float64
        K on one side of the patch's middle.
    across : ndarray, (2 half,) float64
        B.
    sums : ndarray, (2, n) float64
        Dx and Dy; NaN where the patch holds a bad pixel.
    """
    ny = len(image)
    n, half, size = len(points), len(along), len(across)
    # In the order of their rows neighbours find each other's pixels in the cache.
    first = np.zeros(ny + 1, dtype=np.int64)
    for i in range(n):
        first[points[i, 0] + 1] += 1
    for y in range(ny):
        first[y + 1] += first[y]
    order = np.empty(n, dtype=np.int64)
    for i in range(n):
        order[first[points[i, 0]]] = i
        first[points[i, 0]] += 1
    columns, rows = doubles(size), doubles(size)
    for m in range(n):
        i, after = order[m], order[min(m + AHEAD, n - 1)]
        y0, x0 = points[i, 0] - half, points[i, 1] - half
        for k in range(size):
            prefetch_row(image, points[after, 0] - half + k, points[after, 1] - half, size)
        # Relative to the patch's first pixel, exactly: a constant added to the image changes no bit.
        zero = np.float64(image[y0, x0])
        columns[:] = 0.0
        rows[:] = 0.0
        for k in range(half):
            upper, lower = image[y0 + half + k, x0 : x0 + size], image[y0 + half - 1 - k, x0 : x0 + size]
            b, a = across[half + k], along[k]
            for j in range(size):
                high, low = np.float64(upper[j]) - zero, np.float64(lower[j]) - zero
                columns[j] += b * (high + low)
                rows[j] += a * (high - low)
        dx = dy = 0.0
        for k in range(half):
            dx += along[k] * (columns[half + k] - columns[half - 1 - k])
        for j in range(size):
            dy += across[j] * rows[j]
        spoilt = 0
        if len(bad):
            for y in range(y0, y0 + size):
                for x in range(x0, x0 + size):
                    spoilt |= bad[y, x] & UNFIT_GRADIENTS
        # Weights may be 0, but 0 times what is not finite is not finite either: such a pixel spoils both sums.
        good = spoilt == 0 and np.isfinite(dx) and np.isfinite(dy)
        sums[0, i], sums[1, i] = (dx, dy) if good else (np.nan, np.nan)
