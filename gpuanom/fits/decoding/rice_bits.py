"""The bits of RICE_1 tiles to integers (FITS 4.0, section 10.4.1; Rice, Yeh & Miller 1993).

A tile is a string of bits: blocks of `blocksize` differences between neighbouring pixels. Each
block begins with a field FS, the number of low bits of every difference that are stored as they
are. The bits above them are stored as a number of 0 bits that is ended by a 1.

Decoding is slow because each difference begins where the one before ends, so the processor waits
for the count of its zeros. Two things help. A window of 64 bits is loaded once for a group of 2, 4
or 8 differences, which are decoded without asking whether the window holds them all; in the rare
case that it does not, the group is decoded again, one difference at a time. And two tiles are
decoded side by side, so that the processor works on one while the other waits.

Every name here is a uint64: `data` is the address of the bytes, `p` a bit counted from `data`,
`stop` the bit behind the tile, `limit` the number of bytes at `data`, `fs` the field FS, `last`
the last pixel so far, and `out` and `behind` the addresses of the next integer and of the end of a
block.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuanom.native import byte_at, helper, inlined, leading_zeros, put, word_at

U = np.uint64
_0, _1, _3, _4, _7, _8, _57, _63, _64 = (U(n) for n in (0, 1, 3, 4, 7, 8, 57, 63, 64))
_WORD = U(0xFFFFFFFF)


@helper
def _last_bytes(data: Any, at: Any, limit: Any) -> Any:
    """Return the 8 bytes from byte `at` on as one number, with zeros for bytes from `limit` on."""
    word = _0
    k = _0
    while k < _8:
        word <<= _8
        if at + k < limit:
            word |= U(byte_at(data + at + k))
        k += _1
    return word


@inlined
def _window(data: Any, p: Any, limit: Any) -> Any:
    """Return at least 57 bits from bit `p` on, at the top of a 64-bit word; zeros for bytes from `limit` on."""
    at = p >> _3
    if at + _8 <= limit:
        return word_at(data + at) << (p & _7)
    return _last_bytes(data, at, limit) << (p & _7)


@inlined
def _difference(v: Any) -> Any:
    """Return the difference that a code stands for: 0, 1, 2, 3, 4 ... are 0, -1, 1, -2, 2 ..."""
    return (v >> _1) ^ (_0 - (v & _1))


@helper
def _slowly(data: Any, p: Any, stop: Any, limit: Any, fs: Any) -> Any:
    """Decode one difference of any length; return the bit behind it (beyond `stop`: damaged), and the difference."""
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


@helper
def _one_by_one(data: Any, p: Any, stop: Any, limit: Any, fs: Any, last: Any, out: Any, behind: Any) -> Any:
    """Decode the integers from `out` to `behind`, one difference at a time."""
    while out < behind:
        p, d = _slowly(data, p, stop, limit, fs)
        last += d
        put(out, last)
        out += _4
    return p, last


@inlined
def _next(word: Any, fs: Any, step: Any) -> Any:
    """Return the window behind its first difference, the number of zeros, and the difference; step = fs + 1."""
    n = leading_zeros(word)
    word <<= n & _63  # a window that is used up is 0: its 64 zeros make the caller's sum of used bits too large
    # The 1 that ends the zeros stands above the low bits: n - 1 takes off its value, 2^fs.
    v = (word >> (_63 - fs)) + ((n - _1) << fs)
    return word << (step & _63), n, _difference(v)


def _group(size: int) -> Any:
    """Make the function that decodes `size` differences of one tile from one window."""
    count = U(size)

    @inlined
    def take(data: Any, p: Any, stop: Any, limit: Any, fs: Any, last: Any, out: Any) -> Any:
        word, before, step = _window(data, p, limit), last, fs + _1
        used = count * step
        for k in range(size):
            word, n, d = _next(word, fs, step)
            used += n
            last += d
            put(out + U(4 * k), last)
        if used > _57:
            return _one_by_one(data, p, stop, limit, fs, before, out, out + _4 * count)
        return p + used, last

    return take


def _pair(size: int) -> Any:
    """Make the function that decodes `size` differences of each of two tiles."""
    count = U(size)

    @inlined
    def take(
        data: Any, limit: Any, p: Any, stop: Any, fs: Any, last: Any, out: Any, p2: Any, stop2: Any, fs2: Any,
        last2: Any, out2: Any,
    ) -> Any:  # fmt: skip
        word, before, step = _window(data, p, limit), last, fs + _1
        word2, before2, step2 = _window(data, p2, limit), last2, fs2 + _1
        used, used2 = count * step, count * step2
        for k in range(size):
            word, n, d = _next(word, fs, step)
            word2, n2, d2 = _next(word2, fs2, step2)
            used += n
            used2 += n2
            last += d
            last2 += d2
            put(out + U(4 * k), last)
            put(out2 + U(4 * k), last2)
        if used > _57:
            p, last = _one_by_one(data, p, stop, limit, fs, before, out, out + _4 * count)
        else:
            p += used
        if used2 > _57:
            p2, last2 = _one_by_one(data, p2, stop2, limit, fs2, before2, out2, out2 + _4 * count)
        else:
            p2 += used2
        return p, last, p2, last2

    return take


_take4, _take2 = _group(4), _group(2)
_pair8, _pair6, _pair4, _pair2 = _pair(8), _pair(6), _pair(4), _pair(2)


@helper
def _coded(data: Any, p: Any, stop: Any, limit: Any, fs: Any, last: Any, out: Any, behind: Any) -> Any:
    """Decode a block of differences that are stored as zeros and low bits."""
    if fs <= U(11):
        while out + U(16) <= behind:
            p, last = _take4(data, p, stop, limit, fs, last, out)
            out += U(16)
    while out + _8 <= behind:
        p, last = _take2(data, p, stop, limit, fs, last, out)
        out += _8
    return _one_by_one(data, p, stop, limit, fs, last, out, behind)


@helper
def _coded_pair(
    data: Any, limit: Any, p: Any, stop: Any, fs: Any, last: Any, out: Any, behind: Any, p2: Any, stop2: Any,
    fs2: Any, last2: Any, out2: Any,
) -> Any:  # fmt: skip
    """Decode a block of each of two tiles, both of the same length and stored as zeros and low bits."""
    most = max(fs, fs2)
    if most <= _3:
        while out + U(32) <= behind:
            p, last, p2, last2 = _pair8(data, limit, p, stop, fs, last, out, p2, stop2, fs2, last2, out2)
            out += U(32)
            out2 += U(32)
    elif most <= U(5):
        while out + U(24) <= behind:
            p, last, p2, last2 = _pair6(data, limit, p, stop, fs, last, out, p2, stop2, fs2, last2, out2)
            out += U(24)
            out2 += U(24)
    elif most <= U(11):
        while out + U(16) <= behind:
            p, last, p2, last2 = _pair4(data, limit, p, stop, fs, last, out, p2, stop2, fs2, last2, out2)
            out += U(16)
            out2 += U(16)
    while out + _8 <= behind:
        p, last, p2, last2 = _pair2(data, limit, p, stop, fs, last, out, p2, stop2, fs2, last2, out2)
        out += _8
        out2 += _8
    p2, last2 = _one_by_one(data, p2, stop2, limit, fs2, last2, out2, out2 + (behind - out))
    p, last = _one_by_one(data, p, stop, limit, fs, last, out, behind)
    return p, last, p2, last2


@helper
def _block(
    data: Any, p: Any, stop: Any, limit: Any, field: Any, fs_most: Any, bits: Any, last: Any, out: Any, behind: Any
) -> Any:
    """Decode a block of any kind behind its field FS; return a bit beyond `stop` where the block is damaged."""
    if p > stop or field > fs_most + _1:
        return stop + _1, last
    fs = field - _1
    if field == _0:
        while out < behind:
            put(out, last)
            out += _4
    elif fs == fs_most:
        if p + ((behind - out) >> U(2)) * bits > stop:
            return stop + _1, last
        while out < behind:
            last += _difference(_window(data, p, limit) >> (_64 - bits))
            p += bits
            put(out, last)
            out += _4
    else:
        p, last = _coded(data, p, stop, limit, fs, last, out, behind)
    return p, last


@inlined
def _form(bytepix: Any) -> Any:
    """Return the number of bits of the field FS, the largest FS, and the number of bits of an uncoded difference."""
    if bytepix == _1:
        return U(3), U(6), _8
    if bytepix == U(2):
        return _4, U(14), U(16)
    return U(5), U(25), U(32)


@inlined
def _first_number(data: Any, at: Any, bytepix: Any) -> Any:
    last = _0
    for k in range(bytepix):
        last = (last << _8) | U(byte_at(data + at + U(k)))
    return last


@helper
def one_tile(data: Any, at: Any, end: Any, limit: Any, n: Any, bytepix: Any, blocksize: Any, out: Any) -> Any:
    """Decode a tile into integers modulo 2^32 (FITS 4.0, section 10.4.1).

    Parameters
    ----------
    data, limit : uint64
        Address and number of the bytes that hold all tiles.
    at, end : uint64
        The tile's first byte, and the byte behind its last, counted from `data`.
    n : uint64
        Number of integers of the tile.
    bytepix, blocksize : uint64
        BYTEPIX (1, 2 or 4) and BLOCKSIZE.
    out : uint64
        Address of memory for n int32.

    Returns
    -------
    bool
        Whether the tile is sound. The integers of a damaged tile are meaningless.
    """
    if at > end or end > limit or end - at < bytepix:
        return False
    fs_bits, fs_most, bits = _form(bytepix)
    stop = end * _8
    last = _first_number(data, at, bytepix)
    p = (at + bytepix) * _8
    past = out + n * _4
    while out < past:
        behind = min(out + blocksize * _4, past)
        field = _window(data, p, limit) >> (_64 - fs_bits)
        p, last = _block(data, p + fs_bits, stop, limit, field, fs_most, bits, last, out, behind)
        if p > stop:
            return False
        out = behind
    return True


@helper
def two_tiles(
    data: Any, at: Any, end: Any, at2: Any, end2: Any, limit: Any, n: Any, bytepix: Any, blocksize: Any, out: Any,
    out2: Any,
) -> Any:  # fmt: skip
    """Decode two tiles of the same number of integers side by side.

    Parameters
    ----------
    data, limit, n, bytepix, blocksize : uint64
        As for `one_tile`.
    at, end, out : uint64
        The first tile, as for `one_tile`.
    at2, end2, out2 : uint64
        The second tile.

    Returns
    -------
    bool
        Whether both tiles are sound; otherwise decode each alone.
    """
    if at > end or end > limit or end - at < bytepix or at2 > end2 or end2 > limit or end2 - at2 < bytepix:
        return False
    fs_bits, fs_most, bits = _form(bytepix)
    stop, stop2 = end * _8, end2 * _8
    last, last2 = _first_number(data, at, bytepix), _first_number(data, at2, bytepix)
    p, p2 = (at + bytepix) * _8, (at2 + bytepix) * _8
    past = out + n * _4
    while out < past:
        behind = min(out + blocksize * _4, past)
        field, field2 = _window(data, p, limit) >> (_64 - fs_bits), _window(data, p2, limit) >> (_64 - fs_bits)
        p += fs_bits
        p2 += fs_bits
        if field - _1 < fs_most and field2 - _1 < fs_most:  # a field of 0 is huge here
            p, last, p2, last2 = _coded_pair(
                data, limit, p, stop, field - _1, last, out, behind, p2, stop2, field2 - _1, last2, out2
            )
        else:
            p, last = _block(data, p, stop, limit, field, fs_most, bits, last, out, behind)
            p2, last2 = _block(data, p2, stop2, limit, field2, fs_most, bits, last2, out2, out2 + (behind - out))
        if p > stop or p2 > stop2:
            return False
        out2 += behind - out
        out = behind
    return True
