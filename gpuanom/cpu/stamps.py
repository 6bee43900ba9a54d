"""Normalised stamps for the autoencoder, the NumPy twin of kernels/stamps.cu (METHOD.md 7)."""

from __future__ import annotations

import numpy as np

from gpuanom.cpu.moments import UNFIT, stamp_values
from gpuanom.records import Background, CcdStack, FloatImage, Sources
from gpuanom.settings import Settings


def stamps(stack: CcdStack, background: Background, sources: Sources, settings: Settings) -> FloatImage:
    """See `gpuanom.backend.Backend.stamps`."""
    size = settings.stamp_size
    result = np.empty((sources.y.size, size, size), dtype=np.float32)
    for i in range(stack.shape[0]):
        mine = np.flatnonzero(sources.ccd == i)
        if not mine.size:
            continue
        bad = None if stack.bad is None else stack.bad[i]
        y, x = sources.y[mine], sources.x[mine]
        v, sky = np.empty((2, mine.size, size, size))
        stamp_values(stack.images[i], bad, True, background.coefficients[i], y, x, v, sky)
        result[mine] = np.where(v != UNFIT, v, 0.0) / sources.value[mine][:, None, None]
    return result
