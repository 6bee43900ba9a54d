"""What is normal for a dataset (METHOD.md 13): the record that `gpuanom.scoring.evidence.fit_null` makes.

A null can be applied to one new exposure (`gpuanom.scoring.evidence.evidence`): a reference keeps the statistics that
the null is made from, and a survey's store keeps the null itself (`gpuanom.scoring.evidence.stored_null`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from gpuanom.records import Doubles
from gpuanom.scoring.evidence import regression
from gpuanom.scoring.evidence.distances import Scatter
from gpuanom.scoring.evidence.exposure_times import Times
from gpuanom.scoring.evidence.tails import Tails
from gpuanom.scoring.judged.judged_statistics import EVERY, JudgedStatistic


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
    usual_sigma : float
        Median of the exposures' sigma; NaN where it was not measured.
    conditions : tuple of str
        Columns that the statistics are regressed on.
    covariates : gpuanom.scoring.evidence.regression.Covariates
    coefficients : ndarray, (n_parts, k + 1) float64
    slopes : ndarray, (n_parts, k + 1) float64
        How the scatter follows from the conditions (`gpuanom.scoring.evidence.regression.fit_spread`).
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
    usual_sigma: float
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

    @property
    def judged(self) -> tuple[JudgedStatistic, ...]:
        """The records of `statistics`."""
        by_name = {j.name: j for j in EVERY}
        return tuple(by_name[name] for name in self.statistics)
