"""What the native loops over pixels share: the types of their arrays, and which pixels are unusable for which step.

A pixel is unusable where it is not finite, or where the mask has the bit of the step. The bits have the same names in
kernels/common.cuh.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import helper
from gpuanom.records import Unfit

UNFIT_BACKGROUND, UNFIT_SOURCES, UNFIT_GRADIENTS = (
    np.uint8(bit) for bit in (Unfit.BACKGROUND, Unfit.SOURCES, Unfit.GRADIENTS)
)

FINITE = np.finfo(np.float32).max
UNFIT = -np.finfo(np.float64).max
"""Stands for v where a pixel is unusable: below every threshold, and finite."""
NO_MASK = np.zeros((0, 0), dtype=np.uint8)
"""In place of the bad-pixel plane of a CCD that has none."""

IMAGE = types.Array(types.float32, 2, "C", readonly=True)
MASK = types.Array(types.uint8, 2, "C", readonly=True)
PIXELS = types.Array(types.int64, 1, "C", readonly=True)
"""Numbers of pixels, y nx + x."""
DOUBLES = types.Array(types.float64, 1, "C", readonly=True)


@helper
def fill_row(image: Any, bad: Any, offset: Any, slope: Any, across: Any, bend: Any, y: Any, x: Any, row: Any) -> Any:
    """Fill `row` with v of the pixels from (y, x) on; `UNFIT` where one is unusable."""
    a, b, size = offset[y], slope[y], len(row)
    pixels, X, bends = image[y, x : x + size], across[x : x + size], bend[x : x + size]
    for j in range(size):
        v = np.float64(pixels[j]) - (a + X[j] * (b + bends[j]))
        row[j] = v if abs(pixels[j]) <= FINITE else UNFIT
    if len(bad):
        flags = bad[y, x : x + size]
        for j in range(size):
            row[j] = UNFIT if flags[j] & UNFIT_SOURCES else row[j]
