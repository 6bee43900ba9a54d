"""Light in one place of a CCD, such as a disc or a ring: what names its cause, and what is crosstalk (METHOD.md 13).

A patch of light raises many statistics: stripes, jitter, crosstalk, the scatter of the sky. These functions tell such
light from what these statistics are named after.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpuanom.records import Doubles, Flags, Integers
from gpuanom.scoring.evidence.cause_choice import DIRECTIONS, NAMING, SURELY
from gpuanom.scoring.judged.judged_statistics import BACKGROUND, TYPICAL, WORST, JudgedStatistic
from gpuanom.statistics.spectrum import BANDS, OF_MAPS

HALF = 0.5
"""Of several bands of periods of strong stripes the longest with so much of the largest evidence has their period."""

_OF_PATCHES = ("edge", "masked_patch", "map_rms")
"""Statistics that tell of light in one place of a CCD; those that say more of that light come first."""

_PATCHES_OF_EXPOSURES = (f"edge{WORST}", f"masked_patch{WORST}", f"masked_patch{TYPICAL}")
"""The same of exposures, where light lies on one CCD or on many."""

_ALSO_OF_PATCHES = ("crosstalk", "glow", "map_rms", "masked_share", "row_jitter", "column_jitter", "sigma")
"""Statistics that a disc of light raises as well: the disc makes the scatter of the sky large, the mirrored places of
bright stars fall into it, and what no mask hides of its rim is unevenness along rows as along columns."""


def patches_of_light(names: Sequence[str], evidence: Doubles, chosen: Integers) -> Integers:
    """Return which statistic names the cause of each CCD, where that is light in one place, or stripes.

    The gradients of stripes run along one axis, those at the rim of a disc or ring along all. So strong evidence of an
    edge, of a large patch that the mask of bright pixels hides, or of an uneven map names the cause in place of stripes
    and of what else a disc of light raises, where the gradients of the CCD have no direction; where they have one,
    stripes are no ring.

    Parameters
    ----------
    names : sequence of str
        Names of statistics of CCDs.
    evidence : ndarray, (n_statistics, n_ccd) float64
        L of each statistic of each CCD, below 0 where there is none.
    chosen : ndarray, (n_ccd,) int64
        The statistics that name the causes so far.
    """
    rows = {name: row for row, name in enumerate(names)}
    fine = [rows[f"stripe_power_{band}"] for band in range(OF_MAPS, BANDS) if f"stripe_power_{band}" in rows]
    directions = [rows[name] for name in DIRECTIONS if name in rows]
    if not directions or not evidence.size:
        return chosen
    columns = np.arange(chosen.size)
    of_directions = evidence[directions].max(axis=0)
    directed = of_directions >= np.maximum(SURELY, NAMING * evidence[chosen, columns])
    also = np.array([name in _ALSO_OF_PATCHES or name.startswith("stripe_power_") for name in names], dtype=bool)
    # Fine stripes of the height of the noise hardly change the scatter of the sky, and may lie beside a bright star.
    uneven = evidence[rows["sigma"]] >= NAMING * evidence[chosen, columns] if "sigma" in rows else True
    result, to_name = chosen, also[chosen] & ~directed & uneven
    for name in _OF_PATCHES:
        if name in rows:
            named = to_name & (evidence[rows[name]] >= SURELY)
            result, to_name = np.where(named, rows[name], result), to_name & ~named
    if fine and "edge" in rows:
        # The mask cuts off the crests of strong stripes, which adds shorter periods: the longest of strong ones counts.
        of_bands = evidence[fine]
        best = np.argmax(of_bands >= HALF * of_bands.max(axis=0), axis=0)
        strong = of_bands[best, columns] >= np.maximum(SURELY, NAMING * evidence[rows["edge"]])
        result = np.where(directed & strong & (chosen == rows["edge"]), np.array(fine)[best], result)
    return result


def patches_of_worst_ccds(
    statistics: Sequence[JudgedStatistic], evidence: Doubles, worst_ccd: Integers, chosen: Integers
) -> Integers:
    """Return what `patches_of_light` says of the CCD whose statistic names the cause of its exposure.

    Parameters
    ----------
    statistics : sequence of JudgedStatistic
    evidence : ndarray, (n_statistics, n_exposures) float64
        L of each statistic, below 0 where there is none.
    worst_ccd : ndarray, (n_statistics, n_exposures) int64
        The CCD that stands out most in each statistic of CCDs, -1 without one.
    chosen : ndarray, (n_exposures,) int64
        The statistics that name the causes so far, -1 for none.
    """
    rows = np.array([row for row, j in enumerate(statistics) if j.name.endswith(WORST)], dtype=np.int64)
    named = np.flatnonzero(np.isin(chosen, rows))
    if not named.size:
        return chosen
    names = [statistics[row].name.removesuffix(WORST) for row in rows.tolist()]
    same = worst_ccd[np.ix_(rows, named)] == worst_ccd[chosen[named], named]
    there = np.where(same, evidence[np.ix_(rows, named)], -1.0)
    result = chosen.copy()
    result[named] = rows[patches_of_light(names, there, np.searchsorted(rows, chosen[named]))]
    return result


def patches_of_exposures(statistics: Sequence[JudgedStatistic], evidence: Doubles, chosen: Integers) -> Integers:
    """Return which statistic names the cause, where stripes of an exposure without a direction are light in places.

    Parameters
    ----------
    statistics : sequence of JudgedStatistic
    evidence : ndarray, (n_statistics, n_exposures) float64
        L of each statistic, below 0 where there is none.
    chosen : ndarray, (n_exposures,) int64
        The statistics that name the causes so far, -1 for none.
    """
    names = [j.name for j in statistics]
    patches = [names.index(name) for name in _PATCHES_OF_EXPOSURES if name in names]
    directions = [names.index(name) for name in DIRECTIONS if name in names]
    if not patches or not directions or not evidence.size:
        return chosen
    of_stripes = [row for row, j in enumerate(statistics) if j in BACKGROUND and j.name.startswith("stripe_power_")]
    directed = evidence[directions].max(axis=0)
    limit = NAMING * evidence[chosen, np.arange(chosen.size)]
    best = np.array(patches)[np.argmax(evidence[patches], axis=0)]
    surely = (evidence[best, np.arange(chosen.size)] >= SURELY) & (_scatter(statistics, evidence) >= limit)
    return np.where(np.isin(chosen, of_stripes) & (directed < np.maximum(SURELY, limit)) & surely, best, chosen)


def _scatter(statistics: Sequence[JudgedStatistic], evidence: Doubles) -> Doubles:
    """L of the scatter of the sky of exposures: that of the worst CCD or of a typical one, -1 without any."""
    rows = [row for row, j in enumerate(statistics) if j.name in (f"sigma{WORST}", f"sigma{TYPICAL}")]
    found: Doubles = evidence[rows].max(axis=0, initial=-1.0)
    return found


def is_no_crosstalk(
    statistics: Sequence[JudgedStatistic], evidence: Doubles, worst_ccd: Integers, several: Flags, check: float
) -> Flags:
    """Return where light on a part of a CCD passes for crosstalk, (n_exposures,) bool.

    Mirrored places that fall into the patch are bright without crosstalk. Crosstalk itself is that of all CCDs: their
    sum has more evidence than each of them, and more than the patch that a bright star makes. The images of single
    stars leave the scatter of the sky as it is, so that crosstalk has more evidence than that, too.

    Parameters
    ----------
    statistics : sequence of JudgedStatistic
    evidence : ndarray, (n_statistics, n_exposures) float64
        L of each statistic, below 0 where there is none.
    worst_ccd : ndarray, (n_statistics, n_exposures) int64
        The CCD that stands out most in each statistic of CCDs.
    several : ndarray, (n_exposures,) bool
        Which exposures have more than one CCD.
    check : float
        Evidence from which on a patch counts.
    """
    rows = {j.name: row for row, j in enumerate(statistics)}
    names = ("crosstalk", f"crosstalk{WORST}", f"masked_patch{WORST}")
    if not all(name in rows for name in names):
        return np.zeros(evidence.shape[1], dtype=bool)
    whole, of_ccd, patch = (rows[name] for name in names)
    same = (worst_ccd[of_ccd] == worst_ccd[patch]) & (evidence[patch] >= check)
    one = several & (evidence[of_ccd] >= evidence[whole])
    uneven = _scatter(statistics, evidence) >= np.maximum(check, evidence[whole])
    return np.asarray(uneven | (same & (one | (evidence[patch] >= evidence[whole]))))


def is_of_all_ccds(statistics: Sequence[JudgedStatistic], evidence: Doubles, bad: float) -> Flags:
    """Return where crosstalk is that of all CCDs, since their sum has more evidence than each, (n_exposures,) bool.

    Parameters
    ----------
    statistics : sequence of JudgedStatistic
    evidence : ndarray, (n_statistics, n_exposures) float64
        L of each statistic, NaN where there is none.
    bad : float
        Evidence from which on the crosstalk of an exposure alone makes the exposure bad.
    """
    rows = {j.name: row for row, j in enumerate(statistics)}

    def of(name: str) -> Doubles:
        return np.nan_to_num(evidence[rows[name]]) if name in rows else np.zeros(evidence.shape[1])

    together = np.maximum(of("crosstalk"), of("crosstalk_masked"))
    one = np.maximum(of(f"crosstalk{WORST}"), of(f"masked_patch{WORST}"))
    return np.asarray((together >= bad) & (together > one))
