"""The numbers of images' compressed tiles for a GPU: a compiled loop that refuses tiles outside their data.

A GPU would read wherever it is told to. The loop needs no CuPy, and is compiled ahead where there is none.
"""

from __future__ import annotations

from typing import Any

from numba import types

from gpuanom.native import native

_whole = types.Array(types.int64, 1, "A", readonly=True)
_wholes = types.Array(types.int64, 2, "A", readonly=True)
_reals = types.Array(types.float64, 2, "A", readonly=True)


@native(
    types.boolean(
        _wholes, _wholes, _whole, _reals, _reals, types.int64, types.int64, types.int64, types.int64[:, ::1],
        types.float64[:, ::1],
    )
)  # fmt: skip
def put_tiles(start: Any, size: Any, blank: Any, scale: Any, zero: Any, n_bytes: Any, begin: Any, at: Any, wholes: Any,
              reals: Any) -> Any:  # fmt: skip
    """Put the numbers of images' tiles behind those of other images, if all tiles lie within the images' data.

    Parameters
    ----------
    start, size : ndarray, (n, n_tiles) int64
    blank : ndarray, (n_tiles,) int64
    scale, zero : ndarray, (n, n_tiles) float64
        See `gpuanom.encoded.RiceImages`.
    n_bytes : int
        Bytes of the images' data.
    begin : int
        Where the data begin among those of all images.
    at : int
        The column of the first tile.
    wholes : ndarray, (3, n) int64
        Written: where each tile begins among the data of all images, its number of bytes, and `blank`.
    reals : ndarray, (2, n) float64
        Written: `scale` and `zero`.

    Returns
    -------
    bool
        False where a tile does not lie within the data; then nothing of what was written counts.
    """
    n_images, n_tiles = start.shape
    for image in range(n_images):
        for tile in range(n_tiles):
            first, n = start[image, tile], size[image, tile]
            # Each number is compared alone, so that no sum overflows.
            if first < 0 or n < 0 or n > n_bytes or first > n_bytes - n:
                return False
            place = at + image * n_tiles + tile
            wholes[0, place], wholes[1, place], wholes[2, place] = begin + first, n, blank[tile]
            reals[0, place], reals[1, place] = scale[image, tile], zero[image, tile]
    return True
