"""Numbers rounded to the printed digits: a native loop, for the millions of numbers of a survey's tables."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import native

_ROUNDING = 2.0**52
"""To add this to a number from 0 to 2^51 leaves no room for digits behind the point: the sum is rounded."""

_numbers = types.Array(types.float64, 1, "C", readonly=True)


_rows = types.Array(types.int64, 1, "C", readonly=True)


@native(types.int64(_numbers, _rows, _numbers, types.int64, types.float64, types.float64[::1], types.int64[::1]))
def round_digits(values: Any, rows: Any, powers: Any, most: Any, undecided: Any, rounded: Any, left: Any) -> Any:
    """Round numbers as `gpuanom.digits.printed_values` explains, and list those whose rounding is not certain.

    Parameters
    ----------
    values : ndarray, (m,) float64
    rows : ndarray, (n,) int64
        The indices of the numbers that are wanted; empty where all are wanted in their order, so that n is m.
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
    n_left, exponent = 0, 0
    least, most_powers = powers[most - 1], len(powers)
    all_rows = len(rows) == 0
    for i in range(len(rounded)):
        value = values[i if all_rows else rows[i]]
        size = abs(value)
        if not 0.0 < size < np.inf:
            rounded[i] = value
            continue
        # The numbers of a column have about the same size: the power of ten is looked for from the last one on.
        for _ in range(2 * most_powers):
            power = powers[abs(exponent)]
            scaled = size / power if exponent < 0 else size * power
            if scaled < least:
                exponent += 1
            elif scaled >= least * 10.0:
                exponent -= 1
            else:
                break
            if abs(exponent) == most_powers:
                break
        if abs(exponent) == most_powers:
            exponent = 0
            left[n_left] = i
            n_left += 1
            continue
        digits = (scaled + _ROUNDING) - _ROUNDING
        if abs(abs(scaled - digits) - 0.5) <= undecided:
            left[n_left] = i
            n_left += 1
            continue
        result = digits * power if exponent < 0 else digits / power
        rounded[i] = result if value > 0.0 else -result
    return n_left
