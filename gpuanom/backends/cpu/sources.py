"""Sources of each CCD, the twin of kernels/sources.cu (METHOD.md 2).

A source is the brightest pixel of its stamp, so it is the brightest of the tile of half that side in which it lies:
one pass over the raw pixels reduces the CCD to tile maxima, the polynomial is evaluated only where a tile can hold a
source, and only what is left is checked against its stamp.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from gpuanom.backends.cpu import moments, polynomial
from gpuanom.backends.cpu.pixels import DOUBLES, FINITE, IMAGE, MASK, NO_MASK, UNFIT, UNFIT_SOURCES
from gpuanom.backends.limits import MAXIMUM_THRESHOLD
from gpuanom.native import helper, native, prefetch_row
from gpuanom.records import Background, CcdStack, Doubles, FloatImage, Integers, Sources
from gpuanom.settings import Settings

LOWEST = np.float32(-np.inf)

Mask = npt.NDArray[np.uint8]


def sources(stack: CcdStack, background: Background, settings: Settings) -> Sources:
    """See `gpuanom.backends.protocol.Backend.sources`."""
    n_ccd, ny, nx = stack.shape
    tile = settings.stamp_size // 2
    counted = np.zeros((n_ccd, 3), dtype=np.int64)
    found: list[moments.Checked] = []
    brightest = np.full((n_ccd, ny // tile, nx // tile), UNFIT)
    for i in range(n_ccd):
        image, bad = stack.images[i], None if stack.bad is None else stack.bad[i]
        maxima = np.empty((ny // tile, nx // tile), dtype=np.float32)
        reduce_tiles(image, NO_MASK if bad is None else bad, stack.saturation[i], tile, maxima, counted[i])
        if not background.usable[i]:
            found.append(moments.none())
            continue
        c, sigma = background.coefficients[i], float(background.sigma[i])
        terms = polynomial.terms(c, ny, nx)
        bad = bad if counted[i, 2] else None
        # Repeated stars are looked for below the sources, too.
        least = min(settings.threshold, MAXIMUM_THRESHOLD) * sigma
        limits = (settings.threshold * sigma, least)
        candidates = _candidates(image, bad, maxima, c, terms, limits, tile, brightest[i])
        found.append(moments.check_candidates(image, bad, terms, sigma, candidates, settings))
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
        n_bad=counted[:, 0],
        n_saturated=counted[:, 1],
        brightest=brightest,
    )


def _candidates(
    image: FloatImage,
    bad: Mask | None,
    maxima: FloatImage,
    c: Doubles,
    terms: polynomial.Terms,
    limits: tuple[float, float],
    tile: int,
    brightest: Doubles,
) -> Integers:
    """The brightest pixel of each full tile, if it is above the first limit and its stamp lies on the CCD, in order.

    Only full tiles matter: a pixel of a cut-off tile has no full stamp. Pixels are y nx + x, in (y, x) order.
    `brightest` gets the value of these brightest pixels, and stays as it is where no pixel of the tile is above the
    second limit.
    """
    ny, nx = image.shape
    lower, upper = polynomial.tile_bounds(c, ny, nx, tile)
    listed = np.empty(maxima.size, dtype=np.int64)
    plane = NO_MASK if bad is None else bad
    bright = maxima - lower > limits[1]
    least = polynomial.single_bounds(maxima - (upper - lower))
    n = list_candidates(image, plane, bright, least, *terms, *limits, tile, listed, brightest)
    return np.sort(listed[:n])


@helper
def _column_maxima(image: Any, y0: Any, y1: Any, top: Any) -> Any:
    """Fill `top` with the columns' maxima over some rows, four rows at a time; whether all pixels are finite.

    Where they are not, the maxima are worth nothing.
    """
    top[:] = -np.inf
    n_odd = 0
    for y in range(y0, y1, 4):
        # Past the end the last row comes again.
        y2, y3, y4 = min(y + 1, y1 - 1), min(y + 2, y1 - 1), min(y + 3, y1 - 1)
        odd = np.uint32(0)
        for x in range(len(top)):
            p, q, r, s = image[y, x], image[y2, x], image[y3, x], image[y4, x]
            odd += np.uint32(not ((abs(p) <= FINITE) & (abs(q) <= FINITE) & (abs(r) <= FINITE) & (abs(s) <= FINITE)))
            p = q if q > p else p
            r = s if s > r else r
            p = r if r > p else p
            top[x] = p if p > top[x] else top[x]
        n_odd += int(odd)
    return n_odd == 0


@helper
def _masked(bad: Any, y0: Any, y1: Any) -> Any:
    """Whether any pixel of some rows is masked."""
    found = np.uint8(0)
    for y in range(y0, y1):
        for x in range(bad.shape[1]):
            found |= bad[y, x]
    return found != 0


@helper
def _largest(values: Any) -> Any:
    """The largest of values without NaN. NumPy's own maximum would have the compiled loop import scipy.linalg."""
    largest = values[0]
    for value in values:
        largest = value if value > largest else largest
    return largest


@helper
def _count(image: Any, bad: Any, saturation: Any, y0: Any, y1: Any, top: Any, counts: Any) -> None:
    """Fill `top` pixel by pixel, without pixels unfit for sources; count these, bad pixels and saturated ones."""
    top[:] = -np.inf
    flags = np.zeros(len(top), dtype=np.uint8)
    for y in range(y0, y1):
        pixels = image[y]
        if len(bad):
            flags = bad[y]
        n_bad = n_saturated = n_unfit = np.uint32(0)
        for x in range(len(top)):
            pixel = pixels[x]
            finite = abs(pixel) <= FINITE
            fit = finite & (flags[x] & UNFIT_SOURCES == 0)
            n_bad += np.uint32((not finite) | (flags[x] != 0))
            n_saturated += np.uint32(finite & (pixel >= saturation))
            n_unfit += np.uint32(not fit)
            pixel = pixel if fit else LOWEST
            top[x] = pixel if pixel > top[x] else top[x]
        counts[0] += n_bad
        counts[1] += n_saturated
        counts[2] += n_unfit


@native(types.void(IMAGE, MASK, types.float32, types.int64, types.float32[:, ::1], types.int64[::1]))
def reduce_tiles(image: Any, bad: Any, saturation: Any, tile: Any, maxima: Any, counts: Any) -> None:
    """One pass over the image, a row of tiles at a time: raw maxima of the full tiles, and counts.

    Parameters
    ----------
    image : ndarray, (ny, nx) float32
    bad : ndarray, (ny, nx) uint8
        `Unfit` bits, or `NO_MASK`.
    saturation : float
        NaN where unknown.
    tile : int
        Side of a tile, pixels.
    maxima : ndarray, (ny // tile, nx // tile) float32
        Out: of the pixels that are fit for sources.
    counts : ndarray, (3,) int64
        In and out: pixels that are masked for any step or not finite, that are saturated, that are unfit for sources.
    """
    ny, nx = image.shape
    rows, columns = maxima.shape
    top = np.empty(nx, dtype=np.float32)
    for y0 in range(0, ny, tile):
        y1 = min(y0 + tile, ny)
        plain = _column_maxima(image, y0, y1, top) and not (len(bad) and _masked(bad, y0, y1))
        if not plain or _largest(top) >= saturation:
            _count(image, bad, saturation, y0, y1, top, counts)
        if y0 // tile < rows:
            for i in range(columns):
                maxima[y0 // tile, i] = _largest(top[i * tile : (i + 1) * tile])


@native(
    types.int64(
        IMAGE, MASK, types.boolean[:, ::1], types.float32[:, ::1], DOUBLES, DOUBLES, DOUBLES, DOUBLES,
        types.float64, types.float64, types.int64, types.int64[::1],
        types.Array(types.float64, 2, "C"),
    )
)  # fmt: skip
def list_candidates(
    image: Any,
    bad: Any,
    chosen: Any,
    least: Any,
    offset: Any,
    slope: Any,
    across: Any,
    bend: Any,
    limit: Any,
    lower_limit: Any,
    tile: Any,
    listed: Any,
    brightest: Any,
) -> Any:
    """See `_candidates`; fills `listed` in the order of the tiles and returns how many there are.

    The chosen tiles are those that may hold a pixel above `lower_limit`, the lower one of both limits. A pixel can be a
    tile's brightest in v only if its raw value comes within the polynomial's spread of the raw maximum, which is what
    `least` says; mostly that is one pixel a tile, and v is evaluated there alone. A pixel that a neighbouring tile's
    outshines is left out, which spares many a stamp check.
    """
    ny, nx = image.shape
    rows, columns = chosen.shape
    best, at = np.full((rows, columns), -np.inf), np.full((rows, columns), np.int64(-1))
    bright = np.empty(rows * columns, dtype=np.int64)
    n = 0
    for i in range(rows):
        for j in range(columns):
            if chosen[i, j]:
                bright[n] = i * columns + j
                n += 1
    for k in range(n):
        i, j = bright[k] // columns, bright[k] % columns
        after = bright[min(k + 1, n - 1)]
        first, least_here = np.uint64(j * tile), least[i, j]
        for y in range(i * tile, (i + 1) * tile):
            prefetch_row(image, y + (after // columns - i) * tile, after % columns * tile, tile)
            row, n_bright = np.uint64(y), np.uint32(0)
            for x in range(tile):
                n_bright += np.uint32(image[row, first + np.uint64(x)] >= least_here)
            if n_bright == 0:
                continue
            for x in range(j * tile, (j + 1) * tile):
                pixel = image[y, x]
                if pixel < least_here or not abs(pixel) <= FINITE or (len(bad) and bad[y, x] & UNFIT_SOURCES):
                    continue
                v = np.float64(pixel) - (offset[y] + across[x] * (slope[y] + bend[x]))
                if v > best[i, j]:
                    best[i, j], at[i, j] = v, y * nx + x
    n = 0
    for i in range(rows):
        for j in range(columns):
            brightest[i, j] = best[i, j] if best[i, j] > lower_limit else brightest[i, j]
            y, x = at[i, j] // nx, at[i, j] % nx
            if not best[i, j] > limit or y < tile or y > ny - tile or x < tile or x > nx - tile:
                continue
            outshone = False
            for k in range(max(0, i - 1), min(rows, i + 2)):
                for m in range(max(0, j - 1), min(columns, j + 2)):
                    dy, dx = at[k, m] // nx - y, at[k, m] % nx - x
                    if at[k, m] < 0 or dy < -tile or dy >= tile or dx < -tile or dx >= tile:
                        continue
                    earlier = at[k, m] < at[i, j]
                    outshone |= best[k, m] > best[i, j] or (best[k, m] == best[i, j] and earlier)
            if not outshone:
                listed[n] = at[i, j]
                n += 1
    return n
