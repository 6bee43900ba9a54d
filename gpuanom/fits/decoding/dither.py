"""Integers to pixels: scaled, minus the random numbers of subtractive dithering (FITS 4.0, section 10.2)."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from gpuanom.encoded import N_RANDOM, random_numbers
from gpuanom.native import helper, native

EXACT_ZERO = -2147483646
"""The quantised integer that means exactly 0.0 in images of SUBTRACTIVE_DITHER_2."""

RANDOM = random_numbers().astype(np.float64)
"""The table of random numbers, (`N_RANDOM`,) float64."""
FIRST = (random_numbers() * np.float32(500.0)).astype(np.int64)
"""Index in the table at which the numbers of a tile begin, by the index of the tile's own random number."""


@helper
def _scaled(q: Any, scale: Any, zero: Any, blanked: Any, blank: Any, out: Any) -> Any:
    """Write integers x scale + zero, computed in float64 and rounded to float32."""
    nan = np.float32(np.nan)
    for j in range(len(out)):
        value = np.float32(np.float64(q[j]) * scale + zero)
        out[j] = nan if blanked & (q[j] == blank) else value


@helper
def _shifted(q: Any, zero: Any, blanked: Any, blank: Any, out: Any) -> Any:
    """Write integers + zero, for a whole zero and sums below 2^24, where integers and float32 are both exact."""
    nan = np.float32(np.nan)
    for j in range(len(out)):
        value = np.float32(np.int32(q[j] + zero))
        out[j] = nan if blanked & (q[j] == blank) else value


@helper
def _dithered(q: Any, random: Any, scale: Any, zero: Any, blanked: Any, blank: Any, zeros: Any, out: Any) -> Any:
    """Write (integers - random + 0.5) x scale + zero; with `zeros`, of SUBTRACTIVE_DITHER_2, one integer means 0."""
    nan = np.float32(np.nan)
    for j in range(len(out)):
        value = np.float32((np.float64(q[j]) - random[j] + 0.5) * scale + zero)
        value = np.float32(0.0) if zeros & (q[j] == EXACT_ZERO) else value
        out[j] = nan if blanked & (q[j] == blank) else value


@helper
def put_pixels(
    q: Any, narrow: Any, tile: Any, rows: Any, columns: Any, dither: Any, seed: Any, scale: Any, zero: Any, blank: Any,
    random: Any, first: Any, out: Any, at: Any, nx: Any,
) -> Any:  # fmt: skip
    """Write the pixels of a tile into an image (FITS 4.0, section 10.2).

    Parameters
    ----------
    q : ndarray, (rows x columns,) int32
        The integers of the tile, row by row.
    narrow : bool
        Whether the integers have no more than 16 bits.
    tile : int
        Number of the tile, from 0.
    rows, columns : int
        Shape of the tile.
    dither : int
        0, 1 or 2: no dithering, SUBTRACTIVE_DITHER_1 or _2.
    seed : int
        ZDITHER0.
    scale, zero : float
        ZSCALE and ZZERO, or BSCALE and BZERO.
    blank : int
        The integer that means "no value"; no int32 where there is none.
    random, first : ndarray
        `RANDOM` and `FIRST`.
    out : ndarray, (ny nx,) float32
        The image, written to.
    at : int
        Index in `out` of the tile's first pixel.
    nx : int
        Number of pixels of a row of the image.
    """
    blanked = (blank >= -2147483648) & (blank <= 2147483647)
    blank32 = np.int32(blank) if blanked else np.int32(0)
    s = (tile + seed - 1) % N_RANDOM
    k = first[s]
    whole = narrow & (dither == 0) & (scale == 1.0) & (abs(zero) <= 2.0**23)
    zero32 = np.int32(zero) if whole else np.int32(0)
    whole &= zero32 == zero
    for y in range(rows):
        begin, to = y * columns, at + y * nx
        if whole:
            _shifted(q[begin : begin + columns], zero32, blanked, blank32, out[to : to + columns])
            continue
        if dither == 0:
            _scaled(q[begin : begin + columns], scale, zero, blanked, blank32, out[to : to + columns])
            continue
        x = 0
        while x < columns:
            n = min(columns - x, N_RANDOM - k)
            run, into = q[begin + x : begin + x + n], out[to + x : to + x + n]
            _dithered(run, random[k : k + n], scale, zero, blanked, blank32, dither == 2, into)
            x += n
            k += n
            if k == N_RANDOM:
                s = (s + 1) % N_RANDOM
                k = first[s]


_whole = numba.types.Array(numba.types.int64, 1, "C", readonly=True)
_double = numba.types.Array(numba.types.float64, 1, "C", readonly=True)
_int = numba.types.int64


@native(
    numba.types.void(
        numba.types.int32[::1], _int, _int, _int, _int, _int, _double.dtype, _double.dtype, _int, _double, _whole,
        numba.types.float32[::1], _int, _int,
    )
)  # fmt: skip
def pixels_of(
    q: Any, tile: Any, rows: Any, columns: Any, dither: Any, seed: Any, scale: Any, zero: Any, blank: Any, random: Any,
    first: Any, out: Any, at: Any, nx: Any,
) -> None:  # fmt: skip
    """Write the pixels of a tile in another code than Rice into an image; for the parameters see `put_pixels`."""
    put_pixels(q, False, tile, rows, columns, dither, seed, scale, zero, blank, random, first, out, at, nx)
