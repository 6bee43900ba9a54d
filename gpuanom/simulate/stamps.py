"""A library of drawn stamps: GalSim draws each shape once for a CCD, and sources are copies of these stamps.

The stamp of a star is drawn on a grid that is `FINER` times finer than the pixels: every `FINER`-th point then gives
the star at one position within a pixel. One stamp is drawn for each cell of a coarse grid over the CCD, because the PSF
changes over the field. Galaxies are drawn on the grid of pixels, each shape at one position within a pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuanom import installing
from gpuanom.errors import GpuanomError
from gpuanom.records import Doubles, FloatImage
from gpuanom.simulate.conditions import CcdPlace, Conditions
from gpuanom.simulate.injectors import INJECTORS

MOFFAT_BETA = 3.5
FINER = 5
CELLS = 2
"""Cells of a CCD along each axis with a PSF of their own."""
STAR_REACH = 40
"""Pixels from a star's centre to the edge of its stamp."""
GALAXY_SHAPES = 40
GALAXY_REACH = 24


@dataclass(frozen=True, eq=False)
class Library:
    """The stamps of one CCD, each of flux 1.

    Attributes
    ----------
    stars : ndarray, (cells, cells, FINER, FINER, 2 r + 1, 2 r + 1) float32
        By cell (y, x), of which there are `CELLS` along each axis, and position within a pixel (y, x);
        r = `STAR_REACH`. Position k means k / FINER - 0.4 pixels from the pixel's middle.
    galaxies : ndarray, (GALAXY_SHAPES, 2 r + 1, 2 r + 1) float32
        r = `GALAXY_REACH`.
    """

    stars: FloatImage
    galaxies: FloatImage


def draw_library(conditions: Conditions, place: CcdPlace, rng: np.random.Generator) -> Library:
    """Draw the stamps of a CCD.

    The Moffat profile is the effective PSF, which includes the width of a pixel: stamps are not convolved with a pixel.

    Parameters
    ----------
    conditions : Conditions
        With the PSF of the exposure.
    place : CcdPlace
        Where the CCD lies.
    rng : Generator
        Random numbers for the shapes of galaxies.
    """
    galsim = galsim_module()
    accuracy = galsim.GSParams(folding_threshold=2e-2, maxk_threshold=1e-2, kvalue_accuracy=1e-3)
    moffat = galsim.Moffat(beta=MOFFAT_BETA, fwhm=conditions.fwhm, gsparams=accuracy)
    side = (2 * STAR_REACH + 1) * FINER
    stars = np.empty((CELLS, CELLS, FINER, FINER, 2 * STAR_REACH + 1, 2 * STAR_REACH + 1), dtype=np.float32)
    ny, nx = place.shape
    for i in range(CELLS):
        for j in range(CELLS):
            middle = (place.corner[0] + nx * (j + 0.5) / CELLS, place.corner[1] + ny * (i + 0.5) / CELLS)
            fine = galsim.ImageF(side, side)
            moffat.shear(_shear(galsim, conditions, place, middle)).drawImage(
                image=fine, scale=1 / FINER, method="no_pixel"
            )
            # GalSim's no_pixel draws flux per fine pixel; per pixel it is FINER^2 as much. Point (a, b) of a block of
            # FINER x FINER lies a fine pixel further from the block's middle than (a - 1, b - 1): reversed, so that a
            # higher position moves the star to higher pixels.
            blocks = fine.array.reshape(2 * STAR_REACH + 1, FINER, 2 * STAR_REACH + 1, FINER)
            stars[i, j] = FINER**2 * blocks.transpose(1, 3, 0, 2)[::-1, ::-1]
    psf = moffat.shear(_shear(galsim, conditions, place, place.centre))
    galaxies = np.empty((GALAXY_SHAPES, 2 * GALAXY_REACH + 1, 2 * GALAXY_REACH + 1), dtype=np.float32)
    for k in range(GALAXY_SHAPES):
        disc = galsim.Exponential(half_light_radius=math.exp(rng.normal(math.log(1.8), 0.35)), gsparams=accuracy)
        disc = disc.shear(g=min(rng.rayleigh(0.2), 0.7), beta=rng.uniform(0, 180) * galsim.degrees)
        stamp = galsim.ImageF(2 * GALAXY_REACH + 1, 2 * GALAXY_REACH + 1)
        offset = galsim.PositionD(*rng.uniform(-0.5, 0.5, 2))
        galsim.Convolve(disc, psf).drawImage(image=stamp, scale=1.0, offset=offset, method="no_pixel")
        galaxies[k] = stamp.array
    return Library(stars, galaxies)


def add_star(light: Doubles, library: Library, y: float, x: float, flux: float, reach: int) -> None:
    """Add a star to an image, in place, at the nearest position in steps of 1 / FINER pixels.

    Parameters
    ----------
    light : ndarray, (ny, nx) float64
        In electrons.
    library : Library
    y, x : float
        Position in pixels; it may lie outside of the image.
    flux : float
        In electrons.
    reach : int
        Pixels from the centre to which the star is drawn, see `reach_of`.
    """
    ny, nx = light.shape
    fine_y, fine_x = (round(v * FINER) + FINER // 2 for v in (y, x))
    cells = library.stars.shape[0]
    i, j = (min(max(int(v * cells / n), 0), cells - 1) for v, n in ((y, ny), (x, nx)))
    stamp = library.stars[i, j, fine_y % FINER, fine_x % FINER]
    _add(light, stamp, fine_y // FINER, fine_x // FINER, flux, min(reach, STAR_REACH))


def add_galaxy(light: Doubles, library: Library, y: float, x: float, flux: float, shape: int) -> None:
    """Add a galaxy of the library to an image, in place, at the nearest pixel.

    Parameters
    ----------
    light : ndarray, (ny, nx) float64
        In electrons.
    library : Library
    y, x : float
        Position in pixels; it may lie outside of the image.
    flux : float
        In electrons.
    shape : int
        Index of the galaxy in the library.
    """
    _add(light, library.galaxies[shape], round(y), round(x), flux, GALAXY_REACH)


def _add(light: Doubles, stamp: FloatImage, y: int, x: int, flux: float, reach: int) -> None:
    """Add the inner part of a stamp, with its middle at a pixel that may lie outside."""
    ny, nx = light.shape
    top, bottom = max(y - reach, 0), min(y + reach + 1, ny)
    left, right = max(x - reach, 0), min(x + reach + 1, nx)
    if top < bottom and left < right:
        oy, ox = stamp.shape[0] // 2 - y, stamp.shape[1] // 2 - x
        light[top:bottom, left:right] += flux * stamp[top + oy : bottom + oy, left + ox : right + ox]


def _shear(galsim: Any, conditions: Conditions, place: CcdPlace, position: tuple[float, float]) -> Any:
    """The shear of the PSF at a position in the focal plane, with that of the anomaly added."""
    x, y = (p / place.extent for p in position)
    g1, g2 = np.array([1.0, x, y]) @ conditions.shear
    psf_shear = galsim.Shear(g1=float(g1), g2=float(g2))
    anomaly = conditions.anomaly
    shear = None if anomaly.name == "none" else INJECTORS[anomaly.name].shear
    if shear is None:
        return psf_shear
    strength, direction = shear(anomaly, x, y)
    return galsim.Shear(g=strength, beta=direction * galsim.radians) + psf_shear


def reach_of(flux: float, fwhm: float, faintest: float) -> int:
    """How far from its centre a star must be drawn: to where its profile falls to `faintest`, with room for elongation.

    Parameters
    ----------
    flux : float
        In electrons.
    fwhm : float
        FWHM of the PSF, in pixels.
    faintest : float
        In electrons a pixel.

    Returns
    -------
    int
        In pixels.
    """
    scale = fwhm / (2 * math.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
    peak = flux * (MOFFAT_BETA - 1) / (math.pi * scale**2)
    return math.ceil(1.3 * scale * math.sqrt(max((peak / faintest) ** (1 / MOFFAT_BETA) - 1, 1)))


def galsim_module() -> Any:
    """GalSim, an optional dependency.

    Raises
    ------
    GpuanomError
        When it is not installed, or cannot be loaded.
    """
    if lacking := installing.lacks("galsim", "GalSim", installing.install("simulate")):
        raise GpuanomError(f"simulating a night needs {lacking}")
    import galsim

    return galsim
