"""KL divergence of tables of histograms: launcher of kernels/divergence.cu (eq. 1)."""

from __future__ import annotations

import cupy
import numpy as np

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.records import Array

WARP = 32
WARPS = 8
"""Histograms of a block, the kernel's own number: a warp each, 256 threads."""

_DIVERGENCE = Kernel("divergence", "divergence")


def divergence(counts: Array, reference: Array) -> Array:
    """See `gpuanom.backends.protocol.Backend.divergence`."""
    n, bins = counts.shape
    result = cupy.empty(n, np.float64)
    # A warp takes a histogram.
    _DIVERGENCE((-(-n // WARPS),), (WARPS * WARP,), counts, reference, n, bins, result)
    return result
