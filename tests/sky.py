"""Synthetic CCDs with known truth. Everything is seeded, and `make` returns read-only float32 images.

Light is added to float64 images at (y, x), which may lie between pixels. Angles are those of METHOD.md, from +x toward
+y.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable

import numpy as np

from tests.remembered import remembered

Layer = Callable[[np.ndarray], None]


def frozen(array, dtype=None):
    """A read-only copy, C-contiguous."""
    copy = np.array(array, dtype=dtype, order="C")
    copy.setflags(write=False)
    return copy


def make(ny, nx, *layers: Layer, sky=1000.0, noise=0.0, seed=0, dtype=np.float32):
    """A CCD: a flat sky, the layers, and white noise."""
    image = np.full((ny, nx), float(sky))
    for layer in layers:
        layer(image)
    if noise:
        image += np.random.default_rng(seed).normal(0.0, noise, image.shape)
    return frozen(image, dtype)


def grids(image):
    """(y, x) of every pixel, float64."""
    ny, nx = image.shape
    return np.arange(ny, dtype=float)[:, None], np.arange(nx, dtype=float)[None, :]


def polynomial(*coefficients) -> Layer:
    """A sky of the terms 1, X, Y, X^2, XY, Y^2 with coordinates from -1 to 1 along both axes."""

    def add(image):
        y, x = grids(image)
        ny, nx = image.shape
        X, Y = 2 * x / (nx - 1) - 1, 2 * y / (ny - 1) - 1
        for c, term in zip(coefficients, (np.ones_like(X * Y), X, Y, X * X, X * Y, Y * Y), strict=False):
            image += c * term

    return add


def plane(slope_x, slope_y) -> Layer:
    """A sky that rises by these slopes for each pixel."""

    def add(image):
        y, x = grids(image)
        image += slope_x * x + slope_y * y

    return add


def stripes(wavelength, degrees, amplitude) -> Layer:
    """A sine pattern whose gradient lies along an angle; the stripes themselves run perpendicular to that angle."""

    def add(image):
        y, x = grids(image)
        phase = x * math.cos(math.radians(degrees)) + y * math.sin(math.radians(degrees))
        image += amplitude * np.sin(2 * math.pi * phase / wavelength)

    return add


def _ellipse(image, y, x, degrees, ratio):
    """The squared elliptical radius: distance along the long axis, and distance across it divided by the axis ratio."""
    gy, gx = grids(image)
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    along, across = (gx - x) * c + (gy - y) * s, (gy - y) * c - (gx - x) * s
    return along**2 + (across / ratio) ** 2


def gaussian(y, x, peak, width=3.0, *, degrees=0.0, ratio=1.0) -> Layer:
    """A Gaussian star with standard deviation `width` along the long axis, and `ratio` times `width` across it."""

    def add(image):
        image += peak * np.exp(-0.5 * _ellipse(image, y, x, degrees, ratio) / width**2)

    return add


def moffat(y, x, peak, width=3.0, *, beta=2.5, degrees=0.0, ratio=1.0) -> Layer:
    """A Moffat star, which has the wings of atmospheric seeing."""

    def add(image):
        image += peak * (1 + _ellipse(image, y, x, degrees, ratio) / width**2) ** -beta

    return add


def double(y, x, peak, separation, degrees, width=2.0) -> Layer:
    """A star at (y, x) and a second, slightly fainter image of the star."""
    dy, dx = separation * math.sin(math.radians(degrees)), separation * math.cos(math.radians(degrees))

    def add(image):
        gaussian(y, x, peak, width)(image)
        gaussian(y + dy, x + dx, 0.8 * peak, width)(image)

    return add


def trail(y, x, degrees, peak, width=1.5) -> Layer:
    """A line of light through (y, x) across the whole CCD, like that of a satellite."""

    def add(image):
        gy, gx = grids(image)
        across = (gy - y) * math.cos(math.radians(degrees)) - (gx - x) * math.sin(math.radians(degrees))
        image += peak * np.exp(-0.5 * (across / width) ** 2)

    return add


def plateau(y, x, ny, nx, value) -> Layer:
    """A rectangle of one saturated value, whose first pixel is (y, x)."""

    def add(image):
        image[y : y + ny, x : x + nx] = value

    return add


def dots(pixels: Iterable[tuple[int, int, float]]) -> Layer:
    """Single pixels set to a value, as (y, x, value)."""

    def add(image):
        for y, x, value in pixels:
            image[y, x] = value

    return add


def stars(n, *, seed, peak=(30.0, 3000.0), width=2.0, degrees=None, ratio=0.7, margin=0) -> Layer:
    """Random Moffat stars; without `degrees` each star has a random angle."""

    def add(image):
        rng = np.random.default_rng(seed)
        ny, nx = image.shape
        for _ in range(n):
            y, x = rng.uniform(margin, ny - 1 - margin), rng.uniform(margin, nx - 1 - margin)
            height = math.exp(rng.uniform(math.log(peak[0]), math.log(peak[1])))
            angle = rng.uniform(-90, 90) if degrees is None else degrees
            moffat(y, x, height, width, degrees=angle, ratio=ratio)(image)

    return add


def specks(fraction, *, seed, values=(math.nan, math.inf, -math.inf, -500.0)) -> Layer:
    """Random pixels set to NaN, to infinities, and to the value of dead pixels."""

    def add(image):
        rng = np.random.default_rng(seed)
        y, x = np.nonzero(rng.random(image.shape) < fraction)
        image[y, x] = rng.choice(values, len(y))

    return add


def bad_plane(ny, nx, *, fraction, seed, bits=(1, 2, 4, 7)):
    """A random bad-pixel plane of `Unfit` bits, uint8, read-only."""
    rng = np.random.default_rng(seed)
    return frozen(np.where(rng.random((ny, nx)) < fraction, rng.choice(bits, (ny, nx)), 0), np.uint8)


@functools.lru_cache(maxsize=32)  # both backends and many tests look at the same skies, which are read-only
def night_sky(ny, nx, *, seed, n_stars=None, noise=8.0):
    """A busy CCD, see `_night_sky`."""
    return frozen(_night_sky(ny, nx, seed, n_stars, noise))


@functools.lru_cache(maxsize=4)
def crowded(ny, nx, *, seed, n_stars, noise=6.0):
    """A CCD full of stars on a sloping sky."""
    return frozen(_crowded(ny, nx, seed, n_stars, noise))


@remembered
def _crowded(ny, nx, seed, n_stars, noise):
    return make(ny, nx, polynomial(0, 30, 20, 4, 5, 6), stars(n_stars, seed=seed), noise=noise, seed=seed)


@remembered
def _night_sky(ny, nx, seed, n_stars, noise):
    """A busy CCD: sloping sky, stars, a double image, a faint trail, a saturated star, and dead, hot and NaN pixels."""
    rng = np.random.default_rng(seed)
    n = max(ny * nx // 3000, 4) if n_stars is None else n_stars
    return make(
        ny,
        nx,
        polynomial(0, 20, -10, 5, -3, 8),
        stars(n, seed=seed),
        double(rng.uniform(0, ny), rng.uniform(0, nx), 400, 9, rng.uniform(-90, 90)),
        trail(ny / 2, nx / 2, rng.uniform(-90, 90), 25),
        plateau(int(rng.integers(0, ny - 5)), int(rng.integers(0, nx - 4)), 5, 4, 30000.0),
        specks(3e-4, seed=seed + 1),
        specks(3e-5, seed=seed + 3, values=(60000.0,)),
        noise=noise,
        seed=seed + 2,
    )
