"""Sources of each CCD, the NumPy twin of kernels/sources.cu (METHOD.md 2).

A source is the brightest pixel of its stamp, so it is the brightest of the tile of half that side in which it lies:
one pass over the raw pixels reduces the CCD to tile maxima, the polynomial is evaluated only where a tile can hold a
source, and only what is left is checked against its stamp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpuanom.cpu import moments, polynomial
from gpuanom.records import Background, CcdStack, Doubles, FloatImage, Integers, Sources, Unfit
from gpuanom.settings import Settings

TILES_AT_ONCE = 64
"""Tiles copied together: 256 kB of float32 at the default tile of 32 x 32, so that they stay within a core's cache."""

Mask = npt.NDArray[np.uint8]


def sources(stack: CcdStack, background: Background, settings: Settings) -> Sources:
    """See `gpuanom.backend.Backend.sources`."""
    n_ccd = stack.shape[0]
    n_bad, n_saturated = np.zeros(n_ccd, dtype=np.int64), np.zeros(n_ccd, dtype=np.int64)
    found: list[moments.Checked] = []
    for i in range(n_ccd):
        image, bad = stack.images[i], None if stack.bad is None else stack.bad[i]
        tiles = _tile_maxima(image, bad, float(stack.saturation[i]), settings.stamp_size // 2)
        n_bad[i], n_saturated[i] = tiles.n_bad, tiles.n_saturated
        if not background.usable[i]:
            found.append(moments.none())
            continue
        c, sigma = background.coefficients[i], float(background.sigma[i])
        spoilt = bad if tiles.n_unfit else None
        y, x = _candidates(image, spoilt, tiles, c, settings.threshold * sigma, settings.stamp_size)
        found.append(moments.check(image, spoilt, tiles.n_unfit > 0, c, sigma, y, x, settings))
    ccd = np.repeat(np.arange(n_ccd), [f.y.size for f in found])
    merged = moments.join(found)
    return Sources(
        ccd=ccd,
        y=merged.y,
        x=merged.x,
        value=merged.value,
        n_above=merged.n_above,
        moments=merged.moments,
        isophote_moments=merged.isophote_moments,
        n_isophote=merged.n_isophote,
        n_sources=np.bincount(ccd, minlength=n_ccd),
        n_bad=n_bad,
        n_saturated=n_saturated,
    )


@dataclass(frozen=True, eq=False)
class _Tiles:
    """Raw maxima of the full tiles, (ny // tile, nx // tile) float32, and what the pass counted on its way.

    `n_unfit` counts the pixels that are bad for sources or not finite, `n_bad` those bad for any step or not finite.
    """

    maxima: FloatImage
    n_bad: int
    n_unfit: int
    n_saturated: int


def _tile_maxima(image: FloatImage, bad: Mask | None, saturation: float, tile: int) -> _Tiles:
    """One pass over the image, a row of tiles at a time, while it is in the cache."""
    ny, nx = image.shape
    rows, columns = ny // tile, nx // tile
    maxima = np.full((rows, columns), -np.inf, dtype=np.float32)
    starts = np.arange(columns) * tile
    n_bad = n_unfit = n_saturated = 0
    with np.errstate(invalid="ignore"):
        for i in range(0, ny, tile):
            block = image[i : i + tile]
            block_bad = None if bad is None else bad[i : i + tile]
            # The extremes carry NaN on: they are finite only if every pixel is, which is cheaper than asking each.
            highest = np.maximum.reduce(block, axis=0)
            top, bottom = float(np.maximum.reduce(highest)), float(np.minimum.reduce(block, axis=None))
            finite = math.isfinite(top) and math.isfinite(bottom)
            if not finite or (block_bad is not None and block_bad.any()):
                spoilt = np.zeros(block.shape, dtype=bool) if finite else ~np.isfinite(block)
                if not finite:
                    block = np.where(spoilt, np.float32(-np.inf), block)
                unfit = spoilt
                if block_bad is not None:
                    unfit, spoilt = spoilt | ((block_bad & Unfit.SOURCES) != 0), spoilt | (block_bad != 0)
                n_unfit += int(np.count_nonzero(unfit))
                n_bad += int(np.count_nonzero(spoilt))
                highest = np.maximum.reduce(np.where(unfit, np.float32(-np.inf), block), axis=0)
            if not np.isnan(saturation) and (not finite or top >= saturation):
                n_saturated += int(np.count_nonzero(block >= saturation))
            if i // tile < rows and columns:
                maxima[i // tile] = np.maximum.reduceat(highest[: columns * tile], starts)
    return _Tiles(maxima, n_bad, n_unfit, n_saturated)


def _candidates(
    image: FloatImage, bad: Mask | None, tiles: _Tiles, c: Doubles, limit: float, stamp_size: int
) -> tuple[Integers, Integers]:
    """The brightest pixel of each full tile, where it is above `limit` and its stamp lies on the CCD, in (y, x) order.

    Only full tiles matter: a pixel of a cut-off tile has no full stamp.
    """
    half = tile = stamp_size // 2
    ny, nx = image.shape
    lower, upper = polynomial.tile_bounds(c, ny, nx, tile)
    ty, tx = np.nonzero(tiles.maxima - lower > limit)
    brightest = np.full(tiles.maxima.shape, -np.inf)
    at_y, at_x = np.zeros(brightest.shape, dtype=np.int64), np.zeros(brightest.shape, dtype=np.int64)
    if ty.size:
        brightest[ty, tx], at_y[ty, tx], at_x[ty, tx] = _brightest(
            image, bad, ty, tx, tiles.maxima[ty, tx], (upper - lower)[ty, tx], c, tile
        )
    outshone = _outshone(brightest, at_y, at_x, half)
    fits = (at_y >= half) & (at_y <= ny - half) & (at_x >= half) & (at_x <= nx - half)
    kept = (brightest > limit) & fits & ~outshone
    y, x = at_y[kept], at_x[kept]
    order = np.lexsort((x, y))
    return y[order], x[order]


def _brightest(
    image: FloatImage,
    bad: Mask | None,
    ty: Integers,
    tx: Integers,
    maxima: FloatImage,
    spread: Doubles,
    c: Doubles,
    tile: int,
) -> tuple[Doubles, Integers, Integers]:
    """v, y and x of the brightest pixel of each given tile, ties to the first in (y, x) order.

    A pixel can be a tile's brightest in v only if its raw value comes within the polynomial's spread of the raw
    maximum; mostly that is one pixel a tile, and v is evaluated there alone.
    """
    ny, nx = image.shape
    # One step down keeps the float32 threshold below the float64 one whichever way the conversion rounds.
    least = np.nextafter((maxima.astype(np.float64) - spread).astype(np.float32), np.float32(-np.inf))
    which, pixel = _at_least(image, bad, ty * tile, tx * tile, least, tile)
    y, x = ty[which] * tile + pixel // tile, tx[which] * tile + pixel % tile
    v = image[y, x] - polynomial.evaluate(c, polynomial.scaled(y, ny), polynomial.scaled(x, nx))
    first = np.searchsorted(which, np.arange(ty.size))
    best = np.maximum.reduceat(v, first)
    winners = np.flatnonzero(v == best[which])
    winners = winners[np.unique(which[winners], return_index=True)[1]]
    return best, y[winners], x[winners]


def _at_least(
    image: FloatImage, bad: Mask | None, y0: Integers, x0: Integers, least: FloatImage, tile: int
) -> tuple[Integers, Integers]:
    """The usable pixels of some tiles that reach each tile's own least value: tile and pixel numbers, in that order."""
    nx = image.shape[1]
    rows, flags = moments.row_items(image, tile), None if bad is None else moments.row_items(bad, tile)
    row_starts = (y0 * nx + x0)[:, None] + np.arange(tile) * nx
    found = []
    for start in range(0, y0.size, TILES_AT_ONCE):
        some = row_starts[start : start + TILES_AT_ONCE]
        pixels = rows[some].view(np.float32).reshape(len(some), -1)
        near = pixels >= least[start : start + TILES_AT_ONCE, None]
        near &= pixels <= np.finfo(np.float32).max
        if flags is not None:
            near &= (flags[some].view(np.uint8).reshape(len(some), -1) & Unfit.SOURCES) == 0
        found.append(np.flatnonzero(near) + start * tile * tile)
    which = np.concatenate(found)
    return which // (tile * tile), which % (tile * tile)


def _outshone(brightest: Doubles, at_y: Integers, at_x: Integers, half: int) -> npt.NDArray[np.bool_]:
    """Whether a neighbouring tile's brightest pixel lies in the stamp and is brighter: spares many a stamp check."""
    rows, columns = brightest.shape
    outshone = np.zeros(brightest.shape, dtype=bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            if dy == dx == 0:
                continue
            here = (slice(max(0, -dy), rows - max(0, dy)), slice(max(0, -dx), columns - max(0, dx)))
            there = (slice(max(0, dy), rows + min(0, dy)), slice(max(0, dx), columns + min(0, dx)))
            far_y, far_x = at_y[there] - at_y[here], at_x[there] - at_x[here]
            inside = (far_y >= -half) & (far_y < half) & (far_x >= -half) & (far_x < half)
            earlier = (far_y < 0) | ((far_y == 0) & (far_x < 0))
            brighter = (brightest[there] > brightest[here]) | ((brightest[there] == brightest[here]) & earlier)
            outshone[here] |= inside & brighter
    return outshone
