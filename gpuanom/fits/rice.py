"""RICE_1 tiles to integers and pixels, at native speed (FITS 4.0, section 10.4.1; Rice, Yeh & Miller 1993).

A tile is a string of bits: blocks of `blocksize` differences, each block with a field FS that says how many low bits
of every difference are stored as they are; what is above them is a count of 0 bits, ended by a 1.

Where the time goes, and what is done about it: the next difference starts where this one ends, so that each waits for
the count of zeros of the one before. A window of 64 bits is loaded once for a group of 2, 4 or 8 differences, which
are taken from it without asking whether it holds that many; where it did not, which is rare, the group is taken once
more, one by one.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from gpuanom.fits.dither import put_pixels
from gpuanom.fits.native import byte_at, leading_zeros, native, put, word_at

U = np.uint64
_0, _1, _3, _7, _8, _57, _63, _64 = (U(n) for n in (0, 1, 3, 7, 8, 57, 63, 64))
_WORD = U(0xFFFFFFFF)


@numba.njit(nogil=True, forceinline=True)
def _window(data: Any, p: Any, limit: Any) -> Any:
    """At least 57 bits from bit `p` on, at the top of a word; zeros behind the last byte, that before `limit`."""
    at = p >> _3
    if at + _8 <= limit:
        return word_at(data + at) << (p & _7)
    word = _0
    for k in range(8):
        word <<= _8
        if at + U(k) < limit:
            word |= U(byte_at(data + at + U(k)))
    return word << (p & _7)


@numba.njit(nogil=True, forceinline=True)
def _difference(v: Any) -> Any:
    """0, 1, 2, 3, 4 ... stand for 0, -1, 1, -2, 2 ..."""
    return (v >> _1) ^ (_0 - (v & _1))


@numba.njit(nogil=True)
def _slowly(data: Any, p: Any, stop: Any, limit: Any, fs: Any) -> Any:
    """One difference, however long: the bit behind it, and it. Behind the tile's end: any bit beyond `stop`, and 0."""
    z = _0
    while True:
        word = _window(data, p, limit)
        n = leading_zeros(word)
        if n < _57:
            break
        z += _57
        p += _57
        if p > stop:
            return p, _0
    z += n
    p += n + _1
    low = (_window(data, p, limit) >> (_63 - fs)) >> _1
    return p + fs, _difference(((z << fs) | low) & _WORD)


def _group(size: int) -> Any:
    """Make the function that takes `size` differences from one window."""
    count = U(size)

    @numba.njit(nogil=True, forceinline=True)
    def take(data: Any, p: Any, stop: Any, limit: Any, fs: Any, last: Any, out: Any) -> Any:
        word = _window(data, p, limit)
        before = last
        step = fs + _1
        used = count * step
        for k in range(size):
            n = leading_zeros(word)
            word <<= n & _63  # a window that is used up is 0, and its 64 zeros are found below
            # The 1 that ends the zeros stands above the low bits: what it is worth is taken off the zeros.
            v = (word >> (_63 - fs)) + ((n - _1) << fs)
            word <<= step & _63
            used += n
            last += _difference(v)
            put(out + U(4 * k), last)
        if used > _57:
            last = before
            for k in range(size):
                p, d = _slowly(data, p, stop, limit, fs)
                last += d
                put(out + U(4 * k), last)
            return p, last
        return p + used, last

    return take


_take8, _take6, _take4, _take2 = _group(8), _group(6), _group(4), _group(2)


@numba.njit(nogil=True)
def _block(data: Any, p: Any, stop: Any, limit: Any, fs: Any, last: Any, out: Any, behind: Any) -> Any:
    """The differences of a block, added up and put at the addresses from `out` to `behind`."""
    if fs <= _3:
        while out + U(32) <= behind:
            p, last = _take8(data, p, stop, limit, fs, last, out)
            out += U(32)
    elif fs <= U(5):
        while out + U(24) <= behind:
            p, last = _take6(data, p, stop, limit, fs, last, out)
            out += U(24)
    elif fs <= U(11):
        while out + U(16) <= behind:
            p, last = _take4(data, p, stop, limit, fs, last, out)
            out += U(16)
    while out + _8 <= behind:
        p, last = _take2(data, p, stop, limit, fs, last, out)
        out += _8
    if out < behind:
        p, d = _slowly(data, p, stop, limit, fs)
        last += d
        put(out, last)
    return p, last


@numba.njit(nogil=True)
def _tile(data: Any, at: Any, end: Any, limit: Any, n: Any, bytepix: Any, blocksize: Any, out: Any) -> Any:
    """Decode a tile into n integers modulo 2^32; whether it is sound. All numbers are uint64.

    `data` is the address of `limit` bytes, of which at to end - 1 are the tile's; `out` is that of room for n integers.
    """
    if at > end or end > limit or end - at < bytepix:
        return False
    if bytepix == _1:
        fs_bits, fs_most = U(3), U(6)
    elif bytepix == U(2):
        fs_bits, fs_most = U(4), U(14)
    else:
        fs_bits, fs_most = U(5), U(25)
    bits = bytepix * _8
    stop = end * _8
    last = _0
    for k in range(bytepix):
        last = (last << _8) | U(byte_at(data + at + U(k)))
    p = (at + bytepix) * _8
    n_block = blocksize * U(4)
    past = out + n * U(4)
    while out < past:
        behind = min(out + n_block, past)
        field = _window(data, p, limit) >> (_64 - fs_bits)
        p += fs_bits
        if p > stop or field > fs_most + _1:
            return False
        fs = field - _1
        if field == _0:
            while out < behind:
                put(out, last)
                out += U(4)
        elif fs == fs_most:
            if p + ((behind - out) >> U(2)) * bits > stop:
                return False
            while out < behind:
                last += _difference(_window(data, p, limit) >> (_64 - bits))
                p += bits
                put(out, last)
                out += U(4)
        else:
            p, last = _block(data, p, stop, limit, fs, last, out, behind)
            out = behind
            if p > stop:
                return False
    return True


@numba.njit(nogil=True, forceinline=True)
def _narrow(numbers: Any, n: Any, bytepix: Any) -> Any:
    """Wrap integers to what BYTEPIX bytes hold: unsigned for 1, two's complement for 2."""
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
    """Decode the tiles begin to end - 1 into an image; see `gpuanom.encoded.RiceImage` for the fields.

    Parameters
    ----------
    random, first : ndarray
        `gpuanom.fits.dither.RANDOM` and `FIRST`.
    scratch : ndarray, (pixels of a whole tile,) int32
    out : ndarray, (ny nx,) float32

    Returns
    -------
    int
        The first tile that is damaged, -1 when none is; those behind it are not decoded.
    """
    across = (nx + tile_columns - 1) // tile_columns
    for t in range(begin, end):
        if size[t] == 0:
            continue
        y, x = t // across * tile_rows, t % across * tile_columns
        rows, columns = min(tile_rows, ny - y), min(tile_columns, nx - x)
        n = rows * columns
        sound = _tile(
            U(data.ctypes.data), U(start[t]), U(start[t] + size[t]), U(len(data)), U(n), U(bytepix), U(blocksize),
            U(scratch.ctypes.data),
        )  # fmt: skip
        if not sound:
            return t
        _narrow(scratch, n, bytepix)
        put_pixels(
            scratch, bytepix < 4, t, rows, columns, dither, seed, scale[t], zero[t], blank[t], random, first,
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
    """Decode all tiles into an image's own integers, out (ny nx,) int32; see `decode_tiles`."""
    across = (nx + tile_columns - 1) // tile_columns
    for t in range(len(start)):
        y, x = t // across * tile_rows, t % across * tile_columns
        rows, columns = min(tile_rows, ny - y), min(tile_columns, nx - x)
        n = rows * columns
        sound = _tile(
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
