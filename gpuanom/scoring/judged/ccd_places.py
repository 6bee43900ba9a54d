"""Where the CCDs of exposures lie in the focal plane, and which exposures' gradients of ellipticity can be compared.

The CCDs of a camera without a known layout are put into a grid in the order of their names: an exposure that lacks one
of them has all later ones at the places of others, and the gradient that was measured of its stars is none.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gpuanom.cameras import focalplane
from gpuanom.natural_order import natural_key
from gpuanom.records import Doubles, Integers
from gpuanom.scoring.judged.ccd_grid import Grid
from gpuanom.scoring.judged.judged_statistics import OF_EXPOSURES
from gpuanom.scoring.judged.statistics_table import Measured

LEAST_SPAN = 0.9
"""A gradient is a change over half the longer side of the focal plane, as far as its CCDs were measured. Where these
span less than this part of what they usually span, or the other way round, the gradient is in another unit. A tenth
changes a usual gradient of 0.02 by no more than such gradients scatter."""

_GRADIENT = next(j for j in OF_EXPOSURES if j.name == "ellipticity_gradient")
_COLUMNS = frozenset((*_GRADIENT.columns, *_GRADIENT.errors))


class UsualCcds(NamedTuple):
    """The CCDs that most exposures have.

    Attributes
    ----------
    names : tuple of str
        The most frequent set of CCDs, those among them that could not be measured included, in natural order.
    measured : tuple of str
        The most frequent set of measured CCDs among those sets that hold no other CCDs than `names`.
    """

    names: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()


def usual_ccds(measured: Measured) -> UsualCcds:
    """Return the CCDs that most exposures have; of sets that are equally frequent the largest one.

    Parameters
    ----------
    measured : Measured
    """
    every, of_these = (
        [(n, _names(measured.grid, text)) for text, n in Counter(sets).items()] for sets in _sets_of(measured)
    )
    names = _most_frequent(every)
    # Where most exposures have CCDs that could not be measured, the measured ones may all be others.
    return UsualCcds(names, _most_frequent([(n, ccds) for n, ccds in of_these if set(ccds) <= set(names)]))


def _most_frequent(found: Sequence[tuple[int, tuple[str, ...]]]) -> tuple[str, ...]:
    """The most frequent set of CCDs that is not empty; of equally frequent ones the largest, then the first."""
    best = max(((n, len(names)) for n, names in found if names), default=None)
    tied = [names for n, names in found if (n, len(names)) == best]
    return min(tied, key=lambda names: [natural_key(name) for name in names], default=())


def with_comparable_gradients(
    measured: Measured, camera: str, usual: UsualCcds, size: tuple[int, int] = (0, 0)
) -> Measured:
    """Return what was measured without the gradients of ellipticity that cannot be compared with the usual ones.

    Parameters
    ----------
    measured : Measured
    camera : str
    usual : UsualCcds
        See `usual_ccds`.
    size : tuple of 2 ints, optional
        (ny, nx) of a CCD; (0, 0) where unknown.

    Returns
    -------
    Measured
        The gradients are NaN where a CCD of the exposure was taken to lie elsewhere than it usually does, and where the
        exposure's measured CCDs span much less or more of the focal plane than they usually do.
    """
    columns = _COLUMNS & measured.exposures.keys()
    if not columns or not usual.names:
        return measured
    grid = measured.grid
    usually = focalplane.places(camera, usual.names)
    span = _span(camera, usual.names, usual.measured, size)
    known: dict[tuple[bytes, bytes], bool] = {}
    sound = np.ones(measured.n_exposures, dtype=bool)
    for i, key in enumerate(zip(*_sets_of(measured), strict=True)):
        if key not in known:
            names, of_these = (_names(grid, text) for text in key)
            span_here = _span(camera, names, of_these, size)
            alike = min(span_here, span) >= LEAST_SPAN * max(span_here, span)
            known[key] = alike and _at_usual_places(camera, names, usually)
        sound[i] = known[key]
    if sound.all():
        return measured
    exposures = {n: np.where(sound, v, np.nan) if n in columns else v for n, v in measured.exposures.items()}
    return _changed(measured, exposures=exposures)


def _at_usual_places(camera: str, names: Sequence[str], usually: Mapping[str, focalplane.Position]) -> bool:
    """Whether each CCD lies where it usually does; one that is usually missing may lie where no other one does."""
    taken = set(usually.values())
    return all(
        usually[name] == place if name in usually else place not in taken
        for name, place in focalplane.places(camera, names).items()
    )


def _span(camera: str, names: Sequence[str], of_these: Sequence[str], size: tuple[int, int]) -> float:
    """The longer side of the part of the focal plane that some of an exposure's CCDs span, in pixels."""
    if not of_these:
        return 0.0
    ny, nx = size if all(size) else (1, 1)
    places = focalplane.places(camera, names)
    x, y = ([getattr(places[name], axis) for name in of_these] for axis in ("x", "y"))
    return max(float(max(x) - min(x) + 1.0) * nx, float(max(y) - min(y) + 1.0) * ny)


def _sets_of(measured: Measured) -> tuple[list[bytes], list[bytes]]:
    """The set of CCDs of each exposure, and that of its measured CCDs: the others have no sky."""
    known = np.isfinite(measured.ccds.get("sky", np.zeros(measured.owner.size)))
    every = _sets(measured.grid, np.arange(known.size))
    return every, every if known.all() else _sets(measured.grid, np.flatnonzero(known))


def _sets(grid: Grid, rows: Integers) -> list[bytes]:
    """The set of the chosen CCDs of each exposure, as bytes that are equal for equal sets."""
    full = np.full(grid.shape, -1, dtype=np.int32)
    full[grid.owner[rows], grid.place[rows]] = grid.name[rows]
    full.sort(axis=1)
    return [row[row >= 0].tobytes() for row in full]


def _names(grid: Grid, text: bytes) -> tuple[str, ...]:
    """The names of a set of CCDs in natural order, in which an exposure's grid is filled."""
    return tuple(sorted((grid.names[k] for k in np.frombuffer(text, dtype=np.int32).tolist()), key=natural_key))


def positions(camera: str, names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the centres of CCDs in the focal plane, from -1 to 1 along its longer side.

    Parameters
    ----------
    camera : str
    names : sequence of str
        The names of all CCDs of a dataset, in any order.

    Returns
    -------
    dict of str to (float, float)
        By names of the CCDs.
    """
    if not len(names):
        return {}
    places = focalplane.places(camera, sorted(names, key=natural_key))
    xy = np.array([(places[name].x, places[name].y) for name in names], dtype=np.float64).T
    low, high = xy.min(axis=1), xy.max(axis=1)
    half = max(0.5 * float((high - low).max()), 0.5)
    x, y = (xy - 0.5 * (low + high)[:, None]) / half
    return dict(zip(names, zip(x.tolist(), y.tolist(), strict=True), strict=True))


def located(measured: Measured, positions: Mapping[str, tuple[float, float]]) -> Measured:
    """Return what was measured with other positions of its CCDs.

    Parameters
    ----------
    measured : Measured
    positions : mapping of str to (float, float)
        By names of the CCDs; a CCD that is not among them stays where it is.

    Returns
    -------
    Measured
    """
    grid = measured.grid
    if not grid.names:
        return measured
    nowhere = (np.nan, np.nan)
    x, y = np.array([positions.get(name, nowhere) for name in grid.names], dtype=np.float64).T[:, grid.name]
    known = np.isfinite(x)
    return _changed(measured, x=np.where(known, x, measured.x), y=np.where(known, y, measured.y))


def _changed(measured: Measured, **values: Mapping[str, Doubles] | Doubles) -> Measured:
    """The same exposures and CCDs with other values; their grid is not made again."""
    found = dataclasses.replace(measured, **values)  # type: ignore[arg-type]
    found.__dict__["grid"] = measured.grid
    return found
