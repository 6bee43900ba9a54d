"""The random points of each CCD, the twin of kernels/points.cu (METHOD.md 6)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from gpuanom.native import high_product, native
from gpuanom.sampling import span


def points(keys: npt.NDArray[np.uint64], n_draws: int, ny: int, nx: int, margin: int) -> npt.NDArray[np.int32]:
    """See `gpuanom.backends.protocol.Backend.points`."""
    drawn = np.empty((len(keys), n_draws, 2), dtype=np.int32)
    draw(np.ascontiguousarray(keys, dtype=np.uint64), margin, span(ny, margin), span(nx, margin), drawn)
    return drawn


_keys = types.Array(types.uint64, 2, "C", readonly=True)


@native(types.void(_keys, types.int64, types.int64, types.int64, types.int32[:, :, ::1]))
def draw(keys: Any, margin: Any, span_y: Any, span_x: Any, drawn: Any) -> None:
    """Draw points by Philox4x64 with 10 rounds, counted from 1 as NumPy counts.

    Parameters
    ----------
    keys : ndarray, (n_ccd, 2) uint64
    margin : int
        The smallest y and x, in pixels.
    span_y, span_x : int
        Numbers of different y and x.
    drawn : ndarray, (n_ccd, n_draws, 2) int32
        (y, x) of the points, which are written.
    """
    n_draws = drawn.shape[1]
    multiplier0, multiplier1 = np.uint64(0xD2E7470EE14C6C93), np.uint64(0xCA5A826395121157)
    step0, step1 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBB67AE8584CAA73B)
    half, lower = np.uint64(32), np.uint64(0xFFFFFFFF)
    height, width = np.uint64(span_y), np.uint64(span_x)
    words = np.empty(4, dtype=np.uint64)
    for ccd in range(len(keys)):
        for first in range(0, n_draws, 4):
            key0, key1 = keys[ccd, 0], keys[ccd, 1]
            c0, c1, c2, c3 = np.uint64(first // 4 + 1), np.uint64(0), np.uint64(0), np.uint64(0)
            for _ in range(10):
                high0, low0 = high_product(multiplier0, c0), multiplier0 * c0
                high1, low1 = high_product(multiplier1, c2), multiplier1 * c2
                c0, c1, c2, c3 = high1 ^ c1 ^ key0, low1, high0 ^ c3 ^ key1, low0
                key0, key1 = key0 + step0, key1 + step1
            words[0], words[1], words[2], words[3] = c0, c1, c2, c3
            for k in range(min(4, n_draws - first)):
                drawn[ccd, first + k, 0] = margin + np.int64((words[k] >> half) * height >> half)
                drawn[ccd, first + k, 1] = margin + np.int64((words[k] & lower) * width >> half)
