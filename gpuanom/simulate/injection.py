"""An anomaly put into a simulated scene that has no noise yet, or into a real image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from gpuanom.records import Doubles
from gpuanom.simulate import optics
from gpuanom.simulate.conditions import Anomaly, CcdPlace
from gpuanom.simulate.injectors import INJECTORS, Injector, complete, shows

BOX = 64
"""Side of the boxes whose medians are a real image's sky, in pixels."""


def act_on_scene(
    sky: Doubles, light: Doubles, anomaly: Anomaly, place: CcdPlace, *, noise: float, fwhm: float, drawn: bool = False
) -> tuple[Doubles, Doubles]:
    """Put an anomaly into a scene that has no noise yet.

    Parameters
    ----------
    sky, light : ndarray, (ny, nx) float64
        Expected electrons of the sky, and of the sources.
    anomaly : Anomaly
    place : CcdPlace
    noise : float
        Noise of a pixel of the sky, in electrons: the unit of patterns.
    fwhm : float
        FWHM of the PSF, in pixels.
    drawn : bool, optional
        Whether the sources were drawn with the anomaly's shear already; no matter for classes without a `shear`.

    Returns
    -------
    sky, light : ndarray, (ny, nx) float64
        Expected electrons with the anomaly.
    """
    if anomaly.name == "none" or not shows(anomaly, place):
        return sky, light
    anomaly, injector = complete(anomaly), INJECTORS[anomaly.name]
    if injector.spread:
        if not (injector.shear and drawn):
            light = _in_parts(injector, anomaly, place, fwhm, lambda spread: optics.convolved(light, spread))
    elif injector.pattern:
        sky = sky + anomaly.amplitude * noise * injector.pattern(anomaly, place)
    elif injector.shade:
        left = 1 - anomaly.amplitude * injector.shade(anomaly, place)
        sky, light = sky * left, light * left
    elif injector.dim:
        light = injector.dim(light, anomaly.amplitude)
    elif injector.echo:
        light = light + anomaly.amplitude * injector.echo(light)
    elif injector.brightens:
        sky = sky * (1 + anomaly.amplitude)
    return sky, light


def inject(image: Doubles, anomaly: Anomaly, place: CcdPlace, *, fwhm: float, rng: np.random.Generator) -> Doubles:
    """Put an anomaly into an image that has noise; the noise of its sky is kept.

    Convolutions and clouds reduce the noise, and white noise is added in its place (see `optics.convolved_image`). A
    shadow reduces the light and its shot noise, where all noise is taken to be shot noise of the sky. Patterns add no
    noise, which is right while they are faint compared with the sky; a bright sky adds its shot noise.

    Parameters
    ----------
    image : ndarray, (ny, nx) floating
        In any linear unit; pixels that are not finite stay as they are.
    anomaly : Anomaly
    place : CcdPlace
        Where the CCD lies.
    fwhm : float
        FWHM of the image's stars, in pixels; a shear depends on it.
    rng : Generator
        Random numbers for the noise.

    Returns
    -------
    ndarray, (ny, nx) float64
    """
    if anomaly.name == "none" or not shows(anomaly, place):
        return np.array(image, dtype=np.float64)
    anomaly, injector = complete(anomaly), INJECTORS[anomaly.name]
    good = np.isfinite(image)
    sky, sigma = sky_of(image)
    filled = np.where(good, image, sky)
    if injector.spread:
        result = _in_parts(
            injector, anomaly, place, fwhm, lambda spread: optics.convolved_image(filled, spread, sigma, rng)
        )
    elif injector.pattern:
        result = filled + anomaly.amplitude * sigma * injector.pattern(anomaly, place)
    elif injector.shade:
        left = 1 - anomaly.amplitude * injector.shade(anomaly, place)
        # Shot noise of the light that is left has the variance `left`; the image's own, dimmed, has left^2.
        result = filled * left + sigma * np.sqrt(left - left**2) * rng.standard_normal(filled.shape)
    elif injector.echo:
        result = filled + anomaly.amplitude * injector.echo(filled - sky)
    elif injector.brightens:
        # Shot noise of the light that is added, where all noise is taken to be shot noise of the sky.
        added = sigma * math.sqrt(anomaly.amplitude) * rng.standard_normal(filled.shape)
        result = filled + anomaly.amplitude * sky + added
    else:
        assert injector.dim is not None
        # What is dimmed loses noise with its light.
        lost = sigma * math.sqrt(1 - (1 - anomaly.amplitude) ** 2)
        result = sky + injector.dim(filled - sky, anomaly.amplitude) + lost * rng.standard_normal(filled.shape)
    return np.where(good, result, image)


def sky_of(image: Doubles) -> tuple[Doubles, float]:
    """The sky of a real image, from medians of boxes, and the noise about it.

    Returns
    -------
    sky : ndarray, (ny, nx) float64
    sigma : float
        1.4826 times the median of absolute differences.
    """
    ny, nx = image.shape
    rows, columns = max(1, ny // BOX), max(1, nx // BOX)
    finite = np.where(np.isfinite(image), image, np.nan)
    if not np.isfinite(finite).any():
        return np.zeros((ny, nx)), 0.0
    whole = float(np.nanmedian(finite))
    medians = np.empty((rows, columns))
    for i, band in enumerate(np.array_split(finite, rows)):
        for j, box in enumerate(np.array_split(band, columns, axis=1)):
            known = box[np.isfinite(box)]
            medians[i, j] = np.median(known) if known.size else whole
    y, x = np.meshgrid(
        (np.arange(ny) + 0.5) * rows / ny - 0.5, (np.arange(nx) + 0.5) * columns / nx - 0.5, indexing="ij"
    )
    sky = ndimage.map_coordinates(medians, (y, x), order=1, mode="nearest")
    return sky, 1.4826 * float(np.nanmedian(np.abs(finite - sky)))


def _in_parts(
    injector: Injector, anomaly: Anomaly, place: CcdPlace, fwhm: float, convolved: Callable[[Doubles], Doubles]
) -> Doubles:
    """A whole CCD convolved: with one kernel, or quarter by quarter where the kernel changes over the CCD.

    One kernel of the CCD's middle would leave a CCD in the middle of the field without any astigmatism.
    """
    assert injector.spread is not None
    if not injector.varies:
        return convolved(optics.kernel(injector.spread(anomaly, place, fwhm)))
    result = np.empty(place.shape)
    for rows in _halves(place.shape[0]):
        for columns in _halves(place.shape[1]):
            corner = place.corner[0] + columns.start, place.corner[1] + rows.start
            part = replace(place, shape=(rows.stop - rows.start, columns.stop - columns.start), corner=corner)
            result[rows, columns] = convolved(optics.kernel(injector.spread(anomaly, part, fwhm)))[rows, columns]
    return result


def _halves(n: int) -> tuple[slice, slice]:
    return slice(0, n // 2), slice(n // 2, n)
