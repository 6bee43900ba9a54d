"""The compiled loop that reads the headers of a file's extensions, one behind the other, by one call.

Numba takes long to import, so that only runs on a GPU, which need it anyway, import this module.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.fits.decoding.images_together_loop import read_at
from gpuanom.native import byte_at, helper, native, word_at

_int = types.int64
_bytes = types.Array(types.uint8, 1, "C")

_STEP = 8 * 2880
"""Bytes of a read, and a whole number of cards: most headers are shorter."""
_MOST_HEADER = 100 * _STEP
_LARGEST = 2**40
_BLANKS = np.uint64(0x2020202020202020)
_XTENSION, _END, _BITPIX, _PCOUNT, _GCOUNT = (
    np.uint64(int.from_bytes(name.ljust(8), "big")) for name in (b"XTENSION", b"END", b"BITPIX", b"PCOUNT", b"GCOUNT")
)
_NAXIS = np.uint64(int.from_bytes(b"NAXIS", "big"))


@helper
def _is_end(card: Any) -> Any:
    """Whether the card at an address is the END card."""
    if word_at(card) != _END:
        return False
    for at in range(8, 80, 8):  # noqa: SIM110 - Numba has no all() of a generator
        if word_at(card + np.uint64(at)) != _BLANKS:
            return False
    return True


@helper
def _number(card: Any) -> Any:
    """The size of the whole number in the card at an address; -1 where the card holds anything else."""
    if byte_at(card + np.uint64(8)) != 61 or byte_at(card + np.uint64(9)) != 32:  # '= '
        return -1
    at, n_digits, number = 10, 0, np.int64(0)
    while at < 80 and byte_at(card + np.uint64(at)) == 32:
        at += 1
    if at < 80 and byte_at(card + np.uint64(at)) == 45:
        at += 1
    while at < 80 and 48 <= byte_at(card + np.uint64(at)) <= 57:
        number = 10 * number + (np.int64(byte_at(card + np.uint64(at))) - 48)
        n_digits += 1
        at += 1
        if number > _LARGEST:
            return -1
    while at < 80 and byte_at(card + np.uint64(at)) == 32:
        at += 1
    if not n_digits or (at < 80 and byte_at(card + np.uint64(at)) != 47):  # '/'
        return -1
    while at < 80:
        if not 32 <= byte_at(card + np.uint64(at)) <= 126:
            return -1
        at += 1
    return number


@helper
def _has_minus(card: Any) -> Any:
    """Whether there is a minus before the comment of the card at an address."""
    for at in range(10, 80):
        if byte_at(card + np.uint64(at)) == 45:
            return True
        if byte_at(card + np.uint64(at)) == 47:
            break
    return False


@helper
def _data_bytes(header: Any, n_bytes: Any) -> Any:
    """The bytes of data behind a header at an address; -1 where its cards are not plainly those of the standard."""
    bitpix, naxis, pcount, gcount, pixels, n_axes = -1, -1, -1, -1, 1, 0
    for at in range(0, n_bytes, 80):
        card = header + np.uint64(at)
        name = word_at(card)
        axis = name >> np.uint64(24) == _NAXIS and name & np.uint64(0xFFFF) == np.uint64(0x2020)
        if name == _END and at + 80 < n_bytes:
            return -1  # more than its name: `gpuanom.fits.headers.card_places` looks for no names behind it
        if not axis and name != _BITPIX and name != _PCOUNT and name != _GCOUNT:
            continue
        number = _number(card)
        if number < 0 or (name != _BITPIX and _has_minus(card)):
            return -1
        if name == _BITPIX:
            if bitpix >= 0 or number > 64:
                return -1
            bitpix = number
        elif name == _PCOUNT:
            if pcount >= 0:
                return -1
            pcount = number
        elif name == _GCOUNT:
            if gcount >= 0 or number > 2**15:
                return -1
            gcount = number
        elif name >> np.uint64(16) & np.uint64(0xFF) == np.uint64(0x20):
            if naxis >= 0 or number > 9:
                return -1
            naxis = number
        else:
            n_axes += 1
            if name >> np.uint64(16) & np.uint64(0xFF) != np.uint64(48 + n_axes):
                return -1  # NAXIS1, NAXIS2 ... in another order
            if number and pixels > _LARGEST // number:
                return -1
            pixels *= number
    if bitpix < 0 or pcount < 0 or gcount < 0 or naxis != n_axes:
        return -1
    return bitpix // 8 * gcount * (pcount + pixels) if naxis else 0


@helper
def _same_names(header: Any, other: Any, n_bytes: Any) -> Any:
    """Whether the cards of two headers of as many bytes have the same names."""
    for at in range(0, n_bytes, 80):  # noqa: SIM110
        if word_at(header + np.uint64(at)) != word_at(other + np.uint64(at)):
            return False
    return True


@native(_int(types.int32, _bytes, _int, _int, types.int64[:, ::1]))
def walk_headers(file: Any, memory: Any, start: Any, size: Any, found: Any) -> Any:
    """Read the headers of extensions as long as they are plainly those of the standard.

    Parameters
    ----------
    file : int
        Descriptor of the file.
    memory : ndarray, (n_bytes,) uint8
        Written: the headers, one behind the other, each up to its END card.
    start, size : int
        First byte of the first header, and number of bytes of the file.
    found : ndarray, (n, 5) int64
        Written: first byte of each header in the file and in `memory`, its number of bytes, the number of bytes of its
        data, and 1 where its cards have the same names as those of the header before.

    Returns
    -------
    int
        How many headers were found; the first that is not plain, that does not fit the memory, or that cannot be read,
        ends the walk.
    """
    address, used, last, length, n = np.uint64(memory.ctypes.data), 0, 0, -1, 0
    while n < len(found) and start < size:
        header = address + np.uint64(used)
        n_read, end, at = 0, -1, 0
        while end < 0:
            more = min(_STEP, size - start - n_read, len(memory) - used - n_read)
            if more < 80 or n_read >= _MOST_HEADER:
                return n
            if read_at(file, header + np.uint64(n_read), np.uint64(more), start + n_read) != more:
                return n
            n_read += more
            if word_at(header) != _XTENSION:
                return n
            while at + 80 <= n_read and end < 0:
                if _is_end(header + np.uint64(at)):
                    end = at + 80
                at += 80
        data, n_bytes = start + (end + 2879) // 2880 * 2880, _data_bytes(header, end)
        if n_bytes < 0 or data > size:
            return n
        same = end == length and _same_names(header, address + np.uint64(last), end)
        found[n, 0], found[n, 1], found[n, 2], found[n, 3], found[n, 4] = start, used, end, n_bytes, same
        last, length = used, end
        used += end
        start = data + (n_bytes + 2879) // 2880 * 2880
        n += 1
    return n
