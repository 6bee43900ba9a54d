"""The compiled loops that read and check the columns of tables, for `gpuanom.fits.decoding.tile_table`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import native, word_at

_rows = types.Array(types.uint8, 2, "C", readonly=True)
_int = types.int64


@native(_int(_rows, _int, _int, _int, _int, types.int64[::1], types.int64[::1]))
def read_places(rows: Any, offset: Any, width: Any, element: Any, room: Any, start: Any, size: Any) -> Any:
    """Read a column of array descriptors: where the tiles lie in the heap.

    Parameters
    ----------
    rows : ndarray, (n, n_bytes) uint8
        The rows of the table.
    offset : int
        First byte of the column within a row; the column lies within the rows.
    width : int
        Bytes of a number of the descriptors: 4 (format P) or 8 (format Q).
    element : int
        Bytes of an element of the arrays.
    room : int
        Bytes of the heap.
    start, size : ndarray, (n,) int64
        Written: first byte of each tile within the heap, and number of its bytes; both 0 for a
        tile of no elements.

    Returns
    -------
    int
        The first tile that does not lie within the heap; -1 where all do.
    """
    n_bytes = rows.shape[1]
    first_wrong = -1
    for tile in range(len(rows)):
        at = np.uint64(rows.ctypes.data) + np.uint64(tile * n_bytes + offset)
        if width == 4:
            # Both numbers at once, big-endian; the shifts keep their signs.
            both = np.int64(word_at(at))
            count, begin = both >> 32, both << 32 >> 32
        else:
            count, begin = np.int64(word_at(at)), np.int64(word_at(at + np.uint64(8)))
        start[tile] = size[tile] = 0
        if count == 0:
            continue
        # Each number is compared alone, so that no sum overflows.
        if count < 0 or count > room // element or begin < 0 or begin > room - count * element:
            if first_wrong < 0:
                first_wrong = tile
            continue
        start[tile], size[tile] = begin, count * element
    return first_wrong
