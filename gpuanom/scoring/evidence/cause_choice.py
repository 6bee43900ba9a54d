"""Which statistic names the cause of a verdict, where several stand out (METHOD.md 13).

An anomaly raises more than one statistic, and often not the one that tells what is wrong by most: stars that guiding
drew out have an unusual kurtosis, too, and a dead amplifier makes the noise of its CCD look large, since its two halves
have different levels. So a cause is not simply that of the statistic that stands out most: a statistic that fewer
causes raise (`JudgedStatistic.precise` of `gpuanom.scoring.judged.judged_statistics`) comes before it, as long as
its own evidence is strong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from gpuanom.records import Doubles, Flags, Integers
from gpuanom.scoring.judged.judged_statistics import WORST, JudgedStatistic
from gpuanom.statistics.spectrum import BANDS, OF_MAPS

NAMING = 0.25
"""A more precise statistic names the cause with at least this part of the largest evidence."""

SURELY = 10.0
"""Evidence that a statistic of a CCD needs at least to name the cause of what stands out more."""

APART = 12.0
"""Repeated images closer than so many pixels may be the rim of a donut, which repeats in every direction."""

ONE_AXIS = 3.0
"""A step between amplifiers stands out along one axis of its CCD, so many times as much as along the other; the steps
that a ring, a glow or a shadow makes stand out along both."""

DARK = 0.75
"""A sky below this part of that of the exposure's CCDs: half of the CCD gets no light, or nearly none."""

ALONE, ALONG_AN_AXIS = 4.0, 5.0
"""Stripes have so many times the evidence of other bands of periods, and run along an axis within so many degrees."""

_ALWAYS = 3
"""How precise a statistic must be to name a CCD's cause whatever else stands out there."""

_DIRECTED = ("source_vector", "isophote_vector", "ellipticity")
"""Statistics that have a direction; the images of a star that repeat lie along one, a donut's rim does not."""

DIRECTIONS = ("background_kl", "flat_background_kl", "flat_background_vector")
"""Statistics of the background's orientations, which tell that a pattern has a direction, whatever the pattern is."""

SURE_STRIPES, ALONE_AMONG_ALL = 25.0, 10.0
"""Stripes name the cause in place of these with so much evidence, and so many times that of other bands of periods. In
simulated nights fringes and tree rings have an evidence of up to 22, and stripes of 32 pixels one of 33 to 93."""

_STEPS = ("row_step", "column_step")


def most_precise(evidence: Doubles, strongest: Integers, precise: Integers, least: float, *, sure: bool) -> Integers:
    """Return which statistic names the cause of each exposure or CCD.

    Parameters
    ----------
    evidence : ndarray, (n_statistics, n) float64
        L, rounded; below 0 where there is none.
    strongest : ndarray, (n,) int64
        The statistic that stands out most.
    precise : ndarray, (n_statistics, n) int64
        How precise each statistic is for each exposure or CCD.
    least : float
        Evidence that a statistic needs at least to come before the strongest.
    sure : bool
        Whether this evidence is enough for the most precise statistics, whatever the largest evidence is.

    Returns
    -------
    ndarray, (n,) int64
        The strongest one where no statistic that is more precise has enough evidence; of equally precise ones that
        with the larger evidence, then the first.
    """
    if not evidence.size:
        return strongest
    columns = np.arange(strongest.size)
    enough = np.maximum(least, NAMING * evidence[strongest, columns])
    enough = np.where(precise >= _ALWAYS, least, enough) if sure else enough[None, :]
    level = np.where((evidence >= np.round(enough, 6)) & (precise > precise[strongest, columns]), precise, -1)
    top = level.max(axis=0, initial=-1)
    return np.where(top < 0, strongest, np.argmax(np.where(level == top, evidence, -1.0), axis=0))


def of_exposures(
    statistics: Sequence[JudgedStatistic], evidence: Doubles, separation: Doubles, check: float
) -> Integers:
    """Return how precise the statistics of exposures are, (n_statistics, n) int64.

    Parameters
    ----------
    statistics : sequence of JudgedStatistic
    evidence : ndarray, (n_statistics, n) float64
        L of each statistic, NaN where there is none.
    separation : ndarray, (n,) float64
        Of the repeated images, in pixels.
    check : float
        Evidence from which on a statistic that has a direction tells that the images of a star lie along one.
    """
    names = [j.name for j in statistics]
    # Where no exposure has pixels that can be judged there are no statistics: an empty list has no columns by itself.
    column = np.array([j.precise for j in statistics], dtype=np.int64).reshape(-1, 1)
    precise = np.repeat(column, separation.size, axis=1)
    directed = np.zeros(separation.size, dtype=bool)
    for row, name in enumerate(names):
        if name in _DIRECTED:
            directed |= np.nan_to_num(evidence[row]) >= check
    if "repeat_evidence" in names:
        precise[names.index("repeat_evidence"), (separation < APART) & ~directed] = 0
    return precise


def steps_of_one_axis(ccds: Mapping[str, Doubles], n_ccd: int) -> Flags:
    """Return on which CCDs the steps are those between amplifiers, along one axis alone, (n_ccd,) bool.

    Parameters
    ----------
    ccds : mapping of str to ndarray, (n_ccd,) float64
        How far each CCD is from normal, as a logarithm (`gpuanom.scoring.judged.statistics_table.Prepared.ccds`).
    n_ccd : int
        All CCDs count where only one of the axes was measured.
    """
    if not all(name in ccds for name in _STEPS):
        return np.ones(n_ccd, dtype=bool)
    with np.errstate(invalid="ignore"):
        alike = np.abs(ccds[_STEPS[0]] - ccds[_STEPS[1]]) < math.log(ONE_AXIS)
    return ~alike


def is_dark(sky: Doubles) -> Flags:
    """Return whether the sky of a CCD, as a logarithm less what is normal, is below `DARK` of that of the others."""
    with np.errstate(invalid="ignore"):
        return np.asarray(sky < math.log(DARK))


def is_step(judged: JudgedStatistic) -> bool:
    """Whether a statistic is that of the steps of one CCD."""
    return judged.name.removesuffix(WORST) in _STEPS


def stripes_of_one_period(
    statistics: Sequence[JudgedStatistic],
    evidence: Doubles,
    chosen: Integers,
    columns: Mapping[str, Doubles],
    check: float,
) -> Integers:
    """Return which statistic names the cause, where stripes of one period stand out less than what they also raise.

    The histograms of the background tell that there is a pattern with a direction, and no more. Rows of random levels
    have power at every period; stripes have theirs at one, and those along rows or columns look like rows that jitter.
    So the stripes of one band of periods name the cause where their evidence is strong, and many times that of every
    band but its neighbours; in place of jitter, where they also run along an axis.

    Parameters
    ----------
    statistics : sequence of JudgedStatistic
    evidence : ndarray, (n_statistics, n) float64
        L of each statistic of each exposure, below 0 where there is none.
    chosen : ndarray, (n,) int64
        The statistics that name the causes so far.
    columns : mapping of str to ndarray, (n,) float64
        The angles of the stripes among them, in degrees.
    check : float
        Evidence that is strong.
    """
    names = [j.name for j in statistics]
    # The longest bands are those of the maps, where the axes are not apart.
    bands = [band for band in range(OF_MAPS, BANDS) if f"stripe_power_{band}" in names]
    if not bands or not evidence.size:
        return chosen
    rows = np.array([names.index(f"stripe_power_{band}") for band in bands])
    of_bands = evidence[rows]
    jitters = np.array(["_jitter" in name for name in names], dtype=bool)
    directions = np.array([name in DIRECTIONS for name in names], dtype=bool)
    best = np.argmax(of_bands, axis=0)
    away = np.abs(np.arange(len(bands))[:, None] - best) > 1
    others = np.where(away, of_bands, -1.0).max(axis=0)
    strongest = of_bands[best, np.arange(chosen.size)]
    none = np.full(chosen.size, np.nan)
    angles = np.array([columns.get(f"stripe_angle_{band}", none) for band in bands])[best, np.arange(chosen.size)]
    with np.errstate(invalid="ignore"):
        along_an_axis = np.abs((angles + 45.0) % 90.0 - 45.0) <= ALONG_AN_AXIS
    of_jitter = jitters[chosen] & along_an_axis & (strongest >= check) & (strongest >= ALONE * others)
    sure = (strongest >= max(check, SURE_STRIPES)) & (strongest >= ALONE_AMONG_ALL * others)
    return np.where(of_jitter | (directions[chosen] & sure), rows[best], chosen)
