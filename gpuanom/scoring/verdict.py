"""The verdict on each exposure and CCD: bad, check or ok, with the cause in words (METHOD.md 13)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gpuanom.records import Doubles
from gpuanom.records.texts import Texts, none_but, texts_of
from gpuanom.scoring import exposure_times
from gpuanom.scoring import null as nulls
from gpuanom.scoring.cause_words import causes
from gpuanom.scoring.null import Evidence, Null
from gpuanom.scoring.statistics_table import Measured
from gpuanom.scoring.verdict_levels import LEVELS, Thresholds, VerdictOptions, levels
from gpuanom.settings import Settings


@dataclass(frozen=True, eq=False)
class Verdicts:
    """The verdicts on exposures that are compared with each other.

    Attributes
    ----------
    verdict : list of str
        Of each exposure, one of `VERDICTS`, or empty.
    cause : list of str
        What is wrong, in words; empty for most exposures that are ok.
    evidence : ndarray, (n_exposures,) float64
        L, rounded to the printed digits; NaN without any.
    score : list of str
        Name of the statistic that stands out most, empty without one.
    deviation : ndarray, (n_exposures,) float64
        How far that statistic is from what is expected, in robust standard deviations.
    reason : list of str
        Why an exposure has no verdict.
    ccd_verdict, ccd_cause : ndarray, (n_ccd,) str
    ccd_evidence : ndarray, (n_ccd,) float64
    note : list of str
        What a user should know of the exposure times behind a verdict; may be empty.
    """

    verdict: list[str]
    cause: list[str]
    evidence: Doubles
    score: list[str]
    deviation: Doubles
    reason: list[str]
    ccd_verdict: Texts
    ccd_cause: Texts
    ccd_evidence: Doubles
    note: list[str] = field(default_factory=list)


def judge(
    measured: Measured, options: VerdictOptions | None = None, known: Null | None = None
) -> tuple[Verdicts, Null | None]:
    """Judge exposures by what is normal for their dataset, or by a null that is known already.

    Parameters
    ----------
    measured : Measured
        Exposures that can be compared with each other.
    options : VerdictOptions, optional
        By default those of the default settings.
    known : Null, optional
        A stored null; by default the exposures themselves tell what is normal, if there are enough of them.

    Returns
    -------
    verdicts : Verdicts
    null : Null or None
        What the exposures were judged by; None where there were too few.
    """
    options = options or VerdictOptions.of(Settings())
    n = measured.n_exposures
    if known is not None:
        found = nulls.evidence(known, measured)
    else:
        alike = exposure_times.find(measured.exposures, options.null.time_ratio).n_alike(n)
        if alike < options.least_exposures:
            counted = "1 exposure" if alike == 1 else f"{alike} exposures"
            kind = "of this camera and band" if alike == n else "of a frequent exposure time"
            why = f"no verdict: {counted} {kind}, and a verdict needs {options.least_exposures}"
            return _none(measured, why), None
        known, found = nulls.fit(measured, options.null)
    return _verdicts(measured, known, found, options), known


def _none(measured: Measured, why: str) -> Verdicts:
    """No verdict on any exposure."""
    n, n_ccd = measured.n_exposures, measured.owner.size
    empty = np.full(n, np.nan)
    none = none_but({}, n_ccd)
    return Verdicts([""] * n, [""] * n, empty, [""] * n, empty, [why] * n, none, none, np.full(n_ccd, np.nan))


def _verdicts(measured: Measured, null: Null, found: Evidence, options: VerdictOptions) -> Verdicts:
    limits = Thresholds.of(options, null.n_exposures)
    level = levels(measured, null, found, options, limits)
    cause = causes(measured, null, found, level, limits.check)
    names = ["" if row < 0 else found.statistics[row].name for row in cause.deciding.tolist()]
    n, n_ccd = measured.n_exposures, measured.owner.size
    deviation = np.append(found.deviation, np.full((1, n), np.nan), axis=0)[cause.deciding, np.arange(n)]
    return Verdicts(
        [LEVELS[k] for k in level.of_exposures.tolist()],
        cause.of_exposures,
        level.evidence,
        names,
        deviation,
        level.reasons,
        texts_of(np.array(LEVELS), level.of_ccds),
        none_but(cause.of_ccds, n_ccd),
        level.ccd_evidence,
        exposure_times.notes(null.times, measured.exposures, n),
    )
