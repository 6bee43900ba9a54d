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

COLUMNS = Kernel("spectrum", "spectrum_columns")
ROWS = Kernel("spectrum", "spectrum_rows")
FOLD = Kernel("spectrum", "spectrum_fold")
COLUMNS_A_BLOCK = 16
ROWS_A_BLOCK = 8
CCDS_AT_ONCE = 32
"""At most so many CCDs are transformed together: 537 MB hold the transforms of 128 parts of each."""


def spectrum(
    numbers: Array, hidden: Array | None, places: npt.NDArray[np.int32], background: Background
) -> tuple[Array, Array]:
    """Sum the powers of parts of each CCD under a Hann window.

    Parameters
    ----------
    numbers : device array, (n_ccd, rows, columns) int16
        Residuals in steps of 2^-12 sigma.
    hidden : device array, (n_ccd, ceil(rows / 4), ceil(columns / 4)) uint8, or None
        Cells to mask; None where the numbers are masked already.
    places : ndarray, (n_parts, 2) int32
        First row and column of each part.
    background : Background

    Returns
    -------
    power : device array, (n_ccd, 128, 65) float64
        In units of sigma^2.
    n_added : device array, (n_ccd,) int64
        Number of parts; 0 for a CCD without a background.
    """
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
