"""How far the statistics of exposures and CCDs are from what is expected (METHOD.md 13).

`gpuanom.scoring.evidence.fit_null` puts these steps together; arrays have one row for each statistic, or for each
of the numbers that a statistic consists of.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gpuanom.records import Doubles, Flags
from gpuanom.scoring.evenly_spread import evenly_spread
from gpuanom.scoring.evidence import regression, tails
from gpuanom.scoring.judged.ccd_grid import LEAST_CCDS
from gpuanom.scoring.judged.judged_statistics import LISTS, OF_CCDS, JudgedStatistic
from gpuanom.scoring.judged.lacking_ccds import usual_over_own
from gpuanom.scoring.judged.statistics_table import Measured, Prepared, transformed
from gpuanom.scoring.medians import MAD, median, median_and_scatter
from gpuanom.settings import Settings
from gpuanom.side_by_side import side_by_side

CONDITIONS: tuple[str, ...] = ("n_sources", "sky", "fwhm")
"""The conditions that statistics are regressed on, the first ones first; they enter as logarithms."""

_LARGEST_CORRELATION = 0.95
_OUTLYING, _ROUNDS = 5.0, 2


class Scatter(NamedTuple):
    """The scatter of each number of the statistics, above and below what is expected; 0 where there is none.

    Attributes
    ----------
    above, below : ndarray, (n_parts,) float64
        1.4826 times the median absolute residual of each side; equal unless the statistic is two-sided.
    """

    above: Doubles
    below: Doubles


def choose_conditions(
    prepared: Prepared, sky: str, settings: Settings
) -> tuple[tuple[str, ...], regression.Covariates]:
    """Choose the conditions that vary, as many as the number of exposures bears."""
    wanted = [sky if name == "sky" else name for name in CONDITIONS]
    wanted = [name for name in wanted if name in prepared.exposures]
    n_exposures = prepared.grid.shape[0]
    centre, spread = median_and_scatter(condition_values(prepared, wanted))
    vary = [i for i in range(len(wanted)) if spread[i] > 0.0][: n_exposures // settings.covariate_exposures]
    chosen = tuple(wanted[i] for i in vary)
    return chosen, regression.Covariates(centre[vary], spread[vary], settings.covariate_clip)


def sky_or_sigma(prepared: Prepared, settings: Settings) -> str:
    """The column that tells of the brightness of the sky."""
    sky, sigma = prepared.exposures.get("sky"), prepared.exposures.get("sigma")
    if sky is None or sigma is None:
        return "sky"
    with np.errstate(invalid="ignore"):
        return "sigma" if (sky < settings.faint_sky * sigma).any() else "sky"


def condition_values(prepared: Prepared, names: Sequence[str]) -> Doubles:
    """The logarithms of conditions, (k, n_exposures)."""
    n = prepared.grid.shape[0]
    as_logarithm = JudgedStatistic("condition", (), LISTS[0], "")
    found = [transformed(prepared.exposures.get(name, np.full(n, np.nan)), as_logarithm) for name in names]
    return np.array(found, dtype=np.float64).reshape(len(names), n)


def is_measured(prepared: Prepared, judged: JudgedStatistic) -> bool:
    """Whether any exposure has all numbers of a statistic."""
    columns = [prepared.exposures.get(column) for column in judged.columns]
    return all(c is not None and bool(np.isfinite(c).any()) for c in columns)


def compared_values(
    prepared: Prepared, chosen: Sequence[JudgedStatistic], sky: str, few_sources: int, usual_ccds: float
) -> tuple[Doubles, Doubles]:
    """The numbers of statistics and their errors as they are compared, (n_parts, n_exposures) each.

    The number of sources is that of as many CCDs as usual: an exposure that lacks a CCD has as many on each of its own.
    Statistics of sources and shapes say nothing of an exposure with fewer sources than `few_sources`.
    """
    n = prepared.grid.shape[0]
    none = np.full(n, np.nan)
    few = prepared.exposures.get("n_sources", none) < few_sources
    values, errors = [], []
    for j in chosen:
        for column, error_column in zip(j.columns, j.errors, strict=True):
            name = sky if j.name == "sky" else column
            raw = np.asarray(prepared.exposures.get(name, none), dtype=np.float64)
            if name == "n_sources":
                raw = raw * usual_over_own(prepared.exposures.get("n_ccd_used"), usual_ccds)
            error = np.asarray(prepared.exposures.get(error_column, none), dtype=np.float64)
            value = transformed(raw, j)
            with np.errstate(divide="ignore", invalid="ignore"):
                error = error / raw if j.logarithm else error
            values.append(np.where(few, np.nan, value) if j.needs_sources else value)
            errors.append(np.where(np.isfinite(error), error, np.nan))
    shape = (len(values), n)
    return np.array(values, dtype=np.float64).reshape(shape), np.array(errors, dtype=np.float64).reshape(shape)


def rows_of(chosen: Sequence[JudgedStatistic]) -> list[slice]:
    """The rows of each statistic's numbers."""
    ends = np.cumsum([0, *(len(j.columns) for j in chosen)]).tolist()
    return [slice(a, b) for a, b in itertools.pairwise(ends)]


def regressed_on(chosen: Sequence[JudgedStatistic], conditions: Sequence[str]) -> Flags:
    """Tell which conditions each number is regressed on, (n_parts, k): not on the one that it measures itself."""
    parts = [j for j in chosen for _ in j.columns]
    used_as = {"sky": "sigma"} if "sigma" in conditions else {}  # where the sky is faint, sigma stands for it
    used = [[condition != used_as.get(j.covariate, j.covariate) for condition in conditions] for j in parts]
    return np.array(used, dtype=bool).reshape(len(parts), len(conditions))


def scatter_of(
    chosen: Sequence[JudgedStatistic], values: Doubles, residual: Doubles, used: Flags, usual_error: Doubles
) -> Scatter:
    """Return the scatter of what the regression leaves of each number.

    A two-sided statistic is measured on each side by that side's own scatter: a skew distribution would otherwise have
    all its unlikely values on one side. A scatter is at least the usual error of the measurement: counts of few sources
    may agree by chance.
    """
    two_sided = np.array([j.two_sided for j in chosen for _ in j.columns], dtype=bool)
    size = np.abs(residual)
    both = median_and_scatter(residual)[1]
    above, below = (_of_side(np.where(side, size, np.nan)) for side in (residual > 0.0, residual < 0.0))
    apart = two_sided & (above > 0.0) & (below > 0.0) & (both > 0.0)
    n = np.count_nonzero(np.isfinite(values), axis=1)
    factor = np.sqrt(n / np.maximum(n - used.sum(axis=1), 1))
    # Values that differ by their rounding alone do not scatter, whatever a regression leaves of them.
    varies = median_and_scatter(values)[1] > 0.0
    least = np.sqrt(np.where(np.isfinite(usual_error), usual_error, 0.0))
    counted = np.array([j.name == "n_sources" for j in chosen for _ in j.columns], dtype=bool)
    least = np.where(counted, np.exp(-0.5 * median(values)), least)  # 1 / sqrt(n) of the usual n
    return Scatter(
        np.maximum(np.where(varies, np.where(apart, above, both) * factor, 0.0), least),
        np.maximum(np.where(varies, np.where(apart, below, both) * factor, 0.0), least),
    )


def _of_side(size: Doubles) -> Doubles:
    """The scatter of each row from the sizes of its residuals, without outliers: these may be a fifth of one side."""
    scale = MAD * median(size)
    for _ in range(_ROUNDS):
        scale = MAD * median(np.where(size > _OUTLYING * scale[:, None], np.nan, size))
    return scale


def inverse_correlations(chosen: Sequence[JudgedStatistic], residual: Doubles, scale: Doubles) -> dict[str, Doubles]:
    """Return the inverse robust correlation of each vector's numbers, from scatters of sums and differences."""
    found = {}
    for j, rows in zip(chosen, rows_of(chosen), strict=True):
        d = len(j.columns)
        if d < 2:
            continue
        z = residual[rows] / np.where(scale[rows] > 0.0, scale[rows], np.inf)[:, None]
        matrix = np.eye(d)
        for a in range(d):
            for b in range(a):
                plus, minus = (median_and_scatter((z[a] + sign * z[b])[None])[1][0] ** 2 for sign in (1.0, -1.0))
                if plus + minus > 0.0:
                    matrix[a, b] = matrix[b, a] = (plus - minus) / (plus + minus)
        # Correlations that are estimated pair by pair may contradict each other: they are then weakened.
        while np.linalg.eigvalsh(matrix)[0] < 1.0 - _LARGEST_CORRELATION:
            matrix = 0.9 * matrix + 0.1 * np.eye(d)
        found[j.name] = np.asarray(np.linalg.inv(matrix), dtype=np.float64)
    return found


def distances(
    chosen: Sequence[JudgedStatistic],
    residual: Doubles,
    error: Doubles,
    scatter: Scatter,
    usual: Doubles,
    inverse: dict[str, Doubles],
) -> tuple[Doubles, Doubles]:
    """How far each statistic is from what is expected: as the tail takes it, and with its sign."""
    with np.errstate(invalid="ignore"):
        excess = np.square(error) - usual[:, None]
    scatters = scatter.above > 0.0
    of_side = np.where(residual < 0.0, scatter.below[:, None], scatter.above[:, None])
    # A part without scatter, as a count that is nearly always the same, says nothing.
    square = np.where(scatters[:, None], np.square(of_side), np.nan)
    z = residual / np.sqrt(square + np.where(excess > 0.0, excess, 0.0))
    n = residual.shape[1]
    distance, signed = np.full((len(chosen), n), np.nan), np.full((len(chosen), n), np.nan)
    for i, (j, rows) in enumerate(zip(chosen, rows_of(chosen), strict=True)):
        if len(j.columns) > 1:
            part = np.where(scatters[rows, None], z[rows], 0.0 * z[rows])
            total = np.zeros(n)
            for a in range(len(part)):
                for b in range(len(part)):
                    total += inverse[j.name][a, b] * part[a] * part[b]
            distance[i] = signed[i] = np.sqrt(np.maximum(total, 0.0))
        else:
            signed[i] = z[rows.start]
            distance[i] = np.abs(signed[i]) if j.two_sided else signed[i]
    return distance, signed


def largest(values: Doubles) -> Doubles:
    """The largest value of each column, NaN where there is none."""
    largest = np.where(np.isnan(values), -np.inf, values).max(axis=0, initial=-np.inf)
    return np.where(np.isfinite(largest), largest, np.nan)


def largest_of_lists(chosen: Sequence[JudgedStatistic], of_statistics: Doubles) -> Doubles:
    """The largest L of each list, (3, n)."""
    lists = np.array([j.list for j in chosen], dtype=np.str_)
    return np.array([largest(of_statistics[lists == name]) for name in LISTS])


def ccd_distances(prepared: Prepared, names: Sequence[str]) -> list[Doubles]:
    """How far CCDs are from normal, (n_ccd,) for each statistic; those of exposures with few CCDs are left out."""
    two_sided = {j.name for j in OF_CCDS if j.two_sided}

    def distance(name: str) -> Doubles:
        if (values := prepared.ccds.get(name)) is None:
            return np.full(prepared.grid.owner.size, np.nan)
        few = prepared.grid.counted(values) < LEAST_CCDS
        values = np.abs(values) if name in two_sided else values
        return np.where(few[prepared.grid.owner], np.nan, values) if few.any() else values

    return side_by_side(distance, names, many=prepared.grid.is_large)


def have_equal_values(measured: Measured, names: Sequence[str]) -> Flags:
    """Of which statistics many CCDs have one value, (n_statistics,) bool.

    Medians of each CCD and of each exposure's CCDs are taken off later, and make equal values differ.
    """
    taken = evenly_spread(measured.owner.size, tails.MOST_FITTED)
    by_name = {j.name: j for j in OF_CCDS}
    found = [
        name in measured.ccds and tails.have_equal(transformed(measured.ccds[name][taken], by_name[name])[None])[0]
        for name in names
    ]
    return np.array(found, dtype=np.bool_)


def second_largest(of_ccds: Doubles, prepared: Prepared) -> Doubles:
    """L of the second-worst CCD of each exposure, NaN with fewer than two."""
    full = prepared.grid.spread(of_ccds)
    if full.shape[1] < 2:
        return np.full(full.shape[0], np.nan)
    second = np.sort(np.where(np.isnan(full), -np.inf, full), axis=1)[:, -2]
    return np.where(np.isfinite(second), second, np.nan)
