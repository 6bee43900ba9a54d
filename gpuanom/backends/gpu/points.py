"""The random points of each CCD, drawn on the device: launcher of kernels/points.cu (METHOD.md 6)."""

from __future__ import annotations

import cupy
import numpy as np
import numpy.typing as npt

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.records import Array
from gpuanom.sampling import span

THREADS = 256
WORDS = 4
"""Points of a thread, the kernel's own number: the generator makes so many words at a time."""

_DRAW = Kernel("points", "points_draw")


def points(keys: npt.NDArray[np.uint64], n_draws: int, ny: int, nx: int, margin: int) -> Array:
    """See `gpuanom.backends.protocol.Backend.points`: nothing but the keys goes to the device."""
    n_ccd = len(keys)
    drawn = cupy.empty((n_ccd, n_draws, 2), np.int32)
    # A thread takes four points, a block 1024 of one CCD.
    grid = (-(-n_draws // (THREADS * WORDS)), n_ccd)
    _DRAW(grid, (THREADS,), cupy.asarray(keys), n_draws, margin, span(ny, margin), span(nx, margin), drawn)
    return drawn
