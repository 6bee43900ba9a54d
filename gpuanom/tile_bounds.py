"""Whether the tiles of an image lie within its data: a compiled loop, since a GPU would read whatever it is told to."""

from __future__ import annotations

from typing import Any

from numba import types

from gpuanom.native import native

_numbers = types.Array(types.int64, 1, "A", readonly=True)


@native(types.boolean(_numbers, _numbers, types.int64))
def lie_within(start: Any, size: Any, n_bytes: Any) -> Any:
    """Tell whether all tiles lie within the data.

    Parameters
    ----------
    start, size : ndarray, (n_tiles,) int64
        First byte and number of bytes of each tile.
    n_bytes : int
        Bytes of the data.

    Returns
    -------
    bool
    """
    for tile in range(len(start)):
        # Each number is compared alone, so that no sum overflows.
        if start[tile] < 0 or size[tile] < 0 or size[tile] > n_bytes or start[tile] > n_bytes - size[tile]:
            return False
    return True
