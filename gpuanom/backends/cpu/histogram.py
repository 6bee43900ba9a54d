"""Orientation histograms of CCDs, the twin of kernels/histogram.cu (METHOD.md 5)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gpuanom.records import Doubles, Integers, OrientationHistograms, Turn


def histogram(orientation: Doubles, ccd: Integers, turns: npt.NDArray[np.int64], bins: int) -> OrientationHistograms:
    """See `gpuanom.backends.protocol.Backend.histogram`."""
    known = ~np.isnan(orientation)
    theta, owner = orientation[known], ccd[known]
    n_ccd = len(turns)
    theta = turned(theta, turns[owner])
    # bin = ceil(N (theta/pi + 1/2)) - 1; the clip only catches angles within rounding of -pi/2.
    which = np.clip(np.ceil(bins * (theta / np.pi + 0.5)).astype(np.int64) - 1, 0, bins - 1)
    counts = np.bincount(owner * bins + which, minlength=n_ccd * bins).reshape(n_ccd, bins)
    cosine = np.bincount(owner, np.cos(2.0 * theta), minlength=n_ccd)
    sine = np.bincount(owner, np.sin(2.0 * theta), minlength=n_ccd)
    return OrientationHistograms(counts, cosine, sine)


def turned(theta: Doubles, turn: npt.NDArray[np.int64]) -> Doubles:
    """Orientations in CCD axes brought to focal-plane axes, radians in (-pi/2, pi/2] (see `Turn`)."""
    if not turn.any():
        return theta
    theta = np.where(turn & Turn.MIRRORED, -theta, theta)
    theta = np.where(turn & Turn.QUARTER, theta + np.pi / 2, theta)
    theta = np.where(theta > np.pi / 2, theta - np.pi, theta)
    return np.where(theta <= -np.pi / 2, theta + np.pi, theta)
