"""Mean-filtered CCDs, the twin of kernels/smooth.cu (METHOD.md 4.1)."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d

from gpuanom.records import CcdStack, FloatImage
from gpuanom.settings import Settings


def smooth(stack: CcdStack, settings: Settings, binning: int = 1) -> FloatImage:
    """See `gpuanom.backend.Backend.smooth`."""
    size = settings.smooth_size
    weights = np.full(size, 1.0 / size)
    result = np.empty(stack.shape, dtype=np.float32)
    for i, image in enumerate(stack.images):
        # A direct sum, not a running one: a NaN must not spoil more than the windows that hold it.
        rows = correlate1d(image.astype(np.float64), weights, axis=0, mode="constant", cval=np.nan)
        result[i] = correlate1d(rows, weights, axis=1, mode="constant", cval=np.nan)
    return result if binning == 1 else _binned(result, binning)


def _binned(smoothed: FloatImage, binning: int) -> FloatImage:
    """Means of the finite pixels of each cell, cells at the far edges cut off; NaN where there are none."""
    n_ccd, ny, nx = smoothed.shape
    rows, columns = -(-ny // binning), -(-nx // binning)
    whole = np.full((n_ccd, rows * binning, columns * binning), np.nan)
    whole[:, :ny, :nx] = smoothed
    cells = whole.reshape(n_ccd, rows, binning, columns, binning)
    there = np.isfinite(cells)
    n = np.count_nonzero(there, axis=(2, 4))
    sums = np.where(there, cells, 0.0).sum(axis=(2, 4))
    means: FloatImage = np.divide(sums, n, out=np.full(n.shape, np.nan), where=n > 0).astype(np.float32)
    return means
