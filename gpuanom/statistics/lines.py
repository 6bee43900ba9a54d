"""Straight lines: the trails of satellites (METHOD.md 9.6).

Bright trails are looked for where nothing but bad pixels is masked, since the mask of sources hides them; faint ones
where sources are masked, since stars would hide them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gpuanom.backends.pattern_layout import bin_side
from gpuanom.records import Doubles, FloatImage
from gpuanom.statistics.spectrum import turned_angle
from gpuanom.statistics.statistic import Statistic

STRONG = 8.0
"""A line so many standard deviations high is a trail by itself."""
WEAK = 6.0
"""Beside one, a line of this height on another CCD of the exposure is one too."""
POSITIVE = 0.8
"""This share of a line's segments is positive at least: an arc touches a straight line in few of them."""
ALIKE = 3.0
"""Two lines of the lesser height on different CCDs, whose angles agree to so many degrees, are a trail, too."""
STRAIGHT = 10.0
"""Lines of one trail have angles that agree to so many degrees, however short they are; those of an arc do not."""
WINGS = 12
"""A trail's light reaches about so many pixels to either side of its crest."""

CCD_STATISTICS = (
    Statistic("streak", "", "Height of the straight line that was accepted as a trail, in standard deviations."),
    Statistic("streak_angle", "deg", "Angle of that line."),
)
EXPOSURE_STATISTICS: tuple[Statistic, ...] = ()


def find(ends: Doubles, ny: int, nx: int) -> Doubles:
    """Choose the straight line that stands out most on each CCD, and say where that line lies on the CCD.

    Parameters
    ----------
    ends : ndarray, (2, n_ccd, 6) float64
        The highest lines of the bins where sources are left in, and where sources are masked: see
        `gpuanom.backends.protocol.Backend.lines`.
    ny, nx : int
        Rows and columns of the CCDs.

    Returns
    -------
    ndarray, (n_ccd, 4) float64
        Height in standard deviations of noise, angle in radians from the x axis in (-pi/2, pi/2], distance from the
        CCD's centre in pixels (positive along the angle + pi/2), and the share of segments of 32 pixels that are
        positive: NaN where a line is at most `WEAK` high, which makes it no trail. A height of 0 where no line stands
        out, and of NaN where a CCD was not measured or is too small.
    """
    with_sources, masked = ends
    masked_is_higher = (masked[:, 0] >= 0.0) & ~(with_sources[:, 0] >= masked[:, 0])
    chosen = np.where(masked_is_higher[:, np.newaxis], masked, with_sources)
    result = np.full((len(chosen), 4), np.nan)
    result[:, 0] = chosen[:, 0]
    side = bin_side(ny, nx)
    for i in np.flatnonzero(chosen[:, 0] > WEAK).tolist():
        result[i] = _placed(chosen[i].tolist(), side, ny, nx)
    return result


def covered(line: Doubles, ny: int, nx: int) -> npt.NDArray[np.bool_]:
    """Return the pixels of a CCD that a satellite's trail may cover.

    The place of a line is known to about one bin, so that the band is wider than the trail.

    Parameters
    ----------
    line : ndarray, (4,) float64
        One line from `find`, which is not along an axis.
    ny, nx : int
        Rows and columns of the CCD.

    Returns
    -------
    ndarray, (ny, nx) bool
    """
    _, angle, distance, _ = line
    half = bin_side(ny, nx) + WINGS
    y = np.arange(ny) + 0.5 - ny / 2
    # The band's edges in each row. Columns count from the CCD's centre as distances do.
    edges = np.array([(y * math.cos(angle) - distance - side) / math.sin(angle) for side in (-half, half)])
    first, last = np.sort(np.clip(np.rint(edges + nx / 2), 0, nx), axis=0)
    columns = np.arange(nx)
    return np.asarray((columns >= first[:, np.newaxis]) & (columns < last[:, np.newaxis]))


def _placed(line: list[float], side: int, ny: int, nx: int) -> tuple[float, ...]:
    """A line from its first and last bins as `find` returns it."""
    height, x, y, last_x, last_y, share = line
    angle = math.pi / 2 - (math.pi / 2 - math.atan2(last_y - y, last_x - x)) % math.pi
    x0, y0 = (x + 0.5) * side - nx / 2, (y + 0.5) * side - ny / 2
    return height, angle, y0 * math.cos(angle) - x0 * math.sin(angle), share


def streaks(lines: Doubles) -> npt.NDArray[np.bool_]:
    """Return which lines are high enough to be trails by themselves, (n_ccd,) bool; lines are those of `find`."""
    return np.asarray((lines[:, 0] > STRONG) & (lines[:, 3] >= POSITIVE))


def ccd_statistics(lines: Doubles, turns: Sequence[int] | None = None) -> FloatImage:
    """Return the accepted lines of an exposure's CCDs: trails by themselves, and weaker ones that others make count.

    Parameters
    ----------
    lines : ndarray, (n_ccd, 4) float64
        From `find`, of all CCDs of one exposure.
    turns : sequence of int, optional
        `Turn` of each CCD, to have angles in the axes of the focal plane; by default they are in those of the CCD.

    Returns
    -------
    ndarray, (n_ccd, 2) float32
        In the order of `CCD_STATISTICS`; height 0 and angle NaN where no line was accepted, NaN where none was looked
        for.
    """
    height, angle, positive = lines[:, 0], np.degrees(lines[:, 1]), lines[:, 3]
    if turns is not None:
        of_turn = np.asarray(turns)
        for turn in set(turns):
            angle[of_turn == turn] = turned_angle(angle[of_turn == turn], turn)
    sure, weak = streaks(lines), (height > WEAK) & (positive >= POSITIVE)
    # A trail that crosses several CCDs has one angle in the axes of the focal plane.
    apart = np.abs((angle[:, np.newaxis] - angle + 90.0) % 180.0 - 90.0)
    alike = (apart <= ALIKE) & weak[:, np.newaxis] & weak
    np.fill_diagonal(alike, False)
    sure |= alike.any(axis=1)
    straight = (apart <= STRAIGHT) & sure
    # Where no direction is that of most of the lines, they are parts of an arc.
    arc = 2 * straight.sum(axis=1).max(initial=0) <= sure.sum() and sure.sum() > 1
    accepted = weak & straight.any(axis=1) & (not arc)
    result = np.stack([np.where(accepted, height, 0.0), np.where(accepted, angle, np.nan)], axis=1)
    result[~np.isfinite(height)] = np.nan
    return result.astype(np.float32)
