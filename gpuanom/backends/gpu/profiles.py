"""Jitter and steps of the profiles of rows and columns: launches kernels/profiles.cu (METHOD.md 9.3)."""

from __future__ import annotations

import cupy
import numpy as np

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.pattern_layout import PROFILE_CLIP, PROFILE_WINDOW, STEP_REACH, STEP_STRIDE, step_places
from gpuanom.records import Array, Profiles, ProfileSums
from gpuanom.records.patterns import STEP

JITTER = Kernel("profiles", "profiles_jitter")
STEPS = Kernel("profiles", "profiles_steps")


def profiles(sums: ProfileSums) -> Profiles:
    """See `gpuanom.backends.protocol.Backend.profiles`."""
    ny, nx = sums.row_sum.shape[1], sums.column_sum.shape[1]
    row_jitter, row_steps = _of_axis(sums.row_sum, sums.row_count, nx)
    column_jitter, column_steps = _of_axis(sums.column_sum, sums.column_count, ny)
    return Profiles(row_jitter, column_jitter, row_steps, column_steps)


def _of_axis(sums: Array, counts: Array, width: int) -> tuple[Array, Array]:
    """Jitter and steps of the profiles of one axis, whose rows or columns have so many pixels."""
    n, size = sums.shape
    if size < PROFILE_WINDOW:
        jitter = cupy.full(n, np.nan)
    else:
        jitter = cupy.empty(n)
        left, keys, medians = (cupy.empty((n, size), kind) for kind in (np.float64, np.uint64, np.float64))
        middles = cupy.empty((n, size), np.int32)
        JITTER(
            (n,), (512,), sums, counts, width, size, PROFILE_WINDOW, STEP, PROFILE_CLIP, left, keys, medians, middles,
            jitter,
        )  # fmt: skip
    places = len(step_places(size))
    steps = cupy.empty((n, places), np.float32)
    STEPS((-(-n * places // 256),), (256,), sums, counts, n, width, size, places, STEP_REACH, STEP_STRIDE, STEP, steps)
    return jitter, steps
