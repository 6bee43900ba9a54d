"""Maps of the residual sky: masked areas, roughness, glows and edges (METHOD.md 9.4)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gpuanom.records import FloatImage, Patterns
from gpuanom.statistics.statistic import Statistic

MAP_STEP = 0.02
"""Stored maps count in steps of so many sigma."""

CCD_STATISTICS = (
    Statistic("masked_share", "", "Share of the usable pixels that belong to sources, trails, rings or glows."),
    Statistic("masked_patch", "", "Share of the CCD's map in its largest connected patch that is masked by 3/4."),
    Statistic("map_rms", "", "Root mean square of the map of the residual sky, in units of the noise of a pixel."),
)
EXPOSURE_STATISTICS: tuple[Statistic, ...] = ()


def ccd_statistics(patterns: Patterns) -> FloatImage:
    """Return masked share, largest masked patch and rms of the map of each CCD of a stack.

    Parameters
    ----------
    patterns : Patterns
        On the host.

    Returns
    -------
    ndarray, (n_ccd, 3) float32
        In the order of `CCD_STATISTICS`.
    """
    raise NotImplementedError


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
    raise NotImplementedError


def encoded(values: FloatImage) -> npt.NDArray[np.int8]:
    """Return maps as they are stored: steps of 0.02 sigma from -127 to 127, and -128 for no value."""
    raise NotImplementedError


def decoded(stored: npt.NDArray[np.int8]) -> FloatImage:
    """Return maps in sigma from what `encoded` gives."""
    raise NotImplementedError


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
    raise NotImplementedError


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
    raise NotImplementedError
