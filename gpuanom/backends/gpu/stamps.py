"""Normalised stamps for the autoencoder: launches kernels/stamps.cu (METHOD.md 7)."""

from __future__ import annotations

import cupy
import numpy as np

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.gpu.sources import EMPTY
from gpuanom.records import Array, Background, CcdStack, Sources
from gpuanom.settings import Settings

CUT = Kernel("stamps", "stamps_cut")


def stamps(stack: CcdStack, background: Background, sources: Sources, settings: Settings) -> Array:
    """See `gpuanom.backends.protocol.Backend.stamps`: of the slots that hold a source, in (ccd, y, x) order.

    It waits for the sources: how many stamps there are must be known before there is memory for them.
    """
    _, ny, nx = stack.shape
    y, x, ccd = sources.y.get(), sources.x.get(), sources.ccd.get()
    found = np.flatnonzero(y != EMPTY)
    found = found[np.lexsort((x[found], y[found], ccd[found]))].astype(np.int32)
    size = settings.stamp_size
    result = cupy.empty((found.size, size, size), np.float32)
    # A block takes a stamp, and a warp every eighth row of it.
    CUT(
        (found.size,),
        (32, 8),
        stack.images,
        stack.bad,
        background.coefficients,
        cupy.asarray(found),
        sources.ccd,
        sources.y,
        sources.x,
        sources.value,
        ny,
        nx,
        size,
        result,
    )
    return result
