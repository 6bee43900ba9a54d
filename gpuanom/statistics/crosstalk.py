"""Crosstalk: what bright stars leave at the mirrored place of the CCD (METHOD.md 9.5)."""

from __future__ import annotations

import numpy as np

from gpuanom.records import FloatImage, Integers, Patterns
from gpuanom.records.patterns import STEP
from gpuanom.statistics.statistic import Statistic

LEAST = 20
"""With fewer bright pixels crosstalk is not measured."""

STAR = 25
"""So many mirrored places are masked, or not, together: they are those of one star."""

_MASKED = "-ln of the probability that chance masks so much more of these places than of {}; below 0 for less."

CCD_STATISTICS = (
    Statistic("crosstalk", "", "Mean residual, in sigma, at places mirrored from left to right from bright pixels."),
    Statistic("crosstalk_masked", "", _MASKED.format("the CCD")),
)
EXPOSURE_STATISTICS = (
    Statistic("crosstalk", "", "Mean residual, in sigma, at mirrored places over all CCDs of the exposure."),
    Statistic("crosstalk_masked", "", _MASKED.format("the exposure")),
)


def ccd_statistics(patterns: Patterns) -> FloatImage:
    """Return the crosstalk of each CCD of a stack.

    Parameters
    ----------
    patterns : Patterns
        On the host.

    Returns
    -------
    ndarray, (n_ccd, 2) float32
        NaN where fewer than 20 pixels are bright, or no saturation level is known.
    """
    return _statistics(parts_of_ccds(patterns))


def parts_of_ccds(patterns: Patterns) -> Integers:
    """Return what each CCD of a stack contributes to the crosstalk of its exposure.

    Parameters
    ----------
    patterns : Patterns
        On the host.

    Returns
    -------
    ndarray, (n_ccd, 5) int64
        Sum of residuals in steps of `gpuanom.records.patterns.STEP` sigma; number of mirrored places that are not
        masked, and of those that are; number of all pixels that are not masked, and of those that are not bad.
    """
    return np.stack(
        [
            patterns.crosstalk_sum,
            patterns.crosstalk_count,
            patterns.crosstalk_masked,
            patterns.map_count.sum(axis=(1, 2)),
            patterns.map_usable.sum(axis=(1, 2)),
        ],
        axis=1,
    )


def exposure_statistics(parts: Integers) -> FloatImage:
    """Return the crosstalk of an exposure.

    Parameters
    ----------
    parts : ndarray, (n_ccd, 5) int64
        See `parts_of_ccds`.

    Returns
    -------
    ndarray, (2,) float32
        NaN where fewer than 20 pixels are bright.
    """
    # Places of CCDs without any count for nothing, and neither do their pixels: sources may be few there.
    used = parts[parts[:, 1] + parts[:, 2] > 0]
    return np.asarray(_statistics(used.sum(axis=0, keepdims=True))[0])


def _statistics(parts: Integers) -> FloatImage:
    sums, counts, masked, good, usable = parts.T
    return np.stack([_mean(sums, counts), _beyond_chance(counts, masked, good, usable)], axis=1)


def _mean(sums: Integers, counts: Integers) -> FloatImage:
    return np.where(counts >= LEAST, sums * STEP / np.maximum(counts, 1), np.nan).astype(np.float32)


def _beyond_chance(counts: Integers, masked: Integers, good: Integers, usable: Integers) -> FloatImage:
    """How unlikely it is by chance that so many more of the mirrored places are masked than of all pixels.

    Ghosts of bright stars that are themselves above 4 sigma pass for sources, so that `crosstalk` does not see them.
    Chance exceeds the deviance of a binomial share t in at most exp(-t) of all cases, whatever the share is.
    """
    places = counts + masked
    n = np.maximum(places, 1) / STAR
    share = masked / np.maximum(places, 1)
    # As if one more pixel were masked and one were not, so that no expected share is 0 or 1. Where all mirrored places
    # are masked, so are those of fainter sources: half of what is masked are then ghosts.
    expected = (usable - good + 1) / (usable + 2) / (1.0 + share)
    with np.errstate(divide="ignore", invalid="ignore"):
        hidden = np.where(share > 0.0, share * np.log(share / expected), 0.0)
        seen = np.where(share < 1.0, (1.0 - share) * np.log((1.0 - share) / (1.0 - expected)), 0.0)
    size = n * np.maximum(hidden + seen, 0.0)
    return np.where(places >= LEAST, np.copysign(size, share - expected), np.nan).astype(np.float32)
