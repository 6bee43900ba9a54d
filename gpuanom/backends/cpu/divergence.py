"""KL divergence of tables of histograms, the twin of kernels/divergence.cu (eq. 1)."""

from __future__ import annotations

import numpy as np

from gpuanom.records import Doubles, Integers

ROWS_AT_ONCE = 1 << 10
"""Histograms worked on together: two tables of 150 kB at 18 bins, which stay within a core's cache."""

SMALLEST = float(np.finfo(np.float64).tiny)
"""Far below any ratio of shares, but above 0: its logarithm is finite, so that a share of 0 removes it."""


def divergence(counts: Integers, reference: Doubles) -> Doubles:
    """See `gpuanom.backends.protocol.Backend.divergence`."""
    n, bins = counts.shape
    result = np.empty(n)
    # With the histograms along the last axis every operation runs over long rows, and each one's sum is taken in the
    # same order whatever the block.
    tables = np.empty((2, bins, min(n, ROWS_AT_ONCE)))
    with np.errstate(invalid="ignore", divide="ignore"):
        for start in range(0, n, ROWS_AT_ONCE):
            batch = counts[start : start + ROWS_AT_ONCE]
            share, ratio = tables[:, :, : len(batch)]
            share[...] = batch.T
            # An empty histogram's shares are 0 / 0, and so is its divergence.
            share /= np.add.reduce(share, axis=0)
            np.divide(share, reference[:, None], out=ratio)
            # fmax also takes the 0 / 0 of a bin that is empty on both sides.
            np.fmax(ratio, SMALLEST, out=ratio)
            np.log(ratio, out=ratio)
            ratio *= share
            np.add.reduce(ratio, axis=0, out=result[start : start + ROWS_AT_ONCE])
    return result
