"""What is normal for a dataset, and how unlikely each exposure is by chance (METHOD.md 13).

Each statistic is regressed on the conditions of the exposures. What is left is measured by its own scatter, which may
follow from the conditions, too, or, for vectors, by its robust Mahalanobis distance; and a tail through the bulk of the
dataset turns the distance into L, the negative logarithm of the probability of a value as large by chance. The largest
L of a list goes through a tail again, which corrects for how many statistics the list holds, and so does the largest of
the lists.

A null can be applied to one new exposure: a reference keeps the statistics that it is made from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gpuanom.records import Doubles, Flags, Integers
from gpuanom.scoring import cause_choice, distances, exposure_times, regression, tails
from gpuanom.scoring.distances import Scatter
from gpuanom.scoring.exposure_times import Times
from gpuanom.scoring.judged import EVERY, LISTS, OF_CCDS, WORST, Judged
from gpuanom.scoring.kept_statistics import part
from gpuanom.scoring.statistics_table import Measured, Prepared, prepare
from gpuanom.scoring.tails import Tails
from gpuanom.settings import Settings
from gpuanom.side_by_side import side_by_side

_AT_ONCE = 65_536
"""CCDs whose causes are chosen at once: a survey may have a million CCDs."""

_IN_CACHE = 16_384
"""CCDs that are looked at together: what is compared of them stays in the cache of a core."""

_LEAST_TAIL = 1.0
"""The 90% quantile of distances is taken as at least so many robust standard deviations: it is 1.6 for a Gaussian."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """How unlikely exposures and CCDs are by chance; L = -ln P, NaN where nothing was measured.

    Attributes
    ----------
    statistics : tuple of Judged
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

    statistics: tuple[Judged, ...]
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


@dataclass(frozen=True, eq=False)
class Null:
    """What is normal for a dataset.

    Attributes
    ----------
    n_exposures : int
        Exposures that the null was made from, without those of rare exposure times.
    few_sources : int
        With fewer sources, statistics of sources and shapes say nothing of an exposure.
    faint_sky : float
        A sky below so many sigma is faint, so that sigma stands for the sky.
    statistics : tuple of str
        Names of the statistics; arrays of `parts` have a row for each number that a statistic consists of.
    sky : str
        The column that tells of the brightness of the sky: ``sky``, or ``sigma`` where the sky is faint.
    conditions : tuple of str
        Columns that the statistics are regressed on.
    covariates : gpuanom.scoring.regression.Covariates
    coefficients : ndarray, (n_parts, k + 1) float64
    slopes : ndarray, (n_parts, k + 1) float64
        How the scatter follows from the conditions (`gpuanom.scoring.regression.fit_spread`).
    scatter : Scatter
        Scatter of what the regression leaves, under median conditions.
    usual_error : ndarray, (n_parts,) float64
        Median squared error of the measurement, NaN where errors are not known.
    inverse : dict of str to ndarray
        Inverse correlation of the numbers of each vector.
    tails : Tails
        One for each statistic.
    list_numbers, number_of_lists : ndarray, (3,) and (1,) float64
        Of how many independent values the largest L of each list is the largest, and that of all lists.
    ccd_statistics : tuple of str
        Names of the statistics of CCDs.
    ccd_tails, second_tail : Tails
        One for each statistic of CCDs, and one for an exposure's second-worst CCD.
    ccd_number : ndarray, (1,) float64
        Of how many independent values a CCD's largest L is the largest.
    patterns : dict
        What is normal for each CCD (`Prepared.patterns`).
    usual_ccds : float
        Median of the number of CCDs that could be measured, 0 where it is not known.
    times : Times
        The exposure times of the exposures.
    of_times : ndarray, (n_parts, n_groups) float64
        What statistics of exposures of each time differ by from those of the most frequent one.
    """

    n_exposures: int
    few_sources: int
    faint_sky: float
    statistics: tuple[str, ...]
    sky: str
    conditions: tuple[str, ...]
    covariates: regression.Covariates
    coefficients: Doubles
    slopes: Doubles
    scatter: Scatter
    usual_error: Doubles
    inverse: dict[str, Doubles]
    tails: Tails
    list_numbers: Doubles
    number_of_lists: Doubles
    ccd_statistics: tuple[str, ...]
    ccd_tails: Tails
    ccd_number: Doubles
    second_tail: Tails
    patterns: dict[str, dict[str, float]]
    usual_ccds: float = 0.0
    times: Times = dataclasses.field(default_factory=Times)
    of_times: Doubles = dataclasses.field(default_factory=lambda: np.zeros((0, 1)))


def fit(measured: Measured, settings: Settings | None = None) -> tuple[Null, Evidence]:
    """Find out what is normal for a dataset, and how unlikely each of its exposures is.

    Parameters
    ----------
    measured : Measured
        Exposures that can be compared with each other.
    settings : Settings, optional
        By default the default settings.

    Returns
    -------
    null : Null
        Made without the exposures of rare exposure times.
    evidence : Evidence
        The same as `evidence` of the null and the dataset gives.
    """
    settings = settings or Settings()
    times = exposure_times.find(measured.exposures, settings.exposure_time_ratio)
    alike = _groups(times, measured) >= 0
    if alike.all():
        return _fit(measured, settings, times)
    null, _ = _fit(part(measured, np.flatnonzero(alike)), settings, times)
    return null, evidence(null, measured)


def _fit(measured: Measured, settings: Settings, times: Times) -> tuple[Null, Evidence]:
    """See `fit`; every exposure is of one of the groups of exposure times."""
    usual_ccds = _usual(measured.exposures.get("n_ccd_used"))
    prepared = prepare(measured, usual_ccds=usual_ccds)
    chosen = tuple(j for j in EVERY if distances.is_measured(prepared, j))
    sky = distances.sky_or_sigma(prepared, settings)
    conditions, covariates = distances.choose_conditions(prepared, sky, settings)
    y, error = distances.compared_values(prepared, chosen, sky, settings.few_sources, usual_ccds)
    group = _groups(times, measured)
    of_times = exposure_times.offsets(y, group, times)
    y = exposure_times.moved(y, group, of_times)
    # A regression of values most of which are equal would make these differ.
    used = distances.regressed_on(chosen, conditions) & ~tails.are_tied(y)[:, None]
    x = covariates.scaled(distances.condition_values(prepared, conditions))
    coefficients = regression.fit(y, x, used)
    residual = y - regression.predicted(coefficients, x)
    slopes = regression.fit_spread(residual, x, used)
    spread = regression.usual_spread(slopes, x)
    residual, error = residual / spread, error / spread
    usual = regression.median(np.square(error))
    scatter = distances.scatter_of(chosen, y, residual, used, usual)
    inverse = distances.inverse_correlations(chosen, residual, scatter.above)
    of_statistics = tails.fit(distances.distances(chosen, residual, error, scatter, usual, inverse)[0], _LEAST_TAIL)
    names = tuple(prepared.ccds)
    tied = distances.have_equal_values(measured, names)
    nothing = np.full(1, np.nan)
    null = Null(
        n_exposures=times.n_alike(measured.n_exposures),
        few_sources=settings.few_sources,
        faint_sky=settings.faint_sky,
        statistics=tuple(j.name for j in chosen),
        sky=sky,
        conditions=conditions,
        covariates=covariates,
        coefficients=coefficients,
        slopes=slopes,
        scatter=scatter,
        usual_error=usual,
        inverse=inverse,
        tails=of_statistics,
        list_numbers=np.full(len(LISTS), np.nan),
        number_of_lists=nothing,
        ccd_statistics=names,
        ccd_tails=tails.fit(of_ccd_statistics := distances.ccd_distances(prepared, names), tied=tied),
        ccd_number=nothing,
        second_tail=Tails(nothing, nothing, nothing),
        patterns=prepared.patterns,
        usual_ccds=usual_ccds,
        times=times,
        of_times=of_times,
    )
    # What follows depends on what the parts before it make of the same exposures.
    of_each_statistic = _of_statistics(null, prepared)
    largest = distances.largest_of_lists(chosen, of_each_statistic[1])
    numbers = tails.effective_number(largest)
    of_all = distances.largest(tails.evidence_of_largest(largest, numbers))[None]
    of_each = _of_each_ccd(null, of_ccd_statistics, prepared)
    ccd_number = tails.effective_number(of_each.largest[None])
    of_ccds = tails.evidence_of_largest(of_each.largest[None], ccd_number)[0]
    second = distances.second_largest(of_ccds, prepared)[None]
    null = dataclasses.replace(
        null,
        list_numbers=numbers,
        number_of_lists=tails.effective_number(of_all),
        ccd_number=ccd_number,
        second_tail=tails.fit(second),
    )
    return null, _evidence(null, prepared, of_each, of_each_statistic, of_ccds, second)


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
    of_each = _of_each_ccd(null, distances.ccd_distances(prepared, null.ccd_statistics), prepared)
    of_ccds = tails.evidence_of_largest(of_each.largest[None], null.ccd_number)[0]
    second = distances.second_largest(of_ccds, prepared)[None]
    return _evidence(null, prepared, of_each, _of_statistics(null, prepared), of_ccds, second)


def _of_statistics(null: Null, prepared: Prepared) -> tuple[Doubles, Doubles]:
    """The deviations and L of all statistics, (n_statistics, n_exposures) each."""
    chosen = _chosen(null)
    y, error = distances.compared_values(prepared, chosen, null.sky, null.few_sources, null.usual_ccds)
    y = exposure_times.moved(y, _groups(null.times, prepared), null.of_times)
    x = null.covariates.scaled(distances.condition_values(prepared, null.conditions))
    spread = regression.usual_spread(null.slopes, x)
    residual, error = (y - regression.predicted(null.coefficients, x)) / spread, error / spread
    distance, signed = distances.distances(chosen, residual, error, null.scatter, null.usual_error, null.inverse)
    return signed, null.tails.evidence(distance)


def _groups(times: Times, found: Measured | Prepared) -> Integers:
    """The group of each exposure by its exposure time."""
    seconds = found.exposures.get(exposure_times.COLUMN)
    return times.group_of(np.full(found.grid.shape[0], np.nan) if seconds is None else seconds)


def _chosen(null: Null) -> tuple[Judged, ...]:
    """The statistics of a null."""
    by_name = {j.name: j for j in EVERY}
    return tuple(by_name[name] for name in null.statistics)


class _OfEachCcd(NamedTuple):
    """The largest L of each CCD, NaN without any, the statistic that names its cause, and what `Evidence` says."""

    largest: Doubles
    statistic: Integers
    one_axis: Flags
    dark: Flags


def _of_each_ccd(null: Null, of_statistics: Sequence[Doubles], prepared: Prepared) -> _OfEachCcd:
    """What stands out most on each CCD; one statistic at a time, since a survey has a million CCDs."""
    n_ccd = prepared.grid.owner.size
    largest, best = np.full(n_ccd, -np.inf), np.full(n_ccd, -np.inf)
    statistic = np.zeros(n_ccd, dtype=np.int64)
    if prepared.grid.is_large:
        from gpuanom.scoring.exposure_loops import keep_largest

    def compare(start: int) -> None:
        some = slice(start, start + _IN_CACHE)
        for row in range(len(of_statistics)):
            one = Tails(*(values[row : row + 1] for values in null.ccd_tails))
            found = one.evidence(of_statistics[row][None, some])[0]
            if prepared.grid.is_large:
                keep_largest(found, row, largest[some], best[some], statistic[some])
                continue
            np.fmax(largest[some], found, out=largest[some])
            compared = np.asarray(np.round(np.where(np.isnan(found), -1.0, found), 6), dtype=np.float64)
            larger = compared > best[some]
            np.copyto(best[some], compared, where=larger)
            statistic[some][larger] = row

    side_by_side(compare, range(0, n_ccd, _IN_CACHE), many=n_ccd >= _AT_ONCE)
    by_name = {j.name: j for j in OF_CCDS}
    chosen = [by_name[name] for name in null.ccd_statistics]
    precise = np.array([j.precise for j in chosen], dtype=np.int64)
    steps = np.array([cause_choice.is_step(j) for j in chosen], dtype=bool)
    one_axis, dark = cause_choice.steps_of_one_axis(prepared.ccds, n_ccd), np.zeros(n_ccd, dtype=bool)
    named = np.flatnonzero(best >= cause_choice.SURELY)
    for some in np.split(named, range(_AT_ONCE, named.size, _AT_ONCE)):
        found = null.ccd_tails.evidence(np.array([values[some] for values in of_statistics]))
        compared = np.asarray(np.round(np.where(np.isnan(found), -1.0, found), 6), dtype=np.float64)
        of_each = np.where(steps[:, None] & ~one_axis[some], 0, precise[:, None])
        statistic[some] = cause_choice.most_precise(compared, statistic[some], of_each, cause_choice.SURELY, sure=True)
        if "sky" in null.ccd_statistics:
            sky = compared[null.ccd_statistics.index("sky")]
            dark[some] = (sky >= cause_choice.SURELY) & cause_choice.is_dark(prepared.ccds["sky"][some])
    return _OfEachCcd(np.where(np.isfinite(largest), largest, np.nan), statistic, one_axis, dark)


def _evidence(
    null: Null,
    prepared: Prepared,
    of_each: _OfEachCcd,
    of_each_statistic: tuple[Doubles, Doubles],
    of_ccds: Doubles,
    second: Doubles,
) -> Evidence:
    """What is found of the exposures, from L of each CCD and of the second-worst CCD of each exposure, (1, n)."""
    chosen = _chosen(null)
    signed, of_statistics = of_each_statistic
    of_lists = tails.evidence_of_largest(distances.largest_of_lists(chosen, of_statistics), null.list_numbers)
    of_exposures = tails.calibrated(
        tails.evidence_of_largest(distances.largest(of_lists)[None], null.number_of_lists)[0]
    )
    second = tails.calibrated(null.second_tail.evidence(second)[0])
    n, n_ccd = prepared.grid.shape[0], prepared.grid.owner.size
    rows = {name: i for i, name in enumerate(null.statistics)}
    worst, worst_sign = np.full((len(chosen), n), -1, dtype=np.int64), np.ones((len(chosen), n))
    for name, index in prepared.worst.items():
        if name + WORST in rows:
            worst[rows[name + WORST]] = index
            below = (index >= 0) & (np.append(prepared.ccds[name], np.nan)[index] < 0.0)
            worst_sign[rows[name + WORST], below] = -1.0
    statistic, sign = np.full(n_ccd, -1, dtype=np.int64), np.ones(n_ccd)
    if null.ccd_statistics:
        to_row = np.array([rows.get(name + WORST, -1) for name in null.ccd_statistics])
        statistic = np.where(np.isnan(of_ccds), -1, to_row[of_each.statistic])
        for k, name in enumerate(null.ccd_statistics):
            if name in prepared.ccds:
                chosen_here = np.flatnonzero(of_each.statistic == k)
                sign[chosen_here[prepared.ccds[name][chosen_here] < 0.0]] = -1.0
    return Evidence(
        chosen, of_statistics, signed, of_lists, of_exposures, of_ccds, second,
        worst, worst_sign, statistic, sign, of_each.one_axis, of_each.dark,
    )  # fmt: skip


def _usual(values: Doubles | None) -> float:
    """The median, 0 where there is none."""
    return 0.0 if values is None or not np.isfinite(values).any() else float(regression.median(values[None])[0])
