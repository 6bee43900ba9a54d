"""Sums in the order of NumPy, and medians, for the native loops of the statistics.

NumPy halves long arrays, and adds short arrays in eight interleaved sums. Sums in the same order have the same digits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuanom.native import helper


@helper
def _block(values: Any) -> Any:
    """The sum of at most 128 numbers as `numpy.sum` adds them."""
    n = len(values)
    if n < 8:
        total = 0.0
        for i in range(n):
            total += values[i]
        return total
    r0, r1, r2, r3, r4, r5, r6, r7 = (
        values[0], values[1], values[2], values[3], values[4], values[5], values[6], values[7],
    )  # fmt: skip
    whole = n - n % 8
    for i in range(8, whole, 8):
        r0 += values[i]
        r1 += values[i + 1]
        r2 += values[i + 2]
        r3 += values[i + 3]
        r4 += values[i + 4]
        r5 += values[i + 5]
        r6 += values[i + 6]
        r7 += values[i + 7]
    total = ((r0 + r1) + (r2 + r3)) + ((r4 + r5) + (r6 + r7))
    for i in range(whole, n):
        total += values[i]
    return total


@helper
def pairwise_sum(values: Any) -> Any:
    """Return the sum of float64 numbers, added in the order in which `numpy.sum` adds a contiguous array."""
    # A stack holds the ranges that are still to be added, and the sums of left halves that wait for the right halves.
    first, size, state = np.empty(64, np.int64), np.empty(64, np.int64), np.zeros(64, np.int64)
    left = np.empty(64)
    depth, total = 0, 0.0
    first[0], size[0], state[0] = 0, len(values), 0
    while depth >= 0:
        n, half = size[depth], size[depth] // 2
        half -= half % 8
        if n <= 128:
            total = _block(values[first[depth] : first[depth] + n])
            depth -= 1
        elif state[depth] == 0:
            state[depth] = 1
            depth += 1
            first[depth], size[depth], state[depth] = first[depth - 1], half, 0
        elif state[depth] == 1:
            left[depth], state[depth] = total, 2
            depth += 1
            first[depth], size[depth], state[depth] = first[depth - 1] + half, n - half, 0
        else:
            total = left[depth] + total
            depth -= 1
    return total


@helper
def _to_the_front(values: Any, low: Any, high: Any, pivot: Any, equal: Any) -> Any:
    """Move values less than the pivot (or equal to the pivot, if asked) to the front; return where the others begin.

    No branch depends on the values, since a processor would predict half of such branches wrong.
    """
    place = np.uint64(low)
    for x in range(np.uint64(low), np.uint64(high)):
        value = values[x]
        values[x] = values[place]
        values[place] = value
        place += np.uint64(value < pivot or (equal and value == pivot))
    return np.int64(place)


@helper
def select(values: Any, k: Any) -> None:
    """Put the number that would be at place k in ascending order there, no greater one before, no lesser one behind.

    `values` are float64 numbers without NaN.
    """
    low, high = 0, len(values)
    while high - low > 1:
        first, middle, last = values[low], values[(low + high) // 2], values[high - 1]
        pivot = max(min(first, middle), min(max(first, middle), last))
        less = _to_the_front(values, low, high, pivot, False)
        if k < less:
            high = less
        elif less > low:
            low = less
        else:  # no value is less than the pivot
            less = _to_the_front(values, low, high, pivot, True)
            if k < less or less == low:  # the latter only with a NaN
                break
            low = less


@helper
def median(values: Any) -> Any:
    """Return the median of float64 numbers, at least one and no NaN; `values` are reordered."""
    n = len(values)
    k = n // 2
    select(values, k)
    upper = values[k]
    if n % 2:
        return upper
    lower = values[0]
    for i in range(1, k):
        lower = max(lower, values[i])
    return (lower + upper) / 2.0
