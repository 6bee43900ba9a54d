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
ROUNDING = 1e-9
"""More than the share by which the logarithms of NumPy and of native loops differ."""


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
    counts = np.ascontiguousarray(pairs, dtype=np.float64)
    if not counts.any():
        return result
    from gpuanom.statistics.repeats_loop import find_peaks  # imports Numba, which a night ranked again needs not

    dy, dx, _ = _middles()
    peaks, expected, evidences = np.empty((3, PAIR_ROWS - 1, PAIR_COLUMNS - 1))
    find_peaks(counts, *_surroundings(), LEAST_EXPECTED, peaks, expected, evidences)
    evidence = evidences.ravel()
    # Along the line from the centre more may be expected, never less: only what is ahead of the first can be better.
    first = np.array([int(np.argmax(evidence))])
    least = float(_evidence(peaks.ravel()[first], _expected_along(peaks, expected, first, dy, dx))[0])
    ahead = np.flatnonzero(evidence >= least - ROUNDING * least)
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


@cache
def _surroundings() -> tuple[Doubles, npt.NDArray[np.bool_], Integers, Doubles]:
    """Return `known`, `looked_at`, `boxes` and `bins` of `gpuanom.statistics.repeats_loop.find_peaks`."""
    from gpuanom.statistics.repeats_loop import count_bins

    known = np.ones((PAIR_ROWS, PAIR_COLUMNS))
    # The maxima around single stars crowd the middle of the table.
    row, column, near = PAIR_BACK // PAIR_BIN, PAIR_REACH // PAIR_BIN, int(LEAST_SEPARATION) // PAIR_BIN
    known[row - near : row + near, column - near : column + near] = 0.0
    boxes = np.array([(RING, RING, INNER, INNER), (RING, 0, INNER, 0), (0, RING, 0, INNER)])
    bins = np.empty((len(boxes), PAIR_ROWS - 1, PAIR_COLUMNS - 1))
    count_bins(known, boxes, bins)
    return known, _middles()[2], boxes, bins


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
