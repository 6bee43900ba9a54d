"""Numbers of the CCDs of each exposure of a survey, a million CCDs: native loops that read each number once.

They do what `ccd_grid`, `worst_ccds` and `mean_vectors` beside this module do with NumPy for nights, in the same
order, and give the same bits. The CCDs of exposure i are those from `starts[i]` to `starts[i + 1]`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from gpuanom.native import native

_numbers = types.Array(types.float64, 1, "A", readonly=True)
_flags = types.Array(types.boolean, 1, "C", readonly=True)
_whole = types.Array(types.int64, 1, "C", readonly=True)
_out, _places = types.float64[::1], types.int64[::1]


@native(types.void(_numbers, _numbers, _whole, _flags, _whole, types.int64, types.boolean, _out, types.boolean[::1]))
def without_crossed(
    values: Any, normal: Any, names: Any, crossed: Any, starts: Any, least: Any, always: Any, left: Any, enough: Any
) -> None:
    """Subtract what is normal for each CCD, and leave out CCDs that a trail crosses.

    Where too few CCDs of an exposure are left, none is (`crossed_ccds.without_crossed`).

    Parameters
    ----------
    values : ndarray, (n_ccd,) float64
    normal : ndarray, (n_names,) float64
        What is normal for the CCD of each name.
    names : ndarray, (n_ccd,) int64
        Index of the CCD's name.
    crossed : ndarray, (n_ccd,) bool
    starts : ndarray, (n + 1,) int64
    least : int
        Exposures with fewer CCDs have no median.
    always : bool
        Whether none is left, too, where an exposure had too few from the beginning.
    left : ndarray, (n_ccd,) float64
        Out; NaN where nothing is left.
    enough : ndarray, (n,) bool
        Out: whether the exposure has a median.
    """
    for i in range(len(enough)):
        n_before, n_left = 0, 0
        for j in range(starts[i], starts[i + 1]):
            value = values[j] - normal[names[j]]
            n_before += math.isfinite(value)
            if crossed[j]:
                value = math.nan
            n_left += math.isfinite(value)
            left[j] = value
        enough[i] = n_left >= least
        if (always or n_before >= least) and n_left < least:
            for j in range(starts[i], starts[i + 1]):
                left[j] = math.nan


@native(types.void(_out, _numbers, _flags, _whole, _numbers, types.boolean, _out, _places))
def compare_with_medians(
    off: Any, middle: Any, enough: Any, starts: Any, error: Any, two_sided: Any, largest: Any, worst: Any
) -> None:
    """Compare a statistic of each CCD with the median of its exposure's CCDs (`worst_ccds.compare_ccds`).

    Parameters
    ----------
    off : ndarray, (n_ccd,) float64
        The statistic, which becomes how far each CCD is from the median.
    middle : ndarray, (n,) float64
        The median over the CCDs of each exposure.
    enough : ndarray, (n,) bool
        Whether the exposure has a median that counts.
    starts : ndarray, (n + 1,) int64
    error : ndarray, (n_ccd,) float64
        The unit of what is found, above 0; empty where there is none.
    two_sided : bool
        Whether the largest departure of either sign is looked for.
    largest : ndarray, (n,) float64
        Out: the largest departure; NaN without one.
    worst : ndarray, (n,) int64
        Out: the CCD with the largest departure, of equal ones the first; -1 without one.
    """
    has_error = len(error) > 0
    for i in range(len(middle)):
        subtracted = middle[i] if enough[i] else 0.0
        most, at = -math.inf, -1
        for j in range(starts[i], starts[i + 1]):
            value = off[j] - subtracted
            if has_error:
                value = value / error[j]
            off[j] = value
            compared = abs(value) if two_sided else value
            if compared > most and compared < math.inf:
                most, at = compared, j
        largest[i], worst[i] = most if at >= 0 else math.nan, at


@native(types.void(_numbers, types.int64, _out, _out, _places))
def keep_largest(found: Any, row: Any, largest: Any, best: Any, statistic: Any) -> None:
    """Keep the largest evidence of each CCD, and the statistic that has it (`gpuanom.scoring.evidence.null`).

    Parameters
    ----------
    found : ndarray, (n_ccd,) float64
        L of one statistic, NaN where there is none.
    row : int
        The number of the statistic.
    largest : ndarray, (n_ccd,) float64
        In and out: the largest L of the statistics so far, -inf without any.
    best : ndarray, (n_ccd,) float64
        In and out: the largest L, rounded to six digits behind the point as `numpy.round` does, or -1.
    statistic : ndarray, (n_ccd,) int64
        In and out: which statistic has that one; of equal ones the first.
    """
    for j in range(len(found)):
        value = found[j]
        if math.isnan(value):
            value = -1.0
        elif value > largest[j]:
            largest[j] = value
        if value > best[j] * (1.0 - 1e-15) - 1e-5:  # rounding changes a number by less
            rounded = np.rint(value * 1e6) / 1e6
            if rounded > best[j]:
                best[j], statistic[j] = rounded, row


@native(types.void(_numbers, _numbers, _numbers, _numbers, _whole, types.float64[:, ::1]))
def weighted_sums(weight: Any, v: Any, x: Any, y: Any, starts: Any, sums: Any) -> None:
    """Add up weights, and positions and values times the weights, over the CCDs of each exposure.

    Parameters
    ----------
    weight, v, x, y : ndarray, (n_ccd,) float64
    starts : ndarray, (n + 1,) int64
    sums : ndarray, (4, n) float64
        Out: of the weight alone, and times x, y and v.
    """
    for i in range(sums.shape[1]):
        w, wx, wy, wv = 0.0, 0.0, 0.0, 0.0
        for j in range(starts[i], starts[i + 1]):
            w += weight[j]
            wx += weight[j] * x[j]
            wy += weight[j] * y[j]
            wv += weight[j] * v[j]
        sums[0, i], sums[1, i], sums[2, i], sums[3, i] = w, wx, wy, wv


@native(types.void(_numbers, _numbers, _numbers, _numbers, _whole, types.float64[:, ::1], types.float64[:, ::1]))
def weighted_products(weight: Any, v: Any, x: Any, y: Any, starts: Any, centre: Any, sums: Any) -> None:
    """Add up products of what is left of positions and values without their means, times the weights.

    Parameters
    ----------
    weight, v, x, y : ndarray, (n_ccd,) float64
    starts : ndarray, (n + 1,) int64
    centre : ndarray, (3, n) float64
        Means of x, y and v.
    sums : ndarray, (5, n) float64
        Out: of xx, yy, xy, xv and yv.
    """
    for i in range(sums.shape[1]):
        xx, yy, xy, xv, yv = 0.0, 0.0, 0.0, 0.0, 0.0
        for j in range(starts[i], starts[i + 1]):
            dx, dy, dv = x[j] - centre[0, i], y[j] - centre[1, i], v[j] - centre[2, i]
            wx, wy = weight[j] * dx, weight[j] * dy
            xx += wx * dx
            yy += wy * dy
            xy += wx * dy
            xv += wx * dv
            yv += wy * dv
        sums[0, i], sums[1, i], sums[2, i], sums[3, i], sums[4, i] = xx, yy, xy, xv, yv
