"""Sums of bins along all straight lines, and their contrasts: launches kernels/contrasts.cu (METHOD.md 9.6).

A part of the step `lines`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import cupy
import numpy as np

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.line_layout import LINE_PARALLEL, LINE_STEEP, height_of, weights
from gpuanom.records import Array, LineBins

LEVEL = Kernel("contrasts", "contrasts_level")
FIND = Kernel("contrasts", "contrasts_find")
ORIENTATIONS, STRIPS, THREADS = 4, 8, 256


class Contrasts(NamedTuple):
    """The lines of planes of bins, on the device: those where sources are left in, then those where they are masked.

    Attributes
    ----------
    copies : Array, (2, n_planes, rows columns) int64
        The planes, then the transposed planes.
    level : Array, (n_planes, 2) float64
        Mean and standard deviation of the bins of each plane.
    tables : tuple of two Arrays
        The weights of the lines of a plane and of a transposed one (`gpuanom.backends.line_layout.weights`).
    value, place : Array, (n_planes, 4, most) float64 and (n_planes, 4, most, 2) int32
        In each orientation the highest contrasts of lines that are not steep, and which lines have these.
    steep : Array, (n_planes, 4, 8, widest) float64
        The contrasts of all steep lines.
    most, widest : int
        The largest numbers of blocks of an orientation, and of lines of one direction.
    """

    copies: Array
    level: Array
    tables: tuple[Array, Array]
    value: Array
    place: Array
    steep: Array
    most: int
    widest: int


def contrasts(bins: LineBins) -> Contrasts:
    """Find the contrasts of the lines of a stack's bins."""
    n_ccd, rows, columns = bins.bin_sum.shape
    n_planes = 2 * n_ccd
    tables = _weights(rows, columns, cupy.cuda.Device().id)
    blocks, widths = zip(_blocks(rows, columns), _blocks(columns, rows), strict=True)
    most, widest = max(blocks), max(widths)
    copies, level = cupy.empty((2, n_planes, rows * columns), np.int64), cupy.empty((n_planes, 2))
    LEVEL((n_planes,), (THREADS,), bins.bin_sum, bins.faint_bin_sum, n_planes, rows, columns, copies, level)
    value = cupy.empty((n_planes, ORIENTATIONS, most))
    place = cupy.empty((n_planes, ORIENTATIONS, most, 2), np.int32)
    steep = cupy.empty((n_planes, ORIENTATIONS, LINE_STEEP, widest))
    FIND(
        (most, ORIENTATIONS, n_planes), (THREADS,), copies, level, *tables, n_planes, rows, columns, most, widest,
        value, place, steep,
    )  # fmt: skip
    return Contrasts(copies, level, tables, value, place, steep, most, widest)


def _blocks(rows: int, columns: int) -> tuple[int, int]:
    """The blocks of `contrasts_find` for one orientation of a plane, and the lines of one direction."""
    height = height_of(rows)
    width = columns + height
    return height // min(STRIPS, height) * -(-width // (THREADS - 2 * LINE_PARALLEL)), width


@cache
def _weights(rows: int, columns: int, device: int) -> tuple[Any, Any]:  # noqa: ARG001 - tables are kept for each device
    """The weights of the lines of a plane and of a transposed one, on the device.

    They are kept for good, for the lanes to share: a lane that made them waits until they have arrived, since the
    streams of the other lanes do not wait for its own.
    """
    tables = cupy.asarray(weights(rows, columns)), cupy.asarray(weights(columns, rows))
    cupy.cuda.get_current_stream().synchronize()
    return tables
