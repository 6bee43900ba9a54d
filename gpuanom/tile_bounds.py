"""Whether the tiles of an image lie within its data: a compiled loop, since a GPU would read whatever it is told to."""

from __future__ import annotations

from typing import Any

from numba import types

from gpuanom.native import native

_whole = types.Array(types.int64, 1, "A", readonly=True)
_real = types.Array(types.float64, 1, "A", readonly=True)


@native(
    types.boolean(
        _whole, _whole, _whole, _real, _real, types.int64, types.int64, types.int64, types.int64[:, ::1],
        types.float64[:, ::1],
    )
)  # fmt: skip
def put_tiles(start: Any, size: Any, blank: Any, scale: Any, zero: Any, n_bytes: Any, begin: Any, at: Any, wholes: Any,
              reals: Any) -> Any:  # fmt: skip
    """Put the numbers of an image's tiles behind those of other images, if all tiles lie within the image's data.

    Parameters
    ----------
    start, size, blank : ndarray, (n_tiles,) int64
    scale, zero : ndarray, (n_tiles,) float64
        See `gpuanom.encoded.RiceImage`.
    n_bytes : int
        Bytes of the image's data.
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
    for tile in range(len(start)):
        # Each number is compared alone, so that no sum overflows.
        if start[tile] < 0 or size[tile] < 0 or size[tile] > n_bytes or start[tile] > n_bytes - size[tile]:
            return False
        wholes[0, at + tile], wholes[1, at + tile] = begin + start[tile], size[tile]
        wholes[2, at + tile], reals[0, at + tile], reals[1, at + tile] = blank[tile], scale[tile], zero[tile]
    return True
