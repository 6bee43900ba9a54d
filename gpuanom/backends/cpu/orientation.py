"""Orientations of moments and gradients, the twin of kernels/orientation.cu (eqs. 4, 5, 8)."""

from __future__ import annotations

import numpy as np

from gpuanom.records import Doubles


def orientation(moments: Doubles) -> Doubles:
    """See `gpuanom.backends.protocol.Backend.orientation`."""
    q20, q02, q11 = moments[:, 0], moments[:, 1], moments[:, 2]
    with np.errstate(invalid="ignore", divide="ignore"):
        e1, e2 = (q20 - q02) / (q20 + q02), 2.0 * q11 / (q20 + q02)
        theta = 0.5 * np.arctan2(e2, e1)
    none = ~np.isfinite(e1) | ~np.isfinite(e2) | ((e1 == 0) & (e2 == 0))
    return np.where(none, np.nan, _upper(theta))


def gradient_orientation(dx: Doubles, dy: Doubles) -> Doubles:
    """See `gpuanom.backends.protocol.Backend.gradient_orientation`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        theta = np.arctan(dy / dx)
    return np.where((dx == 0) & (dy == 0), np.nan, _upper(theta))


def _upper(theta: Doubles) -> Doubles:
    """-pi/2 is counted as +pi/2 (METHOD.md 3)."""
    return np.where(theta == -np.pi / 2, np.pi / 2, theta)
