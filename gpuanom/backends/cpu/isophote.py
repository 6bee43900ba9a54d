"""The pixels of a source's own isophote, and their moments (METHOD.md 3b); called by `gpuanom.backends.cpu.moments`.

Rows of a stamp are 64-bit words, bit i for column i. Growth goes up and down from the centre's row, a row at a time,
until neither way changes anything; only rows that it reaches are looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuanom.native import helper, leading_zeros

ONE, TOP = np.uint64(1), np.uint64(63)
NOTHING = np.uint64(0)


@helper
def _above(row: Any, least: Any) -> Any:
    """The pixels of a row that are above `least`."""
    bits = NOTHING
    for j in range(len(row)):
        bits |= np.uint64(row[j] > least) << np.uint64(j)
    return bits


@helper
def _spread(seeds: Any, allowed: Any) -> Any:
    """The runs of allowed bits that hold a seed: both ways by 1, 2, 4 ... 32 columns."""
    left = right = seeds & allowed
    through_left = through_right = allowed
    shift = ONE
    for _ in range(6):
        left |= through_left & (left << shift)
        through_left &= through_left << shift
        right |= through_right & (right >> shift)
        through_right &= through_right >> shift
        shift += shift
    return left | right


@helper
def connected_moments(v: Any, least: Any, allowed: Any, grown: Any, sums: Any) -> Any:
    """Number and moments of the pixels 4-connected to the stamp's centre through those above `least`.

    Parameters
    ----------
    v : ndarray, (size, size) float64
        The stamp, `gpuanom.backends.cpu.pixels.UNFIT` where a pixel is unusable; size is at most 64.
    least : float
    allowed, grown : ndarray, (size,) uint64
        Scratch.
    sums : ndarray, (3,) float64
        Out: Q20, Q02, Q11.

    Returns
    -------
    int
        How many pixels are connected, the centre among them; 0 where it is not above `least` itself.
    """
    size = len(v)
    half = size // 2
    low = high = half  # the rows that are reached
    first = last = half  # those whose allowed pixels are known
    allowed[half] = _above(v[half], least)
    grown[half] = _spread(ONE << np.uint64(half), allowed[half])
    changed = grown[half] != NOTHING
    while changed:
        changed = False
        before = NOTHING
        for i in range(low, size):
            if i > last:
                last, grown[i] = i, NOTHING
                allowed[i] = _above(v[i], least)
            now = _spread(grown[i] | before, allowed[i])
            changed |= now != grown[i]
            grown[i] = before = now
            if now == NOTHING and i > high:
                break
            high = max(high, i if now != NOTHING else high)
        before = NOTHING
        for i in range(high, -1, -1):
            if i < first:
                first, grown[i] = i, NOTHING
                allowed[i] = _above(v[i], least)
            now = _spread(grown[i] | before, allowed[i])
            changed |= now != grown[i]
            grown[i] = before = now
            if now == NOTHING and i < low:
                break
            low = min(low, i if now != NOTHING else low)
    q20 = q02 = q11 = 0.0
    n = 0
    for i in range(low, high + 1):
        dy, bits = np.float64(i - half), grown[i]
        while bits != NOTHING:
            column = TOP - leading_zeros(bits)
            bits ^= ONE << column
            dx = np.float64(np.int64(column) - half)
            weight = v[i, np.int64(column)]
            q20 += weight * (dx * dx)
            q02 += weight * (dy * dy)
            q11 += weight * (dx * dy)
            n += 1
    sums[0], sums[1], sums[2] = q20, q02, q11
    return n
