"""How unlikely exposures and CCDs are by chance, by what is normal for their dataset (METHOD.md 13).

`evidence` applies a null to exposures; `gpuanom.scoring.evidence.fit_null` takes the same steps while a null is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gpuanom.records import Doubles, Flags, Integers
from gpuanom.scoring.evidence import cause_choice, distances, exposure_times, light_patches, regression, tails
from gpuanom.scoring.evidence.null import Null
from gpuanom.scoring.evidence.tails import Tails
from gpuanom.scoring.judged.judged_statistics import OF_CCDS, WORST, JudgedStatistic
from gpuanom.scoring.judged.statistics_table import Measured, Prepared, prepare
from gpuanom.side_by_side import side_by_side

_AT_ONCE = 65_536
"""CCDs whose causes are chosen at once: a survey may have a million CCDs."""

_IN_CACHE = 16_384
"""CCDs that are looked at together: what is compared of them stays in the cache of a core."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """How unlikely exposures and CCDs are by chance; L = -ln P, NaN where nothing was measured.

    Attributes
    ----------
    statistics : tuple of JudgedStatistic
        The statistics that were measured, in the order of the rows of `of_statistics`.
    of_statistics : ndarray, (n_statistics, n_exposures) float64
        L of each statistic.
    deviation : ndarray, (n_statistics, n_exposures) float64
        How far each is from what is expected, in robust standard deviations; with a sign where it is one number.
    of_lists : ndarray, (3, n_exposures) float64
        L of each of `LISTS`, corrected for how many statistics the list holds.
    of_exposures : ndarray, (n_exposures,) float64
        L of the exposure, corrected for the number of lists.
    of_ccds : ndarray, (n_ccd,) float64
        L of each CCD among the CCDs of the dataset, for what is on this CCD alone.
    second_ccd : ndarray, (n_exposures,) float64
        L of the exposure's second-worst CCD among the second-worst CCDs of the dataset.
    worst_ccd : ndarray, (n_statistics, n_exposures) int64
        Index of the CCD that stands out most in each statistic of CCDs, -1 without one.
    worst_sign : ndarray, (n_statistics, n_exposures) float64
        -1 where the statistic of that CCD is too small, else 1.
    ccd_statistic : ndarray, (n_ccd,) int64
        Index into `statistics` of what names the cause of what stands out on the CCD, -1 for none.
    ccd_sign : ndarray, (n_ccd,) float64
        -1 where that statistic of the CCD is too small, else 1.
    one_axis : ndarray, (n_ccd,) bool
        Whether the steps of the CCD may be those between amplifiers (`cause_choice.steps_of_one_axis`).
    dark : ndarray, (n_ccd,) bool
        Whether the CCD's sky is far darker than that of the exposure's other CCDs (`cause_choice.is_dark`).
    """

    statistics: tuple[JudgedStatistic, ...]
    of_statistics: Doubles
    deviation: Doubles
    of_lists: Doubles
    of_exposures: Doubles
    of_ccds: Doubles
    second_ccd: Doubles
    worst_ccd: Integers
    worst_sign: Doubles
    ccd_statistic: Integers
    ccd_sign: Doubles
    one_axis: Flags
    dark: Flags


class OfStatistics(NamedTuple):
    """Evidence and deviation of each statistic, (n_statistics, n_exposures) float64 each; see `Evidence`."""

    deviation: Doubles
    evidence: Doubles


class LargestOfCcds(NamedTuple):
    """The largest L of the statistics of each CCD, (n_ccd,) each.

    Attributes
    ----------
    evidence : ndarray of float64
        The largest L, not corrected for the number of statistics; NaN without any.
    statistic : ndarray of int64
        Index into `Null.ccd_statistics` of the statistic that names the cause.
    one_axis, dark : ndarray of bool
        See `Evidence`.
    """

    evidence: Doubles
    statistic: Integers
    one_axis: Flags
    dark: Flags


def evidence(null: Null, measured: Measured) -> Evidence:
    """Return how unlikely exposures are by a null, which may have been made from other exposures.

    Parameters
    ----------
    null : Null
    measured : Measured
        One exposure or more. Statistics that the null does not know are passed over.

    Returns
    -------
    Evidence
    """
    prepared = prepare(measured, null.patterns, null.usual_ccds)
    of_ccds = largest_of_ccds(null, distances.ccd_distances(prepared, null.ccd_statistics), prepared)
    return all_evidence(null, prepared, evidence_of_statistics(null, prepared), of_ccds)


def evidence_of_statistics(null: Null, prepared: Prepared) -> OfStatistics:
    """Return the deviations and L of all statistics of exposures.

    Parameters
    ----------
    null : Null
    prepared : Prepared
    """
    y, error = distances.compared_values(prepared, null.judged, null.sky, null.few_sources, null.usual_ccds)
    group = exposure_times.groups(null.times, prepared.exposures, prepared.grid.shape[0])
    y = exposure_times.moved(y, group, null.of_times)
    x = null.covariates.scaled(distances.condition_values(prepared, null.conditions))
    spread = regression.usual_spread(null.slopes, x)
    residual, error = (y - regression.predicted(null.coefficients, x)) / spread, error / spread
    distance, signed = distances.distances(null.judged, residual, error, null.scatter, null.usual_error, null.inverse)
    return OfStatistics(signed, null.tails.evidence(distance))


def largest_of_ccds(null: Null, of_statistics: Sequence[Doubles], prepared: Prepared) -> LargestOfCcds:
    """Return what stands out most on each CCD.

    Parameters
    ----------
    null : Null
    of_statistics : sequence of ndarray, (n_ccd,) float64
        How far the CCDs are from normal, for each of `Null.ccd_statistics`.
    prepared : Prepared
    """
    largest, rounded, strongest = _strongest_of_ccds(null, of_statistics, prepared)
    n_ccd = prepared.grid.owner.size
    by_name = {j.name: j for j in OF_CCDS}
    judged = [by_name[name] for name in null.ccd_statistics]
    precise = np.array([j.precise for j in judged], dtype=np.int64)
    steps = np.array([cause_choice.is_step(j) for j in judged], dtype=bool)
    one_axis, dark = cause_choice.steps_of_one_axis(prepared.ccds, n_ccd), np.zeros(n_ccd, dtype=bool)
    naming = np.flatnonzero(rounded >= cause_choice.SURELY)
    for ccds in np.split(naming, range(_AT_ONCE, naming.size, _AT_ONCE)):
        compared = _rounded(null.ccd_tails.evidence(np.array([values[ccds] for values in of_statistics])))
        how_precise = np.where(steps[:, None] & ~one_axis[ccds], 0, precise[:, None])
        chosen = cause_choice.most_precise(compared, strongest[ccds], how_precise, cause_choice.SURELY, sure=True)
        strongest[ccds] = light_patches.patches_of_light(null.ccd_statistics, compared, chosen)
        if "sky" in null.ccd_statistics:
            sky = compared[null.ccd_statistics.index("sky")]
            dark[ccds] = (sky >= cause_choice.SURELY) & cause_choice.is_dark(prepared.ccds["sky"][ccds])
    return LargestOfCcds(np.where(np.isfinite(largest), largest, np.nan), strongest, one_axis, dark)


def _strongest_of_ccds(
    null: Null, of_statistics: Sequence[Doubles], prepared: Prepared
) -> tuple[Doubles, Doubles, Integers]:
    """The largest L of each CCD, -inf without any; the same rounded; and the statistic that has it, (n_ccd,) each."""
    n_ccd = prepared.grid.owner.size
    largest, best = np.full(n_ccd, -np.inf), np.full(n_ccd, -np.inf)
    strongest = np.zeros(n_ccd, dtype=np.int64)
    if prepared.grid.is_large:
        from gpuanom.scoring.judged.exposure_loops import keep_largest

    def compare(start: int) -> None:
        block = slice(start, start + _IN_CACHE)
        for row in range(len(of_statistics)):
            tail = Tails(*(values[row : row + 1] for values in null.ccd_tails))
            evidence = tail.evidence(of_statistics[row][None, block])[0]
            if prepared.grid.is_large:
                keep_largest(evidence, row, largest[block], best[block], strongest[block])
                continue
            np.fmax(largest[block], evidence, out=largest[block])
            compared = _rounded(evidence)
            larger = compared > best[block]
            np.copyto(best[block], compared, where=larger)
            strongest[block][larger] = row

    # One statistic at a time: all evidence of a survey's million CCDs would be a large array.
    side_by_side(compare, range(0, n_ccd, _IN_CACHE), many=n_ccd >= _AT_ONCE)
    return largest, best, strongest


def _rounded(evidence: Doubles) -> Doubles:
    """Evidence as it is compared: equal to six digits is equal on every machine; -1 where there is none."""
    return np.asarray(np.round(np.where(np.isnan(evidence), -1.0, evidence), 6), dtype=np.float64)


def second_ccds(null: Null, of_ccds: LargestOfCcds, prepared: Prepared) -> Doubles:
    """Return L of each exposure's second-worst CCD among all CCDs, (1, n_exposures); NaN with fewer than two CCDs.

    Parameters
    ----------
    null : Null
    of_ccds : LargestOfCcds
    prepared : Prepared
    """
    return distances.second_largest(_corrected_of_ccds(null, of_ccds), prepared)[None]


def _corrected_of_ccds(null: Null, of_ccds: LargestOfCcds) -> Doubles:
    """L of each CCD, corrected for the number of statistics, (n_ccd,)."""
    corrected: Doubles = tails.evidence_of_largest(of_ccds.evidence[None], null.ccd_number)[0]
    return corrected


def all_evidence(null: Null, prepared: Prepared, of_statistics: OfStatistics, of_ccds: LargestOfCcds) -> Evidence:
    """Return the evidence of exposures and CCDs, from that of statistics.

    Parameters
    ----------
    null : Null
    prepared : Prepared
    of_statistics : OfStatistics
    of_ccds : LargestOfCcds
    """
    of_lists = tails.evidence_of_largest(
        distances.largest_of_lists(null.judged, of_statistics.evidence), null.list_numbers
    )
    of_exposures = tails.evidence_of_largest(distances.largest(of_lists)[None], null.number_of_lists)[0]
    second = null.second_tail.evidence(second_ccds(null, of_ccds, prepared))[0]
    evidence_of_ccds = _corrected_of_ccds(null, of_ccds)
    worst_ccd, worst_sign = _worst_ccds(null, prepared)
    ccd_statistic, ccd_sign = _named_statistics(null, prepared, of_ccds, evidence_of_ccds)
    return Evidence(
        statistics=null.judged,
        of_statistics=of_statistics.evidence,
        deviation=of_statistics.deviation,
        of_lists=of_lists,
        of_exposures=tails.calibrated(of_exposures),
        of_ccds=evidence_of_ccds,
        second_ccd=tails.calibrated(second),
        worst_ccd=worst_ccd,
        worst_sign=worst_sign,
        ccd_statistic=ccd_statistic,
        ccd_sign=ccd_sign,
        one_axis=of_ccds.one_axis,
        dark=of_ccds.dark,
    )


def _worst_ccds(null: Null, prepared: Prepared) -> tuple[Integers, Doubles]:
    """`worst_ccd` and `worst_sign` of `Evidence`."""
    shape = (len(null.statistics), prepared.grid.shape[0])
    worst, sign = np.full(shape, -1, dtype=np.int64), np.ones(shape)
    rows = {name: row for row, name in enumerate(null.statistics)}
    for name, index in prepared.worst.items():
        if name + WORST in rows:
            row = rows[name + WORST]
            worst[row] = index
            below = (index >= 0) & (np.append(prepared.ccds[name], np.nan)[index] < 0.0)
            sign[row, below] = -1.0
    return worst, sign


def _named_statistics(
    null: Null, prepared: Prepared, of_ccds: LargestOfCcds, evidence: Doubles
) -> tuple[Integers, Doubles]:
    """`ccd_statistic` and `ccd_sign` of `Evidence`."""
    n_ccd = prepared.grid.owner.size
    statistic, sign = np.full(n_ccd, -1, dtype=np.int64), np.ones(n_ccd)
    if null.ccd_statistics:
        rows = {name: row for row, name in enumerate(null.statistics)}
        row_of = np.array([rows.get(name + WORST, -1) for name in null.ccd_statistics])
        statistic = np.where(np.isnan(evidence), -1, row_of[of_ccds.statistic])
        for k, name in enumerate(null.ccd_statistics):
            if name in prepared.ccds:
                named = np.flatnonzero(of_ccds.statistic == k)
                sign[named[prepared.ccds[name][named] < 0.0]] = -1.0
    return statistic, sign
