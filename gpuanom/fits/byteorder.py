"""Big-endian numbers to float32 pixels, and sums of words, at native speed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import as_float32, as_float64, helper, native, swapped16, swapped32, swapped64


def _readonly(kind: Any) -> Any:
    return types.Array(kind, 1, "C", readonly=True)


@helper
def _same(word: Any) -> Any:
    return word


def _integers(word: Any, number: Any, swapped: Any) -> Any:
    """Make the function for two's complement integers of one width (unsigned for 8 bits)."""

    @native(types.void(_readonly(word), types.float64, types.float64, types.int64, types.float32[::1]))
    def convert(words: Any, scale: Any, zero: Any, blank: Any, out: Any) -> None:
        nan = np.float32(np.nan)
        for i in range(len(out)):
            stored = number(swapped(words[i]))
            value = np.float32(np.float64(stored) * scale + zero)
            out[i] = nan if stored == blank else value

    return convert


from_8 = _integers(types.uint8, np.uint8, _same)
from_16 = _integers(types.uint16, np.int16, swapped16)
from_32 = _integers(types.uint32, np.int32, swapped32)


@native(types.void(_readonly(types.uint64), types.float64, types.float64, types.int64, types.float32[::1]))
def from_64(words: Any, scale: Any, zero: Any, blank: Any, out: Any) -> None:
    """64-bit integers; without scaling they are rounded once."""
    nan = np.float32(np.nan)
    plain = scale == 1.0 and zero == 0.0
    for i in range(len(out)):
        stored = np.int64(swapped64(words[i]))
        value = np.float32(stored) if plain else np.float32(np.float64(stored) * scale + zero)
        out[i] = nan if stored == blank else value


@native(types.void(_readonly(types.uint32), types.uint32[::1]))
def swap_32(words: Any, out: Any) -> None:
    """The same bits in the machine's order."""
    for i in range(len(out)):
        out[i] = swapped32(words[i])


@native(types.void(_readonly(types.uint32), types.float64, types.float64, types.float32[::1]))
def from_single(words: Any, scale: Any, zero: Any, out: Any) -> None:
    """float32 with a scale and a zero; NaN and infinities stay what they are."""
    for i in range(len(out)):
        stored = as_float32(swapped32(words[i]))
        out[i] = np.float32(np.float64(stored) * scale + zero) if np.isfinite(stored) else stored


@native(types.void(_readonly(types.uint64), types.float64, types.float64, types.float32[::1]))
def from_double(words: Any, scale: Any, zero: Any, out: Any) -> None:
    """float64, rounded to float32 after scaling; what is beyond its range becomes infinite."""
    plain = scale == 1.0 and zero == 0.0  # -0.0 stays what it is
    for i in range(len(out)):
        stored = as_float64(swapped64(words[i]))
        out[i] = np.float32(stored if plain else stored * scale + zero)


@native(types.uint64(_readonly(types.uint32)))
def total(words: Any) -> Any:
    """Sum of up to 2^32 big-endian words."""
    result = np.uint64(0)
    for i in range(len(words)):
        result += np.uint64(swapped32(words[i]))
    return result


def _translation(word: Any) -> Any:
    """Make the function for codes of one width."""

    @native(types.boolean(_readonly(word), _readonly(types.uint8), types.uint8[::1]))
    def translate(codes: Any, table: Any, out: Any) -> Any:
        found = types.uint8(0)
        last = len(table) - 1
        for i in range(len(out)):
            # Not mixed with a signed number: Numba would compare those of 64 bits as floats.
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
"""By bytes of a code: its entry in a table, the last one for codes beyond it; whether any entry was not 0."""
