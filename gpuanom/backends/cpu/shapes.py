"""Weighted moments of the brightest sources of each CCD, the twin of kernels/shapes.cu (METHOD.md 10).

Every sum has the order of the CUDA kernel: a column's rows one after the other, then the columns by halves. So both
backends find the same bits, and the iteration of the weight's width takes the same way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.backends.cpu import polynomial
from gpuanom.backends.cpu.pixels import DOUBLES, FINITE, IMAGE, MASK, NO_MASK, PIXELS, UNFIT, UNFIT_SOURCES, fill_row
from gpuanom.backends.limits import FIRST_WIDTH, FOR_WIDTH, SHAPES_A_CCD, SIGNAL_TO_NOISE, WIDTH_ROUNDS
from gpuanom.native import doubles, helper, native, prefetch_row, sort
from gpuanom.records import Background, CcdStack, Integers, Shapes, Sources
from gpuanom.settings import Settings

LEAST_WIDTH, MOST_WIDTH, GROWTH = 0.7, 7.5, 1.5
"""Bounds of the weight's width, in pixels, and by how much it grows at most from round to round."""
MOVED = 0.04
"""The width is found when it moves by less than this share."""
PASSES, NEAR = 8, 0.01
"""A centroid is found when it moves by less than `NEAR` pixels, within so many passes."""
ROOT_PI = 1.7724538509055159


def shapes(stack: CcdStack, background: Background, sources: Sources, settings: Settings) -> Shapes:
    """See `gpuanom.backends.protocol.Backend.shapes`."""
    n_ccd, ny, nx = stack.shape
    result = Shapes(
        centre=np.full((n_ccd, SHAPES_A_CCD, 2), np.nan),
        moments=np.full((n_ccd, SHAPES_A_CCD, 6), np.nan),
        spoilt=np.zeros((n_ccd, SHAPES_A_CCD), dtype=np.uint8),
        width=np.full(n_ccd, np.nan),
    )
    for i in range(n_ccd):
        if not background.usable[i]:
            continue
        chosen = brightest(stack, i, sources, settings)
        bad = NO_MASK if stack.bad is None else stack.bad[i]
        terms = polynomial.terms(background.coefficients[i], ny, nx)
        result.width[i] = measure_shapes(
            stack.images[i], bad, *terms, chosen, settings.stamp_size, stack.saturation[i], background.sigma[i],
            result.centre[i], result.moments[i], result.spoilt[i],
        )  # fmt: skip
    return result


def brightest(stack: CcdStack, ccd: int, sources: Sources, settings: Settings) -> Integers:
    """Return the brightest sources of a CCD, y nx + x, brightest first; of equal ones the first in (y, x) order."""
    nx = stack.shape[2]
    start, end = np.searchsorted(sources.ccd, (ccd, ccd + 1))
    y, x, value = sources.y[start:end], sources.x[start:end], sources.value[start:end]
    saturated = stack.images[ccd][y, x] >= stack.saturation[ccd]
    real = np.flatnonzero((sources.n_isophote[start:end] >= settings.isophote_pixels) & ~saturated)
    pixel = y[real] * nx + x[real]
    first: Integers = pixel[np.lexsort((pixel, -value[real]))][:SHAPES_A_CCD]
    return first


@helper
def _weights(first: Any, n: Any, centre: Any, width: Any, weights: Any) -> None:
    """Fill `weights` with exp(-d^2 / (2 width^2)) for n distances d = first - centre, and one more each.

    The exponential is a series at a 64th of its argument, squared six times: products and sums alone, which have the
    same bits everywhere, and right to 1e-9.
    """
    scale = 1.0 / (128.0 * (width * width))
    for j in range(n):
        d = np.float64(first + j) - centre
        t = -(d * d) * scale
        e = 2.48015873015873e-05
        e = e * t + 0.0001984126984126984
        e = e * t + 0.001388888888888889
        e = e * t + 0.008333333333333333
        e = e * t + 0.041666666666666664
        e = e * t + 0.16666666666666666
        e = e * t + 0.5
        e = e * t + 1.0
        e = e * t + 1.0
        e = e * e
        e = e * e
        e = e * e
        e = e * e
        e = e * e
        weights[j] = e * e


@helper
def _add_row(row: Any, weight: Any, dy: Any, sums: Any, first: Any) -> None:
    """Add a row to the columns' weighted sums of v, v dy, v dy^2 and v dy^4; unusable pixels count as 0."""
    n = len(row)
    by_dy = weight * dy
    by_dy2 = by_dy * dy
    by_dy4 = (by_dy2 * dy) * dy
    of_1, of_dy = sums[0, first : first + n], sums[1, first : first + n]
    of_dy2, of_dy4 = sums[2, first : first + n], sums[3, first : first + n]
    for j in range(n):
        v = row[j] if row[j] > UNFIT else 0.0
        of_1[j] += weight * v
        of_dy[j] += by_dy * v
        of_dy2[j] += by_dy2 * v
        of_dy4[j] += by_dy4 * v


@helper
def _totals(sums: Any, weights: Any, left: Any, first: Any, centre: Any, terms: Any, totals: Any) -> None:
    """Fill `totals` with Q00, Q10, Q01, Q20, Q02, Q11 and the sum of w v r^4, from the columns' sums.

    Columns are added by halves, 64, 32 ... 2, which is the order of a warp's sum. Distances along x go from
    left - centre on, and the window's first column is `first` of the 64.
    """
    terms[:] = 0.0
    for j in range(len(weights)):
        at = first + j
        dx = np.float64(left + j) - centre
        dx2 = dx * dx
        of_1, of_dy, of_dy2 = weights[j] * sums[0, at], weights[j] * sums[1, at], weights[j] * sums[2, at]
        terms[0, at], terms[1, at], terms[2, at] = of_1, of_1 * dx, of_dy
        terms[3, at], terms[4, at], terms[5, at] = of_1 * dx2, of_dy2, of_dy * dx
        terms[6, at] = (of_1 * dx2) * dx2 + 2.0 * (of_dy2 * dx2) + weights[j] * sums[3, at]
    for k in range(7):
        term = terms[k]
        step = 32
        while step > 0:
            for j in range(step):
                term[j] += term[j + step]
            step //= 2
        totals[k] = term[0]


@helper
def _is_spoilt(
    image: Any, bad: Any, saturation: Any, y0: Any, x0: Any, half: Any, row: Any, column: Any, reach: Any
) -> Any:
    """Whether any pixel of the square around (row, column), counted from the central pixel, is saturated or unusable.

    The square ends where the stamp does.
    """
    n = 0
    for i in range(max(-half, row - reach), min(half - 1, row + reach) + 1):
        for j in range(max(-half, column - reach), min(half - 1, column + reach) + 1):
            pixel = image[y0 + i, x0 + j]
            n += (not abs(pixel) <= FINITE) or pixel >= saturation
            if len(bad):
                n += bad[y0 + i, x0 + j] & UNFIT_SOURCES != 0
    return n > 0


@helper
def _mode(ordered: Any, n: Any) -> Any:
    """Half-sample mode of the logarithms of the first n ordered numbers: the densest half again and again."""
    low = 0
    while n > 2:
        if n == 3:
            lower, upper = ordered[low + 1] / ordered[low], ordered[low + 2] / ordered[low + 1]
            if lower == upper:
                return ordered[low + 1]
            low += 1 if upper < lower else 0
            n = 2
        else:
            m = (n + 1) // 2
            at, least = low, np.inf
            for i in range(low, low + n - m + 1):
                ratio = ordered[i + m - 1] / ordered[i]
                if ratio < least:
                    at, least = i, ratio
            low, n = at, m
    return ordered[low] if n == 1 else np.sqrt(ordered[low] * ordered[low + 1])


@helper
def _next_width(moments: Any, spoilt: Any, n: Any, width: Any) -> Any:
    """Width of the stars of the first n sources, by the mode of T under a weight of this width; NaN without any."""
    sizes = np.empty(n)
    m = 0
    for i in range(n):
        if moments[i, 1] >= SIGNAL_TO_NOISE and spoilt[i] == 0:
            sizes[m] = moments[i, 2]
            m += 1
    if m == 0:
        return np.nan
    sort(sizes[:m])
    size = _mode(sizes, (m + 1) // 2)
    # The size without the weight; where the weight is hardly larger than what it weights, it must grow.
    inverse = 1.0 / size - 1.0 / (2.0 * (width * width))
    most = min(MOST_WIDTH, GROWTH * width)
    if not inverse > 0.5 / (most * most):
        return most
    return max(LEAST_WIDTH, np.sqrt(0.5 / inverse))


_table = types.Array(types.float64, 2, "C")


@native(
    types.float64(
        IMAGE, MASK, DOUBLES, DOUBLES, DOUBLES, DOUBLES, PIXELS, types.int64, types.float32, types.float64,
        _table, _table, types.uint8[::1],
    )
)  # fmt: skip
def measure_shapes(
    image: Any,
    bad: Any,
    offset: Any,
    slope: Any,
    across: Any,
    bend: Any,
    chosen: Any,
    size: Any,
    saturation: Any,
    sigma: Any,
    centre: Any,
    moments: Any,
    spoilt: Any,
) -> Any:
    """Measure the chosen sources, y nx + x, of a CCD, under the weight of their own width; see `Shapes` for the rest.

    Returns
    -------
    float
        The weight's width; NaN where no source is bright enough, and then no source has moments.
    """
    nx, half = image.shape[1], size // 2
    sums, weights = doubles(4 * 64).reshape(4, 64), doubles(64)
    heights, terms, totals = doubles(64), doubles(7 * 64).reshape(7, 64), np.empty(7)
    row = doubles(64)
    width, found = FIRST_WIDTH, False
    for round_ in range(WIDTH_ROUNDS + 1):
        n = len(chosen) if found else min(len(chosen), FOR_WIDTH)
        noise = sigma * (ROOT_PI * width)
        reach, core = int(4.0 * width) + 1, int(2.0 * width) + 1
        for k in range(n):
            y0, x0 = chosen[k] // nx, chosen[k] % nx
            after = chosen[min(k + 1, n - 1)]
            cy, cx = centre[k, 0] - np.float64(y0), centre[k, 1] - np.float64(x0)
            if not (abs(cy) <= np.float64(half) and abs(cx) <= np.float64(half)):
                cy = cx = 0.0
            moments[k, :] = np.nan
            centre[k, :] = np.nan
            spoilt[k] = 0
            for turn in range(PASSES):
                middle, column = int(np.floor(cy + 0.5)), int(np.floor(cx + 0.5))
                top, bottom = max(-half, middle - reach), min(half - 1, middle + reach)
                left, right = max(-half, column - reach), min(half - 1, column + reach)
                n_columns, n_rows = right - left + 1, bottom - top + 1
                _weights(left, n_columns, cx, width, weights)
                _weights(top, n_rows, cy, width, heights)
                sums[:] = 0.0
                for i in range(top, bottom + 1):
                    if turn == 0:
                        prefetch_row(image, after // nx + i, after % nx + left, n_columns)
                    fill_row(image, bad, offset, slope, across, bend, y0 + i, x0 + left, row[:n_columns])
                    _add_row(row[:n_columns], heights[i - top], np.float64(i) - cy, sums, left + half)
                _totals(sums, weights[:n_columns], left, left + half, cx, terms, totals)
                q00, qx, qy, q20 = totals[0], totals[1], totals[2], totals[3]
                q02, q11, fourth = totals[4], totals[5], totals[6]
                second = q20 + q02
                if not (q00 > 0.0 and second > 0.0):
                    break
                by_x, by_y, t = qx / q00, qy / q00, second / q00
                if abs(by_x) < NEAR and abs(by_y) < NEAR:
                    centre[k, 0], centre[k, 1] = np.float64(y0) + cy, np.float64(x0) + cx
                    moments[k, 0], moments[k, 1], moments[k, 2] = q00, q00 / noise, t
                    moments[k, 3], moments[k, 4] = (q20 - q02) / second, 2.0 * q11 / second
                    moments[k, 5] = q00 * fourth / (second * second)
                    spoilt[k] = _is_spoilt(image, bad, saturation, y0, x0, half, middle, column, core)
                    break
                # The weight pulls a Gaussian's centroid back by this share of its distance.
                share = max(0.25, 1.0 - t / (2.0 * (width * width)))
                cy += max(-width, min(width, by_y / share))
                cx += max(-width, min(width, by_x / share))
                if not (abs(cy) <= np.float64(half // 2) and abs(cx) <= np.float64(half // 2)):
                    break
        if found:
            return width
        new = _next_width(moments, spoilt, n, width)
        if not new > 0.0:
            moments[:] = np.nan
            centre[:] = np.nan
            spoilt[:] = 0
            return np.nan
        found = abs(new - width) < MOVED * width or round_ == WIDTH_ROUNDS - 1
        width = width if found else new
    return width
