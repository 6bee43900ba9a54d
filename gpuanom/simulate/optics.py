"""Spread functions: what guiding, focus and optics make of a point, and images convolved with it.

A spread function is a list of points about its centroid, (n, 3) float64: x, y in pixels, and their weight. It becomes
a kernel by dealing each point's weight to its four nearest pixels, which adds less than half a pixel to its width. Some
depend on the FWHM of the stars, in pixels, and on where the CCD lies. Positions in the field run from -1 to 1 over the
longer side of the focal plane.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import fft
from scipy.special import ndtri

from gpuanom.records import Doubles
from gpuanom.simulate.conditions import Anomaly, CcdPlace

SAMPLES = 64
"""Points along a line, or across a disc."""

GAUSSIAN_FWHM = 2.355
"""In standard deviations: stars are taken as Gaussians where a shear becomes a kernel."""


def elongation(anomaly: Anomaly, _place: CcdPlace, fwhm: float) -> Doubles:
    """A Gaussian line that gives round stars of this FWHM the axis ratio (1 - shear) / (1 + shear)."""
    return _gaussian_line(anomaly.amplitude, anomaly.direction, fwhm)


def astigmatism(anomaly: Anomaly, place: CcdPlace, fwhm: float) -> Doubles:
    """Radial elongation that grows with the square of the distance from the field's centre, at a place's middle."""
    x, y = place.centre
    shear = anomaly.amplitude * (x * x + y * y) / place.extent**2
    return _gaussian_line(min(shear, 0.9), math.degrees(math.atan2(y, x)), fwhm)


def tilt(anomaly: Anomaly, place: CcdPlace, fwhm: float) -> Doubles:
    """Elongation of a tilted focal plane: along the direction on one side of the field and across it on the other.

    The elongation grows in proportion to the distance from the field's centre along the direction, at a place's
    middle. The sources grow wider with it.
    """
    x, y = place.centre
    along = math.radians(anomaly.direction)
    shear = anomaly.amplitude * (math.cos(along) * x + math.sin(along) * y) / place.extent
    return _gaussian_line(min(abs(shear), 0.9), anomaly.direction + (90 if shear < 0 else 0), fwhm)


def elongation_shear(anomaly: Anomaly, _x: float, _y: float) -> tuple[float, float]:
    """Shear of the PSF, and its direction in radians, at a field position."""
    return anomaly.amplitude, math.radians(anomaly.direction)


def astigmatism_shear(anomaly: Anomaly, x: float, y: float) -> tuple[float, float]:
    """Shear of the PSF, and its direction in radians, at a field position."""
    return min(anomaly.amplitude * (x * x + y * y), 0.9), math.atan2(y, x)


def guiding(anomaly: Anomaly) -> Doubles:
    """A drift at constant speed: a line of this length."""
    t = np.linspace(-0.5, 0.5, SAMPLES) * anomaly.amplitude
    return _turned(t, np.zeros_like(t), anomaly.direction)


def focus(anomaly: Anomaly) -> Doubles:
    """Near an astigmatic focus: an even ellipse of this length, half as wide."""
    u, v = _disc()
    return _turned(u * anomaly.amplitude / 2, v * anomaly.amplitude / 4, anomaly.direction)


def coma(anomaly: Anomaly) -> Doubles:
    """Third-order coma of a tilted mirror, the same all over the field: a comet of this length."""
    rho, phi = np.meshgrid(np.sqrt((np.arange(12) + 0.5) / 12), 2 * np.pi * np.arange(24) / 24)
    scale = anomaly.amplitude / 3  # the rim's circle reaches from 1 to 3
    u, v = scale * rho**2 * (2 + np.cos(2 * phi)), scale * rho**2 * np.sin(2 * phi)
    return _turned(u.ravel(), v.ravel(), anomaly.direction)


def double(anomaly: Anomaly) -> Doubles:
    """The telescope jumped: two images of 60 and 40% of the light, so far apart."""
    t = np.array([0.0, anomaly.amplitude])
    return _turned(t, np.zeros(2), anomaly.direction, np.array([0.6, 0.4]))


def repeats(anomaly: Anomaly) -> Doubles:
    """The telescope moved far and stayed: two images, as far apart as the anomaly's size."""
    t = np.array([0.0, anomaly.size])
    return _turned(t, np.zeros(2), anomaly.direction, np.array([1 - anomaly.amplitude, anomaly.amplitude]))


def multiple(anomaly: Anomaly) -> Doubles:
    """The telescope jumped thrice: four images on a zigzag, so far apart along its axis."""
    return _turned(
        anomaly.amplitude * np.arange(4.0),
        anomaly.amplitude * np.array([0.0, 0.5, -0.3, 0.2]),
        anomaly.direction,
        np.array([0.35, 0.3, 0.2, 0.15]),
    )


def donut(anomaly: Anomaly) -> Doubles:
    """Far out of focus: an even ring of this outer diameter, its hole (the secondary mirror) 0.4 of it."""
    u, v = _disc()
    lit = np.hypot(u, v) > 0.4
    return _turned(u[lit] * anomaly.amplitude / 2, v[lit] * anomaly.amplitude / 2, 0.0)


def kernel(points: Doubles) -> Doubles:
    """The kernel of a spread function.

    Parameters
    ----------
    points : ndarray, (n, 3) float64
        x, y in pixels, weight.

    Returns
    -------
    ndarray, (2 r + 1, 2 r + 1) float64
        Indexed [y, x], its sum 1, its centroid in the middle.
    """
    weight = points[:, 2] / points[:, 2].sum()
    x, y = (points[:, i] - (weight * points[:, i]).sum() for i in (0, 1))
    reach = math.ceil(max(np.abs(x).max(), np.abs(y).max())) + 1
    grid = np.zeros((2 * reach + 1, 2 * reach + 1))
    x0, y0 = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = x - x0, y - y0
    for dy, dx, share in ((0, 0, (1 - fx) * (1 - fy)), (0, 1, fx * (1 - fy)), (1, 0, (1 - fx) * fy), (1, 1, fx * fy)):
        np.add.at(grid, (y0 + dy + reach, x0 + dx + reach), weight * share)
    return grid


def convolved(light: Doubles, spread: Doubles) -> Doubles:
    """Light convolved with a kernel; nothing shines in from outside.

    Parameters
    ----------
    light : ndarray, (ny, nx) float64
        Without noise.
    spread : ndarray, (2 r + 1, 2 r + 1) float64

    Returns
    -------
    ndarray, (ny, nx) float64
    """
    reach = spread.shape[0] // 2
    return _filtered(np.pad(light, reach), spread, None)[reach:-reach, reach:-reach]


def convolved_image(image: Doubles, spread: Doubles, sigma: float, rng: np.random.Generator) -> Doubles:
    """An image that has noise already, convolved with a kernel, its noise restored.

    A convolution takes the power |K(f)|^2 of the kernel off white noise, and leaves the noise correlated along the
    kernel: orientations would follow that rather than the sources. Noise of the missing power, sigma^2 (1 - |K|^2),
    is added, so that white noise stays white and of the same sigma. That of bright sources is not restored.

    Parameters
    ----------
    image : ndarray, (ny, nx) float64
        Finite; mirrored at its edges.
    spread : ndarray, (2 r + 1, 2 r + 1) float64
    sigma : float
        Noise of a pixel.
    rng : Generator

    Returns
    -------
    ndarray, (ny, nx) float64
    """
    reach = min(spread.shape[0] // 2, min(image.shape) - 1)
    padded = np.pad(image, reach, mode="reflect")
    noise = sigma * rng.standard_normal(padded.shape)
    return _filtered(padded, spread, noise)[reach:-reach, reach:-reach]


def _filtered(padded: Doubles, spread: Doubles, noise: Doubles | None) -> Doubles:
    shape = [fft.next_fast_len(n, real=True) for n in padded.shape]
    reach = spread.shape[0] // 2
    whole = np.zeros(shape)
    whole[: spread.shape[0], : spread.shape[1]] = spread
    response = fft.rfft2(np.roll(whole, (-reach, -reach), axis=(0, 1)))
    spectrum = fft.rfft2(padded, shape) * response
    if noise is not None:
        spectrum += fft.rfft2(noise, shape) * np.sqrt(np.maximum(1 - np.abs(response) ** 2, 0))
    result: Doubles = fft.irfft2(spectrum, shape)[: padded.shape[0], : padded.shape[1]]
    return result


def _gaussian_line(shear: float, direction: float, fwhm: float) -> Doubles:
    ratio = (1 + shear) / (1 - shear)
    t = ndtri((np.arange(SAMPLES) + 0.5) / SAMPLES) * fwhm / GAUSSIAN_FWHM * math.sqrt(ratio**2 - 1)
    return _turned(t, np.zeros_like(t), direction)


def _disc() -> tuple[Doubles, Doubles]:
    """Points of an even disc of radius 1."""
    u, v = np.meshgrid(*2 * (np.linspace(-1, 1, SAMPLES),))
    inside = np.hypot(u, v) <= 1
    return u[inside], v[inside]


def _turned(u: Doubles, v: Doubles, direction: float, weight: Doubles | None = None) -> Doubles:
    c, s = math.cos(math.radians(direction)), math.sin(math.radians(direction))
    return np.stack((c * u - s * v, s * u + c * v, np.ones_like(u) if weight is None else weight), axis=1)
