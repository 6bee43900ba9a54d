"""The stamp check and the moments of each source: launches kernels/moments.cu (METHOD.md 2, 3, 3b)."""

from __future__ import annotations

import cupy
import numpy as np

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.records import Array, Background, CcdStack, Sources
from gpuanom.settings import Settings

CHECK = Kernel("moments", "moments_check")
BLOCKS_A_CCD = 256
"""Blocks among which the candidates of a CCD are dealt out; a CCD mostly has some hundreds."""


def check_candidates(
    stack: CcdStack,
    background: Background,
    listed: Array,
    n_listed: Array,
    n_bad: Array,
    n_saturated: Array,
    settings: Settings,
) -> Sources:
    """Sort out the candidates that are sources and sum their moments.

    Parameters
    ----------
    stack : CcdStack
    background : Background
    listed : device array, (n_ccd, n_slots) int32
        Candidates of each CCD, y * nx + x; their stamps lie on the CCD.
    n_listed : device array, (n_ccd,) int32
        How many of them count.
    n_bad, n_saturated : device array, (n_ccd,) int64
        Passed on.
    settings : Settings

    Returns
    -------
    Sources
        A slot a candidate; y = x = -1 and NaN where it is no source.
    """
    n_ccd, ny, nx = stack.shape
    n_slots = listed.shape[1]
    n = n_ccd * n_slots
    # One fill and one allocation for all floats, and one for all integers.
    floats, integers = cupy.full(7 * n, np.nan, np.float64), cupy.full(4 * n, -1, np.int64)
    result = Sources(
        ccd=cupy.repeat(cupy.arange(n_ccd, dtype=np.int64), n_slots),
        y=integers[:n],
        x=integers[n : 2 * n],
        value=floats[:n],
        n_above=integers[2 * n : 3 * n],
        moments=floats[n : 4 * n].reshape(n, 3),
        isophote_moments=floats[4 * n :].reshape(n, 3),
        n_isophote=integers[3 * n :],
        n_sources=cupy.zeros(n_ccd, np.uint64).view(np.int64),
        n_bad=n_bad,
        n_saturated=n_saturated,
    )
    # The 8 warps of a block share the rows of a stamp.
    CHECK(
        (min(n_slots, BLOCKS_A_CCD), n_ccd),
        (32, 8),
        stack.images,
        stack.bad,
        background.coefficients,
        background.sigma,
        listed,
        n_listed,
        n_slots,
        ny,
        nx,
        settings.stamp_size,
        settings.above_threshold,
        settings.above_pixels,
        settings.moment_fraction,
        settings.isophote_threshold,
        result.y,
        result.x,
        result.value,
        result.n_above,
        result.moments,
        result.isophote_moments,
        result.n_isophote,
        result.n_sources.view(np.uint64),
    )
    return result
