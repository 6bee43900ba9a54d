"""The numbers that a verdict is made of, brought into the form in which they are compared (METHOD.md 12, 13).

Statistics of CCDs lose what is normal for their CCD and become statistics of the exposure: those of the CCD that
stands out most, and the median over the CCDs. Mean vectors become a constant and a gradient over the focal plane.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gpuanom.records import Doubles, Integers
from gpuanom.records.texts import Texts
from gpuanom.scoring import vectors
from gpuanom.scoring.ccds_of_exposures import Grid, patterns
from gpuanom.scoring.judged import OF_CCDS, OF_EXPOSURES, TYPICAL, VECTOR_KINDS, WORST, Judged
from gpuanom.scoring.lacking_ccds import OF_A_TYPICAL_CCD, compare_spectra, of_a_typical_ccd
from gpuanom.scoring.static_pattern import LEAST_EXPOSURES
from gpuanom.side_by_side import side_by_side

Flags = np.typing.NDArray[np.bool_]

ALONG_A_TRAIL = 15.0
"""Repeated maxima along a trail lie along its angle within so many degrees: they are 10 to 20 pixels apart, and their
separations are known to 2."""

WITH_ERRORS: tuple[str, ...] = ("fwhm", "kurtosis")
"""Statistics of CCDs that have a column of errors, whose name ends so; a CCD with few stars has a large one."""

OF_STARS: tuple[str, ...] = ("fwhm", "kurtosis", "e1", "e2")
"""Statistics of CCDs that are means over the CCD's stars."""

OF_THE_EXPOSURE: tuple[str, ...] = ("n_sources",)
"""Statistics of CCDs that a rich and a poor field change far more than CCDs differ from each other."""

LEAST_STARS = 8
"""A CCD with fewer stars says nothing of its own shapes: three or four galaxies of one size pass for stars there, and
agree so well that the mean seems precise. In the normal exposures of `profiling/paper.py`, the FWHM of a CCD differed
from its exposure's median by more than a tenth in 135 of 10,626 CCDs with 3 or 4 stars, in 52 of 22,695 with 5 to 7,
and in 1 of 3,597 with more."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of the exposures of one dataset that are compared with each other.

    Attributes
    ----------
    n_exposures : int
    exposures : mapping of str to ndarray, (n_exposures,) float64
        Statistics of exposures by name, NaN where one was not measured; the sky and sigma of a typical CCD among them.
    owner : ndarray, (n_ccd,) int64
        Index of the exposure of each CCD, ascending.
    names : sequence of str, or ndarray of str
        Name of each CCD.
    ccds : mapping of str to ndarray, (n_ccd,) float64
        Statistics of CCDs by name. The vectors of METHOD.md 12 are ``<kind>_cos`` and ``<kind>_sin`` with their
        squared error ``<kind>_variance``.
    x, y : ndarray, (n_ccd,) float64
        Position of each CCD in the focal plane, from -1 to 1.
    """

    n_exposures: int
    exposures: Mapping[str, Doubles]
    owner: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    names: Sequence[str] | Texts = ()
    ccds: Mapping[str, Doubles] = field(default_factory=dict)
    x: Doubles = field(default_factory=lambda: np.zeros(0))
    y: Doubles = field(default_factory=lambda: np.zeros(0))

    @cached_property
    def grid(self) -> Grid:
        """The places of the CCDs: to number the names of a million CCDs takes a while."""
        return Grid.of(self.owner, self.names, self.n_exposures)


@dataclass(frozen=True, eq=False)
class Prepared:
    """Statistics in the form in which they are compared.

    Attributes
    ----------
    exposures : dict of str to ndarray, (n_exposures,) float64
        Statistics by name of column, those made of CCDs among them.
    grid : Grid
    ccds : dict of str to ndarray, (n_ccd,) float64
        How far each CCD is from what is normal for it and from the median of its exposure's CCDs.
    worst : dict of str to ndarray, (n_exposures,) int64
        For each statistic of CCDs the index of the CCD that stands out most, -1 without one.
    patterns : dict of str to dict of str to float
        What is normal for each CCD, by statistic and name of the CCD.
    """

    exposures: dict[str, Doubles]
    grid: Grid
    ccds: dict[str, Doubles]
    worst: dict[str, Integers]
    patterns: dict[str, dict[str, float]]


def members() -> tuple[Judged, ...]:
    """Return all statistics that an exposure can have: its own, and those that are made of its CCDs."""
    of_exposures = {judged.name for judged in OF_EXPOSURES}
    worst = [
        dataclasses.replace(j, name=j.name + WORST, columns=(j.name + WORST,), logarithm=False, two_sided=False)
        for j in OF_CCDS
    ]
    typical = [
        dataclasses.replace(
            j,
            name=j.name + TYPICAL,
            columns=(j.name + TYPICAL,),
            logarithm=False,
            # Rings and ghosts lie on some CCDs alone.
            above="uneven background" if j.name == "edge" else j.above.replace("[ on {ccd}]", ""),
            # Less noise on one CCD is that of a part without light; on all of them it is that of fewer photons.
            below="dark sky" if j.name == "sigma" else j.below.replace("[ on {ccd}]", ""),
            of_ccds=False,
            # What all CCDs have in common, such as larger steps under a bright sky, comes from elsewhere.
            precise=0 if j.name == "edge" else min(j.precise, 1),
        )
        for j in OF_CCDS
        if j.name not in of_exposures and not j.name.endswith("_off")
    ]
    return OF_EXPOSURES + tuple(worst) + tuple(typical)


def with_streak(measured: Measured) -> Flags:
    """Return which CCDs a satellite's trail crosses, (n_ccd,) bool."""
    found = measured.ccds.get("streak")
    return np.zeros(measured.owner.size, dtype=bool) if found is None else np.asarray(found > 0.0)


def _along_a_trail(measured: Measured, crossed: Flags) -> Flags:
    """Of which exposures the repeated maxima lie along a satellite's trail, whose own maxima they then are."""
    angle = np.asarray(measured.exposures["repeat_angle"], dtype=np.float64)[measured.owner]
    streak = np.asarray(measured.ccds.get("streak_angle", np.full(crossed.size, np.nan)), dtype=np.float64)
    with np.errstate(invalid="ignore"):
        alike = crossed & (np.abs((angle - streak + 90.0) % 180.0 - 90.0) <= ALONG_A_TRAIL)
    return np.bincount(measured.owner, alike, minlength=measured.n_exposures) > 0


def transformed(values: Doubles, judged: Judged) -> Doubles:
    """Return a statistic's values as they are compared: float32 numbers, as a logarithm where it enters as one."""
    found = np.asarray(values, dtype=np.float32).astype(np.float64)
    if judged.logarithm:
        np.maximum(found, judged.floor, out=found)
        found += judged.offset
        with np.errstate(divide="ignore", invalid="ignore"):
            np.log(found, out=found)  # of 0 and less there is none that is finite
    found[~np.isfinite(found)] = np.nan
    return found


def prepare(
    measured: Measured,
    known: Mapping[str, Mapping[str, float]] | None = None,
    usual_ccds: float = 0.0,
    least: int = LEAST_EXPOSURES,
) -> Prepared:
    """Bring the statistics of a dataset into the form in which they are compared.

    Parameters
    ----------
    measured : Measured
    known : mapping, optional
        `Prepared.patterns` of a stored null; by default what is normal for a CCD comes from the dataset itself.
    usual_ccds : float, optional
        How many CCDs of an exposure can usually be measured; 0 where that is not known. Where these are enough to be
        compared with each other, CCDs of exposures that have too few say nothing.
    least : int, optional
        A CCD with fewer exposures has no pattern, and what needs one is empty.

    Returns
    -------
    Prepared
    """
    grid = measured.grid
    measured = _with_enough_stars(measured)
    judged = [j for j in OF_CCDS if j.name in measured.ccds]
    values = side_by_side(lambda j: transformed(measured.ccds[j.name], j), judged, many=grid.is_large)
    rows = {j.name: of_ccds for j, of_ccds in zip(judged, values, strict=True)}
    for column in ("e1", "e2", *(f"{kind}_{part}" for kind in VECTOR_KINDS for part in ("cos", "sin"))):
        if column in measured.ccds:
            rows[column] = np.asarray(measured.ccds[column], dtype=np.float64)
    if known is None:
        found = patterns(list(rows.values()), grid, least, [name in OF_THE_EXPOSURE for name in rows])
        known = {
            name: {ccd: v for ccd, v in zip(grid.names, line.tolist(), strict=True) if v == v}
            for name, line in zip(rows, found, strict=True)
        }
    normal = {
        name: np.array([known.get(name, {}).get(ccd, np.nan) for ccd in grid.names], dtype=np.float64) for name in rows
    }
    exposures = dict(measured.exposures)
    for name in OF_A_TYPICAL_CCD:
        if name in rows and name in exposures:
            exposures[name] = of_a_typical_ccd(exposures[name], rows[name], normal[name], known.get(name, {}), grid)
    # The compiled loop subtracts what is normal itself.
    apart = {j.name for j in OF_CCDS} if grid.is_large else set[str]()
    for name, of_ccds in rows.items():
        if name not in apart:
            rows[name] = of_ccds - normal[name][grid.name] if grid.names else of_ccds
    rows |= _from_vectors(measured, rows, grid, exposures)
    ccds: dict[str, Doubles] = {}
    worst: dict[str, Integers] = {}
    # A satellite's trail is found as such; what it does to the CCD's other statistics is not another cause.
    crossed = with_streak(measured)
    always = usual_ccds >= vectors.LEAST_CCDS
    trails = np.bincount(grid.owner, crossed, minlength=measured.n_exposures) > 0
    for j in OF_EXPOSURES:
        for column in j.columns:
            if j.of_orientations and column in exposures:
                exposures[column] = np.where(trails, np.nan, exposures[column])
    compare_spectra(measured.ccds, crossed, grid, usual_ccds, exposures)
    if {"repeat_evidence", "repeat_angle"} <= exposures.keys() and trails.any():
        along = _along_a_trail(measured, crossed)
        exposures["repeat_evidence"] = np.where(along, np.nan, exposures["repeat_evidence"])

    def of_exposures(j: Judged) -> tuple[dict[str, Doubles], Doubles, Integers]:
        found: dict[str, Doubles] = {}
        error = _relative_errors(measured, j.name, grid) if j.name in WITH_ERRORS else None
        if grid.is_large:
            of_names = normal.get(j.name, np.zeros(len(grid.names)))
            return found, *_of_exposures_natively(j, rows[j.name], of_names, crossed, grid, found, error, always=always)
        left = _without_crossed(rows[j.name], crossed, grid, always=always)
        return found, *_of_exposures(j, left, grid, found, error)

    judged = [j for j in OF_CCDS if j.name in rows]
    several = side_by_side(of_exposures, judged, many=grid.is_large)
    for j, (found_here, of_ccds, at) in zip(judged, several, strict=True):
        exposures |= found_here
        ccds[j.name], worst[j.name] = of_ccds, at
    return Prepared(exposures, grid, ccds, worst, {name: dict(line) for name, line in known.items()})


def _with_enough_stars(measured: Measured) -> Measured:
    """The same without the shapes of CCDs that have too few stars; as it is where the stars were not counted."""
    counted = measured.ccds.get("n_stars")
    if counted is None:
        return measured
    few = np.asarray(counted < LEAST_STARS)
    if not few.any():
        return measured
    less = {name: np.where(few, np.float32(np.nan), measured.ccds[name]) for name in OF_STARS if name in measured.ccds}
    return dataclasses.replace(measured, ccds={**measured.ccds, **less})


def _without_crossed(values: Doubles, crossed: Flags, grid: Grid, *, always: bool) -> Doubles:
    """The values of CCDs that no trail crosses.

    Where too few are left of an exposure to be compared with each other, none is: by themselves they differ much more
    from one exposure to the next than CCDs of one exposure do. So it is, if `always` is set, where an exposure had too
    few from the beginning; else such exposures are compared with each other, as those of a camera of two CCDs are.
    """
    left = np.where(crossed, np.nan, values)
    lost = grid.counted(left) < vectors.LEAST_CCDS
    if not always:
        lost &= grid.counted(values) >= vectors.LEAST_CCDS
    return np.where(lost[grid.owner], np.nan, left)


def _relative_errors(measured: Measured, name: str, grid: Grid) -> Doubles:
    """The error of each CCD's statistic in units of the usual one of the exposure's CCDs; 1 where it is smaller."""
    error = measured.ccds.get(f"{name}_error")
    if error is None:
        return np.ones(grid.owner.size)
    usual = grid.medians(np.asarray(error, dtype=np.float64))[grid.owner]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.fmax(np.where(usual > 0.0, error / usual, 1.0), 1.0)


def _of_exposures(
    judged: Judged, values: Doubles, grid: Grid, exposures: dict[str, Doubles], error: Doubles | None = None
) -> tuple[Doubles, Integers]:
    """Add what a statistic of CCDs says of their exposures; return the CCDs' values and which CCD is the worst.

    Values are in units of `error` where one is given: of a CCD's own error only what exceeds the usual one counts.
    """
    enough = grid.counted(values) >= vectors.LEAST_CCDS
    middle = np.where(enough, grid.medians(values), np.nan)
    exposures[judged.name + TYPICAL] = middle
    off = values - np.where(enough, middle, 0.0)[grid.owner]
    if error is not None:
        off = off / error
    compared = np.abs(off) if judged.two_sided else off
    full = grid.spread(np.where(np.isfinite(compared), compared, -np.inf))
    full = np.where(np.isnan(full), -np.inf, full)
    n, width = grid.shape
    if not width:
        return compared, np.full(n, -1, dtype=np.int64)
    place = np.argmax(full, axis=1)
    largest = full[np.arange(n), place]
    exposures[judged.name + WORST] = np.where(np.isfinite(largest), largest, np.nan)
    first = np.searchsorted(grid.owner, np.arange(n))
    return off, np.where(np.isfinite(largest), first + place, -1)


def _of_exposures_natively(
    judged: Judged,
    values: Doubles,
    normal: Doubles,
    crossed: Flags,
    grid: Grid,
    exposures: dict[str, Doubles],
    error: Doubles | None,
    *,
    always: bool,
) -> tuple[Doubles, Integers]:
    """Do what `_without_crossed` and `_of_exposures` do in a compiled loop; what is normal is subtracted first."""
    from gpuanom.scoring.exposure_loops import compare_with_medians, without_crossed

    n, starts = grid.shape[0], grid.starts
    off, enough = values, np.empty(n, dtype=np.bool_)  # in place: the values are not asked for again
    without_crossed(values, normal, grid.name, crossed, starts, vectors.LEAST_CCDS, always, off, enough)
    middle = grid.medians(off)
    largest, worst = np.empty(n), np.empty(n, dtype=np.int64)
    of_each = np.zeros(0) if error is None else error
    compare_with_medians(off, middle, enough, starts, of_each, judged.two_sided, largest, worst)
    exposures[judged.name + TYPICAL], exposures[judged.name + WORST] = np.where(enough, middle, np.nan), largest
    return off, worst


def _from_vectors(
    measured: Measured, rows: Mapping[str, Doubles], grid: Grid, exposures: dict[str, Doubles]
) -> dict[str, Doubles]:
    """Fit the vectors of each kind over the focal plane; return how far off each CCD's vector is, as a logarithm."""
    result: dict[str, Doubles] = {}
    kinds = [kind for kind in VECTOR_KINDS if f"{kind}_cos" in rows]
    with np.errstate(divide="ignore", invalid="ignore"):

        def fitted(which: tuple[str, str]) -> vectors.Field:
            kind, part = which
            variance = measured.ccds[f"{kind}_variance"]
            return vectors.field(rows[f"{kind}_{part}"], variance, measured.x, measured.y, grid)

        def off(kind: str) -> Doubles:
            variance = measured.ccds[f"{kind}_variance"]
            return np.asarray(np.log(vectors.off(rows[f"{kind}_cos"], rows[f"{kind}_sin"], variance, grid)))

        parts = [(kind, part) for kind in kinds for part in ("cos", "sin")]
        fields = side_by_side(fitted, parts, many=grid.is_large)
        for (kind, part), fit in zip(parts, fields, strict=True):
            exposures[f"{kind}_vector_{part}"] = fit.constant
            exposures[f"{kind}_vector_{part}_error"] = fit.constant_error
            exposures[f"{kind}_gradient_{part}_x"] = fit.gradient_x
            exposures[f"{kind}_gradient_{part}_y"] = fit.gradient_y
            exposures[f"{kind}_gradient_{part}_x_error"] = fit.gradient_x_error
            exposures[f"{kind}_gradient_{part}_y_error"] = fit.gradient_y_error
        for kind, of_kind in zip(kinds, side_by_side(off, kinds, many=grid.is_large), strict=True):
            result[f"{kind}_off"] = of_kind
        if "e1" in rows and "e2" in rows:
            error = np.asarray(measured.ccds.get("e1_error", np.full(grid.owner.size, np.nan)), dtype=np.float64)
            usual = np.nanmedian(error) if np.isfinite(error).any() else 1.0
            variance = np.where(np.isfinite(error) & (error > 0.0), error, usual) ** 2
            result["ellipticity_off"] = np.log(vectors.off(rows["e1"], rows["e2"], variance, grid))
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in result.items()}
