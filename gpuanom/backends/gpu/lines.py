"""The straight line that stands out most of each CCD's bins: launches kernels/lines.cu (METHOD.md 9.6).

The contrasts of all lines come first (`contrasts.py`).
"""

from __future__ import annotations

import cupy
import numpy as np

from gpuanom.backends.gpu.contrasts import ORIENTATIONS, THREADS, contrasts
from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.line_layout import (
    LINE_ALONE,
    LINE_EDGE,
    LINE_NOISE,
    LINE_NUMBERS,
    LINE_SEGMENT,
    has_lines,
)
from gpuanom.records import Array, LineBins

CHOOSE = Kernel("lines", "lines_choose")
FOLLOW = Kernel("lines", "lines_follow")


def lines(bins: LineBins) -> Array:
    """See `gpuanom.backends.protocol.Backend.lines`."""
    n_ccd, rows, columns = bins.bin_sum.shape
    if not has_lines(rows, columns):
        return cupy.full((2, n_ccd, LINE_NUMBERS), np.nan)
    n_planes = 2 * n_ccd
    of = contrasts(bins)
    height, line = cupy.empty((n_planes, ORIENTATIONS)), cupy.empty((n_planes, ORIENTATIONS, 2), np.int32)
    CHOOSE(
        (ORIENTATIONS, n_planes), (THREADS,), of.copies, *of.tables, of.value, of.place, of.steep, n_planes, rows,
        columns, of.most, of.widest, height, line,
    )  # fmt: skip
    found = cupy.empty((2, n_ccd, LINE_NUMBERS))
    FOLLOW(
        (n_planes,), (THREADS,), of.copies, of.level, *of.tables, height, line, n_planes, rows, columns, of.widest,
        max(1, LINE_SEGMENT // bins.side), LINE_ALONE, LINE_NOISE, LINE_EDGE,
        cupy.empty((n_planes, of.widest), np.int64), found,
    )  # fmt: skip
    return found
