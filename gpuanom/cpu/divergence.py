"""KL divergence of tables of histograms, the NumPy twin of kernels/divergence.cu (eq. 1)."""

from __future__ import annotations

import numpy as np
from scipy.special import rel_entr

from gpuanom.records import Doubles, Integers

ROWS_AT_ONCE = 1 << 14
"""Histograms worked on together: a few MB at 18 bins, so that a million of them need little memory."""


def divergence(counts: Integers, reference: Doubles) -> Doubles:
    """See `gpuanom.backend.Backend.divergence`."""
    result = np.full(len(counts), np.nan)
    for start in range(0, len(counts), ROWS_AT_ONCE):
        some = counts[start : start + ROWS_AT_ONCE]
        total = some.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = some / total[:, None]
        result[start : start + ROWS_AT_ONCE] = np.where(total > 0, rel_entr(share, reference).sum(axis=1), np.nan)
    return result
