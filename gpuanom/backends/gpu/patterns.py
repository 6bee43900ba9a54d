"""Maps, profiles and spectra of the residual sky (METHOD.md 9): launches kernels/patterns.cu.

The residual sky comes first (`residual.py`), and the spectra come last (`spectrum.py`).
"""

from __future__ import annotations

import cupy
import numpy as np

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.gpu.residual import PIXELS_A_BLOCK, THREADS_A_BLOCK, residual
from gpuanom.backends.gpu.spectrum import spectra
from gpuanom.backends.pattern_layout import (
    CELL,
    bin_side,
    coarse_parts,
    fine_parts,
    map_shape,
    map_side,
)
from gpuanom.records import Background, CcdStack, LineBins, Patterns, ProfileSums
from gpuanom.settings import Settings

ADD = Kernel("patterns", "patterns_add")


def patterns(
    stack: CcdStack,
    background: Background,
    settings: Settings,  # noqa: ARG001 - the protocol's signature
) -> tuple[Patterns, ProfileSums, LineBins]:
    """See `gpuanom.backends.protocol.Backend.patterns`."""
    n_ccd, ny, nx = stack.shape
    side, (my, mx) = map_side(ny, nx), map_shape(ny, nx)
    numbers, hidden, bin_sum = residual(stack, background)
    cells = cupy.empty((n_ccd, -(-ny // CELL), -(-nx // CELL)), np.int16)
    shapes = ((my, mx),) * 3 + ((ny,),) * 2 + ((nx,),) * 2 + ((),) * 3
    sums = [cupy.zeros((n_ccd, *shape), np.int64) for shape in shapes]
    faint_bin_sum = cupy.zeros(bin_sum.shape, np.int64)
    ADD(
        (-(-nx // PIXELS_A_BLOCK), my, n_ccd), (THREADS_A_BLOCK,), stack.images, numbers, hidden, stack.saturation,
        background.coefficients, background.sigma, background.usable, side, bin_side(ny, nx), ny, nx, cells,
        *sums, faint_bin_sum,
    )  # fmt: skip
    (fine_power, coarse_power), (n_fine, n_coarse) = spectra(
        numbers, hidden, cells, fine_parts(ny, nx), coarse_parts(ny, nx), background
    )
    map_sum, map_count, map_usable, row_sum, row_count, column_sum, column_count, *crosstalk = sums
    found = Patterns(
        shape=(ny, nx),
        map_sum=map_sum,
        map_count=map_count,
        map_usable=map_usable,
        fine_power=fine_power,
        coarse_power=coarse_power,
        n_fine=n_fine,
        n_coarse=n_coarse,
        crosstalk_sum=crosstalk[0],
        crosstalk_count=crosstalk[1],
        crosstalk_masked=crosstalk[2],
    )
    bins = LineBins(bin_side(ny, nx), bin_sum, faint_bin_sum)
    return found, ProfileSums(row_sum, row_count, column_sum, column_count), bins
