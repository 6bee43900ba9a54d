"""A native loop that sorts many short lists of numbers together.

Batcher's odd-even merge sort compares the same places whatever the values are. So no branch depends on the values, and
a processor compares 8 pairs at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuanom.native import helper

LANES = 32
"""Columns that are sorted at once."""


@helper
def power_of_two(n: Any) -> Any:
    """Return the least power of 2 that is at least n."""
    power = 1
    while power < n:
        power *= 2
    return power


@helper
def empty_columns(n: Any) -> Any:
    """Return memory for LANES columns of n numbers each, with as many rows as `sort_columns` needs."""
    return np.zeros((power_of_two(n), LANES))


@helper
def _compare(flat: Any, start: Any, n: Any) -> None:
    """Put the lesser of two numbers first, for n pairs that are n places apart.

    Places counted from 0 cannot wrap around: the compiler does several pairs at once, in a quarter of the time.
    """
    low, high = np.uint64(start), np.uint64(start + n)
    for x in range(np.uint64(n)):
        one, other = flat[low + x], flat[high + x]
        lesser = one if one < other else other
        greater = other if one < other else one
        flat[low + x] = lesser
        flat[high + x] = greater


@helper
def sort_columns(values: Any) -> None:
    """Sort each column of numbers.

    Parameters
    ----------
    values : ndarray, (a power of 2, LANES) float64
        Without NaN; sorted in place.
    """
    (n, width), flat = values.shape, values.ravel()
    merged = 1
    while merged < n:
        apart = merged
        while apart >= 1:
            for start in range(apart % merged, n - apart, 2 * apart):
                if start // (2 * merged) != (start + apart) // (2 * merged):
                    continue
                _compare(flat, start * width, apart * width)
            apart //= 2
        merged *= 2
