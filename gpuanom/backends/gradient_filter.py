"""The weights of the fused filter of mean and derivative, for both backends (METHOD.md 4)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gpuanom.records import Doubles


@lru_cache(maxsize=8)
def filter_weights(smooth_size: int, reach: int) -> tuple[Doubles, Doubles]:
    """The fused filter's weights over half a patch and over a whole one (METHOD.md 4).

    Returns
    -------
    along : ndarray, (half,) float64
        K at offsets 0 ... half - 1, for a pixel minus its mirror image.
    across : ndarray, (2 half,) float64
        B at offsets -half ... half - 1.
    """
    half = smooth_size // 2 + reach
    box = range(-(smooth_size // 2), smooth_size // 2)
    along, across = np.zeros(2 * half), np.zeros(2 * half)
    for j in box:
        for d in range(1, reach + 1):
            along[half + d + j] += 0.5 / (d * smooth_size)
            along[half - d + j] -= 0.5 / (d * smooth_size)
        for k in range(-reach, reach + 1):
            across[half + k + j] += 1.0 / smooth_size
    return along[half:].copy(), across
