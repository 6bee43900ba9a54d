"""CCDs that a satellite's trail crosses: the trail is found as such, and what else the trail changes is no other cause.

So these CCDs say nothing by their other statistics (METHOD.md 13).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gpuanom.records import Doubles, Flags, Integers
from gpuanom.scoring.judged.ccd_grid import LEAST_CCDS, Grid
from gpuanom.scoring.judged.judged_statistics import OF_EXPOSURES

ALONG_A_TRAIL = 15.0
"""Repeated maxima along a trail lie along its angle within so many degrees: they are 10 to 20 pixels apart, and their
separations are known to 2."""


def with_streak(ccds: Mapping[str, Doubles], n_ccd: int) -> Flags:
    """Return which CCDs a satellite's trail crosses, (n_ccd,) bool, by the statistics of CCDs."""
    found = ccds.get("streak")
    return np.zeros(n_ccd, dtype=bool) if found is None else np.asarray(found > 0.0)


def leave_out_trails(
    exposures: dict[str, Doubles], n_exposures: int, ccds: Mapping[str, Doubles], crossed: Flags, owner: Integers
) -> None:
    """Empty those statistics of exposures that a satellite's trail decides.

    These are the orientations, and repeated maxima that are those of the trail itself.

    Parameters
    ----------
    exposures : dict of str to ndarray, (n_exposures,) float64
        In and out.
    n_exposures : int
    ccds : mapping of str to ndarray, (n_ccd,) float64
    crossed : ndarray, (n_ccd,) bool
        `with_streak`.
    owner : ndarray, (n_ccd,) int64
        The exposure of each CCD.
    """
    if not crossed.any():
        return
    trails = np.bincount(owner, crossed, minlength=n_exposures) > 0
    for column in [column for j in OF_EXPOSURES if j.of_orientations for column in j.columns]:
        if column in exposures:
            exposures[column] = np.where(trails, np.nan, exposures[column])
    if {"repeat_evidence", "repeat_angle"} <= exposures.keys():
        along = _along_a_trail(exposures["repeat_angle"], ccds, crossed, owner)
        exposures["repeat_evidence"] = np.where(along, np.nan, exposures["repeat_evidence"])


def _along_a_trail(angles: Doubles, ccds: Mapping[str, Doubles], crossed: Flags, owner: Integers) -> Flags:
    """Of which exposures the repeated maxima lie along a satellite's trail, whose own maxima they then are."""
    streak = np.asarray(ccds.get("streak_angle", np.full(crossed.size, np.nan)), dtype=np.float64)
    with np.errstate(invalid="ignore"):
        away = np.abs((np.asarray(angles, dtype=np.float64)[owner] - streak + 90.0) % 180.0 - 90.0)
        return np.bincount(owner, crossed & (away <= ALONG_A_TRAIL), minlength=angles.size) > 0


def without_crossed(values: Doubles, crossed: Flags, grid: Grid, *, always: bool) -> Doubles:
    """Return the values of CCDs that no trail crosses, (n_ccd,) float64.

    Where too few CCDs of an exposure are left to be compared with each other, none of them counts: values of several
    exposures differ much more than those of the CCDs of one exposure. If `always` is set, this holds also for exposures
    that had too few CCDs from the beginning; else such exposures are compared with each other, as with a camera of two
    CCDs.

    Parameters
    ----------
    values : ndarray, (n_ccd,) float64
    crossed : ndarray, (n_ccd,) bool
        `with_streak`.
    grid : Grid
    always : bool
        Whether exposures of the dataset usually have enough CCDs.
    """
    left = np.where(crossed, np.nan, values)
    lost = grid.counted(left) < LEAST_CCDS
    if not always:
        lost &= grid.counted(values) >= LEAST_CCDS
    return np.where(lost[grid.owner], np.nan, left)
