"""Maps, profiles and spectra of the residual sky: launches kernels/patterns.cu (METHOD.md 9)."""

from __future__ import annotations

from functools import cache
from typing import Any

import cupy
import numpy as np
import numpy.typing as npt

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.pattern_layout import CELL as SIDE_OF_CELL
from gpuanom.backends.pattern_layout import PART as SIDE_OF_PART
from gpuanom.backends.pattern_layout import (
    bin_shape,
    bin_side,
    coarse_parts,
    faint_bin_shape,
    faint_bin_side,
    fine_parts,
    hann,
    map_shape,
    map_side,
    unit_circle,
)
from gpuanom.records import Array, Background, CcdStack, Patterns
from gpuanom.settings import Settings

RESIDUAL = Kernel("patterns", "patterns_residual")
MASK = Kernel("patterns", "patterns_mask")
ADD = Kernel("patterns", "patterns_add")
COLUMNS = Kernel("patterns", "patterns_columns")
ROWS = Kernel("patterns", "patterns_rows")
FOLD = Kernel("patterns", "patterns_fold")
PIXELS_A_BLOCK = 256
COLUMNS_A_BLOCK = 16
ROWS_A_BLOCK = 8
ROWS_OF_PIXELS_A_BLOCK = 32
CELLS_A_BLOCK = (224, 16)
"""Columns and rows of cells that a block of `patterns_mask` masks."""
CCDS_AT_ONCE = 32
"""At most so many CCDs are transformed together: 537 MB hold the transforms of 128 parts of each."""


def patterns(stack: CcdStack, background: Background, settings: Settings) -> Patterns:  # noqa: ARG001
    """See `gpuanom.backends.protocol.Backend.patterns`."""
    n_ccd, ny, nx = stack.shape
    rows, columns = -(-ny // SIDE_OF_CELL), -(-nx // SIDE_OF_CELL)
    side, (my, mx) = map_side(ny, nx), map_shape(ny, nx)
    numbers = cupy.empty((n_ccd, ny, nx), np.int16)
    seeds, hidden = cupy.empty((n_ccd, rows, columns), np.uint8), cupy.empty((n_ccd, rows, columns), np.uint8)
    cells, bin_sum = cupy.empty((n_ccd, rows, columns), np.int16), cupy.zeros((n_ccd, *bin_shape(ny, nx)), np.int64)
    of_ccd = (background.coefficients, background.sigma, background.usable)
    across = -(-nx // PIXELS_A_BLOCK)
    # A thread takes a column of a cell of 4 x 4 pixels.
    RESIDUAL(
        (across, -(-ny // ROWS_OF_PIXELS_A_BLOCK), n_ccd), (PIXELS_A_BLOCK,), stack.images, stack.bad, *of_ccd,
        bin_side(ny, nx), ny, nx, numbers, seeds, bin_sum,
    )  # fmt: skip
    a_block = CELLS_A_BLOCK
    MASK((-(-columns // a_block[0]), -(-rows // a_block[1]), n_ccd), (256,), seeds, rows, columns, hidden)
    shapes = ((my, mx),) * 3 + ((ny,),) * 2 + ((nx,),) * 2 + ((),) * 2
    sums = [cupy.zeros((n_ccd, *shape), np.int64) for shape in shapes]
    faint_bin_sum = cupy.zeros((n_ccd, *faint_bin_shape(ny, nx)), np.int64)
    ADD(
        (across, my, n_ccd), (PIXELS_A_BLOCK,), stack.images, numbers, hidden, stack.saturation, *of_ccd, side,
        faint_bin_side(ny, nx), ny, nx, cells, *sums, faint_bin_sum,
    )  # fmt: skip
    fine_power, n_fine = _spectrum(numbers, hidden, fine_parts(ny, nx), background)
    coarse_power, n_coarse = _spectrum(cells, None, coarse_parts(ny, nx), background)
    map_sum, map_count, map_usable, row_sum, row_count, column_sum, column_count, crosstalk_sum, crosstalk_count = sums
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
        crosstalk_sum=crosstalk_sum,
        crosstalk_count=crosstalk_count,
        bin_sum=bin_sum,
        faint_bin_sum=faint_bin_sum,
    )


def _spectrum(
    numbers: Array, hidden: Array | None, places: npt.NDArray[np.int32], background: Background
) -> tuple[Array, Array]:
    """The summed powers of parts of each CCD, and the numbers of parts."""
    n_ccd, rows, columns = numbers.shape
    n_parts = len(places)
    if not n_parts:
        return cupy.zeros((n_ccd, SIDE_OF_PART, SIDE_OF_PART // 2 + 1)), cupy.zeros(n_ccd, np.int64)
    power, n_added = cupy.empty((n_ccd, SIDE_OF_PART, SIDE_OF_PART // 2 + 1)), cupy.empty(n_ccd, np.int64)
    first, window, turns = _tables(places.tobytes(), cupy.cuda.Device().id)
    n_pairs = (n_parts + 1) // 2
    # Batches of equal size: a small last batch would leave most of the card idle.
    most = -(-n_ccd // -(-n_ccd // CCDS_AT_ONCE))
    re, im = (cupy.empty((most, n_pairs, SIDE_OF_PART, SIDE_OF_PART)) for _ in range(2))
    total = cupy.empty((n_ccd, SIDE_OF_PART, SIDE_OF_PART))
    for start in range(0, n_ccd, most):
        batch = slice(start, start + most)
        n = min(most, n_ccd - start)
        # 16 columns a block fill the shared memory that every card gives.
        COLUMNS(
            (SIDE_OF_PART // COLUMNS_A_BLOCK, n_pairs, n), (256,), numbers[batch],
            None if hidden is None else hidden[batch], first, window, turns, n_parts, rows, columns, re, im,
        )  # fmt: skip
        ROWS((SIDE_OF_PART // ROWS_A_BLOCK, n), (256,), re, im, turns, n_pairs, total[batch])
    FOLD((SIDE_OF_PART, n_ccd), (96,), total, background.usable, background.sigma, n_parts, power, n_added)
    return power, n_added


@cache
def _tables(places: bytes, device: int) -> tuple[Any, Any, Any]:  # noqa: ARG001 - tables are kept for each device
    """The first pixels of parts, the window and the cosines and sines of a transform, on the device.

    They are kept for good, for the lanes to share: a lane that made them waits until they have arrived, since the
    streams of the other lanes do not wait for its own.
    """
    parts = np.frombuffer(places, np.int32).reshape(-1, 2)
    tables = tuple(cupy.asarray(table) for table in (parts, hann(), unit_circle()))
    cupy.cuda.get_current_stream().synchronize()
    return tables
