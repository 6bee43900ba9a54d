"""The straight line that stands out most of each CCD's bins: launches kernels/lines.cu (METHOD.md 9.6)."""

from __future__ import annotations

from functools import cache
from typing import Any

import cupy
import numpy as np

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.line_layout import (
    LINE_ALONE,
    LINE_EDGE,
    LINE_NOISE,
    LINE_NUMBERS,
    LINE_PARALLEL,
    LINE_SEGMENT,
    LINE_STEEP,
    has_lines,
    height_of,
    weights,
)
from gpuanom.records import Array, LineBins

LEVEL = Kernel("lines", "lines_level")
CONTRAST = Kernel("lines", "lines_contrast")
CHOOSE = Kernel("lines", "lines_choose")
FOLLOW = Kernel("lines", "lines_follow")
ORIENTATIONS, STRIPS, THREADS = 4, 8, 256


def lines(bins: LineBins) -> Array:
    """See `gpuanom.backends.protocol.Backend.lines`."""
    n_ccd, rows, columns = bins.bin_sum.shape
    if not has_lines(rows, columns):
        return cupy.full((2, n_ccd, LINE_NUMBERS), np.nan)
    n_planes = 2 * n_ccd
    tables = _weights(rows, columns, cupy.cuda.Device().id)
    blocks, widths = zip(_blocks(rows, columns), _blocks(columns, rows), strict=True)
    most, widest = max(blocks), max(widths)
    copies, level = cupy.empty((2, n_planes, rows * columns), np.int64), cupy.empty((n_planes, 2))
    LEVEL((n_planes,), (THREADS,), bins.bin_sum, bins.faint_bin_sum, n_planes, rows, columns, copies, level)
    value = cupy.empty((n_planes, ORIENTATIONS, most))
    place = cupy.empty((n_planes, ORIENTATIONS, most, 2), np.int32)
    steep = cupy.empty((n_planes, ORIENTATIONS, LINE_STEEP, widest))
    CONTRAST(
        (most, ORIENTATIONS, n_planes), (THREADS,), copies, level, *tables, n_planes, rows, columns, most, widest,
        value, place, steep,
    )  # fmt: skip
    height, line = cupy.empty((n_planes, ORIENTATIONS)), cupy.empty((n_planes, ORIENTATIONS, 2), np.int32)
    CHOOSE(
        (ORIENTATIONS, n_planes), (THREADS,), copies, *tables, value, place, steep, n_planes, rows, columns, most,
        widest, height, line,
    )  # fmt: skip
    found = cupy.empty((2, n_ccd, LINE_NUMBERS))
    segment = max(1, LINE_SEGMENT // bins.side)
    FOLLOW(
        (n_planes,), (THREADS,), copies, level, *tables, height, line, n_planes, rows, columns, widest, segment,
        LINE_ALONE, LINE_NOISE, LINE_EDGE, cupy.empty((n_planes, widest), np.int64), found,
    )  # fmt: skip
    return found


def _blocks(rows: int, columns: int) -> tuple[int, int]:
    """The blocks of `lines_contrast` for one orientation of a plane, and the lines of one direction."""
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
