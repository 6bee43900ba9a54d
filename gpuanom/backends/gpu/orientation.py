"""Orientations of moments and gradients: launcher of kernels/orientation.cu (eqs. 4, 5, 8)."""

from __future__ import annotations

import cupy
import numpy as np

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.records import Array

THREADS = 256
"""Angles of a block, the kernel's own number: they are independent, and 256 threads fill any card."""

_MOMENTS = Kernel("orientation", "orientation_moments")
_GRADIENTS = Kernel("orientation", "orientation_gradients")


def orientation(moments: Array) -> Array:
    """See `gpuanom.backends.protocol.Backend.orientation`."""
    n = moments.shape[0]
    theta = cupy.empty(n, np.float64)
    # A thread takes an angle.
    _MOMENTS((-(-n // THREADS),), (THREADS,), moments, n, theta)
    return theta


def gradient_orientation(dx: Array, dy: Array) -> Array:
    """See `gpuanom.backends.protocol.Backend.gradient_orientation`."""
    n = dx.shape[0]
    theta = cupy.empty(n, np.float64)
    # A thread takes an angle.
    _GRADIENTS((-(-n // THREADS),), (THREADS,), dx, dy, n, theta)
    return theta
