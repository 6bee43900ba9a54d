"""The causes of verdicts in words: what is wrong with an exposure or CCD that is not ok (METHOD.md 13)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gpuanom.records import Doubles, Flags, Integers
from gpuanom.scoring.evidence import cause_choice, light_patches
from gpuanom.scoring.evidence.evidence import Evidence
from gpuanom.scoring.evidence.null import Null
from gpuanom.scoring.judged.crossed_ccds import with_streak
from gpuanom.scoring.judged.judged_statistics import DEAD, FLAT, NOISE, WIDE_AND_FLAT, WORST, JudgedStatistic
from gpuanom.scoring.judged.statistics_table import Measured
from gpuanom.scoring.verdict.levels import LEVELS, OK, Levels

STREAK = "streak"
"""The cause of an exposure or CCD that a satellite's trail crosses (METHOD.md 9.6). The cause is added to what else is
wrong, and alone makes no exposure bad; no statistic has this name for a cause."""


class Causes(NamedTuple):
    """The causes of the verdicts.

    Attributes
    ----------
    of_exposures : list of str
        Empty for most exposures that are ok.
    of_ccds : dict of int to str
        The causes of those CCDs that have one.
    deciding : ndarray, (n_exposures,) int64
        The statistic that decided the verdict: the one that stands out most, of the exposure, or of its worst CCD
        where that one alone is bad; -1 without a verdict.
    """

    of_exposures: list[str]
    of_ccds: dict[int, str]
    deciding: Integers


def causes(measured: Measured, null: Null, found: Evidence, levels: Levels, check: float) -> Causes:
    """Name the causes of verdicts.

    Parameters
    ----------
    measured : Measured
    null : Null
        What the exposures were judged by.
    found : Evidence
    levels : Levels
    check : float
        Evidence from which on an exposure is to check.

    Returns
    -------
    Causes
    """
    noisy = _noisy(measured, null)
    wide = _wide_stars(found, check)
    of_ccds = _of_bad_ccds(measured, found, levels, wide)
    named = _named(measured, found, levels.strongest, check)
    of_exposures, deciding = [""] * measured.n_exposures, levels.strongest.copy()
    starts = measured.grid.starts
    for i in np.flatnonzero(levels.of_exposures > LEVELS.index(OK)).tolist():
        row, worst = int(named[i]), int(levels.worst[i])
        if levels.alone[i] and worst in of_ccds:
            of_exposures[i] = of_ccds[worst]
            if not found.statistics[row].of_ccds:
                deciding[i] = found.ccd_statistic[worst]
        else:
            of_exposures[i] = _of_exposure(measured, found, i, row, wide, noisy=bool(noisy[i]))
        for j in range(int(starts[i]), int(starts[i + 1])):
            if levels.of_ccds[j] == levels.of_exposures[i]:
                of_ccds.setdefault(j, of_exposures[i])
    _add_streaks(measured, levels.known, of_exposures, of_ccds)
    return Causes(of_exposures, of_ccds, deciding)


def words(judged: JudgedStatistic, sign: float, values: Mapping[str, float], ccd: str) -> str:
    """Return the cause in words.

    Parameters
    ----------
    judged : JudgedStatistic
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


def _of_bad_ccds(measured: Measured, found: Evidence, levels: Levels, wide: Flags) -> dict[int, str]:
    """The causes of the CCDs that are bad by their own evidence."""
    result: dict[int, str] = {}
    for j in np.flatnonzero(levels.bad_ccds & (found.ccd_statistic >= 0)).tolist():
        judged, sign = found.statistics[int(found.ccd_statistic[j])], float(found.ccd_sign[j])
        judged = _worded(judged, wide=bool(wide[:, measured.owner[j]].any()), dark=bool(found.dark[j]))
        result[j] = words(judged, sign, _values(measured.ccds, j), str(measured.names[j]))
    return result


def _of_exposure(measured: Measured, found: Evidence, i: int, row: int, wide: Flags, *, noisy: bool) -> str:
    """The cause of exposure i, which the statistic of this row names; one of CCDs speaks of the CCD that is worst."""
    judged, at = found.statistics[row], int(found.worst_ccd[row, i])
    values = _values(measured.exposures, i)
    if at < 0:
        if noisy and judged.name == "sky":
            judged = replace(judged, above=NOISE)
        return words(_worded(judged, wide=bool(wide[0, i]), dark=False), float(found.deviation[row, i]), values, "")
    judged = _worded(judged, wide=bool(wide[1, i]), dark=bool(found.dark[at]))
    values |= _values(measured.ccds, at)
    return words(judged, float(found.worst_sign[row, i]), values, str(measured.names[at]))


def _add_streaks(measured: Measured, known: Flags, of_exposures: list[str], of_ccds: dict[int, str]) -> None:
    """Name the trails of satellites, behind what else is wrong with the exposure and the CCD."""
    crossed = np.flatnonzero(with_streak(measured.ccds, measured.owner.size) & known[measured.owner])
    for i in np.unique(measured.owner[crossed]).tolist():
        of_exposures[i] = "; ".join(filter(None, (of_exposures[i], STREAK)))
    for j in crossed.tolist():
        of_ccds[j] = "; ".join(filter(None, (of_ccds.get(j), STREAK)))


def _noisy(measured: Measured, null: Null) -> Flags:
    """The exposures whose sky is faint by their own sigma alone, and is not by the usual one.

    Where sigma stands for the sky, such a sky would be called bright, as that of a single CCD with a dead amplifier is.
    """
    sky, sigma = measured.exposures.get("sky"), measured.exposures.get("sigma")
    if null.sky != "sigma" or sky is None or sigma is None:
        return np.zeros(measured.n_exposures, dtype=bool)
    with np.errstate(invalid="ignore"):
        return np.asarray((sky < null.faint_sky * sigma) & (sky >= null.faint_sky * null.usual_sigma))


def _wide_stars(found: Evidence, check: float) -> Flags:
    """Whether stars are wide, (2, n_exposures) bool: those of the exposure as a whole, and those of its worst CCD."""
    wide = np.zeros((2, found.of_exposures.size), dtype=bool)
    for row, judged in enumerate(found.statistics):
        for k, name in enumerate(("fwhm", f"fwhm{WORST}")):
            if judged.name == name:
                wide[k] = np.nan_to_num(found.of_statistics[row]) >= check
    return wide


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
    several = np.diff(measured.grid.starts) > 1
    no_crosstalk = light_patches.is_no_crosstalk(found.statistics, evidence, found.worst_ccd, several, check)
    for row, judged in enumerate(found.statistics):
        if judged.name == "crosstalk":
            precise[row, no_crosstalk] = 0
    chosen = cause_choice.most_precise(evidence, strongest, precise, check, sure=False)
    chosen = light_patches.patches_of_worst_ccds(found.statistics, evidence, found.worst_ccd, chosen)
    chosen = cause_choice.stripes_of_one_period(found.statistics, evidence, chosen, measured.exposures, check)
    return light_patches.patches_of_exposures(found.statistics, evidence, chosen)


def _worded(judged: JudgedStatistic, *, wide: bool, dark: bool) -> JudgedStatistic:
    """The statistic with the words that hold where the stars are wide, too, and where the CCD's sky is dark."""
    if wide and FLAT in judged.below:
        # A donut is flat; the rim of a large one is seen as several drawn-out pieces without a common direction.
        flat = judged.below.replace(FLAT, WIDE_AND_FLAT)
        return replace(judged, above=flat, below=flat)
    if dark and cause_choice.is_step(judged):
        return replace(judged, above=f"{DEAD}[ on {{ccd}}]")
    return judged


def _values(columns: Mapping[str, Doubles], i: int) -> dict[str, float]:
    return {name: float(values[i]) for name, values in columns.items()}
