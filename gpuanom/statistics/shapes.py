"""Size, ellipticity and kurtosis of the stars of a CCD and of an exposure (METHOD.md 10)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpuanom.cameras.focalplane import Position
from gpuanom.records import Doubles, FloatImage, Shapes, Turn
from gpuanom.statistics.statistic import Statistic

_MEANS = (
    Statistic("fwhm", "pix", "Full width at half maximum of the stars"),
    Statistic("fwhm_error", "pix", "Error of fwhm"),
    Statistic("e1", "", "Ellipticity of the stars along x (positive) or y (negative)"),
    Statistic("e1_error", "", "Error of e1"),
    Statistic("e2", "", "Ellipticity of the stars along +45 (positive) or -45 degrees (negative)"),
    Statistic("e2_error", "", "Error of e2"),
    Statistic("kurtosis", "", "Kurtosis of the stars: 2 for a Gaussian, more for a bright core with wide wings"),
    Statistic("kurtosis_error", "", "Error of kurtosis"),
    Statistic("n_stars", "", "Number of stars that were measured"),
)

CCD_STATISTICS: tuple[Statistic, ...] = _MEANS
"""In the order of `ccd_statistics`."""

EXPOSURE_STATISTICS: tuple[Statistic, ...] = (
    *_MEANS,
    Statistic("e1_constant", "", "e1 at the centre of the focal plane, of a plane fitted to the stars' e1"),
    Statistic("e2_constant", "", "e2 at the centre of the focal plane, of a plane fitted to the stars' e2"),
    Statistic("e1_gradient_x", "", "Change of e1 along x, from the centre of the focal plane to the edge"),
    Statistic("e1_gradient_y", "", "Change of e1 along y, from the centre of the focal plane to the edge"),
    Statistic("e2_gradient_x", "", "Change of e2 along x, from the centre of the focal plane to the edge"),
    Statistic("e2_gradient_y", "", "Change of e2 along y, from the centre of the focal plane to the edge"),
    Statistic("e_constant_error", "", "Error of e1_constant and of e2_constant"),
    Statistic("e_gradient_error", "", "Error of each of the four gradients"),
)
"""In the order of `exposure_statistics`."""


@dataclass(frozen=True, eq=False)
class Stars:
    """The star-like sources of one CCD, in focal-plane axes.

    Attributes
    ----------
    x, y : ndarray, (n,) float64
        Position on the CCD as a share of its width and height, 0 to 1.
    fwhm, e1, e2, kurtosis : ndarray, (n,) float64
        Of each star: pixels, and no unit. Sizes and ellipticities are those of the star without
        the weight.
    shape : tuple of int
        (ny, nx) of the CCD in pixels.
    """

    x: Doubles
    y: Doubles
    fwhm: Doubles
    e1: Doubles
    e2: Doubles
    kurtosis: Doubles
    shape: tuple[int, int]


def stars(shapes: Shapes, ccd: int, turn: Turn, shape: tuple[int, int]) -> Stars:
    """Choose the star-like sources of a CCD (METHOD.md 10).

    Parameters
    ----------
    shapes : Shapes
        Of a stack, on the host.
    ccd : int
        Index of the CCD in the stack.
    turn : Turn
        From the axes of the CCD to those of the focal plane.
    shape : tuple of int
        (ny, nx) of the CCD in pixels.

    Returns
    -------
    Stars
        In an order that does not depend on the backend.
    """
    raise NotImplementedError


def ccd_statistics(found: Stars) -> FloatImage:
    """Return the statistics of a CCD's stars.

    Parameters
    ----------
    found : Stars
        Of the CCD.

    Returns
    -------
    ndarray, (len(CCD_STATISTICS),) float32
        NaN where there are too few stars.
    """
    raise NotImplementedError


def exposure_statistics(found: Sequence[Stars], places: Sequence[Position]) -> FloatImage:
    """Return the statistics of an exposure's stars.

    Parameters
    ----------
    found : sequence of Stars
        Of the exposure's measured CCDs, in natural order of the CCDs' names.
    places : sequence of Position
        Where each of these CCDs lies, see `gpuanom.cameras.focalplane.places`.

    Returns
    -------
    ndarray, (len(EXPOSURE_STATISTICS),) float32
        NaN where there are too few stars.
    """
    raise NotImplementedError
