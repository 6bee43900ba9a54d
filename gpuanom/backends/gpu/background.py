"""Background and noise of each CCD: launches kernels/background.cu (METHOD.md 1)."""

from __future__ import annotations

from functools import lru_cache

import cupy
import numpy as np
import numpy.typing as npt

from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.records import Array, Background, CcdStack
from gpuanom.settings import Settings, decimal

FIT = Kernel("background", "background_fit")
THREADS = 512


def background(stack: CcdStack, fit_points: Array, sigma_points: Array, settings: Settings) -> Background:
    """See `gpuanom.backends.protocol.Backend.background`."""
    n_ccd, ny, nx = stack.shape
    n_fit, n_sigma = settings.background_points, settings.sigma_points
    scratch = (n_ccd, max(n_fit, n_sigma))
    result = Background(
        coefficients=cupy.empty((n_ccd, 6), np.float64),
        sigma=cupy.empty(n_ccd, np.float64),
        n_points=cupy.empty(n_ccd, np.int64),
        n_sigma_points=cupy.empty(n_ccd, np.int64),
        usable=cupy.empty(n_ccd, np.bool_),
    )
    # A block takes a CCD: every step of the fit waits for the one before, and none has work for more than a block.
    FIT(
        (n_ccd,),
        (THREADS,),
        stack.images,
        stack.bad,
        cupy.asarray(fit_points),
        cupy.asarray(sigma_points),
        cupy.asarray(_clipped(settings.clip_fraction, n_fit)),
        fit_points.shape[1],
        sigma_points.shape[1],
        n_fit,
        n_sigma,
        settings.minimum_points,
        ny,
        nx,
        cupy.empty(scratch, np.int32),
        cupy.empty(scratch, np.float32),
        cupy.empty(scratch, np.uint64),
        result.coefficients,
        result.sigma,
        result.n_points,
        result.n_sigma_points,
        result.usable,
    )
    return result


@lru_cache(maxsize=8)
def _clipped(fraction: float, most: int) -> npt.NDArray[np.int32]:
    """floor(fraction n) for n = 0 ... most, of the fraction as the decimal number that it was written as."""
    share = decimal(fraction)
    counts = (n * share.numerator // share.denominator for n in range(most + 1))
    return np.fromiter(counts, dtype=np.int32, count=most + 1)
