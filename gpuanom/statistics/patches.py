"""The largest patch of cells of each map: a native loop, since scipy.ndimage takes a third of a second to import."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from gpuanom.native import helper, native
from gpuanom.records import Integers


@helper
def _largest(chosen: Any, waiting: Any) -> Any:
    """Fill patch after patch; return the number of cells of the largest.

    Parameters
    ----------
    chosen : ndarray, (ny, nx) uint8
        1 for a chosen cell. Written: 0 everywhere.
    waiting : ndarray, (ny nx,) int64
        Memory for the cells of a patch whose neighbours have not been looked at.
    """
    ny, nx = chosen.shape
    largest = 0
    for start in range(ny * nx):
        if not chosen[start // nx, start % nx]:
            continue
        chosen[start // nx, start % nx] = 0
        waiting[0] = start
        size, n_waiting = 1, 1
        while n_waiting:
            n_waiting -= 1
            y, x = waiting[n_waiting] // nx, waiting[n_waiting] % nx
            for row, column in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= row < ny and 0 <= column < nx and chosen[row, column]:
                    chosen[row, column] = 0
                    waiting[n_waiting] = row * nx + column
                    n_waiting += 1
                    size += 1
        largest = max(largest, size)
    return largest


@native(types.void(types.uint8[:, :, ::1], types.int64[::1]))
def _largest_of_each(chosen: Any, found: Any) -> None:
    """Find the number of cells of the largest patch of each map; `chosen` is written."""
    waiting = np.empty(chosen.shape[1] * chosen.shape[2], np.int64)
    for i in range(len(chosen)):
        found[i] = _largest(chosen[i], waiting)


def largest_patches(chosen: npt.NDArray[np.bool_]) -> Integers:
    """Return the number of cells of the largest patch of chosen cells that share sides, for each map.

    Parameters
    ----------
    chosen : ndarray, (n, ny, nx) bool

    Returns
    -------
    ndarray, (n,) int64
        0 where no cell is chosen.
    """
    found: Integers = np.zeros(len(chosen), dtype=np.int64)
    if chosen.any():
        _largest_of_each(chosen.astype(np.uint8, order="C"), found)
    return found
