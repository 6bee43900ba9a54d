"""Smoothed gradients at random points: launcher of kernels/gradients.cu (METHOD.md 4, eqs. 6 and 7)."""

from __future__ import annotations

from dataclasses import replace

import cupy
import numpy as np

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.gradient_filter import filter_weights
from gpuanom.records import Array, Background, CcdStack, Gradients
from gpuanom.settings import Settings

WARP = 32
FIRST_WARPS = 8
"""Points of a block of `gradients_first`, the kernel's own number: 8 results of 8 bytes fill two sectors of memory."""
REST_WARPS = 16
"""Points of a round of `gradients_rest`, the kernel's own number: the largest block that keeps all in registers."""

_FIRST = Kernel("gradients", "gradients_first")
_REST = Kernel("gradients", "gradients_rest")


def gradients(stack: CcdStack, points: Array, background: Background, settings: Settings) -> Gradients:
    """See `gpuanom.backends.protocol.Backend.gradients`.

    The result has one slot for each wanted point of each CCD: the usable points in draw order, then NaN, which has no
    orientation and is not counted. So nothing waits for the host to learn how many there are; `without_empty_slots`
    leaves the empty ones out.
    """
    n_ccd, ny, nx = stack.shape
    n_draws = points.shape[1]
    slots = min(settings.gradient_points, n_draws)
    along, across = filter_weights(settings.smooth_size, settings.gradient_reach)
    half = along.size
    gain = settings.gradient_reach * (2 * settings.gradient_reach + 1)
    drawn, weights = cupy.asarray(points), cupy.asarray(np.concatenate([along, across]))
    owner, n_points = cupy.empty(n_ccd * slots, np.int64), cupy.empty(n_ccd, np.int64)
    dx, dy, flat_dx, flat_dy = results = tuple(cupy.empty(n_ccd * slots, np.float64) for _ in range(4))
    inputs = (stack.images, stack.bad, drawn, weights, background.coefficients, background.usable)
    numbers = (ny, nx, n_draws, slots, half, gain)
    # A warp takes a point. CCDs lie along y, so that the blocks of a CCD run together and share the cache.
    blocks = (-(-slots // FIRST_WARPS), n_ccd)
    _FIRST(blocks, (FIRST_WARPS * WARP,), *inputs, *numbers, *results, shared=_shared(half, FIRST_WARPS))
    # A block takes a CCD: only the threads of one block can count in order among themselves.
    _REST(
        (n_ccd,),
        (REST_WARPS * WARP,),
        *inputs,
        *numbers,
        *results,
        owner,
        n_points,
        shared=_shared(half, REST_WARPS),
    )
    return Gradients(owner, dx, dy, flat_dx, flat_dy, n_points)


def without_empty_slots(found: Gradients) -> Gradients:
    """Gradients on the host without their empty slots, in (ccd, draw) order."""
    counted = np.isfinite(found.dx)
    return replace(
        found,
        ccd=found.ccd[counted],
        dx=found.dx[counted],
        dy=found.dy[counted],
        flat_dx=found.flat_dx[counted],
        flat_dy=found.flat_dy[counted],
    )


def _shared(half: int, warps: int) -> int:
    """Bytes of shared memory: the weights of a patch, and the column sums of each warp's."""
    return 8 * (3 * half + warps * 2 * half)
