"""Mean vectors of the orientations of each CCD, and how they vary over the focal plane (METHOD.md 12).

The mean of exp(2 i theta) of a CCD's orientations is a vector whose error is known. The vectors of an exposure, less
what is normal for each CCD, are fitted by a constant and a gradient over the focal plane; the CCD that is furthest
from the median of the exposure's CCDs is a third statistic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gpuanom.records import Doubles
from gpuanom.scoring.judged.ccd_grid import LEAST_CCDS, Grid

_LEAST_SPREAD = 1e-6


class Field(NamedTuple):
    """A constant and a gradient over the focal plane, fitted to one component of the vectors.

    Attributes
    ----------
    constant, gradient_x, gradient_y : ndarray, (n_exposures,) float64
        The gradient for half the width and height of the focal plane; NaN where the CCDs do not determine it.
    constant_error, gradient_x_error, gradient_y_error : ndarray, (n_exposures,) float64
        Errors that follow from those of the vectors.
    """

    constant: Doubles
    gradient_x: Doubles
    gradient_y: Doubles
    constant_error: Doubles
    gradient_x_error: Doubles
    gradient_y_error: Doubles


def field(values: Doubles, variance: Doubles, x: Doubles, y: Doubles, grid: Grid) -> Field:
    """Fit one component of the vectors over the focal plane, weighted by its errors.

    Parameters
    ----------
    values, variance : ndarray, (n_ccd,) float64
        The component and its squared error; NaN where there is none.
    x, y : ndarray, (n_ccd,) float64
        Position in the focal plane, from -1 to 1.
    grid : Grid

    Returns
    -------
    Field
    """
    n = grid.shape[0]
    known = np.isfinite(values) & (variance > 0.0)
    weight = np.where(known, 1.0 / np.where(known, variance, 1.0), 0.0)
    v = np.where(known, values, 0.0)

    def total(of: Doubles) -> Doubles:
        return np.asarray(np.bincount(grid.owner, of, minlength=n), dtype=np.float64)

    if grid.is_large:
        from gpuanom.scoring.judged.exposure_loops import weighted_products, weighted_sums

        sums, products, starts = np.empty((4, n)), np.empty((5, n)), grid.starts
        weighted_sums(weight, v, x, y, starts, sums)
        w, wx, wy, wv = sums
    else:
        w, wx, wy, wv = total(weight), total(weight * x), total(weight * y), total(weight * v)
    weighted = w > 0.0
    scale = np.where(weighted, w, 1.0)
    mean_x, mean_y, mean = wx / scale, wy / scale, wv / scale
    # About the weighted centre the constant and the gradient are independent of each other.
    if grid.is_large:
        weighted_products(weight, v, x, y, starts, np.stack((mean_x, mean_y, mean)), products)
        xx, yy, xy, xv, yv = products
    else:
        dx, dy, dv = x - mean_x[grid.owner], y - mean_y[grid.owner], v - mean[grid.owner]
        xx, yy, xy = total(weight * dx * dx), total(weight * dy * dy), total(weight * dx * dy)
        xv, yv = total(weight * dx * dv), total(weight * dy * dv)
    determinant = xx * yy - xy * xy
    solved = weighted & (determinant > _LEAST_SPREAD * np.square(scale)) & (grid.counted(values) > LEAST_CCDS)
    safe = np.where(solved, determinant, 1.0)
    gx, gy = (yy * xv - xy * yv) / safe, (xx * yv - xy * xv) / safe
    none = np.nan
    return Field(
        np.where(weighted, mean, none),
        np.where(solved, gx, none),
        np.where(solved, gy, none),
        np.where(weighted, np.sqrt(1.0 / scale), none),
        np.where(solved, np.sqrt(np.abs(yy / safe)), none),
        np.where(solved, np.sqrt(np.abs(xx / safe)), none),
    )


def off(cosine: Doubles, sine: Doubles, variance: Doubles, grid: Grid) -> Doubles:
    """Return how far each CCD's vector is from the median of its exposure's CCDs, in units of its error.

    Parameters
    ----------
    cosine, sine : ndarray, (n_ccd,) float64
        The components, less what is normal for each CCD.
    variance : ndarray, (n_ccd,) float64
        Squared error of a component.
    grid : Grid

    Returns
    -------
    ndarray, (n_ccd,) float64
        A vector that is the median itself counts as near as the nearest other one of its exposure: of three CCDs one
        often is the median of both components, and the logarithm of 0 would leave too few values to compare. NaN for
        exposures with fewer than `LEAST_CCDS` vectors.
    """
    enough = (grid.counted(cosine) >= LEAST_CCDS)[grid.owner]
    away = np.hypot(cosine - grid.medians(cosine)[grid.owner], sine - grid.medians(sine)[grid.owner])
    with np.errstate(invalid="ignore", divide="ignore"):
        of_errors = np.where(enough & (variance > 0.0), away / np.sqrt(variance), np.nan)
    medians = np.flatnonzero(of_errors == 0.0)
    if medians.size:
        others = grid.spread(np.where(of_errors > 0.0, of_errors, np.nan))
        of_errors[medians] = np.fmin.reduce(others, axis=1)[grid.owner[medians]]
    return of_errors
