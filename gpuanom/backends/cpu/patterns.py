"""Maps, profiles and spectra of the residual sky, the twin of kernels/patterns.cu (METHOD.md 9).

One pass over the image, four rows at a time. The residual is held as whole numbers of 2^-12 sigma, so that sums have
one value in any order. A row of cells of 4 x 4 pixels is masked two rows of cells behind the pass, when the sources
around it are known; it is then still in the processor's cache, and is added to everything that is summed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.backends.cpu import polynomial, spectrum
from gpuanom.backends.cpu.moments import FINITE, NO_MASK, _doubles, _image, _mask
from gpuanom.backends.pattern_layout import (
    CELL,
    PART,
    bin_shape,
    bin_side,
    coarse_parts,
    faint_bin_shape,
    faint_bin_side,
    fine_parts,
    map_shape,
    map_side,
)
from gpuanom.native import helper, inlined, native
from gpuanom.records import Background, CcdStack, Doubles, Patterns, Unfit
from gpuanom.records.patterns import STEP
from gpuanom.settings import Settings
from gpuanom.workspace import workspace

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
LEVEL = 4096 * CELL * CELL
"""For lines the sum of a cell is clipped to a mean of 1 sigma."""
GLOWING = 3 * 4096 * CELL * CELL
"""A cell whose sum is above this (a mean of 3 sigma) belongs to a source, with two cells around it."""

_row32 = types.int32[::1]
_row64 = types.int64[::1]
_plane16 = types.int16[:, ::1]
_plane64 = types.int64[:, ::1]


def patterns(stack: CcdStack, background: Background, settings: Settings) -> Patterns:  # noqa: ARG001
    """See `gpuanom.backends.protocol.Backend.patterns`."""
    n_ccd, ny, nx = stack.shape
    side, (my, mx) = map_side(ny, nx), map_shape(ny, nx)
    found = Patterns(
        map_sum=np.zeros((n_ccd, my, mx), np.int64),
        map_count=np.zeros((n_ccd, my, mx), np.int64),
        map_usable=np.zeros((n_ccd, my, mx), np.int64),
        row_sum=np.zeros((n_ccd, ny), np.int64),
        row_count=np.zeros((n_ccd, ny), np.int64),
        column_sum=np.zeros((n_ccd, nx), np.int64),
        column_count=np.zeros((n_ccd, nx), np.int64),
        fine_power=np.zeros((n_ccd, PART, PART // 2 + 1)),
        coarse_power=np.zeros((n_ccd, PART, PART // 2 + 1)),
        n_fine=np.zeros(n_ccd, np.int64),
        n_coarse=np.zeros(n_ccd, np.int64),
        crosstalk_sum=np.zeros(n_ccd, np.int64),
        crosstalk_count=np.zeros(n_ccd, np.int64),
        bin_sum=np.zeros((n_ccd, *bin_shape(ny, nx)), np.int64),
        faint_bin_sum=np.zeros((n_ccd, *faint_bin_shape(ny, nx)), np.int64),
    )
    fine, coarse = fine_parts(ny, nx), coarse_parts(ny, nx)
    for i in range(n_ccd):
        c, scale = rounded(background.coefficients[i], float(background.sigma[i]))
        if not background.usable[i] or not np.isfinite(scale):
            continue
        bad = NO_MASK if stack.bad is None else stack.bad[i]
        parts = workspace("pattern_parts", (max(len(fine), 1) * PART, PART), np.int16)
        cells = workspace("pattern_cells", (-(-ny // CELL), -(-nx // CELL)), np.int16)
        bright = 0.1 * float(stack.saturation[i]) * scale
        crosstalk = np.zeros(2, np.int64)
        residual(
            stack.images[i], bad, *polynomial.terms(c, ny, nx), scale, bright, side, fine, parts, cells,
            found.map_sum[i], found.map_count[i], found.map_usable[i], found.row_sum[i], found.row_count[i],
            found.column_sum[i], found.column_count[i], crosstalk, bin_side(ny, nx), found.bin_sum[i],
            faint_bin_side(ny, nx), found.faint_bin_sum[i],
        )  # fmt: skip
        found.crosstalk_sum[i], found.crosstalk_count[i] = crosstalk
        if len(fine):
            rows = np.zeros((len(fine), 2), np.int32)
            rows[:, 0] = PART * np.arange(len(fine))
            found.fine_power[i], found.n_fine[i] = spectrum.power(parts, rows, STEP), len(fine)
        if len(coarse):
            found.coarse_power[i], found.n_coarse[i] = spectrum.power(cells, coarse, STEP), len(coarse)
    return found


def rounded(coefficients: Doubles, sigma: float) -> tuple[Doubles, float]:
    """The background's coefficients in whole steps of 2^-12 sigma, and how many steps one unit of the image is.

    Backgrounds that differ in their last bits then give the same residuals. sigma is rounded to float32 before.
    """
    with np.errstate(all="ignore"):
        step = np.float64(np.float32(sigma)) * STEP
        return np.asarray(np.rint(coefficients / step) * step), float(np.float64(1.0) / step)


@inlined
def _residual(pixel: Any, x: Any, offset: Any, slope: Any, x_scaled: Any, bend: Any, scale: Any) -> Any:
    """The residual of a pixel in steps, not yet rounded."""
    return (np.float64(pixel) - (offset + x_scaled[x] * (slope + bend[x]))) * scale


@helper
def _steps(pixels: Any, flags: Any, offset: Any, slope: Any, x_scaled: Any, bend: Any, scale: Any, whole: Any,
           out: Any) -> None:  # fmt: skip
    """The residual of one row in whole steps, or what stands for bad pixels; no mask: no flags. `whole` is scratch."""
    for x in range(len(pixels)):
        v = _residual(pixels[x], x, offset, slope, x_scaled, bend, scale)
        v = v if v > -14336.0 else -14336.0
        whole[x] = np.int32(np.rint(v if v < 32766.0 else 32766.0))
    for x in range(len(pixels)):
        out[x] = np.int16(whole[x]) if abs(pixels[x]) <= FINITE else BAD
    for x in range(len(flags)):
        spoilt = BAD_AND_HIGH if out[x] == HIGH else BAD
        out[x] = out[x] if flags[x] & SPOILT == 0 else spoilt
    for x in range(len(pixels), len(out)):
        out[x] = BAD


@helper
def _seeds(ring: Any, first: Any, last: Any, packed: Any, near: Any, seeds: Any, levels: Any) -> None:
    """Which cells of a row of cells belong to sources: bit 0 with one cell on either side, bit 1 with two.

    The rows first ... last - 1 of pixels make up the cells. `near` is used up: cell j is its number j + 2.
    `levels` gets the sums of the cells, clipped.
    """
    packed[:] = 0
    for y in range(first, last):
        numbers = ring[y % 16]
        for x in range(len(numbers)):
            number = np.int32(numbers[x])
            # The sum in the lower 24 bits, the number of hot pixels above them.
            packed[x] += (number if number > USABLE else 0) + (np.int32(number > SOURCE) << np.int32(24))
    for j in range(len(seeds)):
        at = np.uint64(4) * np.uint64(j)
        both = packed[at] + packed[at + np.uint64(1)] + packed[at + np.uint64(2)] + packed[at + np.uint64(3)]
        n = (both + np.int32(1 << 23)) >> np.int32(24)
        total = both - (n << np.int32(24))
        levels[j] = min(max(total, np.int32(-LEVEL)), np.int32(LEVEL))
        near[np.uint64(j) + np.uint64(2)] = np.uint8(n >= HOT) | (np.uint8(total > GLOWING) << np.uint8(1))
    for j in range(len(seeds)):
        k = np.uint64(j)
        one = near[k + np.uint64(1)] | near[k + np.uint64(2)] | near[k + np.uint64(3)]
        seeds[j] = one | ((near[k] | near[k + np.uint64(4)]) & np.uint8(2))


@helper
def _crosstalk(pixels: Any, offset: Any, slope: Any, x_scaled: Any, bend: Any, scale: Any, bright: Any, numbers: Any,
               masked: Any, crosstalk: Any) -> None:  # fmt: skip
    """Add the residuals mirrored from the bright pixels of one row, which is not masked yet."""
    n_high = np.uint32(0)
    for x in range(len(numbers)):
        n_high += np.uint32((numbers[x] == HIGH) | (numbers[x] == BAD_AND_HIGH))
    if n_high == 0:
        return
    for x in range(len(pixels)):
        if numbers[x] == HIGH or numbers[x] == BAD_AND_HIGH:
            mirrored = len(pixels) - 1 - x
            other = numbers[mirrored]
            if (
                _residual(pixels[x], x, offset, slope, x_scaled, bend, scale) > bright
                and masked[mirrored] == 0 and other > USABLE and other <= SOURCE
            ):  # fmt: skip
                crosstalk[0] += min(other, CLIP)
                crosstalk[1] += 1


@helper
def _add_row(numbers: Any, masked: Any, packed: Any) -> Any:
    """Mask a row in place, and add it to what is packed for its columns; its own sum and count."""
    row_sum = row_count = np.int32(0)
    for x in range(len(numbers)):
        number = np.int32(numbers[x])
        is_usable = np.int32(number > USABLE)
        good = is_usable & np.int32(number <= SOURCE) & np.int32(masked[x] == 0)
        number = (number if number < CLIP else np.int32(CLIP)) * good
        numbers[x] = np.int16(number)
        packed[x] += number + (good << np.int32(20)) + (is_usable << np.int32(26))
        row_sum += number
        row_count += good
    return row_sum, row_count


@helper
def _unpacked(packed: Any) -> Any:
    """Sum, number of pixels that are not masked, and number of usable ones."""
    rest = packed + np.int32(1 << 19)
    usable = rest >> np.int32(26)
    count = (rest >> np.int32(20)) - (usable << np.int32(6))
    return packed - (count << np.int32(20)) - (usable << np.int32(26)), count, usable


@helper
def _hide(seeds: Any, row: Any, masked: Any) -> None:
    """Which pixels of a row of cells are masked: a source is in a cell at most one, or two, rows from theirs."""
    masked[:] = 0
    for k in range(max(row - 2, 0), min(row + 3, len(seeds))):
        bits = np.uint8(3 if abs(k - row) <= 1 else 2)
        near = seeds[k]
        for j in range(len(near)):
            masked[j] |= near[j] & bits
    for j in range(seeds.shape[1] - 1, -1, -1):
        number = masked[j]
        for k in range(4):
            masked[np.uint64(4) * np.uint64(j) + np.uint64(k)] = number


@helper
def _keep(numbers: Any, y: Any, places: Any, parts: Any) -> None:
    """Copy what the fine parts need of a row."""
    for p in range(len(places)):
        inside = y - places[p, 0]
        if inside >= 0 and inside < 128:
            target, left = parts[128 * p + inside], np.uint64(places[p, 1])
            for x in range(128):
                target[x] = numbers[left + np.uint64(x)]


@helper
def _add_cells(packed: Any, columns: Any, counts: Any, cells: Any, sums: Any) -> None:
    """Unpack a row of cells: add its columns, and leave the means and the sums of its cells."""
    for x in range(len(packed)):
        s, n, _ = _unpacked(packed[x])
        columns[x] += s
        counts[x] += n
    for j in range(len(cells)):
        first = np.uint64(4) * np.uint64(j)
        both = packed[first] + packed[first + np.uint64(1)]
        s, n, m = _unpacked(both + packed[first + np.uint64(2)] + packed[first + np.uint64(3)])
        # The mean, rounded, of whole cells: those that the edge cuts off are in no part.
        cells[j] = np.int16((s + np.int32(8)) >> np.int32(4))
        sums[0, j], sums[1, j], sums[2, j] = s, n, m


@helper
def _add_map(sums: Any, across: Any, of_map: Any) -> None:
    """Add one of the sums of a row of cells to a row of the map, whose cells are `across` cells wide."""
    for to in range(len(of_map)):
        total = np.int32(0)
        for j in range(to * across, min((to + 1) * across, len(sums))):
            total += sums[j]
        of_map[to] += total


@native(
    types.void(
        _image, _mask, _doubles, _doubles, _doubles, _doubles, types.float64, types.float64, types.int64,
        types.Array(types.int32, 2, "C", readonly=True), _plane16, _plane16, _plane64, _plane64, _plane64, _row64,
        _row64, _row64, _row64, _row64, types.int64, _plane64, types.int64, _plane64,
    )
)  # fmt: skip
def residual(
    image: Any, bad: Any, offset: Any, slope: Any, x_scaled: Any, bend: Any, scale: Any, bright: Any, side: Any,
    places: Any, parts: Any, cells: Any, map_sum: Any, map_count: Any, map_usable: Any, row_sum: Any, row_count: Any,
    column_sum: Any, column_count: Any, crosstalk: Any, bin_width: Any, bin_sum: Any,
    faint_width: Any, faint_bin_sum: Any,
) -> None:  # fmt: skip
    """The pass over the image.

    Parameters
    ----------
    image : ndarray, (ny, nx) float32
    bad : ndarray, (ny, nx) uint8
        `Unfit` bits, or `NO_MASK`.
    offset, slope, x_scaled, bend : ndarray, float64
        Terms of the rounded background.
    scale : float
        Steps of 2^-12 sigma in one unit of the image.
    bright : float
        Above so many steps pixels are bright; NaN where no saturation level is known.
    side : int
        Side of the cells of the map, pixels.
    places : ndarray, (n, 2) int32
        First pixels of the fine parts.
    parts : ndarray, (n 128, 128) int16
        Out: the fine parts of the masked residual, one under the other, in steps.
    cells : ndarray, (ceil(ny / 4), ceil(nx / 4)) int16
        Out: means of the masked residual over cells of 4 x 4 pixels, in steps.
    map_sum, map_count, map_usable : ndarray, (my, mx) int64
        In and out.
    row_sum, row_count, column_sum, column_count, crosstalk : ndarray, int64
        In and out.
    bin_width : int
        Side of the bins for lines, pixels.
    bin_sum : ndarray, int64
        In and out.
    faint_width : int
        Side of the bins for faint lines, pixels.
    faint_bin_sum : ndarray, int64
        In and out.
    """
    ny, nx = image.shape
    n_rows, n_columns = cells.shape
    width = 4 * n_columns
    ring = np.empty((16, width), dtype=np.int16)
    seeds, near = np.zeros((n_rows, n_columns), dtype=np.uint8), np.zeros(n_columns + 4, dtype=np.uint8)
    masked, packed = np.empty(width, dtype=np.uint8), np.empty(width, dtype=np.int32)
    columns, counts = np.zeros(width, dtype=np.int32), np.zeros(width, dtype=np.int32)
    sums = np.empty((3, n_columns), dtype=np.int32)
    whole, flags = np.empty(nx, dtype=np.int32), np.empty(0, dtype=np.uint8)
    for ahead in range(n_rows + 2):
        if ahead < n_rows:
            for y in range(4 * ahead, min(4 * ahead + 4, ny)):
                if len(bad):
                    flags = bad[y]
                _steps(image[y], flags, offset[y], slope[y], x_scaled, bend, scale, whole, ring[y % 16])
            _seeds(ring, 4 * ahead, min(4 * ahead + 4, ny), packed, near, seeds[ahead], sums[0])
            _add_map(sums[0], bin_width // 4, bin_sum[4 * ahead // bin_width])
        row = ahead - 2
        if row < 0:
            continue
        _hide(seeds, row, masked)
        packed[:] = 0
        for y in range(4 * row, min(4 * row + 4, ny)):
            numbers = ring[y % 16]
            if bright == bright:
                _crosstalk(
                    image[y], offset[y], slope[y], x_scaled, bend, scale, bright, numbers, masked, crosstalk
                )  # fmt: skip
            row_sum[y], row_count[y] = _add_row(numbers, masked, packed)
            _keep(numbers, y, places, parts)
        _add_cells(packed, columns, counts, cells[row], sums)
        at = 4 * row // side
        _add_map(sums[0], faint_width // 4, faint_bin_sum[4 * row // faint_width])
        _add_map(sums[0], side // 4, map_sum[at])
        _add_map(sums[1], side // 4, map_count[at])
        _add_map(sums[2], side // 4, map_usable[at])
    for x in range(nx):
        column_sum[x] += columns[x]
        column_count[x] += counts[x]
