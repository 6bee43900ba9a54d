"""Whisker maps: the isophotal orientations of a CCD's sources, averaged in cells."""

from __future__ import annotations

import math

import numpy as np

from gpuanom.records import Turn
from gpuanom.review.quicklook import Look
from gpuanom.review.star_cells import in_cells


def whisker_cells(seen: Look, upside_down: bool = False) -> list[list[float]]:
    """Average the isophotal orientations in cells of a CCD, for a whisker map.

    Parameters
    ----------
    seen : Look
    upside_down : bool, optional
        Whether the picture of the CCD is shown turned by half a turn (see `gpuanom.cameras.focalplane.Position`).

    Returns
    -------
    list of list of float
        For each cell with 3 sources or more: x and y of the cell's centre, from 0 to 1 over the CCD's picture, angle in
        degrees, alignment, number of sources.
    """
    found = seen.sources
    theta = np.radians(found.isophote_angle)
    u, v = found.x.astype(np.float64), found.y.astype(np.float64)
    ny, nx = seen.shape
    u, v = (u + 0.5) / nx, (v + 0.5) / ny
    if seen.ccd.turn & Turn.MIRRORED:
        theta, v = -theta, 1.0 - v
    if seen.ccd.turn & Turn.QUARTER:
        theta, u, v, ny, nx = theta + np.pi / 2, 1.0 - v, u, nx, ny
    if upside_down:
        u, v = 1.0 - u, 1.0 - v
    known = np.isfinite(theta)
    columns, rows, cell = in_cells(u[known], v[known], nx, ny, 5)
    n = np.bincount(cell, minlength=rows * columns)
    cosine = np.bincount(cell, np.cos(2 * theta[known]), minlength=rows * columns)
    sine = np.bincount(cell, np.sin(2 * theta[known]), minlength=rows * columns)
    whiskers = []
    for i in np.flatnonzero(n >= 3):
        angle = math.degrees(0.5 * math.atan2(sine[i], cosine[i]))
        place = [(i % columns + 0.5) / columns, (i // columns + 0.5) / rows]
        whiskers.append([*place, angle, math.hypot(sine[i], cosine[i]) / n[i], float(n[i])])
    return whiskers
