"""Crosstalk: what bright stars leave at the mirrored place of the CCD (METHOD.md 9.5)."""

from __future__ import annotations

import numpy as np

from gpuanom.records import FloatImage, Integers, Patterns
from gpuanom.records.patterns import STEP
from gpuanom.statistics.statistic import Statistic

LEAST = 20
"""With fewer bright pixels crosstalk is not measured."""

CCD_STATISTICS = (
    Statistic("crosstalk", "", "Mean residual, in sigma, at places mirrored from left to right from bright pixels."),
)
EXPOSURE_STATISTICS = (
    Statistic("crosstalk", "", "Mean residual, in sigma, at mirrored places over all CCDs of the exposure."),
)


def ccd_statistics(patterns: Patterns) -> FloatImage:
    """Return the crosstalk of each CCD of a stack.

    Parameters
    ----------
    patterns : Patterns
        On the host.

    Returns
    -------
    ndarray, (n_ccd, 1) float32
        NaN where fewer than 20 pixels are bright, or no saturation level is known.
    """
    return _mean(patterns.crosstalk_sum, patterns.crosstalk_count)[:, None]


def exposure_statistics(sums: Integers, counts: Integers) -> FloatImage:
    """Return the crosstalk of an exposure.

    Parameters
    ----------
    sums, counts : ndarray, (n_ccd,) int64
        `crosstalk_sum` and `crosstalk_count` of the records `Patterns`.

    Returns
    -------
    ndarray, (1,) float32
        NaN where fewer than 20 pixels are bright.
    """
    return _mean(sums.sum(keepdims=True), counts.sum(keepdims=True))


def _mean(sums: Integers, counts: Integers) -> FloatImage:
    return np.where(counts >= LEAST, sums * STEP / np.maximum(counts, 1), np.nan).astype(np.float32)
