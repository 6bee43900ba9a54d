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
TILES_A_BLOCK = 128
CHOOSERS = 1024
BLOCKS_A_CCD = 8


def repeats(
    stack: CcdStack,
    background: Background,
    sources: Sources,
    turns: npt.NDArray[np.int64],
    exposures: npt.NDArray[np.int64],
    settings: Settings,
) -> Repeats:
    """See `gpuanom.backends.protocol.Backend.repeats`."""
    if sources.brightest is None:
        raise ValueError("these sources have no brightest values of tiles: they went through to_host")
    n_ccd, ny, nx = stack.shape
    _, rows, columns = sources.brightest.shape
    tile, tiles = settings.stamp_size // 2, rows * columns
    found = cupy.empty((n_ccd, tiles), np.int32)
    value = cupy.empty((n_ccd, tiles, MAXIMA_A_TILE), np.float64)
    pixel = cupy.empty((n_ccd, tiles, MAXIMA_A_TILE), np.int32)
    # A thread a tile; the warps of a block share the bright tiles.
    MAXIMA(
        (-(-tiles // TILES_A_BLOCK), n_ccd),
        (TILES_A_BLOCK,),
        stack.images,
        stack.bad,
        stack.saturation,
        stack.damaged,
        background.coefficients,
        background.sigma,
        sources.brightest,
        MAXIMUM_THRESHOLD,
        tile,
        rows,
        columns,
        ny,
        nx,
        found,
        value,
        pixel,
    )
    listed, n_maxima = cupy.empty((n_ccd, MAXIMA_A_CCD), np.int32), cupy.empty(n_ccd, np.int64)
    LIST((n_ccd,), (CHOOSERS,), found, value, pixel, tiles, listed, n_maxima)
    pairs = cupy.zeros((int(exposures.max()) + 1, PAIR_ROWS, PAIR_COLUMNS), np.int32)
    of_ccds = cupy.asarray(np.array([turns, exposures], dtype=np.int64))
    PAIRS((BLOCKS_A_CCD, n_ccd), (256,), listed, n_maxima, of_ccds, tile, nx, pairs)
    return Repeats(pairs, n_maxima)
