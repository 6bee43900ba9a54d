"""Where something was found on the CCDs of an exposure: shapes to draw, and for the regions of DS9.

A shape is a list: what it is (``circle``, ``box`` or ``line``), what it shows, and its numbers in pixels of the CCD's
own image, where the centre of the first pixel is (1, 1): x, y, radius; x, y, width, height; or both ends of a line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from gpuanom.backends.pattern_layout import map_side, step_places
from gpuanom.records import Turn
from gpuanom.report.causes import causes_in
from gpuanom.report.ccds import outline_value
from gpuanom.report.pictures import Pictures
from gpuanom.report.proof import Residual, found_cells
from gpuanom.review.opened import Row, Rows
from gpuanom.statistics import profiles

Shape: TypeAlias = list[Any]

MOST_CCDS = 12
"""So many CCDs of an exposure have the shapes of one cause, those with the largest numbers."""

STRIPES = 3
"""So many stripes are drawn on either side of the CCD's centre: their period and direction are known, not their phase.
"""


def found_shapes(residuals: Mapping[str, Residual], shown: Pictures, row: Row, ccds: Rows) -> dict[str, list[Shape]]:
    """Return the shapes of what was found on an exposure's CCDs.

    Parameters
    ----------
    residuals : mapping of str to Residual
        Maps and steps of the CCDs, from `gpuanom.report.proof.Residuals`; empty where they are not wanted.
    shown : Pictures
        Tell the sizes of the CCDs, and the places of trails.
    row : mapping
        The row of the exposure.
    ccds : sequence of mapping
        The rows of its CCDs.

    Returns
    -------
    dict of str to list of Shape
        By name of the CCD; without CCDs on which nothing was found, or of which the size is not known.
    """
    found: dict[str, list[Shape]] = {}
    for name, (degrees, distance) in shown.trails.items():
        if name in shown.frames:
            ny, nx = shown.frames[name][:2]
            angle = math.radians(degrees)
            through = nx / 2 - distance * math.sin(angle), ny / 2 + distance * math.cos(angle)
            _add(found, name, _line("trail", ny, nx, through, degrees))
    for cause, number, shapes in _KINDS:
        for ccd in _affected(cause, number, row, ccds):
            name = ccd["ccd"]
            if name not in shown.frames:
                continue
            ny, nx, turn = shown.frames[name][:3]
            for shape in shapes(ccd, residuals.get(name), ny, nx, Turn(turn)):
                _add(found, name, shape)
    return found


def _add(found: dict[str, list[Shape]], name: str, shape: Shape | None) -> None:
    if shape is not None:
        found.setdefault(name, []).append(shape)


def _affected(causes: tuple[str, ...], number: str, row: Row, ccds: Rows) -> list[Row]:
    """The CCDs that show a cause: those whose own verdict names it, or the one with the largest number."""

    def size(ccd: Row) -> float:
        value = outline_value(ccd, number)
        return -math.inf if value is None else value

    named = [ccd for ccd in ccds if set(causes) & set(causes_in(ccd.get("cause") or ""))]
    if not named and set(causes) & set(causes_in(row.get("cause") or "")):
        named = sorted((ccd for ccd in ccds if size(ccd) > -math.inf), key=size)[-1:]
    return sorted(named, key=size, reverse=True)[:MOST_CCDS]


def _cells(label: str) -> Callable[[Row, Residual | None, int, int, Turn], list[Shape]]:
    """A function that gives the cells of the map in which a glow or an edge was found."""

    def shapes(_ccd: Row, residual: Residual | None, ny: int, nx: int, _turn: Turn) -> list[Shape]:
        if residual is None or not residual.map.size:
            return []
        side = map_side(ny, nx)
        places = np.argwhere(found_cells(residual.map, label)).tolist()
        centres = [(c * side + side / 2 + 0.5, r * side + side / 2 + 0.5) for r, c in places]
        if label == "glow":
            return [["circle", "glow", x, y, 3 * side] for x, y in centres[:1]]
        return [["box", "edge", x, y, side, side] for x, y in centres]

    return shapes


def _steps(ccd: Row, residual: Residual | None, ny: int, nx: int, _turn: Turn) -> list[Shape]:
    """A line at the largest step between rows or columns, whichever is larger."""
    if residual is None:
        return []
    of_rows = (ccd.get("row_step") or 0.0) > (ccd.get("column_step") or 0.0)
    values = residual.row_steps if of_rows else residual.column_steps
    places = step_places(ny if of_rows else nx)
    index = profiles.largest_step(values.astype(np.float32))[1]
    if index < 0 or places.size != values.size:
        return []
    at = float(places[index]) + 0.5
    return [["line", "row step", 0.5, at, nx + 0.5, at] if of_rows else ["line", "column step", at, 0.5, at, ny + 0.5]]


def _stripes(ccd: Row, _residual: Residual | None, ny: int, nx: int, turn: Turn) -> list[Shape]:
    """Lines along the stripes, one period apart, through the middle of the CCD."""
    period, angle = ccd.get("stripe_period"), ccd.get("stripe_angle")
    if not period or angle is None:
        return []
    # Stripes are measured in the axes of the focal plane; these are the CCD's own.
    degrees = angle - (90.0 if turn & Turn.QUARTER else 0.0)
    degrees = -degrees if turn & Turn.MIRRORED else degrees
    across = -math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    lines = []
    for k in range(-STRIPES, STRIPES + 1):
        through = nx / 2 + k * period * across[0], ny / 2 + k * period * across[1]
        lines.append(_line("stripes: their direction and period", ny, nx, through, degrees))
    return [line for line in lines if line is not None]


_KINDS: tuple[tuple[tuple[str, ...], str, Callable[[Row, Residual | None, int, int, Turn], list[Shape]]], ...] = (
    (("glow",), "glow", _cells("glow")),
    (("ring or ghost",), "edge", _cells("edge")),
    (("amplifier step",), "column_step", _steps),
    (("stripes", "stripes or waves", "waves"), "stripe_power", _stripes),
)
"""Causes of which places are known, the number of the CCDs that shows each, and the function that gives the shapes."""


def _line(label: str, ny: int, nx: int, through: tuple[float, float], degrees: float) -> Shape | None:
    """The part of a straight line that lies on a CCD; None where none does.

    Parameters
    ----------
    label : str
    ny, nx : int
        Rows and columns of the CCD.
    through : tuple of 2 floats
        x and y of a point of the line, from the CCD's lower left corner.
    degrees : float
        Direction of the line in the CCD's own axes.
    """
    first, last = -math.inf, math.inf
    for at, along, size in zip(through, (math.cos(math.radians(degrees)), math.sin(math.radians(degrees))), (nx, ny),
                               strict=True):  # fmt: skip
        if abs(along) < 1e-9:
            if not 0.0 <= at <= size:
                return None
            continue
        ends = sorted((-at / along, (size - at) / along))
        first, last = max(first, ends[0]), min(last, ends[1])
    if not first < last:
        return None
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    ends = [v for t in (first, last) for v in (through[0] + t * cosine + 0.5, through[1] + t * sine + 0.5)]
    return ["line", label, *(round(v, 1) for v in ends)]
