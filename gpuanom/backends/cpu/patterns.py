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
from gpuanom.backends.cpu.pattern_rows import (
    add_crosstalk,
    add_rows,
    add_to_map,
    copy_to_parts,
    count_usable,
    is_last_row,
    sums_of_fours,
)
from gpuanom.backends.cpu.pixels import DOUBLES, IMAGE, MASK, NO_MASK
from gpuanom.backends.cpu.residual import (
    BAD,
    BOUNDS,
    MOST_COLUMNS,
    find_seeds,
    hide_sources,
    mask_rows,
    residual_steps,
    rounded,
)
from gpuanom.backends.pattern_layout import (
    CELL,
    PART,
    bin_shape,
    bin_side,
    coarse_parts,
    fine_parts,
    map_shape,
    map_side,
)
from gpuanom.native import native
from gpuanom.records import Background, CcdStack, LineBins, Patterns, ProfileSums
from gpuanom.records.patterns import STEP
from gpuanom.settings import Settings
from gpuanom.workspace import workspace

_row64 = types.int64[::1]
_plane16 = types.int16[:, ::1]
_plane64 = types.int64[:, ::1]


def patterns(
    stack: CcdStack,
    background: Background,
    settings: Settings,  # noqa: ARG001 - the protocol's signature
) -> tuple[Patterns, ProfileSums, LineBins]:
    """See `gpuanom.backends.protocol.Backend.patterns`."""
    n_ccd, ny, nx = stack.shape
    side, (my, mx) = map_side(ny, nx), map_shape(ny, nx)
    found = Patterns(
        shape=(ny, nx),
        map_sum=np.zeros((n_ccd, my, mx), np.int64),
        map_count=np.zeros((n_ccd, my, mx), np.int64),
        map_usable=np.zeros((n_ccd, my, mx), np.int64),
        fine_power=np.zeros((n_ccd, PART, PART // 2 + 1)),
        coarse_power=np.zeros((n_ccd, PART, PART // 2 + 1)),
        n_fine=np.zeros(n_ccd, np.int64),
        n_coarse=np.zeros(n_ccd, np.int64),
        crosstalk_sum=np.zeros(n_ccd, np.int64),
        crosstalk_count=np.zeros(n_ccd, np.int64),
        crosstalk_masked=np.zeros(n_ccd, np.int64),
    )
    sums = ProfileSums(*(np.zeros((n_ccd, size), np.int64) for size in (ny, ny, nx, nx)))
    bins = LineBins(bin_side(ny, nx), *(np.zeros((n_ccd, *bin_shape(ny, nx)), np.int64) for _ in range(2)))
    fine, coarse = fine_parts(ny, nx), coarse_parts(ny, nx)
    for i in range(n_ccd):
        c, scale = rounded(background.coefficients[i], float(background.sigma[i]))
        if not background.usable[i] or not np.isfinite(scale):
            continue
        bad = NO_MASK if stack.bad is None else stack.bad[i]
        parts = workspace("pattern_parts", (max(len(fine), 1) * PART, PART), np.int16)
        cells = workspace("pattern_cells", (-(-ny // CELL), -(-nx // CELL)), np.int16)
        bright = 0.1 * float(stack.saturation[i]) * scale
        crosstalk = np.zeros(3, np.int64)
        add_up(
            stack.images[i], bad, *polynomial.terms(c, ny, nx), scale, bright, side, fine, parts, cells,
            found.map_sum[i], found.map_count[i], found.map_usable[i], sums.row_sum[i], sums.row_count[i],
            sums.column_sum[i], sums.column_count[i], crosstalk, bins.side, bins.bin_sum[i], bins.faint_bin_sum[i],
            BOUNDS,
        )  # fmt: skip
        found.crosstalk_sum[i], found.crosstalk_count[i], found.crosstalk_masked[i] = crosstalk
        if len(fine):
            rows = np.zeros((len(fine), 2), np.int32)
            rows[:, 0] = PART * np.arange(len(fine))
            found.fine_power[i], found.n_fine[i] = spectrum.power(parts, rows, STEP), len(fine)
        if len(coarse):
            found.coarse_power[i], found.n_coarse[i] = spectrum.power(cells, coarse, STEP), len(coarse)
    return found, sums, bins


@native(
    types.void(
        IMAGE, MASK, DOUBLES, DOUBLES, DOUBLES, DOUBLES, types.float64, types.float64, types.int64,
        types.Array(types.int32, 2, "C", readonly=True), _plane16, _plane16, _plane64, _plane64, _plane64, _row64,
        _row64, _row64, _row64, _row64, types.int64, _plane64, _plane64, DOUBLES,
    )
)  # fmt: skip
def add_up(
    image: Any, bad: Any, offset: Any, slope: Any, x_scaled: Any, bend: Any, scale: Any, bright: Any, side: Any,
    places: Any, parts: Any, cells: Any, map_sum: Any, map_count: Any, map_usable: Any, row_sum: Any, row_count: Any,
    column_sum: Any, column_count: Any, crosstalk: Any, bin_width: Any, bin_sum: Any,
    faint_bin_sum: Any, bounds: Any,
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
    bin_sum, faint_bin_sum : ndarray, (rows, columns) int64
        In and out.
    bounds : ndarray, (2,) float64
        `BOUNDS`.
    """
    ny, nx = image.shape
    n_rows, n_columns = cells.shape
    width = 4 * n_columns
    ring = np.empty((16, width), dtype=np.int16)
    seeds, near = np.zeros((8, n_columns), dtype=np.uint8), np.zeros(n_columns + 4, dtype=np.uint8)
    hidden, totals = np.empty(n_columns, dtype=np.int64), np.empty(width, dtype=np.int32)
    hidden_pixels = hidden.view(np.int16)
    good, usable = np.empty(width, dtype=np.int16), np.empty(width, dtype=np.int16)
    columns, counts = np.zeros(width, dtype=np.int32), np.zeros(width, dtype=np.int32)
    sums, pending = np.empty((4, n_columns), dtype=np.int32), np.zeros((5, n_columns), dtype=np.int32)
    of_rows, n_of_rows = np.zeros(4, dtype=np.int64), np.zeros(4, dtype=np.int64)
    whole, flags = np.empty(nx, dtype=np.int32), np.empty(0, dtype=np.uint8)
    is_spoilt, maps = np.zeros(4, dtype=np.uint8), (map_sum, map_count, map_usable)
    first_part = 0
    for ahead in range(n_rows + 2):
        if ahead < n_rows:
            at = 4 * (ahead % 4)
            for k in range(4):
                y = 4 * ahead + k
                if y >= ny:
                    ring[at + k] = BAD
                    continue
                if len(bad):
                    flags = bad[y]
                residual_steps(image[y], flags, offset[y], slope[y], x_scaled, bend, scale, bounds, whole, ring[at + k])
            is_spoilt[ahead % 4] = find_seeds(
                ring[at], ring[at + 1], ring[at + 2], ring[at + 3], nx, totals, good, near, seeds[ahead % 8], sums[0]
            )
            add_to_map(
                sums[0], pending[0], bin_width // 4, is_last_row(ahead, bin_width // 4, n_rows),
                bin_sum[4 * ahead // bin_width],
            )  # fmt: skip
        row = ahead - 2
        if row < 0:
            continue
        hide_sources(seeds, row, n_rows, hidden)
        at = 4 * (row % 4)
        row0, row1, row2, row3 = ring[at], ring[at + 1], ring[at + 2], ring[at + 3]
        if bright == bright:
            for y in range(4 * row, min(4 * row + 4, ny)):
                add_crosstalk(
                    image[y], offset[y], slope[y], x_scaled, bend, scale, bright, ring[at + y % 4], hidden_pixels,
                    crosstalk,
                )  # fmt: skip
        if is_spoilt[row % 4]:
            count_usable(row0, row1, row2, row3, usable)
            sums_of_fours(usable, sums[2])
        else:
            sums[2] = 16
            sums[2, n_columns - 1] = 4 * (nx - 4 * (n_columns - 1))
        n_of_rows[:] = 0
        for x in range(0, width, MOST_COLUMNS):
            part = slice(x, min(x + MOST_COLUMNS, width))
            mask_rows(row0[part], row1[part], row2[part], row3[part], hidden_pixels[part], good[part], n_of_rows)
        add_rows(row0, row1, row2, row3, totals, columns, of_rows)
        for x in range(width):
            counts[x] += good[x]
        for y in range(4 * row, min(4 * row + 4, ny)):
            row_sum[y], row_count[y] = of_rows[y % 4], n_of_rows[y % 4]
            first_part = copy_to_parts(ring[at + y % 4], y, first_part, places, parts)
        sums_of_fours(totals, sums[0])
        sums_of_fours(good, sums[1])
        for j in range(n_columns):
            # The mean, rounded, of whole cells: those that the edge cuts off are in no part.
            cells[row, j] = np.int16((sums[0, j] + np.int32(8)) >> np.int32(4))
        add_to_map(
            sums[0], pending[1], bin_width // 4, is_last_row(row, bin_width // 4, n_rows),
            faint_bin_sum[4 * row // bin_width],
        )  # fmt: skip
        is_last, to = is_last_row(row, side // 4, n_rows), 4 * row // side
        for k in range(3):
            add_to_map(sums[k], pending[2 + k], side // 4, is_last, maps[k][to])
    for x in range(nx):
        column_sum[x] += columns[x]
        column_count[x] += counts[x]
