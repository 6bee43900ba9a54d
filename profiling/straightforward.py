"""The whole method on one CCD as one would write it at first: SciPy filters over the full image.

This version is correct, and `bench_ccd.py` measures the package against it. It uses the package's random points, so
that its histograms can be compared with the package's. There are no masks: every pixel is usable.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from gpuanom import sampling
from gpuanom.backends.cpu.points import points


def drawn(seed, exposure, ccd, purpose, n, shape, margin=0):
    """y and x of random points of a CCD."""
    return points(sampling.keys(seed, [exposure], [ccd], purpose), n, *shape, margin)[0].T


def polynomial_terms(y, x, shape):
    X, Y = 2 * x / (shape[1] - 1) - 1, 2 * y / (shape[0] - 1) - 1
    return np.stack([np.ones_like(X), X, Y, X * X, X * Y, Y * Y], axis=-1)


def subtract_background(image, seed, exposure, ccd):
    """The image in float64 minus its second-order polynomial, and the noise."""
    y, x = drawn(seed, exposure, ccd, "background", 1000, image.shape)
    values = image[y, x].astype(np.float64)
    order = np.argsort(values, kind="stable")[100:900]
    coefficients, *_ = np.linalg.lstsq(polynomial_terms(y[order], x[order], image.shape), values[order], rcond=None)
    rows, columns = np.arange(image.shape[0])[:, None], np.arange(image.shape[1])[None, :]
    X, Y = 2 * columns / (image.shape[1] - 1) - 1, 2 * rows / (image.shape[0] - 1) - 1
    c = coefficients
    flat = image.astype(np.float64) - (c[0] + c[1] * X + c[2] * Y + c[3] * X * X + c[4] * X * Y + c[5] * Y * Y)
    y, x = drawn(seed, exposure, ccd, "sigma", 10_000, image.shape)
    residuals = flat[y, x]
    return flat, coefficients, 1.4826 * np.median(np.abs(residuals - np.median(residuals)))


def find_sources(flat, sigma):
    """(y, x) of pixels above 4 sigma that are the brightest of their 64 x 64 stamp, with more than 6 above 2 sigma."""
    # A window of even size reaches from y - 32 to y + 31, which is also SciPy's convention.
    brightest = (flat == ndimage.maximum_filter(flat, size=64, mode="constant", cval=np.inf)) & (flat > 4 * sigma)
    found = []
    for y, x in zip(*np.nonzero(brightest), strict=True):
        stamp = flat[y - 32 : y + 32, x - 32 : x + 32]
        first = np.argmax(stamp) == 32 * 64 + 32
        if first and np.count_nonzero(stamp > 2 * sigma) > 6:
            found.append((y, x))
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def orient(stamp, chosen):
    """Orientation of the light of the chosen pixels about the centre of the stamp."""
    dy, dx = np.mgrid[-32:32, -32:32]
    light = np.where(chosen, stamp, 0.0)
    q20, q02, q11 = (light * dx * dx).sum(), (light * dy * dy).sum(), (light * dx * dy).sum()
    if q20 + q02 == 0 or (q20 == q02 and q11 == 0):
        return np.nan
    theta = np.arctan2(2 * q11, q20 - q02) / 2
    return np.pi / 2 if theta == -np.pi / 2 else theta


def source_orientations(flat, sigma, found):
    """Orientations from the whole stamps, and from the isophotes of the sources."""
    over_stamp, over_isophote = [], []
    for y, x in found:
        stamp = flat[y - 32 : y + 32, x - 32 : x + 32]
        floor = 0.02 * stamp[32, 32]
        over_stamp.append(orient(stamp, stamp > floor))
        labels, _ = ndimage.label(stamp > max(floor, 2 * sigma))
        isophote = labels == labels[32, 32]
        over_isophote.append(orient(stamp, isophote) if np.count_nonzero(isophote) >= 5 else np.nan)
    return np.array(over_stamp), np.array(over_isophote)


def gradient_images(image):
    """Smoothed gradients Dx, Dy at every pixel (eqs. 6 and 7)."""
    smoothed = ndimage.uniform_filter(image, 10, output=np.float64)
    taps = np.array([-1 / 5, -1 / 4, -1 / 3, -1 / 2, -1, 0, 1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]) / 2
    ones = np.ones(11)
    dx = ndimage.correlate1d(ndimage.correlate1d(smoothed, taps, axis=1), ones, axis=0)
    dy = ndimage.correlate1d(ndimage.correlate1d(smoothed, taps, axis=0), ones, axis=1)
    return dx, dy


def gradient_orientations(image, coefficients, seed, exposure, ccd):
    """Orientations of the gradients, with and without the gradient of the polynomial."""
    dx, dy = gradient_images(image)
    y, x = drawn(seed, exposure, ccd, "gradients", 10_000, image.shape, 10)
    dx, dy = dx[y, x], dy[y, x]
    # The polynomial is of second order, so that the sums over the smoothed polynomial are 55 times its slope half a
    # pixel to the lower left of the point (a mean of 10 pixels from -5 to 4 is centred on -1/2).
    ny, nx = image.shape
    X, Y = 2 * (x - 0.5) / (nx - 1) - 1, 2 * (y - 0.5) / (ny - 1) - 1
    _, c1, c2, c3, c4, c5 = coefficients
    flat_dx = dx - 55 * (c1 + 2 * c3 * X + c4 * Y) * 2 / (nx - 1)
    flat_dy = dy - 55 * (c2 + c4 * X + 2 * c5 * Y) * 2 / (ny - 1)
    return _slope_angle(dx, dy), _slope_angle(flat_dx, flat_dy)


def _slope_angle(dx, dy):
    with np.errstate(divide="ignore", invalid="ignore"):
        theta = np.arctan(dy / dx)
    return np.where(theta == -np.pi / 2, np.pi / 2, theta)


def histogram(theta, bins=18):
    theta = theta[np.isfinite(theta)]
    return np.bincount(np.ceil(bins * (theta / np.pi + 0.5)).astype(np.int64) - 1, minlength=bins)


def measure(image, seed=1, exposure="memory", ccd="1"):
    """The four histograms in the package's order, and (y, x) of the sources."""
    flat, coefficients, sigma = subtract_background(image, seed, exposure, ccd)
    found = find_sources(flat, sigma)
    over_stamp, over_isophote = source_orientations(flat, sigma, found)
    gradients, flat_gradients = gradient_orientations(image, coefficients, seed, exposure, ccd)
    return np.stack([histogram(t) for t in (over_stamp, over_isophote, gradients, flat_gradients)]), found
