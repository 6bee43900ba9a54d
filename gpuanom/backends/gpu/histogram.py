"""Orientation histograms of CCDs: launcher of kernels/histogram.cu (METHOD.md 5)."""

from __future__ import annotations

import cupy
import numpy as np
import numpy.typing as npt

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.records import Array, OrientationHistograms

THREADS = 256
SHARE = 512
"""Orientations of a block, the kernel's own number: few, so that many blocks wait for memory side by side."""

_COUNT = Kernel("histogram", "histogram_count")
_FINISH = Kernel("histogram", "histogram_finish")


def histogram(orientation: Array, ccd: Array, turns: npt.NDArray[np.int64], bins: int) -> OrientationHistograms:
    """See `gpuanom.backends.protocol.Backend.histogram`."""
    n, n_ccd = orientation.shape[0], len(turns)
    counts, sums = cupy.zeros((n_ccd, bins), np.int64), cupy.zeros((n_ccd, 2), np.int64)
    cosine, sine = cupy.empty(n_ccd, np.float64), cupy.empty(n_ccd, np.float64)
    turns_there = cupy.asarray(turns)
    grid = (-(-n // SHARE),)
    # A block takes 512 orientations; in shared memory an int counter for each bin of its first and its last CCD.
    _COUNT(grid, (THREADS,), orientation, ccd, turns_there, n, n_ccd, bins, counts, sums, shared=8 * bins)
    # A thread takes a CCD.
    _FINISH((-(-n_ccd // THREADS),), (THREADS,), counts, sums, n_ccd, bins, cosine, sine)
    return OrientationHistograms(counts, cosine, sine)
