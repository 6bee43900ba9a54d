"""Integers to pixels: scaled, with the random numbers of subtractive dithering taken off (FITS 4.0, section 10.2)."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from gpuanom.encoded import N_RANDOM, random_numbers
from gpuanom.native import helper, native

EXACT_ZERO = -2147483646
"""The quantised integer that stands for 0.0 in images of SUBTRACTIVE_DITHER_2."""


RANDOM = random_numbers().astype(np.float64)
FIRST = (random_numbers() * np.float32(500.0)).astype(np.int64)
"""Where in the table a tile's numbers begin, by the tile's own random number."""


@helper
def _scaled(q: Any, scale: Any, zero: Any, blanked: Any, blank: Any, out: Any) -> Any:
    """Integers times a scale plus a zero, float64, rounded once, to a run of float32 pixels."""
    nan = np.float32(np.nan)
    for j in range(len(out)):
        value = np.float32(np.float64(q[j]) * scale + zero)
        out[j] = nan if blanked & (q[j] == blank) else value


@helper
def _shifted(q: Any, zero: Any, blanked: Any, blank: Any, out: Any) -> Any:
    """The same with scale 1 and a whole zero, all below 2^24: integers and float32 are exact."""
    nan = np.float32(np.nan)
    for j in range(len(out)):
        value = np.float32(np.int32(q[j] + zero))
        out[j] = nan if blanked & (q[j] == blank) else value


@helper
def _dithered(q: Any, random: Any, scale: Any, zero: Any, blanked: Any, blank: Any, zeros: Any, out: Any) -> Any:
    """The same with random numbers taken off the integers first; exact zeros where `zeros` (SUBTRACTIVE_DITHER_2)."""
    nan = np.float32(np.nan)
    for j in range(len(out)):
        value = np.float32((np.float64(q[j]) - random[j] + 0.5) * scale + zero)
        value = np.float32(0.0) if zeros & (q[j] == EXACT_ZERO) else value
        out[j] = nan if blanked & (q[j] == blank) else value


@helper
def put_pixels(
    q: Any,
    narrow: Any,
    tile: Any,
    rows: Any,
    columns: Any,
    dither: Any,
    seed: Any,
    scale: Any,
    zero: Any,
    blank: Any,
    random: Any,
    first: Any,
    out: Any,
    at: Any,
    nx: Any,
) -> Any:
    """The integers of a tile of rows x columns to its pixels, the first at out[at], in an image of rows of nx.

    `narrow` says that the integers have no more than 16 bits.
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
    q: Any,
    tile: Any,
    rows: Any,
    columns: Any,
    dither: Any,
    seed: Any,
    scale: Any,
    zero: Any,
    blank: Any,
    random: Any,
    first: Any,
    out: Any,
    at: Any,
    nx: Any,
) -> None:
    """The integers of a tile, from whatever code, to its pixels in an image; the first is out[at]."""
    put_pixels(q, False, tile, rows, columns, dither, seed, scale, zero, blank, random, first, out, at, nx)
