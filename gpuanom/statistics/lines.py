"""Straight lines: the trails of satellites (METHOD.md 9.6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpuanom.records import Doubles, FloatImage
from gpuanom.statistics.spectrum import turned_angle
from gpuanom.statistics.statistic import Statistic

STRONG = 9.0
"""A line so many standard deviations high is a trail by itself."""
WEAK = 6.0
"""Beside one, a line of this height on another CCD of the exposure is one too ..."""
POSITIVE = 2 / 3
"""... where this share of its segments is positive."""

CCD_STATISTICS = (
    Statistic("streak", "", "Height of the straight line that was accepted as a trail, in standard deviations."),
    Statistic("streak_angle", "deg", "Angle of that line."),
)
EXPOSURE_STATISTICS: tuple[Statistic, ...] = ()


def ccd_statistics(lines: Doubles, turns: Sequence[int] | None = None) -> FloatImage:
    """Return the accepted lines of an exposure's CCDs; a line on one CCD makes weaker ones on the others count.

    Parameters
    ----------
    lines : ndarray, (n_ccd, 4) float64
        `line` of the records `Patterns`, of all CCDs of one exposure.
    turns : sequence of int, optional
        `Turn` of each CCD, to have angles in the axes of the focal plane; by default they are in those of the CCD.

    Returns
    -------
    ndarray, (n_ccd, 2) float32
        In the order of `CCD_STATISTICS`; height 0 and angle NaN where no line was accepted, NaN where none was looked
        for.
    """
    height, angle, positive = lines[:, 0], np.degrees(lines[:, 1]), lines[:, 3]
    sure = height > STRONG
    accepted = sure | (bool(sure.any()) & (height > WEAK) & (positive >= POSITIVE))
    if turns is not None:
        angle = np.array([float(turned_angle(a, turn)) for a, turn in zip(angle, turns, strict=True)])
    result = np.stack([np.where(accepted, height, 0.0), np.where(accepted, angle, np.nan)], axis=1)
    result[~np.isfinite(height)] = np.nan
    return result.astype(np.float32)
