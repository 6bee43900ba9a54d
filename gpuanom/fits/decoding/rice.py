"""Compiled loops that decode RICE_1-compressed images, for `encoded_images.py` and `tiles.py`."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from gpuanom.fits.decoding.dither import put_pixels
from gpuanom.fits.decoding.rice_bits import U, one_tile, two_tiles
from gpuanom.native import inlined, native


@inlined
def _narrow(numbers: Any, n: Any, bytepix: Any) -> Any:
    """Wrap integers to the range of BYTEPIX bytes: unsigned for 1, two's complement for 2."""
    if bytepix == 1:
        for i in range(n):
            numbers[i] = numbers[i] & 0xFF
    elif bytepix == 2:
        for i in range(n):
            numbers[i] = np.int32(np.int16(numbers[i]))


_bytes = numba.types.Array(numba.types.uint8, 1, "C", readonly=True)
_whole = numba.types.Array(numba.types.int64, 1, "C", readonly=True)
_double = numba.types.Array(numba.types.float64, 1, "C", readonly=True)
_integers = numba.types.int32[::1]
_floats = numba.types.float32[::1]
_int = numba.types.int64


@native(
    _int(
        _bytes, _whole, _whole, _int, _int, _int, _int, _int, _int, _int, _int, _int, _int, _double, _double, _whole,
        _double, _whole, _integers, _floats,
    )
)  # fmt: skip
def decode_tiles(
    data: Any,
    start: Any,
    size: Any,
    begin: Any,
    end: Any,
    ny: Any,
    nx: Any,
    tile_rows: Any,
    tile_columns: Any,
    bytepix: Any,
    blocksize: Any,
    dither: Any,
    seed: Any,
    scale: Any,
    zero: Any,
    blank: Any,
    random: Any,
    first: Any,
    scratch: Any,
    out: Any,
) -> Any:
    """Decode several tiles into the pixels of an image (FITS 4.0, sections 10.2 and 10.4.1).

    Parameters
    ----------
    data, start, size, bytepix, blocksize, dither, seed, scale, zero, blank
        See `gpuanom.encoded.RiceImage`.
    begin, end : int
        Numbers of the first tile, and of the tile behind the last.
    ny, nx : int
        Shape of the image in pixels.
    tile_rows, tile_columns : int
        Shape of a whole tile in pixels.
    random, first : ndarray
        `gpuanom.fits.decoding.dither.RANDOM` and `FIRST`.
    scratch : ndarray, (n,) int32
        Memory for the integers of two whole tiles, or of one where the image has only one.
    out : ndarray, (ny nx,) float32
        The image, written to.

    Returns
    -------
    int
        Number of the first damaged tile, behind which no tile is decoded; -1 when every tile is
        sound.
    """
    across = (nx + tile_columns - 1) // tile_columns
    n_whole = tile_rows * tile_columns
    address, limit, into = U(data.ctypes.data), U(len(data)), U(scratch.ctypes.data)
    ahead = -1  # the tile that was decoded side by side with the tile before
    for t in range(begin, end):
        if size[t] == 0:
            continue
        y, x = t // across * tile_rows, t % across * tile_columns
        rows, columns = min(tile_rows, ny - y), min(tile_columns, nx - x)
        n = rows * columns
        at = 0
        if t == ahead:
            at = n_whole
        else:
            sound = False
            if t + 1 < end and size[t + 1] != 0:
                y2, x2 = (t + 1) // across * tile_rows, (t + 1) % across * tile_columns
                if min(tile_rows, ny - y2) * min(tile_columns, nx - x2) == n:
                    sound = two_tiles(
                        address, U(start[t]), U(start[t] + size[t]), U(start[t + 1]), U(start[t + 1] + size[t + 1]),
                        limit, U(n), U(bytepix), U(blocksize), into, into + U(4) * U(n_whole),
                    )  # fmt: skip
                    ahead = t + 1 if sound else -1
            if not sound and not one_tile(
                address, U(start[t]), U(start[t] + size[t]), limit, U(n), U(bytepix), U(blocksize), into
            ):
                return t
        numbers = scratch[at : at + n]
        _narrow(numbers, n, bytepix)
        put_pixels(
            numbers, bytepix < 4, t, rows, columns, dither, seed, scale[t], zero[t], blank[t], random, first,
            out, y * nx + x, nx,
        )  # fmt: skip
    return -1


@native(
    _int(_bytes, _whole, _whole, _int, _int, _int, _int, _int, _int, _integers, _integers),
)
def decode_integers(
    data: Any,
    start: Any,
    size: Any,
    ny: Any,
    nx: Any,
    tile_rows: Any,
    tile_columns: Any,
    bytepix: Any,
    blocksize: Any,
    scratch: Any,
    out: Any,
) -> Any:
    """Decode all tiles of an integer image into its integers, without BSCALE and BZERO (FITS 4.0, section 10.4.1).

    Parameters
    ----------
    data, start, size, bytepix, blocksize
        See `gpuanom.encoded.RiceImage`.
    ny, nx, tile_rows, tile_columns : int
        As for `decode_tiles`.
    scratch : ndarray, (n,) int32
        Memory for the integers of a whole tile.
    out : ndarray, (ny nx,) int32
        The image, written to.

    Returns
    -------
    int
        Number of the first damaged tile; -1 when every tile is sound.
    """
    across = (nx + tile_columns - 1) // tile_columns
    for t in range(len(start)):
        y, x = t // across * tile_rows, t % across * tile_columns
        rows, columns = min(tile_rows, ny - y), min(tile_columns, nx - x)
        n = rows * columns
        sound = one_tile(
            U(data.ctypes.data), U(start[t]), U(start[t] + size[t]), U(len(data)), U(n), U(bytepix), U(blocksize),
            U(scratch.ctypes.data),
        )  # fmt: skip
        if not sound:
            return t
        _narrow(scratch, n, bytepix)
        for row in range(rows):
            at = (y + row) * nx + x
            out[at : at + columns] = scratch[row * columns : (row + 1) * columns]
    return -1
