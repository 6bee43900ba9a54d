"""Drawing of one CCD: sky, stars and galaxies under a Moffat PSF, noise and cosmic rays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gpuanom.errors import GpuanomError
from gpuanom.records import Doubles, FloatImage
from gpuanom.simulate.conditions import Conditions

SATURATION = 60_000.0  # electrons
READ_NOISE = 6.0  # electrons
MOFFAT_BETA = 3.5
STAR_DENSITY = 130 / 512**2  # a pixel, between the limits of STAR_FLUX
STAR_FLUX = (5e3, 5e6)  # electrons
STAR_SLOPE = 0.6  # N(> flux) ~ flux^-slope
GALAXY_DENSITY = 60 / 512**2
GALAXY_FLUX = (1e4, 1e6)
GALAXY_SLOPE = 1.0
GALAXY_REACH = 24  # pixels from the centre to the edge of what is drawn
COSMIC_RAY_DENSITY = 2 / 512**2
STRIPE_PERIOD = 32.0  # pixels
MARGIN = 32  # pixels around the CCD whose objects still shine onto it


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
    x = corner[0] + np.arange(shape[1])
    y = corner[1] + np.arange(shape[0])[:, None]
    image = conditions.sky * (1 + conditions.slope[0] * x / extent + conditions.slope[1] * y / extent)
    noise = math.sqrt(conditions.sky + READ_NOISE**2)
    if conditions.anomaly.name == "stripes":
        across = math.radians(conditions.anomaly.direction + 90)
        phase = 2 * math.pi / STRIPE_PERIOD * (math.cos(across) * x + math.sin(across) * y)
        image += conditions.anomaly.amplitude * noise * np.sin(phase)
    image += _light(conditions, shape, corner, extent, noise, rng)
    image = rng.poisson(np.maximum(image, 0)).astype(np.float64)
    image += READ_NOISE * rng.standard_normal(shape, dtype=np.float32)
    _add_cosmic_rays(image, rng)
    counts: Doubles = np.clip(np.rint(image), 0, SATURATION)
    return counts


def _light(
    conditions: Conditions,
    shape: tuple[int, int],
    corner: tuple[float, float],
    extent: float,
    noise: float,
    rng: np.random.Generator,
) -> FloatImage:
    """The light of stars and galaxies."""
    galsim = galsim_module()
    ny, nx = shape
    area = conditions.density * (nx + 2 * MARGIN) * (ny + 2 * MARGIN)
    n_stars, n_galaxies = rng.poisson(STAR_DENSITY * area), rng.poisson(GALAXY_DENSITY * area)
    n = n_stars + n_galaxies
    stars = _fluxes(n_stars, STAR_FLUX, STAR_SLOPE, rng)
    flux = np.append(stars, _fluxes(n_galaxies, GALAXY_FLUX, GALAXY_SLOPE, rng))
    x, y = rng.uniform(-MARGIN, nx + MARGIN, n), rng.uniform(-MARGIN, ny + MARGIN, n)
    radius = np.exp(rng.normal(math.log(1.8), 0.35, n))
    disc_g, disc_axis = np.minimum(rng.rayleigh(0.2, n), 0.7), rng.uniform(0, 180, n)
    field = np.stack((np.ones(n), (corner[0] + x) / extent, (corner[1] + y) / extent), axis=1)
    g = field @ conditions.shear

    # The Moffat is the effective PSF, the pixel's own width included: nothing is convolved with a pixel again.
    accuracy = galsim.GSParams(folding_threshold=2e-2, maxk_threshold=1e-2, kvalue_accuracy=1e-3)
    moffat = galsim.Moffat(beta=MOFFAT_BETA, fwhm=conditions.fwhm, gsparams=accuracy)
    elongation = galsim.Shear()
    if conditions.anomaly.name == "elongation":
        elongation = galsim.Shear(g=conditions.anomaly.amplitude, beta=conditions.anomaly.direction * galsim.degrees)
    canvas = galsim.ImageF(nx, ny, xmin=0, ymin=0)
    for i in range(n):
        profile = moffat.shear(elongation + galsim.Shear(g1=g[i, 0], g2=g[i, 1]))
        if i < n_stars:
            reach = _reach(flux[i], conditions.fwhm, 0.1 * noise)
        else:
            disc = galsim.Exponential(half_light_radius=radius[i], gsparams=accuracy)
            disc = disc.shear(g=disc_g[i], beta=disc_axis[i] * galsim.degrees)
            profile, reach = galsim.Convolve(disc, profile), GALAXY_REACH
        middle = galsim.PositionD(x[i], y[i])
        bounds = galsim.BoundsI(middle.round()).withBorder(reach) & canvas.bounds
        if bounds.isDefined():
            profile.withFlux(flux[i]).drawImage(
                image=canvas[bounds], center=middle, method="no_pixel", add_to_image=True
            )
    light: FloatImage = canvas.array
    return light


def _reach(flux: float, fwhm: float, faintest: float) -> int:
    """How far a star is drawn: to where its profile falls to `faintest`, with room for elongation."""
    scale = fwhm / (2 * math.sqrt(2 ** (1 / MOFFAT_BETA) - 1))
    peak = flux * (MOFFAT_BETA - 1) / (math.pi * scale**2)
    return math.ceil(1.3 * scale * math.sqrt(max((peak / faintest) ** (1 / MOFFAT_BETA) - 1, 1)))


def _fluxes(n: int, limits: tuple[float, float], slope: float, rng: np.random.Generator) -> Doubles:
    """Fluxes of a power law N(> flux) ~ flux^-slope between the limits."""
    low, high = (limit**-slope for limit in limits)
    fluxes: Doubles = (low - rng.random(n) * (low - high)) ** (-1 / slope)
    return fluxes


def _add_cosmic_rays(image: Doubles, rng: np.random.Generator) -> None:
    """Short straight tracks of any direction, one pixel wide."""
    ny, nx = image.shape
    for _ in range(rng.poisson(COSMIC_RAY_DENSITY * image.size)):
        steps, angle = np.arange(0, rng.uniform(2, 15), 0.5), rng.uniform(0, math.pi)
        x = np.rint(rng.uniform(0, nx) + steps * math.cos(angle)).astype(np.int64)
        y = np.rint(rng.uniform(0, ny) + steps * math.sin(angle)).astype(np.int64)
        inside = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
        image[y[inside], x[inside]] += rng.uniform(500, 3000)


def galsim_module() -> Any:
    """GalSim, an optional dependency.

    Raises
    ------
    GpuanomError
        When it is not installed.
    """
    try:
        import galsim
    except ImportError:
        raise GpuanomError("simulating a night needs GalSim: pip install 'gpuanom[simulate]'") from None
    return galsim
