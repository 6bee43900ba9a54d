"""Draw one CCD: sky, stars and galaxies under a Moffat PSF, anomalies, and the effects of the detector."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gpuanom.records import Doubles
from gpuanom.simulate import detector
from gpuanom.simulate.conditions import Anomaly, CcdPlace, Conditions
from gpuanom.simulate.detector import READ_NOISE, SATURATION, Codes
from gpuanom.simulate.injection import act_on_scene
from gpuanom.simulate.injectors import INJECTORS, shows
from gpuanom.simulate.stamps import GALAXY_SHAPES, Library, add_galaxy, add_star, draw_library, reach_of

STAR_DENSITY = 130 / 512**2  # a pixel, between the limits of STAR_FLUX
STAR_FLUX = (5e3, 5e6)  # electrons
STAR_SLOPE = 0.6  # N(> flux) ~ flux^-slope
GALAXY_DENSITY = 60 / 512**2
GALAXY_FLUX = (1e4, 1e6)
GALAXY_SLOPE = 1.0
MARGIN = 32  # pixels around the CCD whose objects still shine onto it


class Scene(NamedTuple):
    """A CCD before it is read out.

    Attributes
    ----------
    sky, light : ndarray, (ny, nx) float64
        Expected electrons of the sky, and of the sources.
    sheared : Anomaly
        The anomaly whose shear the sources were drawn with; the default one if they were drawn without any.
    """

    sky: Doubles
    light: Doubles
    sheared: Anomaly


class Drawn(NamedTuple):
    """A CCD as it was read out: electrons, whole numbers from 0 to `SATURATION`, and mask codes (`detector`)."""

    image: Doubles
    codes: Codes


def draw(
    conditions: Conditions, place: CcdPlace, rng: np.random.Generator, ccd_rng: np.random.Generator | None = None
) -> Drawn:
    """Draw one CCD.

    Parameters
    ----------
    conditions : Conditions
    place : CcdPlace
    rng : Generator
        Random numbers of this CCD in this exposure.
    ccd_rng : Generator, optional
        Random numbers of this CCD that are the same in every exposure: its bad columns and the step between its
        amplifiers. Without them the CCD has neither.
    """
    return expose(conditions, place, scene(conditions, place, rng), rng, ccd_rng)


def scene(conditions: Conditions, place: CcdPlace, rng: np.random.Generator, library: Library | None = None) -> Scene:
    """Expected electrons of the sky and of the sources.

    An anomaly that shears the PSF is drawn here, on the CCDs that show it; `expose` puts in every other anomaly.

    Parameters
    ----------
    conditions : Conditions
    place : CcdPlace
    rng : Generator
        Random numbers of this CCD in this exposure.
    library : Library, optional
        The stamps of stars and galaxies, drawn with `drawn_with`; by default those of this CCD are drawn.
    """
    x, y = place.grids()
    sky = conditions.sky * (1 + conditions.slope[0] * x / place.extent + conditions.slope[1] * y / place.extent)
    conditions = drawn_with(conditions, place)
    return Scene(sky, _light(conditions, place, rng, library), conditions.anomaly)


def drawn_with(conditions: Conditions, place: CcdPlace) -> Conditions:
    """The conditions with which the sources of a CCD are drawn: with the anomaly only if it shears the PSF there.

    Parameters
    ----------
    conditions : Conditions
    place : CcdPlace
    """
    anomaly = conditions.anomaly
    if anomaly.name == "none" or not INJECTORS[anomaly.name].shear or not shows(anomaly, place):
        return without_anomaly(conditions)
    return conditions


def without_anomaly(conditions: Conditions) -> Conditions:
    """The same exposure without an anomaly."""
    return replace(conditions, anomaly=Anomaly())


def expose(
    conditions: Conditions,
    place: CcdPlace,
    drawn: Scene,
    rng: np.random.Generator,
    ccd_rng: np.random.Generator | None = None,
) -> Drawn:
    """Put the anomaly into a scene and read it out.

    Parameters
    ----------
    conditions : Conditions
    place : CcdPlace
    drawn : Scene
        The scene of these conditions, or of the same ones without their anomaly.
    rng, ccd_rng : Generator
        See `draw`.

    Raises
    ------
    ValueError
        When the sources were drawn with the shear of another anomaly.
    """
    anomaly = conditions.anomaly
    sheared = drawn.sheared.name != "none"
    if sheared and drawn.sheared != anomaly:
        raise ValueError(f"the scene was drawn with {drawn.sheared.name} and cannot be exposed with {anomaly.name}")
    sky, light = act_on_scene(
        drawn.sky, drawn.light, anomaly, place, noise=sky_noise(conditions), fwhm=conditions.fwhm, drawn=sheared
    )
    step = 0.0
    if ccd_rng is not None and conditions.step:
        step = float(conditions.step * conditions.sky * ccd_rng.standard_normal())
    image, codes = detector.observed(sky + light, rng, bleeding=conditions.bleeding, amplifier_step=step)
    if ccd_rng is not None:
        detector.spoil_columns(image, codes, conditions.bad_columns, ccd_rng)
    return Drawn(np.clip(np.rint(image), 0, SATURATION), codes)


def sky_noise(conditions: Conditions) -> float:
    """The noise of a pixel of sky at the field's centre, in electrons: the unit of patterns."""
    return math.sqrt(conditions.sky + READ_NOISE**2)


def _light(conditions: Conditions, place: CcdPlace, rng: np.random.Generator, library: Library | None) -> Doubles:
    """The light of stars and galaxies."""
    ny, nx = place.shape
    library = library or draw_library(conditions, place, rng)
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
