"""Mean-filtered CCDs: launcher of kernels/smooth.cu (METHOD.md 4.1)."""

from __future__ import annotations

import cupy
import numpy as np

from gpuanom.gpu.kernel import Kernel
from gpuanom.records import Array, CcdStack
from gpuanom.settings import Settings

TILE = 32
"""Side of a block's tile, the kernel's own number: a row of it is a warp."""
WARPS = 8
"""Warps of a block, the kernel's own number: 256 threads, each of 4 pixels."""

_SMOOTH = Kernel("smooth", "smooth")
_BIN = Kernel("smooth", "smooth_bin")


def smooth(stack: CcdStack, settings: Settings, binning: int = 1) -> Array:
    """See `gpuanom.backend.Backend.smooth`."""
    n_ccd, ny, nx = stack.shape
    smoothed = cupy.empty(stack.shape, np.float32)
    span = TILE + settings.smooth_size - 1
    # A tile with its margins: row sums of the whole tile, and a row of pixels for each warp.
    shared = 8 * (span * TILE + WARPS * span)
    grid = (-(-nx // TILE), -(-ny // TILE), n_ccd)
    _SMOOTH(grid, (TILE, WARPS), stack.images, smoothed, ny, nx, settings.smooth_size, shared=shared)
    if binning == 1:
        return smoothed
    rows, columns = -(-ny // binning), -(-nx // binning)
    binned = cupy.empty((n_ccd, rows, columns), np.float32)
    # A warp a cell, as many of a row of cells as a block has warps.
    _BIN((-(-columns // WARPS), rows, n_ccd), (TILE, WARPS), smoothed, binned, ny, nx, rows, columns, binning)
    return binned
