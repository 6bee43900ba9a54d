"""Maps, profiles and spectra of the residual sky: launches kernels/patterns.cu, and `spectra` (METHOD.md 9)."""

from __future__ import annotations

import cupy
import numpy as np

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.gpu.spectrum import spectra
from gpuanom.backends.pattern_layout import CELL as SIDE_OF_CELL
from gpuanom.backends.pattern_layout import (
    bin_shape,
    bin_side,
    coarse_parts,
    faint_bin_shape,
    faint_bin_side,
    fine_parts,
    map_shape,
    map_side,
)
from gpuanom.records import Background, CcdStack, Patterns
from gpuanom.settings import Settings

RESIDUAL = Kernel("patterns", "patterns_residual")
MASK = Kernel("patterns", "patterns_mask")
ADD = Kernel("patterns", "patterns_add")
PIXELS_A_BLOCK, THREADS_A_BLOCK = 512, 128
"""Columns of pixels, and the threads that take four of them each."""
ROWS_OF_PIXELS_A_BLOCK = 32
CELLS_A_BLOCK = (224, 32)
"""Columns and rows of cells that a block of `patterns_mask` masks; the rows become the bits of a number."""


def patterns(stack: CcdStack, background: Background, settings: Settings) -> Patterns:  # noqa: ARG001
    """See `gpuanom.backends.protocol.Backend.patterns`."""
    n_ccd, ny, nx = stack.shape
    rows, columns = -(-ny // SIDE_OF_CELL), -(-nx // SIDE_OF_CELL)
    side, (my, mx) = map_side(ny, nx), map_shape(ny, nx)
    numbers = cupy.empty((n_ccd, ny, nx), np.int16)
    words = -(-rows // CELLS_A_BLOCK[1])
    seeds, hidden = cupy.empty((n_ccd, rows, columns), np.uint8), cupy.empty((n_ccd, words, columns), np.uint32)
    cells, bin_sum = cupy.empty((n_ccd, rows, columns), np.int16), cupy.zeros((n_ccd, *bin_shape(ny, nx)), np.int64)
    of_ccd = (background.coefficients, background.sigma, background.usable)
    across = -(-nx // PIXELS_A_BLOCK)
    RESIDUAL(
        (across, -(-ny // ROWS_OF_PIXELS_A_BLOCK), n_ccd), (THREADS_A_BLOCK,), stack.images, stack.bad, *of_ccd,
        bin_side(ny, nx), ny, nx, numbers, seeds, bin_sum,
    )  # fmt: skip
    a_block = CELLS_A_BLOCK
    MASK((-(-columns // a_block[0]), words, n_ccd), (256,), seeds, rows, columns, hidden)
    shapes = ((my, mx),) * 3 + ((ny,),) * 2 + ((nx,),) * 2 + ((),) * 3
    sums = [cupy.zeros((n_ccd, *shape), np.int64) for shape in shapes]
    faint_bin_sum = cupy.zeros((n_ccd, *faint_bin_shape(ny, nx)), np.int64)
    ADD(
        (across, my, n_ccd), (THREADS_A_BLOCK,), stack.images, numbers, hidden, stack.saturation, *of_ccd, side,
        faint_bin_side(ny, nx), ny, nx, cells, *sums, faint_bin_sum,
    )  # fmt: skip
    (fine_power, coarse_power), (n_fine, n_coarse) = spectra(
        numbers, hidden, cells, fine_parts(ny, nx), coarse_parts(ny, nx), background
    )
    map_sum, map_count, map_usable, row_sum, row_count, column_sum, column_count, *crosstalk = sums
    return Patterns(
        map_sum=map_sum,
        map_count=map_count,
        map_usable=map_usable,
        row_sum=row_sum,
        row_count=row_count,
        column_sum=column_sum,
        column_count=column_count,
        fine_power=fine_power,
        coarse_power=coarse_power,
        n_fine=n_fine,
        n_coarse=n_coarse,
        crosstalk_sum=crosstalk[0],
        crosstalk_count=crosstalk[1],
        crosstalk_masked=crosstalk[2],
        bin_sum=bin_sum,
        faint_bin_sum=faint_bin_sum,
    )
