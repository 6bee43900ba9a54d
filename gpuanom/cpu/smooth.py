"""Mean-filtered CCDs, the NumPy twin of kernels/smooth.cu (METHOD.md 4.1)."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d

from gpuanom.records import CcdStack, FloatImage
from gpuanom.settings import Settings


def smooth(stack: CcdStack, settings: Settings) -> FloatImage:
    """See `gpuanom.backend.Backend.smooth`."""
    size = settings.smooth_size
    weights = np.full(size, 1.0 / size)
    result = np.empty(stack.shape, dtype=np.float32)
    for i, image in enumerate(stack.images):
        # A direct sum, not a running one: a NaN must not spoil more than the windows that hold it.
        rows = correlate1d(image.astype(np.float64), weights, axis=0, mode="constant", cval=np.nan)
        result[i] = correlate1d(rows, weights, axis=1, mode="constant", cval=np.nan)
    return result
