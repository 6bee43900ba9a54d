"""The compiled loops that read and check the columns of tables, for `gpuanom.fits.tile_table`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import as_float64, native, word_at

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


_bytes = types.Array(types.uint8, 1, "C", readonly=True)
_wholes = types.Array(types.int64, 1, "C", readonly=True)
_places = types.int64[:, ::1]
_reals = types.float64[:, ::1]


@native(types.boolean(_bytes, _wholes, _wholes, _int, _int, _int, _int, _int, _int, _places, _places, _reals, _reals))
def read_sound_tables(memory: Any, tables: Any, ends: Any, row: Any, heap: Any, offset: Any, width: Any,
                      scale_at: Any, zero_at: Any, start: Any, size: Any, scale: Any, zero: Any) -> Any:  # fmt: skip
    """Read the tables of several images of one form, if each tile of each image lies within its heap and has bytes.

    Parameters
    ----------
    memory : ndarray, (n_bytes,) uint8
        What was read of a file.
    tables, ends : ndarray, (n,) int64
        First byte of each table in `memory`, and the byte behind its heap. The rows lie within these.
    row, heap : int
        Bytes of a row, and first byte of the heap within a table.
    offset, width : int
        First byte of the descriptors within a row, and bytes of each of their numbers: 4 (format P) or 8 (format Q).
    scale_at, zero_at : int
        First byte of the columns of scales and zero points within a row, of 8 bytes; negative where there is none.
    start, size : ndarray, (n, n_tiles) int64
        Written: first byte of each tile within the heap, and number of bytes.
    scale, zero : ndarray, (n, n_tiles) float64
        Written, where there are such columns.

    Returns
    -------
    bool
        False where a tile has no bytes or does not lie within its heap; then nothing of what was written counts.
    """
    n_images, n_tiles = start.shape
    for i in range(n_images):
        first = np.uint64(memory.ctypes.data) + np.uint64(tables[i])
        room = ends[i] - tables[i] - heap
        for tile in range(n_tiles):
            at = first + np.uint64(tile * row)
            if width == 4:
                both = np.int64(word_at(at + np.uint64(offset)))
                count, begin = both >> 32, both << 32 >> 32
            else:
                count = np.int64(word_at(at + np.uint64(offset)))
                begin = np.int64(word_at(at + np.uint64(offset + 8)))
            # Each number is compared alone, so that no sum overflows.
            if count <= 0 or count > room or begin < 0 or begin > room - count:
                return False
            start[i, tile], size[i, tile] = begin, count
            if scale_at >= 0:
                scale[i, tile] = as_float64(word_at(at + np.uint64(scale_at)))
            if zero_at >= 0:
                zero[i, tile] = as_float64(word_at(at + np.uint64(zero_at)))
    return True
