"""The residual sky in whole steps, and its masks: launches kernels/residual.cu, a part of the step `patterns`."""

from __future__ import annotations

from typing import NamedTuple

import cupy
import numpy as np

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.pattern_layout import CELL, bin_shape, bin_side
from gpuanom.records import Array, Background, CcdStack

STEPS = Kernel("residual", "residual_steps")
MASK = Kernel("residual", "residual_mask")
PIXELS_A_BLOCK, THREADS_A_BLOCK = 512, 128
"""Columns of pixels, and the threads that take four of them each; the same for `patterns_add`."""
ROWS_OF_PIXELS_A_BLOCK = 32
CELLS_A_BLOCK = (224, 32)
"""Columns and rows of cells that a block of `residual_mask` masks; the rows become the bits of a number."""


class Residual(NamedTuple):
    """The residual sky of a stack, on the device.

    Attributes
    ----------
    numbers : Array, (n_ccd, ny, nx) int16
        Steps of 2^-12 sigma, or what stands for bad pixels (kernels/residual.cuh).
    hidden : Array, (n_ccd, ceil(ny / 128), ceil(nx / 4)) uint32
        A bit for each cell of 4 x 4 pixels: 1 where a source masks the cell.
    bin_sum : Array, (n_ccd, by, bx) int64
        Sums over the bins for lines, which are not masked, in steps.
    """

    numbers: Array
    hidden: Array
    bin_sum: Array


def residual(stack: CcdStack, background: Background) -> Residual:
    """The residual sky of each CCD (METHOD.md 9.1)."""
    n_ccd, ny, nx = stack.shape
    rows, columns = -(-ny // CELL), -(-nx // CELL)
    words = -(-rows // CELLS_A_BLOCK[1])
    numbers = cupy.empty((n_ccd, ny, nx), np.int16)
    seeds, hidden = cupy.empty((n_ccd, rows, columns), np.uint8), cupy.empty((n_ccd, words, columns), np.uint32)
    bin_sum = cupy.zeros((n_ccd, *bin_shape(ny, nx)), np.int64)
    STEPS(
        (-(-nx // PIXELS_A_BLOCK), -(-ny // ROWS_OF_PIXELS_A_BLOCK), n_ccd), (THREADS_A_BLOCK,), stack.images,
        stack.bad, background.coefficients, background.sigma, background.usable, bin_side(ny, nx), ny, nx, numbers,
        seeds, bin_sum,
    )  # fmt: skip
    MASK((-(-columns // CELLS_A_BLOCK[0]), words, n_ccd), (256,), seeds, rows, columns, hidden)
    return Residual(numbers, hidden, bin_sum)
