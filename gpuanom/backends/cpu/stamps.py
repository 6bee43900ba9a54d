"""Normalised stamps for the autoencoder, the twin of kernels/stamps.cu (METHOD.md 7)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numba import types

from gpuanom.backends.cpu import polynomial
from gpuanom.backends.cpu.pixels import DOUBLES, IMAGE, MASK, NO_MASK, PIXELS, UNFIT, fill_row
from gpuanom.native import doubles, native
from gpuanom.records import Background, CcdStack, FloatImage, Sources
from gpuanom.settings import Settings


def stamps(stack: CcdStack, background: Background, sources: Sources, settings: Settings) -> FloatImage:
    """See `gpuanom.backends.protocol.Backend.stamps`."""
    _, ny, nx = stack.shape
    size = settings.stamp_size
    result = np.empty((sources.y.size, size, size), dtype=np.float32)
    bounds = np.searchsorted(sources.ccd, np.arange(stack.shape[0] + 1)).tolist()
    for i, (start, end) in enumerate(pairwise(bounds)):
        if start == end:
            continue
        bad = NO_MASK if stack.bad is None else stack.bad[i]
        terms = polynomial.terms(background.coefficients[i], ny, nx)
        y, x, value = sources.y[start:end], sources.x[start:end], sources.value[start:end]
        cut_stamps(stack.images[i], bad, *terms, y * nx + x, value, result[start:end])
    return result


@native(
    types.void(IMAGE, MASK, DOUBLES, DOUBLES, DOUBLES, DOUBLES, PIXELS, DOUBLES, types.Array(types.float32, 3, "C"))
)
def cut_stamps(
    image: Any, bad: Any, offset: Any, slope: Any, across: Any, bend: Any, at: Any, value: Any, out: Any
) -> None:
    """Fill `out`, (n, size, size), with v over `value` around the pixels y nx + x; 0 where a pixel is unusable."""
    nx, size = image.shape[1], out.shape[1]
    row = doubles(size)
    for k in range(len(at)):
        y0, x0 = at[k] // nx - size // 2, at[k] % nx - size // 2
        for i in range(size):
            fill_row(image, bad, offset, slope, across, bend, y0 + i, x0, row)
            for j in range(size):
                out[k, i, j] = np.float32(0.0 if row[j] == UNFIT else row[j] / value[k])
