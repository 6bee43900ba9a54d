"""Repeated stars of an exposure: a telescope that moved shows every star twice (METHOD.md 11)."""

from __future__ import annotations

from gpuanom.records import FloatImage, Integers
from gpuanom.statistics.statistic import Statistic

CCD_STATISTICS: tuple[Statistic, ...] = ()

EXPOSURE_STATISTICS: tuple[Statistic, ...] = (
    Statistic("repeat_separation", "pix", "Separation at which most stars repeat"),
    Statistic("repeat_angle", "deg", "Direction from a star to its repetition, in (-90, 90] from x toward y"),
    Statistic("repeat_share", "", "Share of the stars that repeat"),
    Statistic("repeat_evidence", "", "-ln of the probability that chance gives so many pairs of one separation"),
)
"""In the order of `exposure_statistics`."""


def exposure_statistics(pairs: Integers, n_maxima: int) -> FloatImage:
    """Return the separation, direction and share of repeated stars of an exposure.

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
    raise NotImplementedError
