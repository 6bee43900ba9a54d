"""The different texts of a column of millions of texts: a native loop."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import native

_letters = types.Array(types.uint32, 2, "C", readonly=True)


@native(types.int64(_letters, types.int64[::1], types.int64[::1], types.int64[::1]))
def number_texts(letters: Any, table: Any, codes: Any, first: Any) -> Any:
    """Number the different texts in the order in which they first come.

    Parameters
    ----------
    letters : ndarray, (n, width) uint32
        The letters of each text.
    table : ndarray, (m,) int64
        Room for a hash table, all -1; m is a power of two and larger than n.
    codes : ndarray, (n,) int64
        Out: the number of each text.
    first : ndarray, (n,) int64
        Out: for each number the first row of its text.

    Returns
    -------
    int
        How many different texts there are.
    """
    zero, one, width = np.uint64(0), np.uint64(1), np.uint64(letters.shape[1])
    n_different = zero
    last_place = np.uint64(table.size) - one
    for i in range(np.uint64(letters.shape[0])):
        # Unsigned numbers, since Numba takes a negative index to count from the end, which costs time.
        key = np.uint64(0xCBF29CE484222325)
        for k in range(width):
            key = (key ^ np.uint64(letters[i, k])) * np.uint64(0x100000001B3)
        place = (key ^ (key >> np.uint64(32))) & last_place
        while True:
            code = table[place]
            if code < 0:
                code = np.int64(n_different)
                table[place], first[n_different] = code, i
                n_different += one
                break
            other, at = np.uint64(first[np.uint64(code)]), zero
            while at < width and letters[i, at] == letters[other, at]:
                at += one
            if at == width:
                break
            place = (place + one) & last_place
        codes[i] = code
    return np.int64(n_different)
