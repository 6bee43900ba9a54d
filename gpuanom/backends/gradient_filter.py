"""The weights of the filter that takes mean and derivative in one step, for both backends (METHOD.md 4)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gpuanom.records import Doubles


@lru_cache(maxsize=8)
def filter_weights(smooth_size: int, reach: int) -> tuple[Doubles, Doubles]:
    """Return the filter's weights along and across the direction of the derivative (METHOD.md 4).

    Parameters
    ----------
    smooth_size : int
        Side of the mean filter in pixels, even.
    reach : int
        Largest distance in the sums of the derivative, in pixels.

    Returns
    -------
    along : ndarray, (half,) float64
        K at the offsets 0 ... half - 1, half = smooth_size / 2 + reach: the weight of a pixel
        minus its mirror image.
    across : ndarray, (2 half,) float64
        B at the offsets -half ... half - 1.
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
