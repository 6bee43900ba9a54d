"""Numbers rounded to the printed digits: a native loop, for the millions of numbers of a survey's tables."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from gpuanom.native import helper, native

_ROUNDING = 2.0**52
"""A sum of this and a number from 0 to 2^51 has no room for digits behind the point, and so is rounded."""

_numbers = types.Array(types.float64, 1, "C", readonly=True)
_rows = types.Array(types.int64, 1, "C", readonly=True)


@native(
    types.int64(
        *(_numbers, _rows, _rows, _numbers, _numbers, _numbers, types.int64, types.float64, types.float64[::1]),
        types.int64[::1],
    )
)
def round_digits(
    values: Any, bits: Any, rows: Any, bounds: Any, scales: Any, powers: Any, most: Any, undecided: Any,
    rounded: Any, left: Any,
) -> Any:  # fmt: skip
    """Round numbers as `gpuanom.digits.printed_values` explains, and list those whose rounding is not certain.

    Parameters
    ----------
    values : ndarray, (m,) float64
    bits : ndarray, (m,) int64
        The same memory: bits 52 to 62 are the exponent of 2.
    rows : ndarray, (n,) int64
        The indices of the numbers that are wanted; empty where all are wanted in their order, so that n is m.
    bounds : ndarray, (2048,) float64
        For each exponent of 2 the power of ten that lies among its numbers, if one does.
    scales : ndarray, (4096,) float64
        For each exponent of 2, below that power of ten and from it on, the exact power of ten which makes whole numbers
        of `most` digits of its numbers; NaN where there is none.
    powers : ndarray of float64
        1, 10, 100 ...: the powers of ten that are exact.
    most : int
        Number of digits.
    undecided : float
        A scaled number that lies closer than this to a half is left.
    rounded : ndarray, (n,) float64
        Out, except of the numbers that are left.
    left : ndarray, (n,) int64
        Out: the indices of the numbers that are left.

    Returns
    -------
    int
        How many are left.
    """
    n_left = 0
    all_rows = len(rows) == 0
    for i in range(len(rounded)):
        row = np.uint64(i if all_rows else rows[i])
        value = values[row]
        size = abs(value)
        exponent = np.uint64(bits[row] >> 52) & np.uint64(2047)
        scale = scales[np.uint64(2) * exponent + np.uint64(size >= bounds[exponent])]
        scaled = size * scale
        digits = (scaled + _ROUNDING) - _ROUNDING
        # Whatever is not plain makes this comparison false.
        if abs(abs(scaled - digits) - 0.5) > undecided:
            rounded[i] = math.copysign(digits / scale, value)
        elif not 0.0 < size < np.inf:
            rounded[i] = value
        else:
            found = _rounded_large(size, powers, most, undecided)
            if math.isnan(found):
                left[n_left] = i
                n_left += 1
            else:
                rounded[i] = math.copysign(found, value)
    return n_left


@helper
def _rounded_large(size: Any, powers: Any, most: Any, undecided: Any) -> Any:
    """A number of more than `most` digits before the point, which is divided by a power of ten; NaN for what is left.

    Parameters
    ----------
    size : float64
        Above 0.
    powers, most, undecided
        See `round_digits`.
    """
    for k in range(1, len(powers)):
        scaled = size / powers[k]
        if scaled < powers[most - 1]:
            return math.nan
        if scaled < powers[most]:
            digits = (scaled + _ROUNDING) - _ROUNDING
            return math.nan if abs(abs(scaled - digits) - 0.5) <= undecided else digits * powers[k]
    return math.nan
