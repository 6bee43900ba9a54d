"""The residual sky in whole steps, and which of its cells belong to sources, the twin of kernels/residual.cu.

A part of the step `patterns` (METHOD.md 9.1, 9.6), whose pass over the image calls these functions for each row of
pixels or of cells: four rows at a time, in numbers of 16 bits as long as they suffice, so that each vector holds as
many as possible.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuanom.backends.cpu.pixels import FINITE, UNFIT_BACKGROUND
from gpuanom.backends.pattern_layout import CELL
from gpuanom.native import helper, inlined
from gpuanom.records import Doubles
from gpuanom.records.patterns import STEP

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


def rounded(coefficients: Doubles, sigma: float) -> tuple[Doubles, float]:
    """The background's coefficients in whole steps of 2^-12 sigma, and how many steps one unit of the image is.

    Backgrounds that differ in their last bits then give the same residuals. sigma is rounded to float32 before.
    """
    with np.errstate(all="ignore"):
        step = np.float64(np.float32(sigma)) * STEP
        return np.asarray(np.rint(coefficients / step) * step), float(np.float64(1.0) / step)


@inlined
def residual_of(pixel: Any, x: Any, offset: Any, slope: Any, x_scaled: Any, bend: Any, scale: Any) -> Any:
    """The residual of a pixel in steps, not yet rounded."""
    return (np.float64(pixel) - (offset + x_scaled[x] * (slope + bend[x]))) * scale


@helper
def residual_steps(pixels: Any, flags: Any, offset: Any, slope: Any, x_scaled: Any, bend: Any, scale: Any, bounds: Any,
           whole: Any, out: Any) -> None:  # fmt: skip
    """The residual of one row in whole steps, or what stands for bad pixels; no mask: no flags. `whole` is scratch.

    `bounds` are the numbers -14336 and 32766: constants would be applied to the whole numbers, which takes longer.
    """
    lowest, highest = bounds[0], bounds[1]
    for x in range(len(pixels)):
        v = residual_of(pixels[x], x, offset, slope, x_scaled, bend, scale)
        v = v if v > lowest else lowest
        whole[x] = np.int32(np.rint(v if v < highest else highest))
    for x in range(len(pixels)):
        out[x] = np.int16(whole[x]) if abs(pixels[x]) <= FINITE else BAD
    for x in range(len(flags)):
        spoilt = BAD_AND_HIGH if out[x] == HIGH else BAD
        out[x] = out[x] if flags[x] & UNFIT_BACKGROUND == 0 else spoilt
    for x in range(len(pixels), len(out)):
        out[x] = BAD


@helper
def find_seeds(row0: Any, row1: Any, row2: Any, row3: Any, nx: Any, totals: Any, hot: Any, near: Any, seeds: Any,
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
def hide_sources(seeds: Any, row: Any, n_rows: Any, hidden: Any) -> None:
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
def mask_rows(row0: Any, row1: Any, row2: Any, row3: Any, hidden: Any, good: Any, row_count: Any) -> None:
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
