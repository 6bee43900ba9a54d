"""Sums of the spectra of square parts of 128 x 128: launches kernels/spectrum.cu, a part of the step `patterns`.

Source: METHOD.md 9.2.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cupy
import numpy as np
import numpy.typing as npt

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.pattern_layout import PART as SIDE_OF_PART
from gpuanom.backends.pattern_layout import hann, unit_circle
from gpuanom.records import Array, Background

ADD = Kernel("spectrum", "spectrum_add")
FOLD = Kernel("spectrum", "spectrum_fold")
QUARTERS, ROWS_A_BLOCK = 4, 4
"""Blocks that share the frequencies of a CCD; rows of frequencies that a block folds."""


def spectra(
    numbers: Array,
    hidden: Array,
    cells: Array,
    fine: npt.NDArray[np.int32],
    coarse: npt.NDArray[np.int32],
    background: Background,
) -> tuple[Array, Array]:
    """Sum the powers of parts of each CCD under a Hann window, those of pixels and those of cells.

    Parameters
    ----------
    numbers : device array, (n_ccd, ny, nx) int16
        Residuals in steps of 2^-12 sigma.
    hidden : device array, (n_ccd, ceil(ny / 128), ceil(nx / 4)) uint32
        Bits of cells to mask, those below each other in one number.
    cells : device array, (n_ccd, ceil(ny / 4), ceil(nx / 4)) int16
        Means of cells, masked already, in the same steps.
    fine, coarse : ndarray, (n_parts, 2) int32
        First row and column of each part of the numbers, and of the cells.
    background : Background

    Returns
    -------
    power : device array, (2, n_ccd, 128, 65) float64
        Of the fine parts, then of the coarse ones, in units of sigma^2.
    n_added : device array, (2, n_ccd) int64
        Number of parts; 0 for a CCD without a background.
    """
    n_ccd, ny, nx = numbers.shape
    of_kinds = (2, n_ccd)
    if not len(fine) and not len(coarse):
        return cupy.zeros((*of_kinds, SIDE_OF_PART, SIDE_OF_PART // 2 + 1)), cupy.zeros(of_kinds, np.int64)
    places = [_tables(parts.tobytes(), cupy.cuda.Device().id) for parts in (fine, coarse)]
    window, turns = places[0][1:]
    total = cupy.empty((*of_kinds, SIDE_OF_PART, SIDE_OF_PART))
    ADD(
        (QUARTERS, n_ccd, 2), (256,), numbers, hidden, cells, places[0][0], places[1][0], window, turns, len(fine),
        len(coarse), ny, nx, total,
    )  # fmt: skip
    power, n_added = cupy.empty((*of_kinds, SIDE_OF_PART, SIDE_OF_PART // 2 + 1)), cupy.empty(of_kinds, np.int64)
    of_ccd = (background.usable, background.sigma)
    FOLD((SIDE_OF_PART // ROWS_A_BLOCK, n_ccd, 2), (96,), total, *of_ccd, len(fine), len(coarse), power, n_added)
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
