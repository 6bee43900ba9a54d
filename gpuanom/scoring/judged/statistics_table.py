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
from gpuanom.scoring.judged import mean_vectors
from gpuanom.scoring.judged.ccd_grid import LEAST_CCDS, Grid, patterns
from gpuanom.scoring.judged.crossed_ccds import leave_out_trails, with_streak
from gpuanom.scoring.judged.judged_statistics import OF_CCDS, VECTOR_KINDS, JudgedStatistic
from gpuanom.scoring.judged.lacking_ccds import OF_A_TYPICAL_CCD, compare_spectra, of_a_typical_ccd
from gpuanom.scoring.judged.static_pattern import LEAST_EXPOSURES
from gpuanom.scoring.judged.worst_ccds import compare_ccds, relative_errors
from gpuanom.side_by_side import side_by_side

WITH_ERRORS: tuple[str, ...] = ("fwhm", "kurtosis")
"""Statistics of CCDs that have a column of errors, named after the statistic; it is large with few stars."""

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

    def part(self, members: Integers) -> Measured:
        """Return the statistics of some of the exposures, whose indices are given in ascending order, (n,) int64."""
        rows = np.flatnonzero(np.isin(self.owner, members))
        return Measured(
            members.size,
            {name: values[members] for name, values in self.exposures.items()},
            np.searchsorted(members, self.owner[rows]),
            [self.names[j] for j in rows.tolist()],
            {name: values[rows] for name, values in self.ccds.items()},
            self.x[rows],
            self.y[rows],
        )

    def joined(self, other: Measured) -> Measured:
        """Return the statistics of these exposures and of others; a column that one of them lacks is empty there."""
        return Measured(
            self.n_exposures + other.n_exposures,
            _joined_columns(self.exposures, other.exposures, self.n_exposures, other.n_exposures),
            np.concatenate([self.owner, self.n_exposures + other.owner]),
            [*self.names, *other.names],
            _joined_columns(self.ccds, other.ccds, self.owner.size, other.owner.size),
            np.concatenate([self.x, other.x]),
            np.concatenate([self.y, other.y]),
        )


def _joined_columns(first: Mapping[str, Doubles], second: Mapping[str, Doubles], n: int, m: int) -> dict[str, Doubles]:
    names = dict.fromkeys([*first, *second])
    return {
        name: np.concatenate([first.get(name, np.full(n, np.nan)), second.get(name, np.full(m, np.nan))])
        for name in names
    }


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


def transformed(values: Doubles, judged: JudgedStatistic) -> Doubles:
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
    rows = _rows(measured, grid)
    if known is None:
        known = _found_patterns(rows, grid, least)
    normal = {name: _of_names(known.get(name, {}), grid) for name in rows}
    exposures = dict(measured.exposures)
    for name in OF_A_TYPICAL_CCD:
        if name in rows and name in exposures:
            exposures[name] = of_a_typical_ccd(exposures[name], rows[name], normal[name], known.get(name, {}), grid)
    rows |= _from_vectors(measured, rows, normal, grid, exposures)
    crossed = with_streak(measured.ccds, measured.owner.size)
    leave_out_trails(exposures, measured.n_exposures, measured.ccds, crossed, measured.owner)
    if "crosstalk_masked" in exposures:
        # Counts of few stars scatter by chance even where most of them agree.
        exposures["crosstalk_masked_error"] = np.ones(measured.n_exposures)
    compare_spectra(measured.ccds, crossed, grid, usual_ccds, exposures)
    always, none = usual_ccds >= LEAST_CCDS, np.zeros(len(grid.names))

    def compared(j: JudgedStatistic) -> tuple[dict[str, Doubles], Doubles, Integers]:
        errors = relative_errors(measured.ccds.get(f"{j.name}_error"), grid) if j.name in WITH_ERRORS else None
        return compare_ccds(j, rows[j.name], normal.get(j.name, none), crossed, grid, errors, always=always)

    ccds: dict[str, Doubles] = {}
    worst: dict[str, Integers] = {}
    judged = [j for j in OF_CCDS if j.name in rows]
    several = side_by_side(compared, judged, many=grid.is_large)
    for j, (of_exposures, off, at) in zip(judged, several, strict=True):
        exposures |= of_exposures
        ccds[j.name], worst[j.name] = off, at
    return Prepared(exposures, grid, ccds, worst, {name: dict(line) for name, line in known.items()})


def _rows(measured: Measured, grid: Grid) -> dict[str, Doubles]:
    """The statistics of CCDs as they are compared, by name, and the parts of their vectors and ellipticities."""
    judged = [j for j in OF_CCDS if j.name in measured.ccds]
    values = side_by_side(lambda j: transformed(measured.ccds[j.name], j), judged, many=grid.is_large)
    rows = {j.name: of_ccds for j, of_ccds in zip(judged, values, strict=True)}
    for column in ("e1", "e2", *(f"{kind}_{part}" for kind in VECTOR_KINDS for part in ("cos", "sin"))):
        if column in measured.ccds:
            rows[column] = np.asarray(measured.ccds[column], dtype=np.float64)
    return rows


def _found_patterns(rows: Mapping[str, Doubles], grid: Grid, least: int) -> dict[str, dict[str, float]]:
    """What is normal for each CCD of this dataset, by statistic and name of the CCD."""
    found = patterns(list(rows.values()), grid, least, [name in OF_THE_EXPOSURE for name in rows])
    return {
        name: {ccd: v for ccd, v in zip(grid.names, line.tolist(), strict=True) if v == v}
        for name, line in zip(rows, found, strict=True)
    }


def _of_names(known: Mapping[str, float], grid: Grid) -> Doubles:
    """What is normal for the CCD of each name of the grid, NaN where that is not known."""
    return np.array([known.get(ccd, np.nan) for ccd in grid.names], dtype=np.float64)


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


def _from_vectors(
    measured: Measured,
    rows: Mapping[str, Doubles],
    normal: Mapping[str, Doubles],
    grid: Grid,
    exposures: dict[str, Doubles],
) -> dict[str, Doubles]:
    """Fit the vectors of each kind over the focal plane; return how far off each CCD's vector is, as a logarithm."""
    result: dict[str, Doubles] = {}
    of_vectors = [name for name in rows if name.endswith(("_cos", "_sin")) or name in {"e1", "e2"}]
    rows = {name: rows[name] - normal[name][grid.name] if grid.names else rows[name] for name in of_vectors}
    kinds = [kind for kind in VECTOR_KINDS if f"{kind}_cos" in rows]
    with np.errstate(divide="ignore", invalid="ignore"):

        def fitted(which: tuple[str, str]) -> mean_vectors.Field:
            kind, part = which
            variance = measured.ccds[f"{kind}_variance"]
            return mean_vectors.field(rows[f"{kind}_{part}"], variance, measured.x, measured.y, grid)

        def off(kind: str) -> Doubles:
            variance = measured.ccds[f"{kind}_variance"]
            return np.asarray(np.log(mean_vectors.off(rows[f"{kind}_cos"], rows[f"{kind}_sin"], variance, grid)))

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
            result["ellipticity_off"] = np.log(mean_vectors.off(rows["e1"], rows["e2"], variance, grid))
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in result.items()}
