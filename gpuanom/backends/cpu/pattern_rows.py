"""Sums over rows of the masked residual sky, a part of the step `patterns`: what its pass does with four rows each."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuanom.backends.cpu.residual import BAD_AND_HIGH, CLIP, HIGH, ONE, SOURCE, THREE, TWO, USABLE, residual_of
from gpuanom.native import helper, inlined

OWN_LIGHT = 64
"""Masked places nearer than this to the pixel that they are mirrored from, in pixels, are not counted as crosstalk:
the star may hide them itself."""


@helper
def add_crosstalk(pixels: Any, offset: Any, slope: Any, x_scaled: Any, bend: Any, scale: Any, bright: Any, numbers: Any,
               hidden: Any, crosstalk: Any) -> None:  # fmt: skip
    """Add the residuals mirrored from the bright pixels of one row, which is not masked yet.

    `crosstalk` is their sum, their number, and the number of the places that are masked.
    """
    n_high = np.uint32(0)
    for x in range(len(numbers)):
        n_high += np.uint32((numbers[x] == HIGH) | (numbers[x] == BAD_AND_HIGH))
    if n_high == 0:
        return
    for x in range(len(pixels)):
        if numbers[x] == HIGH or numbers[x] == BAD_AND_HIGH:
            mirrored = len(pixels) - 1 - x
            other = numbers[mirrored]
            if other <= USABLE or not residual_of(pixels[x], x, offset, slope, x_scaled, bend, scale) > bright:
                continue
            if hidden[mirrored] == 0 and other <= SOURCE:
                crosstalk[0] += min(other, CLIP)
                crosstalk[1] += 1
            elif abs(x - mirrored) >= OWN_LIGHT:
                crosstalk[2] += 1


@helper
def add_rows(row0: Any, row1: Any, row2: Any, row3: Any, totals: Any, columns: Any, row_sum: Any) -> None:
    """Add up four masked rows: `totals` gets the sums of the columns over these rows, which `columns` goes on with."""
    s0 = s1 = s2 = s3 = np.int32(0)
    for x in range(len(row0)):
        s0 += np.int32(row0[x])
        s1 += np.int32(row1[x])
        s2 += np.int32(row2[x])
        s3 += np.int32(row3[x])
    row_sum[0], row_sum[1], row_sum[2], row_sum[3] = s0, s1, s2, s3
    for x in range(len(row0)):
        total = (np.int32(row0[x]) + np.int32(row1[x])) + (np.int32(row2[x]) + np.int32(row3[x]))
        totals[x] = total
        columns[x] += total


@helper
def count_usable(row0: Any, row1: Any, row2: Any, row3: Any, n: Any) -> None:
    """The number of usable pixels of each column of four rows that are not masked yet."""
    for x in range(len(row0)):
        a, b, c, d = row0[x], row1[x], row2[x], row3[x]
        n[x] = np.int16(a > USABLE) + np.int16(b > USABLE) + np.int16(c > USABLE) + np.int16(d > USABLE)


@helper
def sums_of_fours(numbers: Any, sums: Any) -> None:
    """The sums of four neighbouring numbers each."""
    for j in range(len(sums)):
        at = np.uint64(4) * np.uint64(j)
        sums[j] = np.int32(numbers[at] + numbers[at + ONE]) + np.int32(numbers[at + TWO] + numbers[at + THREE])


@helper
def copy_to_parts(numbers: Any, y: Any, first: Any, places: Any, parts: Any) -> Any:
    """Copy what the fine parts need of a row; `first` is the first part that does not end above. Returns its number."""
    while first < len(places) and places[first, 0] + 128 <= y:
        first += 1
    for p in range(first, len(places)):
        if places[p, 0] > y:
            break
        target, left = parts[128 * p + y - places[p, 0]], np.uint64(places[p, 1])
        for x in range(128):
            target[x] = numbers[left + np.uint64(x)]
    return first


@helper
def add_to_map(sums: Any, pending: Any, across: Any, is_last: Any, of_map: Any) -> None:
    """Add the sums of a row of cells to `pending`, and after the last such row of a row of the map, add these to that.

    The cells of the map are `across` cells wide.
    """
    for j in range(len(sums)):
        pending[j] += sums[j]
    if not is_last:
        return
    for to in range(len(of_map)):
        total = np.int64(0)
        for j in range(to * across, min((to + 1) * across, len(sums))):
            total += pending[j]
        of_map[to] += total
    pending[:] = 0


@inlined
def is_last_row(row: Any, across: Any, n_rows: Any) -> Any:
    """Whether a row of cells is the last one of a row of the map, whose cells are `across` cells high."""
    return row % across == across - 1 or row == n_rows - 1
