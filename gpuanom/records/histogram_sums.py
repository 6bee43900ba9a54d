"""Sums over the histograms of a survey, 300 MB of counts: native loops that read the counts once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import native

_numbers = types.Array(types.int32, 1, "C", readonly=True)
_whole = types.Array(types.int64, 1, "A", readonly=True)


def in_a_row(counts: Any) -> tuple[Any, int]:
    """Return the memory that histograms lie in, and how far apart two of them are.

    The bins of each histogram lie side by side. A compiled loop that knows this takes several bins at a time.

    Parameters
    ----------
    counts : ndarray, (n, N) int32
        At least one histogram: all of an array, or those of one kind.

    Returns
    -------
    memory : ndarray, (m,) int32
        From the first bin of the first histogram to the last bin of the last one.
    step : int
        Numbers from one histogram to the next.
    """
    if counts.strides[1] != counts.itemsize or counts.strides[0] <= 0 or counts.strides[0] % counts.itemsize:
        counts = np.ascontiguousarray(counts)
    step = counts.strides[0] // counts.itemsize
    size = (len(counts) - 1) * step + counts.shape[1]
    return np.lib.stride_tricks.as_strided(counts, (size,), (counts.itemsize,), writeable=False), step


@native(types.void(_numbers, types.int64, types.int64[::1]))
def sum_bins(counts: Any, bins: Any, totals: Any) -> None:
    """Sum the bins of each histogram.

    Parameters
    ----------
    counts : ndarray, (n * N,) int32
        One histogram after the other.
    bins : int
        N.
    totals : ndarray, (n,) int64
        Out.
    """
    at = np.uint64(0)
    for i in range(len(totals)):
        total = 0
        for j in range(np.uint64(bins)):
            total += counts[at + j]
        totals[i] = total
        at += np.uint64(bins)


@native(types.int64(_numbers, types.int64, _whole, types.float64[::1], types.int64[::1]))
def sum_shares(counts: Any, step: Any, totals: Any, shares: Any, sums: Any) -> Any:
    """Sum the normalised histograms, and the histograms themselves, in their order; empty ones are left out.

    Parameters
    ----------
    counts : ndarray, (m,) int32
        See `in_a_row`.
    step : int
        Numbers from one histogram to the next.
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
    n_filled, at, bins = 0, np.uint64(0), np.uint64(len(shares))
    for i in range(len(totals)):
        if totals[i] > 0:
            n_filled += 1
            total = np.float64(totals[i])
            for j in range(bins):
                shares[j] += counts[at + j] / total
            for j in range(bins):
                sums[j] += counts[at + j]
        at += np.uint64(step)
    return n_filled


@native(types.void(_numbers, types.int64, _whole, types.int64[:, ::1]))
def pool(counts: Any, step: Any, owner: Any, pooled: Any) -> None:
    """Sum the histograms of each exposure.

    Parameters
    ----------
    counts : ndarray, (m,) int32
        See `in_a_row`.
    step : int
        Numbers from one histogram to the next.
    owner : ndarray, (n,) int64
        Index of the exposure that each histogram belongs to.
    pooled : ndarray, (n_exposures, N) int64
        In: zeros. Out: the sums.
    """
    at, bins = np.uint64(0), np.uint64(pooled.shape[1])
    for i in range(len(owner)):
        row = np.uint64(owner[i])
        for j in range(bins):
            pooled[row, j] += counts[at + j]
        at += np.uint64(step)
