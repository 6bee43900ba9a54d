"""Many short rows are sorted together by a native loop: no branch depends on the values, and processors do 8 at a time.

Batcher's odd-even merge sort compares the same places whatever the values are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuanom.native import helper

LANES = 32
"""So many columns are sorted at once."""


@helper
def sort_columns(values: Any) -> None:
    """Sort each column of numbers.

    Parameters
    ----------
    values : ndarray, (a power of 2, LANES) float64
        Without NaN; sorted in place.
    """
    n, flat = values.shape[0], values.ravel()
    merged = 1
    while merged < n:
        apart = merged
        while apart >= 1:
            distance = np.uint64(apart * LANES)
            for start in range(apart % merged, n - apart, 2 * apart):
                if start // (2 * merged) != (start + apart) // (2 * merged):
                    continue
                first = np.uint64(start * LANES)
                for x in range(first, first + distance):
                    low, high = flat[x], flat[x + distance]
                    flat[x] = low if low < high else high
                    flat[x + distance] = high if low < high else low
            apart //= 2
        merged *= 2
