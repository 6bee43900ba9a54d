"""Sums over the histograms of a survey, 300 MB of counts: native loops that read the counts once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import native

_tables = types.Array(types.int32, 3, "C", readonly=True)
_histograms = types.Array(types.int32, 2, "A", readonly=True)
_whole = types.Array(types.int64, 1, "A", readonly=True)


@native(types.void(_tables, types.int64[:, ::1]))
def sum_bins(counts: Any, totals: Any) -> None:
    """Sum the bins of each histogram.

    Parameters
    ----------
    counts : ndarray, (n, n_kinds, N) int32
    totals : ndarray, (n, n_kinds) int64
        Out.
    """
    for i in range(counts.shape[0]):
        for kind in range(counts.shape[1]):
            total = 0
            for j in range(counts.shape[2]):
                total += counts[i, kind, j]
            totals[i, kind] = total


@native(types.int64(_histograms, _whole, types.float64[::1], types.int64[::1]))
def sum_shares(counts: Any, totals: Any, shares: Any, sums: Any) -> Any:
    """Sum the normalised histograms, and the histograms themselves, in their order; empty ones are left out.

    Parameters
    ----------
    counts : ndarray, (n, N) int32
    totals : ndarray, (n,) int64
        The counts of each histogram.
    shares : ndarray, (N,) float64
        In: zeros. Out: the sum of the normalised histograms.
    sums : ndarray, (N,) int64
        In: zeros. Out: the sum of the histograms.

    Returns
    -------
    int
        Number of histograms that are not empty.
    """
    n_filled = 0
    for i in range(counts.shape[0]):
        if totals[i] > 0:
            n_filled += 1
            total = np.float64(totals[i])
            for j in range(counts.shape[1]):
                shares[j] += counts[i, j] / total
                sums[j] += counts[i, j]
    return n_filled


@native(types.void(_histograms, _whole, types.int64[:, ::1]))
def pool(counts: Any, owner: Any, pooled: Any) -> None:
    """Sum the histograms of each exposure.

    Parameters
    ----------
    counts : ndarray, (n, N) int32
    owner : ndarray, (n,) int64
        Index of the exposure that each histogram belongs to.
    pooled : ndarray, (n_exposures, N) int64
        In: zeros. Out: the sums.
    """
    for i in range(counts.shape[0]):
        for j in range(counts.shape[1]):
            pooled[owner[i], j] += counts[i, j]
