"""Background and noise of each CCD, the twin of kernels/background.cu (METHOD.md 1)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from gpuanom.backends.cpu import polynomial
from gpuanom.records import Background, CcdStack, Doubles, FloatImage, Unfit
from gpuanom.settings import Settings, decimal

CONSTANT = 2.0**-22
"""sigma at most this share of the median |I| is rounding, not noise (METHOD.md 1.4)."""


def background(
    stack: CcdStack, fit_points: npt.NDArray[np.int32], sigma_points: npt.NDArray[np.int32], settings: Settings
) -> Background:
    """See `gpuanom.backends.protocol.Backend.background`."""
    n_ccd, ny, nx = stack.shape
    coefficients = np.full((n_ccd, 6), np.nan)
    sigma = np.full(n_ccd, np.nan)
    n_points = np.zeros(n_ccd, dtype=np.int64)
    n_sigma_points = np.zeros(n_ccd, dtype=np.int64)
    for i in range(n_ccd):
        image, bad = stack.images[i], None if stack.bad is None else stack.bad[i]
        fit_y, fit_x, fit_values = _usable(image, bad, fit_points[i], settings.background_points)
        y, x, values = _usable(image, bad, sigma_points[i], settings.sigma_points)
        n_points[i], n_sigma_points[i] = fit_values.size, values.size
        if min(fit_values.size, values.size) < settings.minimum_points:
            continue
        c = _fit(fit_y, fit_x, fit_values, ny, nx, settings.clip_fraction)
        if c is None:
            continue
        residual = values - polynomial.evaluate(c, polynomial.scaled(y, ny), polynomial.scaled(x, nx))
        noise = 1.4826 * float(np.median(np.abs(residual - np.median(residual))))
        if np.isfinite(noise) and noise > CONSTANT * float(np.median(np.abs(values))):
            coefficients[i], sigma[i] = c, noise
    return Background(coefficients, sigma, n_points, n_sigma_points, np.isfinite(sigma))


def _usable(
    image: FloatImage, bad: npt.NDArray[np.uint8] | None, drawn: npt.NDArray[np.int32], wanted: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Doubles]:
    """The first `wanted` drawn points on usable pixels: y, x and float64 values, in draw order."""
    for count in (wanted, len(drawn)):
        y, x = drawn[:count, 0], drawn[:count, 1]
        values = image[y, x].astype(np.float64)
        good = np.isfinite(values)
        if bad is not None:
            good &= (bad[y, x] & Unfit.BACKGROUND) == 0
        if good.all():
            return y, x, values
    kept = np.flatnonzero(good)[:wanted]
    return y[kept], x[kept], values[kept]


def _fit(
    y: npt.NDArray[np.int32], x: npt.NDArray[np.int32], values: Doubles, ny: int, nx: int, clip_fraction: float
) -> Doubles | None:
    """Clipped least-squares coefficients; None when the points do not determine them (all on a line, say).

    The normal equations are summed without BLAS, whose order of summation may depend on its thread count.
    """
    clipped = math.floor(decimal(clip_fraction) * values.size)
    kept = np.argsort(values, kind="stable")[clipped : values.size - clipped]
    Y, X = polynomial.scaled(y[kept], ny), polynomial.scaled(x[kept], nx)
    terms = np.stack([np.ones_like(X), X, Y, X * X, X * Y, Y * Y], axis=1)
    # Fitting around a middle value keeps the right-hand side small and its rounding with it.
    pivot = values[kept[kept.size // 2]]
    matrix = (terms[:, :, None] * terms[:, None, :]).sum(axis=0)
    right = (terms * (values[kept] - pivot)[:, None]).sum(axis=0)
    # The scaled coordinates lie in -1 ... 1, so a well-spread draw has a condition number near 30.
    if not np.linalg.cond(matrix) < 1e12:
        return None
    c: Doubles = np.linalg.solve(matrix, right)
    c[0] += pivot
    return c
