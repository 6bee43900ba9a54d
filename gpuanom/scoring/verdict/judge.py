"""The verdict on each exposure and CCD: bad, check or ok, with the cause in words (METHOD.md 13)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpuanom.display import counted
from gpuanom.records import Doubles
from gpuanom.records.texts import Texts, none_but, texts_of
from gpuanom.scoring.evidence import exposure_times
from gpuanom.scoring.evidence.evidence import Evidence, evidence
from gpuanom.scoring.evidence.fit_null import fit
from gpuanom.scoring.evidence.null import Null
from gpuanom.scoring.judged.statistics_table import Measured
from gpuanom.scoring.verdict.cause_words import causes
from gpuanom.scoring.verdict.levels import LEVELS, levels
from gpuanom.scoring.verdict.thresholds import Thresholds
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
    note: list[str]


def judge(
    measured: Measured, settings: Settings | None = None, known: Null | None = None
) -> tuple[Verdicts, Null | None]:
    """Judge exposures by what is normal for their dataset, or by a null that is known already.

    Parameters
    ----------
    measured : Measured
        Exposures that can be compared with each other.
    settings : Settings, optional
        By default the default settings.
    known : Null, optional
        A stored null; by default the exposures themselves tell what is normal, if there are enough of them.

    Returns
    -------
    verdicts : Verdicts
    null : Null or None
        What the exposures were judged by; None where there were too few.
    """
    settings = settings or Settings()
    n = measured.n_exposures
    if known is not None:
        found = evidence(known, measured)
    else:
        alike = exposure_times.find(measured.exposures, settings.exposure_time_ratio).n_alike(n)
        if alike < settings.verdict_exposures:
            kind = "of this camera, band and CCD size" if alike == n else "of a frequent exposure time"
            why = f"no verdict: {counted(alike, 'exposure')} {kind}, and a verdict needs {settings.verdict_exposures}"
            return no_verdicts(n, measured.owner.size, why), None
        known, found = fit(measured, settings)
    return _verdicts(measured, known, found, settings), known


def no_verdicts(n: int, n_ccd: int, why: str = "") -> Verdicts:
    """Return the verdicts on n exposures and their CCDs where there are none.

    Parameters
    ----------
    n, n_ccd : int
    why : str, optional
        The reason that all exposures get.
    """
    none, no_text = np.full(n, np.nan), none_but({}, n_ccd)
    return Verdicts(
        [""] * n, [""] * n, none, [""] * n, none.copy(), [why] * n, no_text, no_text, np.full(n_ccd, np.nan), [""] * n
    )


def _verdicts(measured: Measured, null: Null, found: Evidence, settings: Settings) -> Verdicts:
    limits = Thresholds.of(settings, null.n_exposures)
    level = levels(measured, null, found, settings, limits)
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
