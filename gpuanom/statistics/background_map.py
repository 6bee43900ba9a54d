"""Maps of the residual sky: masked areas, roughness, glows and edges (METHOD.md 9.4)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from gpuanom.backends.pattern_layout import map_side
from gpuanom.records import MAP_STEP, NO_CELL, Doubles, FloatImage, Patterns
from gpuanom.records.patterns import STEP
from gpuanom.statistics.statistic import Statistic

SMOOTH = 1.5
"""Width (standard deviation) of the Gaussian that a map is smoothed with for glows, cells."""
EDGE_CELLS = 120
"""Edges are judged by so many cells."""

CCD_STATISTICS = (
    Statistic("masked_share", "", "Share of the usable pixels that belong to sources, trails, rings or glows."),
    Statistic(
        "masked_patch",
        "",
        "Share of the CCD's map in the largest connected patch of cells of which more than 3/4 are masked.",
    ),
    Statistic("map_rms", "", "Root mean square of the map of the residual sky, in units of the noise of a pixel."),
)
EXPOSURE_STATISTICS: tuple[Statistic, ...] = ()


def ccd_statistics(patterns: Patterns, values: FloatImage | None = None) -> FloatImage:
    """Return masked share, largest masked patch and rms of the map of each CCD of a stack.

    Parameters
    ----------
    patterns : Patterns
        On the host.
    values : ndarray, (n_ccd, my, mx) float32, optional
        Their `maps`, where these are at hand.

    Returns
    -------
    ndarray, (n_ccd, 3) float32
        In the order of `CCD_STATISTICS`.
    """
    from gpuanom.statistics.map_cells import hidden_cells  # imports Numba, which a night ranked again needs not

    count, usable = (np.ascontiguousarray(of, dtype=np.int64) for of in (patterns.map_count, patterns.map_usable))
    n_ccd, my, mx = count.shape
    totals, hidden = np.empty((2, n_ccd), dtype=np.int64), np.empty(count.shape, dtype=np.bool_)
    hidden_cells(*(of.reshape(n_ccd, my * mx) for of in (count, usable)), totals, hidden.reshape(n_ccd, my * mx))
    left, total = totals
    share = np.where(total > 0, (total - left) / np.maximum(total, 1), np.nan)
    patch = _largest_patches(hidden)
    values = maps(patterns) if values is None else values
    rms = _rms_of_each(values.astype(np.float64))
    result = np.stack([share, np.where(total > 0, patch, np.nan), rms], axis=1)
    return result.astype(np.float32)


def _largest_patches(hidden: npt.NDArray[np.bool_]) -> Doubles:
    """Share of all cells of each map in the largest patch of hidden cells that share sides, (n_ccd,)."""
    from gpuanom.statistics.patches import largest_patches  # imports Numba, which a night ranked again needs not

    return np.asarray(largest_patches(hidden) / max(1, hidden.shape[1] * hidden.shape[2]))


def _rms(values: Doubles) -> float:
    """Root mean square about the mean of what is no NaN."""
    known = values[np.isfinite(values)]
    return float(np.sqrt(np.mean((known - np.mean(known)) ** 2))) if known.size else float("nan")


def _rms_of_each(values: Doubles) -> Doubles:
    """Root mean square of each map about its mean, (n_ccd,)."""
    from gpuanom.statistics.map_rms import rms_of_each  # imports Numba, which a night ranked again needs not

    found = np.empty(len(values))
    rms_of_each(values.reshape(len(values), values.shape[1] * values.shape[2]), found)
    return found


def maps(patterns: Patterns) -> FloatImage:
    """Return the mean of r in each cell of each CCD's map.

    Parameters
    ----------
    patterns : Patterns
        On the host.

    Returns
    -------
    ndarray, (n_ccd, my, mx) float32
        In sigma; NaN where fewer than a quarter of the cell's pixels are left.
    """
    from gpuanom.statistics.map_cells import cell_means  # imports Numba, which a night ranked again needs not

    sums, counts = (np.ascontiguousarray(of, dtype=np.int64) for of in (patterns.map_sum, patterns.map_count))
    found = np.empty(sums.shape, dtype=np.float32)
    cell_means(sums.reshape(-1), counts.reshape(-1), map_side(*patterns.shape) ** 2, STEP, found.reshape(-1))
    return found


def encoded(values: FloatImage) -> npt.NDArray[np.int8]:
    """Return maps as they are stored: steps of 0.02 sigma from -127 to 127, and -128 for no value."""
    from gpuanom.statistics.map_cells import cell_steps  # imports Numba, which a night ranked again needs not

    found = np.empty(values.shape, dtype=np.int8)
    cell_steps(np.ascontiguousarray(values, dtype=np.float32).reshape(-1), MAP_STEP, NO_CELL, found.reshape(-1))
    return found


def decoded(stored: npt.NDArray[np.int8]) -> FloatImage:
    """Return maps in sigma from what `encoded` gives."""
    return np.where(stored == NO_CELL, np.nan, stored * MAP_STEP).astype(np.float32)


def glow(values: FloatImage, static: FloatImage | None = None) -> tuple[float, float]:
    """Return the largest value of the smoothed map of one CCD, and the rms of the map.

    Parameters
    ----------
    values : ndarray, (my, mx) float32
        One CCD's map, in sigma.
    static : ndarray, (my, mx) float32, optional
        The static map of that CCD, scaled to this exposure, which is taken off (METHOD.md 9.7).

    Returns
    -------
    largest : float
        Largest value of the map smoothed with a Gaussian of 1.5 cells, in sigma; NaN without a map.
    rms : float
        Root mean square of the map.
    """
    left = _less(values, static)
    smooth = smoothed(left)
    known = np.isfinite(smooth)
    if not known.any():
        return float("nan"), float("nan")
    return float(smooth[known].max()), _rms(left)


def smoothed(left: Doubles) -> Doubles:
    """Return the map that `glow` takes the largest value of.

    Parameters
    ----------
    left : ndarray, (my, mx) float64
        One CCD's map less the static one, in sigma.

    Returns
    -------
    ndarray, (my, mx) float64
        Smoothed with a Gaussian of 1.5 cells; NaN where the map has no value.
    """
    known = np.isfinite(left)
    if known.all():
        return _smoothed(left) / _whole_weight(left.shape)
    smooth, weight = _smoothed(np.where(known, left, 0.0)), _smoothed(known.astype(np.float64))
    return np.where(known, smooth / np.where(known, weight, 1.0), np.nan)


def _smoothed(values: Doubles) -> Doubles:
    from scipy import ndimage  # takes a third of a second to import, and measuring needs nothing of the package

    smooth: Doubles = ndimage.gaussian_filter(values, SMOOTH, mode="constant")
    return smooth


@lru_cache(maxsize=8)
def _whole_weight(shape: tuple[int, int]) -> Doubles:
    """The weights of a map without an empty cell, the same for most maps of a survey."""
    return _smoothed(np.ones(shape))


def _less(values: FloatImage, static: FloatImage | None) -> Doubles:
    """One CCD's map less the static one, in float64."""
    left = values.astype(np.float64)
    return left if static is None else left - static


def edge(values: FloatImage, static: FloatImage | None = None) -> float:
    """Return how sharp the edges of one CCD's map are: rings and ghosts have edges, glows have none.

    Parameters
    ----------
    values : ndarray, (my, mx) float32
        One CCD's map, in sigma.
    static : ndarray, (my, mx) float32, optional
        The static map of that CCD, scaled to this exposure, which is taken off.

    Returns
    -------
    float
        Mean of the 120 largest magnitudes of the map less its running median of 7 x 7 cells, in sigma; NaN without
        a map.
    """
    sharp = sharpness(_less(values, static))
    known = sharp[np.isfinite(sharp)]
    if not known.size:
        return float("nan")
    if known.size > EDGE_CELLS:
        known = np.partition(known, -EDGE_CELLS)[-EDGE_CELLS:]
    return float(np.mean(np.sort(known)))


def sharpness(left: Doubles) -> Doubles:
    """Return the map whose largest values `edge` takes the mean of.

    Parameters
    ----------
    left : ndarray, (my, mx) float64
        One CCD's map less the static one, in sigma.

    Returns
    -------
    ndarray, (my, mx) float64
        Magnitude of the map less its running median of 7 x 7 cells; NaN where the map has no value.
    """
    known = np.isfinite(left)
    if not known.any():
        return np.full(left.shape, np.nan)
    from gpuanom.statistics.running_median import running_median  # imports Numba, which a night ranked again needs not

    # Cells without a value take the map's middle value, and are not counted.
    filled = left if known.all() else np.where(known, left, np.median(left[known]))
    return np.where(known, np.abs(filled - running_median(filled)), np.nan)
