"""Maxima of small squares and the differences of their positions, the twin of kernels/repeats.cu (METHOD.md 11)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from gpuanom.backends.cpu import polynomial
from gpuanom.backends.cpu.pixels import DOUBLES, FINITE, IMAGE, MASK, NO_MASK, UNFIT, UNFIT_SOURCES
from gpuanom.backends.limits import (
    MAXIMA_A_CCD,
    MAXIMA_A_TILE,
    MAXIMUM_REACH,
    MAXIMUM_THRESHOLD,
    PAIR_BACK,
    PAIR_BIN,
    PAIR_COLUMNS,
    PAIR_REACH,
    PAIR_ROWS,
)
from gpuanom.native import helper, inlined, native, prefetch_row
from gpuanom.records import Background, CcdStack, Repeats, Sources, Turn
from gpuanom.settings import Settings

MAXIMUM_SIDE = 2 * MAXIMUM_REACH + 1
NEAREST = np.array([(0, -1), (-1, 0), (0, 1), (1, 0)])
QUARTER, MIRRORED = int(Turn.QUARTER), int(Turn.MIRRORED)


def repeats(
    stack: CcdStack,
    background: Background,
    sources: Sources,
    turns: npt.NDArray[np.int64],
    exposures: npt.NDArray[np.int64],
    settings: Settings,
) -> Repeats:
    """See `gpuanom.backends.protocol.Backend.repeats`."""
    n_ccd, ny, nx = stack.shape
    if sources.brightest is None:
        raise ValueError("these sources have no brightest values of tiles: they went through to_host")
    tile = settings.stamp_size // 2
    pairs = np.zeros((int(exposures.max()) + 1, PAIR_ROWS, PAIR_COLUMNS), dtype=np.int32)
    n_maxima = np.zeros(n_ccd, dtype=np.int64)
    for i in range(n_ccd):
        if not background.usable[i] or (stack.damaged is not None and stack.damaged[i] >= 0):
            continue
        bad = NO_MASK if stack.bad is None else stack.bad[i]
        terms = polynomial.terms(background.coefficients[i], ny, nx)
        limit = MAXIMUM_THRESHOLD * background.sigma[i]
        bright = sources.brightest[i] > limit
        # No pixel of a tile that is lower reaches the limit.
        lower, _ = polynomial.tile_bounds(background.coefficients[i], ny, nx, tile)
        least = polynomial.single_bounds(lower + limit)
        slots = MAXIMA_A_TILE * np.count_nonzero(bright)
        pixel, value = np.empty(slots, dtype=np.int64), np.empty(slots)
        n = list_maxima(stack.images[i], bad, *terms, bright, least, tile, limit, stack.saturation[i], pixel, value)
        kept = np.lexsort((pixel[:n], -value[:n]))[:MAXIMA_A_CCD]
        n_maxima[i] = kept.size
        count_pairs(np.sort(pixel[kept]), nx, turns[i], pairs[exposures[i]])
    return Repeats(pairs, n_maxima)


@inlined
def _v(pixel: Any, flags: Any, offset: Any, slope: Any, across: Any, bend: Any) -> Any:
    """Return v of a pixel, or `UNFIT` where it is unusable."""
    v = np.float64(pixel) - (offset + across * (slope + bend))
    return v if (abs(pixel) <= FINITE) & (flags & UNFIT_SOURCES == 0) else UNFIT


@helper
def _chosen(bright: Any) -> Any:
    """The places of the bright tiles. NumPy's flatnonzero would have the compiled loop import scipy.linalg."""
    places = np.empty(bright.size, dtype=np.int64)
    n = 0
    for y in range(bright.shape[0]):
        for x in range(bright.shape[1]):
            if bright[y, x]:
                places[n] = y * bright.shape[1] + x
                n += 1
    return places[:n]


@native(
    types.int64(
        IMAGE, MASK, DOUBLES, DOUBLES, DOUBLES, DOUBLES, types.Array(types.bool_, 2, "C"),
        types.float32[:, ::1], types.int64, types.float64, types.float32, types.int64[::1], types.float64[::1],
    )
)  # fmt: skip
def list_maxima(
    image: Any,
    bad: Any,
    offset: Any,
    slope: Any,
    across: Any,
    bend: Any,
    bright: Any,
    least: Any,
    tile: Any,
    limit: Any,
    saturation: Any,
    pixel_of: Any,
    value: Any,
) -> Any:
    """Fill `pixel_of` (y nx + x) and `value` with the first maxima above `limit` of each bright tile, in pixel order.

    Returns
    -------
    int
        The number of maxima.
    """
    ny, nx = image.shape
    columns, masked = bright.shape[1], len(bad) > 0
    tiles = _chosen(bright)
    none = np.uint8(0)
    n = 0
    for k in range(len(tiles)):
        ty, tx = tiles[k] // columns, tiles[k] % columns
        after = tiles[min(k + 1, len(tiles) - 1)]
        n_here, first, least_here = 0, tx * tile, least[ty, tx]
        for y in range(max(ty * tile, MAXIMUM_REACH), min((ty + 1) * tile, ny - MAXIMUM_REACH)):
            prefetch_row(image, y + (after // columns - ty) * tile, after % columns * tile, tile)
            # The loops index with numbers that cannot be negative, and hand no arrays on: both take their time.
            row = np.uint64(y)
            n_bright = np.uint32(0)
            for j in range(tile):
                n_bright += np.uint32(image[row, np.uint64(first) + np.uint64(j)] >= least_here)
            if n_bright == 0:
                continue
            for x in range(max(first, MAXIMUM_REACH), min(first + tile, nx - MAXIMUM_REACH)):
                column = np.uint64(x)
                pixel = image[row, column]
                if not pixel >= least_here or n_here == MAXIMA_A_TILE or pixel >= saturation:
                    continue
                flags = bad[row, column] if masked else none
                v = _v(pixel, flags, offset[row], slope[row], across[column], bend[column])
                if not v > limit:
                    continue
                # On the flank of a star one of the four nearest is brighter. Then all of the square, row by row.
                outshone, step = False, 0
                while not outshone and step < 4 + MAXIMUM_SIDE * MAXIMUM_SIDE:
                    if step < 4:
                        dy, dx = NEAREST[step]
                    else:
                        dy, dx = (step - 4) // MAXIMUM_SIDE - MAXIMUM_REACH, (step - 4) % MAXIMUM_SIDE - MAXIMUM_REACH
                    at, over = np.uint64(y + dy), np.uint64(x + dx)
                    flags = bad[at, over] if masked else none
                    other = _v(image[at, over], flags, offset[at], slope[at], across[over], bend[over])
                    earlier = dy < 0 or (dy == 0 and dx < 0)
                    outshone = other > v or (earlier and other == v)
                    step += 1
                if not outshone:
                    pixel_of[n], value[n] = y * nx + x, v
                    n += 1
                    n_here += 1
    return n


@native(types.void(types.int64[::1], types.int64, types.int64, types.Array(types.int32, 2, "C")))
def count_pairs(pixel: Any, nx: Any, turn: Any, pairs: Any) -> None:
    """Add the differences of all ordered pairs of positions, y nx + x in ascending order, to `pairs`."""
    for i in range(len(pixel)):
        y, x = pixel[i] // nx, pixel[i] % nx
        for k in range(i + 1, len(pixel)):
            dy, dx = pixel[k] // nx - y, pixel[k] % nx - x
            if dy >= PAIR_REACH + 1:
                break
            if turn & MIRRORED:
                dy = -dy
            if turn & QUARTER:
                dy, dx = dx, -dy
            for _ in range(2):
                if -PAIR_BACK <= dy < PAIR_REACH and -PAIR_REACH <= dx < PAIR_REACH:
                    pairs[(dy + PAIR_BACK) // PAIR_BIN, (dx + PAIR_REACH) // PAIR_BIN] += 1
                dy, dx = -dy, -dx
