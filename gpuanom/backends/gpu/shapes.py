"""Weighted moments of the brightest sources of each CCD: launches kernels/shapes.cu (METHOD.md 10)."""

from __future__ import annotations

import cupy
import numpy as np

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.limits import FIRST_WIDTH, FOR_WIDTH, SHAPES_A_CCD, WIDTH_ROUNDS
from gpuanom.records import Background, CcdStack, Shapes, Sources
from gpuanom.settings import Settings

CHOOSE = Kernel("shapes", "shapes_choose")
MEASURE = Kernel("shapes", "shapes_measure")
WIDTH = Kernel("shapes", "shapes_width")
WARPS = 8
CHOOSERS = 1024
WIDTH_THREADS = 128


def shapes(stack: CcdStack, background: Background, sources: Sources, settings: Settings) -> Shapes:
    """See `gpuanom.backends.protocol.Backend.shapes`.

    All rounds are launched: the host does not wait to learn whether a width is found, and a CCD whose width is known
    leaves the rounds that follow at once.
    """
    n_ccd, ny, nx = stack.shape
    n_slots = sources.y.size // n_ccd
    listed = cupy.empty((n_ccd, SHAPES_A_CCD), np.int32)
    CHOOSE(
        (n_ccd,),
        (CHOOSERS,),
        stack.images,
        stack.saturation,
        sources.y,
        sources.x,
        sources.value,
        sources.n_isophote,
        n_slots,
        settings.isophote_pixels,
        ny,
        nx,
        cupy.empty((n_ccd, n_slots), np.float64),
        cupy.empty((n_ccd, n_slots), np.int32),
        listed,
    )
    result = Shapes(
        centre=cupy.full((n_ccd, SHAPES_A_CCD, 2), np.nan, np.float64),
        moments=cupy.empty((n_ccd, SHAPES_A_CCD, 6), np.float64),
        spoilt=cupy.empty((n_ccd, SHAPES_A_CCD), np.uint8),
        width=cupy.full(n_ccd, FIRST_WIDTH, np.float64),
    )
    state = cupy.zeros(n_ccd, np.int32)
    for attempt in range(WIDTH_ROUNDS):
        _measure(stack, background, listed, state, result, settings.stamp_size, last=False)
        WIDTH(
            (n_ccd,), (WIDTH_THREADS,), result.moments, result.spoilt, attempt == WIDTH_ROUNDS - 1, result.width, state
        )
    _measure(stack, background, listed, state, result, settings.stamp_size, last=True)
    return result


def _measure(
    stack: CcdStack,
    background: Background,
    listed: cupy.ndarray,
    state: cupy.ndarray,
    result: Shapes,
    size: int,
    *,
    last: bool,
) -> None:
    """Measure the sources that give the width, or at last all."""
    n_ccd, ny, nx = stack.shape
    # A warp a source.
    MEASURE(
        (-(-(SHAPES_A_CCD if last else FOR_WIDTH) // WARPS), n_ccd),
        (32, WARPS),
        stack.images,
        stack.bad,
        stack.saturation,
        background.coefficients,
        background.sigma,
        listed,
        result.width,
        state,
        last,
        ny,
        nx,
        size,
        result.centre,
        result.moments,
        result.spoilt,
    )
