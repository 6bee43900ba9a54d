"""Repeated stars of an exposure: a telescope that moved shows every star twice (METHOD.md 11)."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import numpy.typing as npt

from gpuanom.backends.limits import PAIR_BACK, PAIR_BIN, PAIR_COLUMNS, PAIR_REACH, PAIR_ROWS
from gpuanom.records import Doubles, FloatImage, Integers
from gpuanom.statistics.statistic import Statistic

CCD_STATISTICS: tuple[Statistic, ...] = ()

EXPOSURE_STATISTICS: tuple[Statistic, ...] = (
    Statistic("repeat_separation", "pix", "Separation at which most stars repeat."),
    Statistic("repeat_angle", "deg", "Direction from a star to its repetition, in (-90, 90] from x toward y."),
    Statistic("repeat_share", "", "Share of the stars that repeat."),
    Statistic("repeat_evidence", "", "-ln of the probability that chance gives so many pairs of one separation."),
)
"""In the order of `exposure_statistics`."""


LEAST_SEPARATION, MOST_SEPARATION = 10.0, 248.0
"""Pixels. Nearer pairs are the maxima around one bright star; further ones lack the surroundings to compare with."""
RING, INNER = 12, 2
"""Bins around a peak that tell what is expected there: up to RING away along each axis, and further than INNER."""
LEAST_EXPECTED = 0.01
"""Pairs in a peak that chance is granted at least."""


def exposure_statistics(pairs: Integers, n_maxima: int) -> FloatImage:
    """Return the separation, direction and share of repeated stars of an exposure.

    A peak is the sum of 2 x 2 bins, since positions are whole pixels. What chance gives there is
    the largest of four means: over the surroundings, along the row and the column of bins, and
    along the line from the centre. So clusters, columns and trails of satellites make no peaks.

    Parameters
    ----------
    pairs : ndarray, (PAIR_ROWS, PAIR_COLUMNS) int64
        Counts of differences of positions, added over the exposure's CCDs; see
        `gpuanom.records.Repeats`.
    n_maxima : int
        Number of maxima of all CCDs.

    Returns
    -------
    ndarray, (len(EXPOSURE_STATISTICS),) float32
        NaN where there are no pairs.
    """
    result = np.full(len(EXPOSURE_STATISTICS), np.nan, dtype=np.float32)
    counts = np.asarray(pairs, dtype=np.float64)
    if not counts.any():
        return result
    peaks = counts[:-1, :-1] + counts[1:, :-1] + counts[:-1, 1:] + counts[1:, 1:]
    dy, dx, looked_at = _middles()
    expected = _expected_nearby(counts)
    evidence = np.where(looked_at, _evidence(peaks, expected), -1.0).ravel()
    # Along the line from the centre more may be expected, never less: only what is ahead of the first can be better.
    first = np.array([int(np.argmax(evidence))])
    least = float(_evidence(peaks.ravel()[first], _expected_along(peaks, expected, first, dy, dx))[0])
    ahead = np.flatnonzero(evidence >= least)
    along = _expected_along(peaks, expected, ahead, dy, dx)
    final = _evidence(peaks.ravel()[ahead], along)
    k = int(np.argmax(final))
    best, at, chance = float(final[k]), int(ahead[k]), float(along[k])
    i, j = divmod(at, peaks.shape[1])
    y, x = _centroid(counts, chance / 4.0, i, j)
    repeated = max(0.0, float(peaks[i, j]) - chance)
    single = n_maxima - repeated
    angle = math.degrees(math.atan2(y, x))
    angle = angle - 180.0 if angle > 90.0 else angle + 180.0 if angle <= -90.0 else angle
    result[:] = [math.hypot(y, x), angle, repeated / single if single > repeated else 1.0, max(0.0, best)]
    return result


@cache
def _middles() -> tuple[Doubles, Doubles, npt.NDArray[np.bool_]]:
    """Return (dy, dx) in the middle of each peak of 2 x 2 bins, and which peaks are looked at.

    The middle is the mean of the whole numbers in the bins, in pixels. The half below the centre repeats the half
    above, and is not looked at.
    """
    middle = PAIR_BIN - 0.5
    y = PAIR_BIN * np.arange(PAIR_ROWS - 1.0)[:, None] - PAIR_BACK + middle
    x = PAIR_BIN * np.arange(PAIR_COLUMNS - 1.0)[None, :] - PAIR_REACH + middle
    dy, dx = (np.array(part) for part in np.broadcast_arrays(y, x))
    separation = np.hypot(dy, dx)
    near_and_far = (separation >= LEAST_SEPARATION) & (separation <= MOST_SEPARATION)
    return dy, dx, near_and_far & ((dy > 0) | ((dy == 0) & (dx > 0)))


def _evidence(found: Doubles, expected: Doubles) -> Doubles:
    """Return Chernoff's bound of -ln P for so many or more where so many are expected; 0 where fewer are found."""
    more = np.maximum(found, expected)
    return np.asarray(more * np.log(more / expected) - (more - expected))


def _expected_nearby(counts: Doubles) -> Doubles:
    """Return what chance gives in each peak: the largest mean of the surroundings, of the row and of the column."""
    known, areas = _surroundings()
    total = _summed(counts * known)
    expected = np.full((PAIR_ROWS - 1, PAIR_COLUMNS - 1), LEAST_EXPECTED)
    for (outer, inner), area in areas:
        mean = (_box(total, *outer) - _box(total, *inner)) / area
        np.maximum(expected, 4.0 * mean, out=expected)
    return expected


@cache
def _surroundings() -> tuple[Doubles, list[tuple[tuple[tuple[int, int], tuple[int, int]], Doubles]]]:
    """Return 1 for the bins that tell what chance gives, and the surroundings of a peak with their areas in bins."""
    known = np.ones((PAIR_ROWS, PAIR_COLUMNS))
    # The maxima around single stars crowd the middle of the table.
    row, column, near = PAIR_BACK // PAIR_BIN, PAIR_REACH // PAIR_BIN, int(LEAST_SEPARATION) // PAIR_BIN
    known[row - near : row + near, column - near : column + near] = 0.0
    total = _summed(known)
    shapes = [((RING, RING), (INNER, INNER)), ((RING, 0), (INNER, 0)), ((0, RING), (0, INNER))]
    return known, [((o, i), np.maximum(_box(total, *o) - _box(total, *i), 1.0)) for o, i in shapes]


def _summed(values: Doubles) -> Doubles:
    """Return the sums over all earlier rows and columns, with RING + 1 more in front and RING more behind.

    The outermost sums are repeated there, so that the surroundings of each peak end at the edge of the table.
    """
    total = np.zeros((values.shape[0] + 2 * RING + 1, values.shape[1] + 2 * RING + 1))
    inner = total[RING + 1 : -RING, RING + 1 : -RING]
    values.cumsum(axis=0).cumsum(axis=1, out=inner)
    total[-RING:, RING + 1 : -RING] = inner[-1]
    total[:, -RING:] = total[:, -RING - 1 : -RING]
    return total


def _box(total: Doubles, rows: int, columns: int) -> Doubles:
    """Return, for each peak of 2 x 2 bins, the sum over the bins up to so many rows and columns beyond it."""
    top, bottom, left, right = RING - rows, RING + 2 + rows, RING - columns, RING + 2 + columns
    tall = total[bottom : bottom + PAIR_ROWS - 1] - total[top : top + PAIR_ROWS - 1]
    return np.asarray(tall[:, right : right + PAIR_COLUMNS - 1] - tall[:, left : left + PAIR_COLUMNS - 1])


def _expected_along(peaks: Doubles, nearby: Doubles, chosen: npt.NDArray[np.intp], dy: Doubles, dx: Doubles) -> Doubles:
    """Return what is expected in the chosen peaks: nearby, or on the line from the centre before and behind each."""
    i, j = np.divmod(chosen, peaks.shape[1])
    y, x = dy.ravel()[chosen], dx.ravel()[chosen]
    distance = np.hypot(y, x)
    steps = np.concatenate([np.arange(-RING, -INNER), np.arange(INNER + 1, RING + 1)])
    rows = np.rint(i[:, None] + (y / distance)[:, None] * steps).astype(np.intp)
    columns = np.rint(j[:, None] + (x / distance)[:, None] * steps).astype(np.intp)
    known = (rows >= 0) & (rows < peaks.shape[0]) & (columns >= 0) & (columns < peaks.shape[1])
    known &= distance[:, None] + PAIR_BIN * steps >= LEAST_SEPARATION
    found = np.where(known, peaks[np.where(known, rows, 0), np.where(known, columns, 0)], 0.0)
    return np.asarray(np.maximum(nearby.ravel()[chosen], found.sum(axis=1) / np.maximum(known.sum(axis=1), 1)))


def _centroid(counts: Doubles, chance: float, i: int, j: int) -> tuple[float, float]:
    """Return (dy, dx) of the middle of what exceeds chance in a bin, in the 4 x 4 bins around peak (i, j)."""
    rows, columns = np.arange(max(0, i - 1), min(PAIR_ROWS, i + 3)), np.arange(max(0, j - 1), min(PAIR_COLUMNS, j + 3))
    excess = np.maximum(counts[rows[:, None], columns] - chance, 0.0)
    total = float(excess.sum())
    if total <= 0.0:
        rows, columns, excess, total = np.array([i, i + 1]), np.array([j, j + 1]), np.ones((2, 2)), 4.0
    middle = 0.5 * (PAIR_BIN - 1)
    y = float((excess * rows[:, None]).sum()) / total * PAIR_BIN - PAIR_BACK + middle
    x = float((excess * columns).sum()) / total * PAIR_BIN - PAIR_REACH + middle
    return y, x
