"""Compiled loops that turn the big-endian numbers of a file into float32 pixels, add them up, or translate codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import as_float32, as_float64, inlined, native, swapped16, swapped32, swapped64


def _readonly(kind: Any) -> Any:
    return types.Array(kind, 1, "C", readonly=True)


@inlined
def _pixel(stored: Any, scale: Any, zero: Any, blank: Any) -> Any:
    value = np.float32(np.float64(stored) * scale + zero)
    return np.float32(np.nan) if stored == blank else value


# Three loops in place of a function that makes them: what a loop takes from around it has another name in each
# process, and Numba would compile the loop in each of them.
@native(types.void(_readonly(types.uint8), types.float64, types.float64, types.int64, types.float32[::1]))
def from_8(numbers: Any, scale: Any, zero: Any, blank: Any, out: Any) -> None:
    """Convert unsigned 8-bit integers; for the parameters see `from_64`."""
    for i in range(len(out)):
        out[i] = _pixel(numbers[i], scale, zero, blank)


@native(types.void(_readonly(types.uint16), types.float64, types.float64, types.int64, types.float32[::1]))
def from_16(numbers: Any, scale: Any, zero: Any, blank: Any, out: Any) -> None:
    """Convert 16-bit integers, two's complement; for the parameters see `from_64`."""
    for i in range(len(out)):
        out[i] = _pixel(np.int16(swapped16(numbers[i])), scale, zero, blank)


@native(types.void(_readonly(types.uint32), types.float64, types.float64, types.int64, types.float32[::1]))
def from_32(numbers: Any, scale: Any, zero: Any, blank: Any, out: Any) -> None:
    """Convert 32-bit integers, two's complement; for the parameters see `from_64`."""
    for i in range(len(out)):
        out[i] = _pixel(np.int32(swapped32(numbers[i])), scale, zero, blank)


@native(types.void(_readonly(types.uint64), types.float64, types.float64, types.int64, types.float32[::1]))
def from_64(numbers: Any, scale: Any, zero: Any, blank: Any, out: Any) -> None:
    """Convert 64-bit integers; without scaling they are rounded once.

    Parameters
    ----------
    numbers : ndarray, (n,) uint64
        The stored numbers, big-endian.
    scale, zero : float
        BSCALE and BZERO.
    blank : int
        The stored integer that means "no value".
    out : ndarray, (n,) float32
        Written to.
    """
    nan = np.float32(np.nan)
    plain = scale == 1.0 and zero == 0.0
    for i in range(len(out)):
        stored = np.int64(swapped64(numbers[i]))
        value = np.float32(stored) if plain else np.float32(np.float64(stored) * scale + zero)
        out[i] = nan if stored == blank else value


@native(types.void(_readonly(types.uint32), types.uint32[::1]))
def swap_32(numbers: Any, out: Any) -> None:
    """Copy 32-bit numbers to the machine's byte order.

    Parameters
    ----------
    numbers : ndarray, (n,) uint32
        Big-endian.
    out : ndarray, (n,) uint32
        Written to.
    """
    for i in range(len(out)):
        out[i] = swapped32(numbers[i])


@native(types.void(_readonly(types.uint32), types.float64, types.float64, types.float32[::1]))
def from_single(numbers: Any, scale: Any, zero: Any, out: Any) -> None:
    """Scale float32 numbers; NaN and infinities stay as they are; for the parameters see `from_64`."""
    for i in range(len(out)):
        stored = as_float32(swapped32(numbers[i]))
        out[i] = np.float32(np.float64(stored) * scale + zero) if np.isfinite(stored) else stored


@native(types.void(_readonly(types.uint64), types.float64, types.float64, types.float32[::1]))
def from_double(numbers: Any, scale: Any, zero: Any, out: Any) -> None:
    """Scale float64 numbers and round them to float32, beyond its range to infinity; parameters as of `from_64`."""
    plain = scale == 1.0 and zero == 0.0  # so that -0.0 stays -0.0
    for i in range(len(out)):
        stored = as_float64(swapped64(numbers[i]))
        out[i] = np.float32(stored if plain else stored * scale + zero)


@native(types.uint64(_readonly(types.uint32)))
def total(numbers: Any) -> Any:
    """Return the sum of up to 2^32 big-endian 32-bit numbers, for DATASUM."""
    result = np.uint64(0)
    for i in range(len(numbers)):
        result += np.uint64(swapped32(numbers[i]))
    return result


def _translation(word: Any) -> Any:
    """Make the function that translates codes of one width."""

    @native(types.boolean(_readonly(word), _readonly(types.uint8), types.uint8[::1]))
    def translate(codes: Any, table: Any, out: Any) -> Any:
        found = types.uint8(0)
        last = len(table) - 1
        for i in range(len(out)):
            # Both sides are unsigned: Numba would compare a signed and an unsigned 64-bit number
            # as floats.
            code = np.uint64(codes[i])
            bits = table[np.int64(code) if code < np.uint64(last) else last]
            found |= bits
            out[i] = bits
        return found != 0

    return translate


TRANSLATE = {
    1: _translation(types.uint8),
    2: _translation(types.uint16),
    4: _translation(types.uint32),
    8: _translation(types.uint64),
}
"""Functions (codes, table, out), by the number of bytes of a code.

Each writes the table's entry for each code to `out`, or the table's last entry for codes beyond
the table, and returns whether any entry was not 0.
"""
