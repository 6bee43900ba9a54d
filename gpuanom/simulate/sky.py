"""Drawing of one CCD: sky, stars and galaxies under a Moffat PSF, anomalies, and what the detector makes of them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gpuanom.records import Doubles
from gpuanom.simulate import detector
from gpuanom.simulate.conditions import Conditions, Place
from gpuanom.simulate.detector import READ_NOISE, SATURATION, Codes
from gpuanom.simulate.injectors import act_on_scene
from gpuanom.simulate.stamps import GALAXY_SHAPES, add_galaxy, add_star, draw_library, reach_of

STAR_DENSITY = 130 / 512**2  # a pixel, between the limits of STAR_FLUX
STAR_FLUX = (5e3, 5e6)  # electrons
STAR_SLOPE = 0.6  # N(> flux) ~ flux^-slope
GALAXY_DENSITY = 60 / 512**2
GALAXY_FLUX = (1e4, 1e6)
GALAXY_SLOPE = 1.0
MARGIN = 32  # pixels around the CCD whose objects still shine onto it


class Drawn(NamedTuple):
    """A CCD as it was read out: electrons, whole numbers from 0 to `SATURATION`, and mask codes (`detector`)."""

    image: Doubles
    codes: Codes


def draw_ccd(
    conditions: Conditions, shape: tuple[int, int], corner: tuple[float, float], extent: float, rng: np.random.Generator
) -> Doubles:
    """Draw one CCD, in electrons.

    Parameters
    ----------
    conditions : Conditions
    shape : tuple of 2 ints
        Rows and columns.
    corner : tuple of 2 floats
        (x, y) of the first pixel in the focal plane, in pixels from its centre.
    extent : float
        Half of the focal plane's longer side, in pixels.
    rng : Generator

    Returns
    -------
    ndarray, (ny, nx) float64
        Whole numbers from 0 to `SATURATION`.
    """
    return draw(conditions, Place(shape, corner, extent), rng).image


def draw(
    conditions: Conditions, place: Place, rng: np.random.Generator, own: np.random.Generator | None = None
) -> Drawn:
    """Draw one CCD.

    Parameters
    ----------
    conditions : Conditions
    place : Place
    rng : Generator
        Of this CCD in this exposure.
    own : Generator, optional
        Of this CCD in every exposure: its bad columns and its amplifiers. Without one it has none.
    """
    sky, light = scene(conditions, place, rng)
    return expose(conditions, place, sky, light, rng, own, drawn=True)


def scene(conditions: Conditions, place: Place, rng: np.random.Generator) -> tuple[Doubles, Doubles]:
    """Expected electrons of the sky and of the sources; only what shears the PSF of the anomaly is in them.

    Returns
    -------
    sky, light : ndarray, (ny, nx) float64
    """
    x, y = place.grids()
    sky = conditions.sky * (1 + conditions.slope[0] * x / place.extent + conditions.slope[1] * y / place.extent)
    return sky, _light(conditions, place, rng)


def expose(
    conditions: Conditions,
    place: Place,
    sky: Doubles,
    light: Doubles,
    rng: np.random.Generator,
    own: np.random.Generator | None = None,
    *,
    drawn: bool = False,
) -> Drawn:
    """Put the anomaly into a scene and read it out.

    Parameters
    ----------
    conditions : Conditions
    place : Place
    sky, light : ndarray, (ny, nx) float64
        As `scene` gives them.
    rng, own : Generator
        See `draw`.
    drawn : bool, optional
        Whether the sources were drawn with the anomaly's shear.
    """
    noise = sky_noise(conditions)
    sky, light = act_on_scene(sky, light, conditions.anomaly, place, noise=noise, fwhm=conditions.fwhm, drawn=drawn)
    step = 0.0
    if own is not None and conditions.step:
        step = float(conditions.step * conditions.sky * own.standard_normal())
    image, codes = detector.observed(sky + light, rng, bleeding=conditions.bleeding, amplifier_step=step)
    if own is not None:
        detector.spoil_columns(image, codes, conditions.bad_columns, own)
    return Drawn(np.clip(np.rint(image), 0, SATURATION), codes)


def sky_noise(conditions: Conditions) -> float:
    """Noise of a pixel of the sky at the field's centre, in electrons: the unit of patterns."""
    return math.sqrt(conditions.sky + READ_NOISE**2)


def _light(conditions: Conditions, place: Place, rng: np.random.Generator) -> Doubles:
    """The light of stars and galaxies."""
    ny, nx = place.shape
    library = draw_library(conditions, place, rng)
    area = conditions.density * (nx + 2 * MARGIN) * (ny + 2 * MARGIN)
    n_stars, n_galaxies = rng.poisson(STAR_DENSITY * area), rng.poisson(GALAXY_DENSITY * area)
    n = n_stars + n_galaxies
    stars = _fluxes(n_stars, STAR_FLUX, STAR_SLOPE, rng)
    galaxies = _fluxes(n_galaxies, GALAXY_FLUX, GALAXY_SLOPE, rng)
    x, y = rng.uniform(-MARGIN, nx + MARGIN, n).tolist(), rng.uniform(-MARGIN, ny + MARGIN, n).tolist()
    shapes = rng.integers(GALAXY_SHAPES, size=n_galaxies).tolist()
    faintest = 0.1 * sky_noise(conditions)
    light = np.zeros(place.shape)
    for i, flux in enumerate(stars.tolist()):
        add_star(light, library, y[i], x[i], flux, reach_of(flux, conditions.fwhm, faintest))
    for i, flux in enumerate(galaxies.tolist()):
        add_galaxy(light, library, y[n_stars + i], x[n_stars + i], flux, shapes[i])
    return light


def _fluxes(n: int, limits: tuple[float, float], slope: float, rng: np.random.Generator) -> Doubles:
    """Fluxes of a power law N(> flux) ~ flux^-slope between the limits."""
    low, high = (limit**-slope for limit in limits)
    fluxes: Doubles = (low - rng.random(n) * (low - high)) ** (-1 / slope)
    return fluxes
