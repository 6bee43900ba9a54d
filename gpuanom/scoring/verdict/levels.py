"""Which exposures and CCDs are bad, to check or ok, by their evidence (METHOD.md 13)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpuanom.digits import printed_values
from gpuanom.records import Doubles, Flags, Integers
from gpuanom.scoring.evidence import exposure_times, light_patches
from gpuanom.scoring.evidence.evidence import Evidence
from gpuanom.scoring.evidence.null import Null
from gpuanom.scoring.judged.ccd_grid import LEAST_CCDS
from gpuanom.scoring.judged.judged_statistics import LISTS
from gpuanom.scoring.judged.statistics_table import Measured
from gpuanom.scoring.verdict.thresholds import Thresholds
from gpuanom.settings import Settings

BAD, CHECK, OK = "bad", "check", "ok"
VERDICTS: tuple[str, ...] = (BAD, CHECK, OK)
"""The verdicts, the worst first; an exposure that cannot be judged has an empty one."""

ODD: tuple[str, ...] = (BAD, CHECK)
"""The verdicts on exposures that are not as they should be."""

LEVELS: tuple[str, ...] = ("", *reversed(VERDICTS))
"""The verdicts from none to the worst: arrays hold a verdict's place in this list."""


@dataclass(frozen=True, eq=False)
class Levels:
    """The verdicts on exposures and CCDs, without their causes.

    Attributes
    ----------
    of_exposures : ndarray, (n_exposures,) int64
        Place of the verdict in `LEVELS`.
    of_ccds : ndarray, (n_ccd,) int64
        The same of each CCD: that of the exposure, unless the CCD itself is bad, or another CCD alone is.
    evidence : ndarray, (n_exposures,) float64
        L, rounded to the printed digits; NaN without a verdict. At least the threshold where one CCD alone is bad.
    ccd_evidence : ndarray, (n_ccd,) float64
    strongest : ndarray, (n_exposures,) int64
        The statistic that stands out most, -1 without a verdict.
    alone : ndarray, (n_exposures,) bool
        Whether the anomaly is on one CCD: the exposure is to check, and its other CCDs are ok.
    worst : ndarray, (n_exposures,) int64
        The CCD with the largest evidence, -1 without any.
    bad_ccds : ndarray, (n_ccd,) bool
        Which CCDs are bad by their own evidence.
    reasons : list of str
        Why an exposure has no verdict; empty where it has one.
    """

    of_exposures: Integers
    of_ccds: Integers
    evidence: Doubles
    ccd_evidence: Doubles
    strongest: Integers
    alone: Flags
    worst: Integers
    bad_ccds: Flags
    reasons: list[str]

    @property
    def known(self) -> Flags:
        """Which exposures have a verdict, (n_exposures,) bool."""
        return self.of_exposures > 0


def levels(measured: Measured, null: Null, found: Evidence, settings: Settings, limits: Thresholds) -> Levels:
    """Return the verdicts that follow from the evidence.

    Parameters
    ----------
    measured : Measured
    null : Null
        What the exposures are judged by.
    found : Evidence
    settings : Settings
    limits : Thresholds
        For the size of the null's dataset.

    Returns
    -------
    Levels
    """
    owner = measured.owner
    evidence, of_ccds = printed_values(found.of_exposures), printed_values(found.of_ccds)
    reasons = _reasons(measured, null, evidence, settings)
    unjudged = np.array([bool(reason) for reason in reasons], dtype=bool)
    strongest = np.where(unjudged, -1, _strongest(found))
    known = strongest >= 0
    worst, n_judged = _worst_ccds(of_ccds, measured)
    with np.errstate(invalid="ignore"):
        worst_evidence = np.append(of_ccds, np.nan)[worst]
        second = printed_values(found.second_ccd)
        # The pattern is on one CCD: the other CCDs can be used.
        alone = known & (n_judged >= LEAST_CCDS) & (worst_evidence >= limits.bad_ccd) & ~(second >= limits.check)
        # What is wrong with all stars of the exposure is not on one CCD.
        whole = np.array([j.of_all_stars for j in found.statistics], dtype=bool)
        alone &= ~(found.of_statistics[whole] >= limits.bad).any(axis=0)
        alone &= ~light_patches.is_of_all_ccds(found.statistics, found.of_statistics, limits.bad)
        of_exposures = np.full(evidence.size, LEVELS.index(OK))
        of_exposures[evidence >= limits.check] = LEVELS.index(CHECK)
        of_exposures[evidence >= limits.bad] = LEVELS.index(BAD)
        bad_ccds = (of_ccds >= limits.bad_ccd) & known[owner]
    of_exposures[alone] = LEVELS.index(CHECK)
    of_exposures[~known] = LEVELS.index("")
    level_of_ccds = np.where(alone, LEVELS.index(OK), of_exposures)[owner]
    level_of_ccds[bad_ccds] = LEVELS.index(BAD)
    evidence[unjudged] = np.nan
    evidence[alone] = np.maximum(evidence[alone], limits.check)
    return Levels(of_exposures, level_of_ccds, evidence, of_ccds, strongest, alone, worst, bad_ccds, reasons)


def _reasons(measured: Measured, null: Null, evidence: Doubles, settings: Settings) -> list[str]:
    """Why exposures have no verdict; empty where they have one."""
    n = measured.n_exposures
    used = measured.exposures.get("n_ccd_used", np.full(n, np.nan))
    reasons = [""] * n
    for i in np.flatnonzero(np.isnan(evidence)).tolist():
        reasons[i] = "no verdict: nothing was measured that could be judged"
    seconds = measured.exposures.get(exposure_times.COLUMN, np.full(n, np.nan))
    for i in np.flatnonzero(null.times.group_of(seconds) < 0).tolist():
        reasons[i] = exposure_times.without_group(null.times, float(seconds[i]))
    if null.usual_ccds:
        for i in np.flatnonzero(used < settings.verdict_ccds * null.usual_ccds).tolist():
            reasons[i] = f"no verdict: {used[i]:.0f} of usually {null.usual_ccds:.0f} CCDs could be measured"
    return reasons


def _strongest(found: Evidence) -> Integers:
    """The statistic that stands out most in the list that stands out most, of each exposure; -1 without any."""
    n = found.of_exposures.size
    if not found.statistics:
        return np.full(n, -1, dtype=np.int64)
    best = np.argmax(printed_values(np.where(np.isnan(found.of_lists), -1.0, found.of_lists)), axis=0)
    lists = np.array([LISTS.index(j.list) for j in found.statistics])
    within = np.where((lists[:, None] == best) & ~np.isnan(found.of_statistics), found.of_statistics, -1.0)
    # Equal to the printed digits counts as equal: the first statistic is then named on every machine.
    row = np.argmax(np.round(within, 6), axis=0)
    return np.where(np.isnan(found.of_exposures), -1, row)


def _worst_ccds(of_ccds: Doubles, measured: Measured) -> tuple[Integers, Integers]:
    """Each exposure's CCD with the largest evidence, of equal ones the first, -1 without any; how many have any."""
    grid = measured.grid
    full = grid.spread(np.where(np.isnan(of_ccds), -np.inf, of_ccds))
    full = np.where(np.isnan(full), -np.inf, full)
    n_judged = np.bincount(measured.owner, ~np.isnan(of_ccds), minlength=measured.n_exposures).astype(np.int64)
    if not full.size:
        return np.full(measured.n_exposures, -1, dtype=np.int64), n_judged
    return np.where(n_judged > 0, grid.starts[:-1] + np.argmax(full, axis=1), -1), n_judged
