"""The verdict on each exposure and CCD: bad, check or ok, with the cause in words (METHOD.md 13)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from gpuanom.digits import printed, printed_values
from gpuanom.records import Doubles, Integers
from gpuanom.records.texts import Texts, none_but, texts_of
from gpuanom.scoring import cause_choice
from gpuanom.scoring import null as nulls
from gpuanom.scoring.distances import NullOptions
from gpuanom.scoring.judged import DEAD, FLAT, LISTS, WIDE_AND_FLAT, WORST, Judged
from gpuanom.scoring.null import Evidence, Null
from gpuanom.scoring.statistics_table import Measured, with_streak
from gpuanom.scoring.vectors import LEAST_CCDS
from gpuanom.settings import Settings

BAD, CHECK, OK = "bad", "check", "ok"
VERDICTS: tuple[str, ...] = (BAD, CHECK, OK)
"""The verdicts, the worst first; an exposure that cannot be judged has an empty one."""

THRESHOLD_EXPOSURES: tuple[int, ...] = (20, 30, 50, 150, 1000)
"""Sizes of datasets for which thresholds are set; between them they follow ln n, beyond them they stay."""


class VerdictOptions(NamedTuple):
    """The numbers behind a verdict; the default settings are what `profiling/verdict_thresholds.py` finds.

    Attributes
    ----------
    bad, check, bad_ccd : tuple of 5 floats
        Lowest evidence of a bad exposure, of one to check, and of a bad CCD, for datasets of `THRESHOLD_EXPOSURES`.
    least_exposures : int
        Fewer exposures give no verdict.
    least_ccds : float
        An exposure with a smaller part of the CCDs that its dataset's exposures usually have gets no verdict.
    null : NullOptions
    """

    bad: tuple[float, ...]
    check: tuple[float, ...]
    bad_ccd: tuple[float, ...]
    least_exposures: int
    least_ccds: float
    null: NullOptions

    @classmethod
    def of(cls, settings: Settings) -> VerdictOptions:
        """Return the numbers as the settings have them."""
        return cls(
            settings.bad_evidence,
            settings.check_evidence,
            settings.bad_ccd_evidence,
            settings.verdict_exposures,
            settings.verdict_ccds,
            NullOptions(
                settings.covariate_exposures, settings.covariate_clip, settings.faint_sky, settings.few_sources
            ),
        )


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


def threshold(values: Sequence[float], n_exposures: int) -> float:
    """Return the threshold for a dataset of n exposures, between those of `THRESHOLD_EXPOSURES`.

    Parameters
    ----------
    values : sequence of 5 floats
    n_exposures : int
        Exposures that the null was made from.
    """
    at = [math.log(n) for n in THRESHOLD_EXPOSURES]
    return float(np.interp(math.log(max(n_exposures, 1)), at, list(values)))


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
    elif n >= options.least_exposures:
        known, found = nulls.fit(measured, options.null)
    else:
        counted = "1 exposure" if n == 1 else f"{n} exposures"
        why = f"no verdict: {counted} of this kind, and {options.least_exposures} tell what is normal"
        return _none(measured, why), None
    return _verdicts(measured, known, found, options), known


def words(judged: Judged, sign: float, values: Mapping[str, float], ccd: str) -> str:
    """Return the cause in words.

    Parameters
    ----------
    judged : Judged
        The statistic that stands out.
    sign : float
        Negative where its value is too small.
    values : mapping of str to float
        Columns of the exposure or of the CCD.
    ccd : str
        The CCD that stands out; empty for an exposure as a whole.
    """
    text = judged.below if sign < 0.0 and judged.below else judged.above

    def filled(part: re.Match[str]) -> str:
        name = part.group("name")
        if name == "ccd":
            return ccd and part.group(0)[1:-1].replace("{ccd}", ccd)
        value = values.get(name, math.nan)
        if not math.isfinite(value):
            return ""
        whole = "angle" in name or abs(value) >= 10.0 or value == round(value)
        shown = f"{value:.0f}" if whole else f"{value:.1f}"
        return part.group(0)[1:-1].replace(f"{{{name}}}", "0" if shown == "-0" else shown)

    return re.sub(r"\[[^\]{]*\{(?P<name>\w+)\}[^\]]*\]", filled, text)


def _none(measured: Measured, why: str) -> Verdicts:
    """No verdict on any exposure."""
    n, n_ccd = measured.n_exposures, measured.owner.size
    empty = np.full(n, np.nan)
    none = none_but({}, n_ccd)
    return Verdicts([""] * n, [""] * n, empty, [""] * n, empty, [why] * n, none, none, np.full(n_ccd, np.nan))


def _verdicts(measured: Measured, null: Null, found: Evidence, options: VerdictOptions) -> Verdicts:
    bad, check, bad_ccd = (
        printed(threshold(values, null.n_exposures)) for values in (options.bad, options.check, options.bad_ccd)
    )
    n, n_ccd = measured.n_exposures, measured.owner.size
    evidence, of_ccds = printed_values(found.of_exposures), printed_values(found.of_ccds)
    second = printed_values(found.second_ccd)
    reasons = _reasons(measured, null, evidence, options)
    crossed = with_streak(measured)
    owner = measured.owner
    first = np.searchsorted(owner, np.arange(n + 1)).tolist()
    strongest = _strongest(found)
    unjudged = np.array([bool(reason) for reason in reasons], dtype=bool)
    known = (strongest >= 0) & ~unjudged
    evidence[unjudged] = np.nan
    worst, n_judged = _worst_ccds(of_ccds, owner, first)
    # The pattern is on one CCD: the other CCDs can be used.
    with np.errstate(invalid="ignore"):
        worst_evidence = np.append(of_ccds, np.nan)[worst]
        alone = known & (n_judged >= LEAST_CCDS) & (worst_evidence >= bad_ccd) & ~(second >= check)
        # What is wrong with all stars of the exposure is not on one CCD.
        whole = np.array([j.of_all_stars for j in found.statistics], dtype=bool)
        alone &= ~(found.of_statistics[whole] >= bad).any(axis=0)
        levels = np.where(evidence >= bad, _LEVELS.index(BAD), np.where(evidence >= check, _LEVELS.index(CHECK), 1))
        levels = np.where(known, np.where(alone, _LEVELS.index(CHECK), levels), 0)
        is_bad = (of_ccds >= bad_ccd) & known[owner]
    verdict, cause = [_LEVELS[level] for level in levels.tolist()], [""] * n
    score = [
        found.statistics[row].name if ok else "" for row, ok in zip(strongest.tolist(), known.tolist(), strict=True)
    ]
    deviation = np.where(
        known, np.append(found.deviation, np.full((1, n), np.nan), axis=0)[strongest, range(n)], np.nan
    )
    ccd_levels = np.where(alone, _LEVELS.index(OK), levels)[owner]
    ccd_levels = np.where(is_bad, _LEVELS.index(BAD), ccd_levels)
    named = _named(measured, found, strongest, check)
    rows = {j.name: row for row, j in enumerate(found.statistics)}
    wide = np.zeros((2, n), dtype=bool)
    for k, name in enumerate(("fwhm", f"fwhm{WORST}")):
        if name in rows:
            wide[k] = np.nan_to_num(found.of_statistics[rows[name]]) >= check
    ccd_cause: dict[int, str] = {}
    for j in np.flatnonzero(is_bad & (found.ccd_statistic >= 0)).tolist():
        statistic, sign = found.statistics[int(found.ccd_statistic[j])], float(found.ccd_sign[j])
        statistic = _worded(statistic, wide=bool(wide[:, owner[j]].any()), dark=bool(found.dark[j]))
        ccd_cause[j] = words(statistic, sign, _values(measured.ccds, j), str(measured.names[j]))
    for i in np.flatnonzero(levels > _LEVELS.index(OK)).tolist():
        row = int(named[i])
        judged, at_worst = found.statistics[row], int(worst[i])
        if alone[i]:
            k = int(found.ccd_statistic[at_worst])
            if not judged.of_ccds and k >= 0:
                judged, score[i] = found.statistics[k], found.statistics[k].name
                deviation[i] = found.deviation[k, i]
            evidence[i] = max(evidence[i], check)
        if alone[i] and (of_worst := ccd_cause.get(at_worst)):
            cause[i] = of_worst
        else:
            at = int(found.worst_ccd[row, i])
            of_ccd = {} if at < 0 else _values(measured.ccds, at)
            values = {**_values(measured.exposures, i), **of_ccd}
            name = "" if at < 0 else str(measured.names[at])
            sign = float(found.deviation[row, i] if at < 0 else found.worst_sign[row, i])
            judged = _worded(judged, wide=bool(wide[int(at >= 0), i]), dark=at >= 0 and bool(found.dark[at]))
            cause[i] = words(judged, sign, values, name)
        for j in range(first[i], first[i + 1]):
            if ccd_levels[j] == levels[i] and not ccd_cause.get(j):
                ccd_cause[j] = cause[i]
    streaks = np.flatnonzero(crossed & known[owner])
    for i in np.unique(owner[streaks]).tolist():
        cause[i] = "; ".join(filter(None, (cause[i], "streak")))
    for j in streaks.tolist():
        ccd_cause[j] = "; ".join(filter(None, (ccd_cause.get(j), "streak")))
    of_levels, causes = texts_of(np.array(_LEVELS), ccd_levels), none_but(ccd_cause, n_ccd)
    return Verdicts(verdict, cause, evidence, score, deviation, reasons, of_levels, causes, of_ccds)


_LEVELS = ("", OK, CHECK, BAD)
"""The verdicts from none to the worst."""


def _worst_ccds(of_ccds: Doubles, owner: Integers, first: Sequence[int]) -> tuple[Integers, Integers]:
    """The CCD of each exposure with the largest evidence, of equal ones the first, -1 without any; how many have one.

    Each exposure has the CCDs from its place in `first` on.
    """
    n = len(first) - 1
    place = np.arange(owner.size) - np.array(first, dtype=np.int64)[owner]
    full = np.full((n, int(place.max(initial=0)) + 1), -np.inf)
    full[owner, place] = np.where(np.isnan(of_ccds), -np.inf, of_ccds)
    n_judged = np.bincount(owner, ~np.isnan(of_ccds), minlength=n).astype(np.int64)
    return np.where(n_judged > 0, np.array(first[:-1], dtype=np.int64) + np.argmax(full, axis=1), -1), n_judged


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


def _named(measured: Measured, found: Evidence, strongest: Integers, check: float) -> Integers:
    """The statistic that names the cause of each exposure: a more precise one than the strongest, if there is one."""
    n = measured.n_exposures
    separation = measured.exposures.get("repeat_separation", np.full(n, np.nan))
    precise = cause_choice.of_exposures(found.statistics, found.of_statistics, separation, check)
    for row, judged in enumerate(found.statistics):
        if cause_choice.is_step(judged):
            precise[row, ~np.append(found.one_axis, True)[found.worst_ccd[row]]] = 0
    rounded = np.round(np.where(np.isnan(found.of_statistics), -1.0, found.of_statistics), 6)
    evidence = np.asarray(rounded, dtype=np.float64)
    chosen = cause_choice.most_precise(evidence, strongest, precise, check, sure=False)
    return cause_choice.stripes_not_jitter(found.statistics, evidence, chosen, measured.exposures, check)


def _worded(judged: Judged, *, wide: bool, dark: bool) -> Judged:
    """The statistic with the words that hold where the stars are wide, too, and where the CCD's sky is dark."""
    if wide and FLAT in judged.below:
        # A donut is flat; the rim of a large one is seen as several drawn-out pieces without a common direction.
        words = judged.below.replace(FLAT, WIDE_AND_FLAT)
        return replace(judged, above=words, below=words)
    if dark and cause_choice.is_step(judged):
        return replace(judged, above=f"{DEAD}[ on {{ccd}}]")
    return judged


def _reasons(measured: Measured, null: Null, evidence: Doubles, options: VerdictOptions) -> list[str]:
    """Why exposures have no verdict; empty where they have one."""
    n = measured.n_exposures
    used = measured.exposures.get("n_ccd_used", np.full(n, np.nan))
    reasons = [""] * n
    for i in np.flatnonzero(np.isnan(evidence)).tolist():
        reasons[i] = "no verdict: nothing was measured that could be judged"
    if null.usual_ccds:
        for i in np.flatnonzero(used < options.least_ccds * null.usual_ccds).tolist():
            reasons[i] = f"no verdict: {used[i]:.0f} of usually {null.usual_ccds:.0f} CCDs could be measured"
    return reasons


def _values(columns: Mapping[str, Doubles], i: int) -> dict[str, float]:
    return {name: float(values[i]) for name, values in columns.items()}
