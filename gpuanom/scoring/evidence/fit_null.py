"""A null is fitted to a dataset (METHOD.md 13): what is normal for its exposures, and how unlikely each of them is.

Each statistic is regressed on the conditions of the exposures. The residuals are measured by their own scatter, which
may follow from the conditions, too, or, for vectors, by their robust Mahalanobis distance; and a tail through the bulk
of the dataset turns the distance into L, the negative logarithm of the probability of a value as large by chance. The
largest L of a list goes through a tail again, which corrects for how many statistics the list holds, and so does the
largest of the lists.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from gpuanom.records import Doubles
from gpuanom.scoring.evidence import distances, exposure_times, regression, tails
from gpuanom.scoring.evidence.evidence import (
    Evidence,
    all_evidence,
    evidence,
    evidence_of_statistics,
    largest_of_ccds,
    second_ccds,
)
from gpuanom.scoring.evidence.exposure_times import Times
from gpuanom.scoring.evidence.null import Null
from gpuanom.scoring.evidence.tails import Tails
from gpuanom.scoring.judged.judged_statistics import EVERY, LISTS
from gpuanom.scoring.judged.statistics_table import Measured, Prepared, prepare
from gpuanom.scoring.medians import median
from gpuanom.settings import Settings

_LEAST_TAIL = 1.0
"""The 90% quantile of distances is taken as at least so many robust standard deviations: it is 1.6 for a Gaussian."""


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
    alike = exposure_times.groups(times, measured.exposures, measured.n_exposures) >= 0
    if alike.all():
        return _fit(measured, settings, times)
    null, _ = _fit(measured.part(np.flatnonzero(alike)), settings, times)
    return null, evidence(null, measured)


def _fit(measured: Measured, settings: Settings, times: Times) -> tuple[Null, Evidence]:
    """See `fit`; every exposure is of one of the groups of exposure times."""
    usual_ccds = _median_or_zero(measured.exposures.get("n_ccd_used"))
    prepared = prepare(measured, usual_ccds=usual_ccds)
    of_ccds = distances.ccd_distances(prepared, tuple(prepared.ccds))
    tied = distances.have_equal_values(measured, tuple(prepared.ccds))
    uncorrected = _uncorrected(prepared, settings, times, usual_ccds, tails.fit(of_ccds, tied=tied))
    return _corrected(uncorrected, prepared, of_ccds)


def _uncorrected(prepared: Prepared, settings: Settings, times: Times, usual_ccds: float, ccd_tails: Tails) -> Null:
    """The null whose evidence is not yet corrected for the number of statistics, lists and CCDs."""
    statistics = tuple(j for j in EVERY if distances.is_measured(prepared, j))
    sky = distances.sky_or_sigma(prepared, settings)
    conditions, covariates = distances.choose_conditions(prepared, sky, settings)
    y, error = distances.compared_values(prepared, statistics, sky, settings.few_sources, usual_ccds)
    n_exposures = prepared.grid.shape[0]
    group = exposure_times.groups(times, prepared.exposures, n_exposures)
    of_times = exposure_times.offsets(y, group, times)
    y = exposure_times.moved(y, group, of_times)
    # A regression of values most of which are equal would make these differ.
    used = distances.regressed_on(statistics, conditions) & ~tails.are_tied(y)[:, None]
    x = covariates.scaled(distances.condition_values(prepared, conditions))
    coefficients = regression.fit(y, x, used)
    residual = y - regression.predicted(coefficients, x)
    slopes = regression.fit_spread(residual, x, used)
    spread = regression.usual_spread(slopes, x)
    residual, error = residual / spread, error / spread
    usual_error = median(np.square(error))
    scatter = distances.scatter_of(statistics, y, residual, used, usual_error)
    inverse = distances.inverse_correlations(statistics, residual, scatter.above)
    distance, _ = distances.distances(statistics, residual, error, scatter, usual_error, inverse)
    unknown = np.full(1, np.nan)
    return Null(
        n_exposures=times.n_alike(n_exposures),
        few_sources=settings.few_sources,
        faint_sky=settings.faint_sky,
        statistics=tuple(j.name for j in statistics),
        sky=sky,
        usual_sigma=_usual_sigma(prepared),
        conditions=conditions,
        covariates=covariates,
        coefficients=coefficients,
        slopes=slopes,
        scatter=scatter,
        usual_error=usual_error,
        inverse=inverse,
        tails=tails.fit(distance, _LEAST_TAIL),
        list_numbers=np.full(len(LISTS), np.nan),
        number_of_lists=unknown,
        ccd_statistics=tuple(prepared.ccds),
        ccd_tails=ccd_tails,
        ccd_number=unknown,
        second_tail=Tails(unknown, unknown, unknown),
        patterns=prepared.patterns,
        usual_ccds=usual_ccds,
        times=times,
        of_times=of_times,
    )


def _corrected(null: Null, prepared: Prepared, distances_of_ccds: Sequence[Doubles]) -> tuple[Null, Evidence]:
    """The null with its corrections, each of which comes from the evidence that the part before it gives."""
    of_statistics = evidence_of_statistics(null, prepared)
    largest = distances.largest_of_lists(null.judged, of_statistics.evidence)
    list_numbers = tails.effective_number(largest)
    of_lists = distances.largest(tails.evidence_of_largest(largest, list_numbers))[None]
    of_ccds = largest_of_ccds(null, distances_of_ccds, prepared)
    null = dataclasses.replace(
        null,
        list_numbers=list_numbers,
        number_of_lists=tails.effective_number(of_lists),
        ccd_number=tails.effective_number(of_ccds.evidence[None]),
    )
    null = dataclasses.replace(null, second_tail=tails.fit(second_ccds(null, of_ccds, prepared)))
    return null, all_evidence(null, prepared, of_statistics, of_ccds)


def _usual_sigma(prepared: Prepared) -> float:
    """The median of the exposures' sigma, from its logarithms as a condition enters."""
    return math.exp(float(median(distances.condition_values(prepared, ("sigma",)))[0]))


def _median_or_zero(values: Doubles | None) -> float:
    """The median of values, 0 where there is none."""
    return 0.0 if values is None or not np.isfinite(values).any() else float(median(values[None])[0])
