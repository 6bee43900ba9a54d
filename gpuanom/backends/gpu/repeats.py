"""Maxima of small squares and the differences of their positions: launches kernels/repeats.cu (METHOD.md 11)."""

from __future__ import annotations

import cupy
import numpy as np
import numpy.typing as npt

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.limits import (
    MAXIMA_A_CCD,
    MAXIMA_A_TILE,
    MAXIMUM_THRESHOLD,
    PAIR_COLUMNS,
    PAIR_ROWS,
)
from gpuanom.records import Background, CcdStack, Repeats, Sources
from gpuanom.settings import Settings

MAXIMA = Kernel("repeats", "repeats_maxima")
LIST = Kernel("repeats", "repeats_list")
PAIRS = Kernel("repeats", "repeats_pairs")
WARPS = 8
CHOOSERS = 1024
BLOCKS_A_CCD = 8


def repeats(
    stack: CcdStack, background: Background, sources: Sources, turns: npt.NDArray[np.int64], settings: Settings
) -> Repeats:
    """See `gpuanom.backends.protocol.Backend.repeats`."""
    if sources.brightest is None:
        raise ValueError("these sources have no brightest values of tiles: they went through to_host")
    n_ccd, ny, nx = stack.shape
    _, rows, columns = sources.brightest.shape
    n_slots = rows * columns * MAXIMA_A_TILE
    value, pixel = cupy.empty((n_ccd, n_slots), np.float64), cupy.empty((n_ccd, n_slots), np.int32)
    # A warp a tile.
    MAXIMA(
        (-(-rows * columns // WARPS), n_ccd),
        (32, WARPS),
        stack.images,
        stack.bad,
        stack.saturation,
        stack.damaged,
        background.coefficients,
        background.sigma,
        sources.brightest,
        MAXIMUM_THRESHOLD,
        settings.stamp_size // 2,
        rows,
        columns,
        ny,
        nx,
        value,
        pixel,
    )
    listed, n_maxima = cupy.empty((n_ccd, MAXIMA_A_CCD), np.int32), cupy.empty(n_ccd, np.int64)
    LIST((n_ccd,), (CHOOSERS,), n_slots, value, pixel, listed, n_maxima)
    pairs = cupy.zeros((PAIR_ROWS, PAIR_COLUMNS), np.int32)
    turned = cupy.asarray(np.ascontiguousarray(turns, dtype=np.int64))
    PAIRS((BLOCKS_A_CCD, n_ccd), (256,), listed, n_maxima, turned, nx, pairs)
    return Repeats(pairs, n_maxima)
