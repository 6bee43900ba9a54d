"""Rows of the residual sky and of its cells, a part of the step `patterns`: what `patterns.residual` does with each.

Four rows at a time, in numbers of 16 bits as long as they suffice, so that each vector holds as many as possible.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuanom.backends.cpu.moments import FINITE
from gpuanom.backends.pattern_layout import CELL
from gpuanom.native import helper, inlined
from gpuanom.records import Unfit

SPOILT = np.uint8(Unfit.BACKGROUND)

# Residuals in steps of 2^-12 sigma, as 16-bit numbers.
CLIP = np.int16(14336)
"""3.5 sigma."""
SOURCE = np.int16(16384)
"""4 sigma: brighter pixels belong to sources."""
HIGH = np.int16(32766)
"""8 sigma: where residuals end, and the least height of pixels that can be bright."""
BAD = np.int16(-32768)
BAD_AND_HIGH = np.int16(-32767)
USABLE = np.int16(-20000)
"""Above this a number is a residual."""
HOT = 2
"""A cell with so many pixels above 4 sigma belongs to a source, and so do its neighbours."""
OWN_LIGHT = 64
"""Masked places nearer than this to the pixel that they are mirrored from, in pixels, are not counted as crosstalk:
the star may hide them itself."""
LEVEL = 4096 * CELL * CELL
"""For lines the sum of a cell is clipped to a mean of 1 sigma."""
BOUNDS = np.array([-14336.0, 32766.0])
"""Least and largest residual, in steps."""
NOTHING = np.int16(0)
ONE, TWO, THREE = np.uint64(1), np.uint64(2), np.uint64(3)
MOST_COLUMNS = 32768
"""A multiple of four, whose pixels can be counted in 16 bits."""
GLOWING = 3 * 4096 * CELL * CELL
"""A cell whose sum is above this (a mean of 3 sigma) belongs to a source, with two cells around it."""


@inlined
def _residual(pixel: Any, x: Any, offset: Any, slope: Any, x_scaled: Any, bend: Any, scale: Any) -> Any:
    """The residual of a pixel in steps, not yet rounded."""
    return (np.float64(pixel) - (offset + x_scaled[x] * (slope + bend[x]))) * scale


@helper
def _steps(pixels: Any, flags: Any, offset: Any, slope: Any, x_scaled: Any, bend: Any, scale: Any, bounds: Any,
           whole: Any, out: Any) -> None:  # fmt: skip
    """The residual of one row in whole steps, or what stands for bad pixels; no mask: no flags. `whole` is scratch.

    `bounds` are the numbers -14336 and 32766: constants would be applied to the whole numbers, which takes longer.
    """
    lowest, highest = bounds[0], bounds[1]
    for x in range(len(pixels)):
        v = _residual(pixels[x], x, offset, slope, x_scaled, bend, scale)
        v = v if v > lowest else lowest
        whole[x] = np.int32(np.rint(v if v < highest else highest))
    for x in range(len(pixels)):
        out[x] = np.int16(whole[x]) if abs(pixels[x]) <= FINITE else BAD
    for x in range(len(flags)):
        spoilt = BAD_AND_HIGH if out[x] == HIGH else BAD
        out[x] = out[x] if flags[x] & SPOILT == 0 else spoilt
    for x in range(len(pixels), len(out)):
        out[x] = BAD


@helper
def _seeds(row0: Any, row1: Any, row2: Any, row3: Any, nx: Any, totals: Any, hot: Any, near: Any, seeds: Any,
           levels: Any) -> Any:  # fmt: skip
    """Which cells of a row of cells belong to sources: bit 0 with one cell on either side, bit 1 with two.

    The four rows of pixels make up the cells. `totals` and `hot` are scratch, and `near` is used up: cell j is its
    number j + 2. `levels` gets the sums of the cells, clipped. Returns whether any of the first nx columns is bad.
    """
    for x in range(len(row0)):
        a, b, c, d = row0[x], row1[x], row2[x], row3[x]
        hot[x] = np.int16(a > SOURCE) + np.int16(b > SOURCE) + np.int16(c > SOURCE) + np.int16(d > SOURCE)
    for x in range(len(row0)):
        a, b, c, d = row0[x], row1[x], row2[x], row3[x]
        a, b = a if a > USABLE else NOTHING, b if b > USABLE else NOTHING
        c, d = c if c > USABLE else NOTHING, d if d > USABLE else NOTHING
        totals[x] = (np.int32(a) + np.int32(b)) + (np.int32(c) + np.int32(d))
    for j in range(len(seeds)):
        at = np.uint64(4) * np.uint64(j)
        total = (totals[at] + totals[at + ONE]) + (totals[at + TWO] + totals[at + THREE])
        n = (hot[at] + hot[at + ONE]) + (hot[at + TWO] + hot[at + THREE])
        levels[j] = min(max(total, np.int32(-LEVEL)), np.int32(LEVEL))
        near[np.uint64(j) + np.uint64(2)] = np.uint8(n >= HOT) | (np.uint8(total > GLOWING) << np.uint8(1))
    for j in range(len(seeds)):
        k = np.uint64(j)
        one = near[k + np.uint64(1)] | near[k + np.uint64(2)] | near[k + np.uint64(3)]
        seeds[j] = one | ((near[k] | near[k + np.uint64(4)]) & np.uint8(2))
    lowest = NOTHING
    for x in range(nx):
        a, b, c, d = row0[x], row1[x], row2[x], row3[x]
        a, b = b if b < a else a, d if d < c else c
        a = b if b < a else a
        lowest = a if a < lowest else lowest
    return lowest < USABLE


@helper
def _crosstalk(pixels: Any, offset: Any, slope: Any, x_scaled: Any, bend: Any, scale: Any, bright: Any, numbers: Any,
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
            if other <= USABLE or not _residual(pixels[x], x, offset, slope, x_scaled, bend, scale) > bright:
                continue
            if hidden[mirrored] == 0 and other <= SOURCE:
                crosstalk[0] += min(other, CLIP)
                crosstalk[1] += 1
            elif abs(x - mirrored) >= OWN_LIGHT:
                crosstalk[2] += 1


@helper
def _hide(seeds: Any, row: Any, n_rows: Any, hidden: Any) -> None:
    """Fill `hidden` with -1 for the cells of a row that are masked, else 0.

    A source is in a cell at most one, or two, rows from theirs. Row k of cells is row k % 8 of `seeds`.
    """
    hidden[:] = 0
    for k in range(max(row - 2, 0), min(row + 3, n_rows)):
        bits = np.uint8(3 if abs(k - row) <= 1 else 2)
        near = seeds[k % 8]
        for j in range(len(near)):
            hidden[j] |= np.int64(near[j] & bits)
    for j in range(len(hidden)):
        hidden[j] = np.int64(-1) if hidden[j] != 0 else np.int64(0)


@helper
def _mask(row0: Any, row1: Any, row2: Any, row3: Any, hidden: Any, good: Any, row_count: Any) -> None:
    """Mask four rows in place. `good` gets the number of pixels of each column that are not masked."""
    n0 = n1 = n2 = n3 = np.uint16(0)
    for x in range(len(row0)):
        seen = hidden[x] == 0
        a, b, c, d = row0[x], row1[x], row2[x], row3[x]
        of_a, of_b = (a > USABLE) & (a <= SOURCE) & seen, (b > USABLE) & (b <= SOURCE) & seen
        of_c, of_d = (c > USABLE) & (c <= SOURCE) & seen, (d > USABLE) & (d <= SOURCE) & seen
        a, b = a if a < CLIP else CLIP, b if b < CLIP else CLIP
        c, d = c if c < CLIP else CLIP, d if d < CLIP else CLIP
        row0[x], row1[x] = a if of_a else NOTHING, b if of_b else NOTHING
        row2[x], row3[x] = c if of_c else NOTHING, d if of_d else NOTHING
        good[x] = (np.int16(of_a) + np.int16(of_b)) + (np.int16(of_c) + np.int16(of_d))
        n0 = np.uint16(n0 + np.uint16(of_a))
        n1 = np.uint16(n1 + np.uint16(of_b))
        n2 = np.uint16(n2 + np.uint16(of_c))
        n3 = np.uint16(n3 + np.uint16(of_d))
    row_count[0] += n0
    row_count[1] += n1
    row_count[2] += n2
    row_count[3] += n3


@helper
def _add_rows(row0: Any, row1: Any, row2: Any, row3: Any, totals: Any, columns: Any, row_sum: Any) -> None:
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
def _usable(row0: Any, row1: Any, row2: Any, row3: Any, n: Any) -> None:
    """The number of usable pixels of each column of four rows that are not masked yet."""
    for x in range(len(row0)):
        a, b, c, d = row0[x], row1[x], row2[x], row3[x]
        n[x] = np.int16(a > USABLE) + np.int16(b > USABLE) + np.int16(c > USABLE) + np.int16(d > USABLE)


@helper
def _in_fours(numbers: Any, sums: Any) -> None:
    """The sums of four neighbouring numbers each."""
    for j in range(len(sums)):
        at = np.uint64(4) * np.uint64(j)
        sums[j] = np.int32(numbers[at] + numbers[at + ONE]) + np.int32(numbers[at + TWO] + numbers[at + THREE])


@helper
def _keep(numbers: Any, y: Any, first: Any, places: Any, parts: Any) -> Any:
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
def _add_map(sums: Any, pending: Any, across: Any, is_last: Any, of_map: Any) -> None:
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
def _is_last(row: Any, across: Any, n_rows: Any) -> Any:
    """Whether a row of cells is the last one of a row of the map, whose cells are `across` cells high."""
    return row % across == across - 1 or row == n_rows - 1
