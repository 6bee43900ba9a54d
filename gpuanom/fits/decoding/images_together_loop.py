"""The compiled loop that reads several images at once and checks their tables, for `gpuanom.fits.ccds.images_together`.

Numba takes long to import what a function of the C library needs, so that only runs on a GPU import this module.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import as_float64, native, word_at

_int = types.int64
_bytes = types.Array(types.uint8, 1, "C")
_pairs = types.Array(types.int64, 2, "C", readonly=True)
_places = types.int64[:, ::1]
_reals = types.float64[:, ::1]
read_at = types.ExternalFunction("pread", types.int64(types.int32, types.uint64, types.uint64, types.int64))
"""The C library's function: descriptor of the file, address, number of bytes, and the first byte in the file."""


@native(
    types.boolean(types.int32, _bytes, _pairs, _int, _int, _int, _int, _int, _int, _places, _places, _reals, _reals)
)
def read_sound_images(file: Any, memory: Any, tables: Any, row: Any, heap: Any, offset: Any, width: Any, scale_at: Any,
                      zero_at: Any, start: Any, size: Any, scale: Any, zero: Any) -> Any:  # fmt: skip
    """Read images of one form and their tables, if each tile of each image lies within its heap and has bytes.

    Parameters
    ----------
    file : int
        Descriptor of the file.
    memory : ndarray, (n_bytes,) uint8
        Written: what the file holds from the first table on. The last heap ends with the memory.
    tables : ndarray, (n, 2) int64
        First byte of each table in the file, and the byte behind its heap. The rows lie within these.
    row, heap : int
        Bytes of a row, and first byte of the heap within a table.
    offset, width : int
        First byte of the descriptors within a row, and bytes of each of their numbers: 4 (format P) or 8 (format Q).
    scale_at, zero_at : int
        First byte of the columns of scales and zero points within a row, of 8 bytes; negative where there is none.
    start, size : ndarray, (n, n_tiles) int64
        Written: first byte of each tile within `memory`, and number of bytes.
    scale, zero : ndarray, (n, n_tiles) float64
        Written, where there are such columns.

    Returns
    -------
    bool
        False where the file cannot be read or is cut off, or where a tile has no bytes or does not lie within its
        heap; then nothing of what was written counts.
    """
    n_images, n_tiles = start.shape
    address, done = np.uint64(memory.ctypes.data), 0
    while done < len(memory):
        n = read_at(file, address + np.uint64(done), np.uint64(len(memory) - done), tables[0, 0] + done)
        if n <= 0:
            return False
        done += n
    for i in range(n_images):
        table = tables[i, 0] - tables[0, 0]
        first, room = address + np.uint64(table), tables[i, 1] - tables[i, 0] - heap
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
            start[i, tile], size[i, tile] = table + heap + begin, count
            if scale_at >= 0:
                scale[i, tile] = as_float64(word_at(at + np.uint64(scale_at)))
            if zero_at >= 0:
                zero[i, tile] = as_float64(word_at(at + np.uint64(zero_at)))
    return True
