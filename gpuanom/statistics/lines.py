"""Straight lines: the trails of satellites (METHOD.md 9.6)."""

from __future__ import annotations

from collections.abc import Sequence

from gpuanom.records import Doubles, FloatImage
from gpuanom.statistics.statistic import Statistic

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
    raise NotImplementedError
