"""Histograms of exposures and CCDs, their KL divergences from a reference, and means over exposures (METHOD.md 5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.backends.protocol import Backend
from gpuanom.digits import printed_values
from gpuanom.records import BACKGROUND, FLAT_BACKGROUND, Dataset, Doubles, Flags, Integers
from gpuanom.records.measurements import is_large
from gpuanom.scoring.histograms.reference import Reference

EXPOSURES_AT_ONCE = 256
"""Exposures whose histograms are summed at a time: a few MB, so that a whole survey needs little memory."""


def histograms_of(dataset: Dataset, kind: int) -> tuple[Integers, Integers, Integers]:
    """Return the histograms of one kind.

    Parameters
    ----------
    dataset : Dataset
    kind : int
        Index into `KINDS`.

    Returns
    -------
    histograms : ndarray, (m, N) int64
        One for each CCD for backgrounds, else one for each exposure.
    owner : ndarray, (m,) int64
        Index of the exposure that each histogram belongs to, ascending.
    n : ndarray, (m,) int64
        Counts of each histogram.
    """
    counts = dataset.counts[:, kind]
    if kind in (BACKGROUND, FLAT_BACKGROUND):
        return counts, dataset.owner, dataset.totals[:, kind]
    n_exposures = len(dataset.exposures)
    if kind not in dataset.pooled:
        dataset.pooled[kind] = _pooled(counts, dataset.owner, n_exposures)
    pooled = dataset.pooled[kind]
    return pooled, np.arange(n_exposures), pooled.sum(axis=1)


def divergences(
    histograms: Integers, n: Integers, contained: Flags, reference: Reference, backend: Backend
) -> tuple[Doubles, Flags]:
    """Compute the KL divergence of each histogram from its reference (METHOD.md 5, eq. 1).

    Parameters
    ----------
    histograms : ndarray, (m, N) int64
    n : ndarray, (m,) int64
        Counts of each histogram.
    contained : ndarray, (m,) bool
        Whether the reference was made with the histogram.
    reference : Reference
    backend : Backend
        Where the divergences are computed.

    Returns
    -------
    kl : ndarray, (m,) float64
        NaN where the histogram is empty.
    spread : ndarray, (m,) bool
        Whether half a count was spread over the reference's bins, because a bin was empty.
    """
    spread = ~contained & (n > 0) & reference.has_empty_bin
    if not spread.any():
        return _divergence(backend, histograms, reference.mean(contains=True)), spread
    kl = np.full(len(n), np.nan)
    for chosen, contains in ((~spread, True), (spread, False)):
        kl[chosen] = _divergence(backend, histograms[chosen], reference.mean(contains=contains))
    return kl, spread


def ranks_of(score: Doubles) -> Integers:
    """Return ranks from 1 for the highest score, 0 where there is none; equal scores in the order of the exposures."""
    known = np.flatnonzero(~np.isnan(score))
    order = known[np.argsort(-printed_values(score[known]), kind="stable")]
    ranks = np.zeros(score.size, dtype=np.int64)
    ranks[order] = np.arange(1, order.size + 1)
    return ranks


def mean_of(values: Doubles, owner: Integers, n: Doubles) -> Doubles:
    """Return the mean of each exposure's values.

    Parameters
    ----------
    values : ndarray, (m,) float64
    owner : ndarray, (m,) int64
        Index of the exposure that each value belongs to.
    n : ndarray, (n_exposures,) float64
        Number of values of each exposure.

    Returns
    -------
    ndarray, (n_exposures,) float64
        NaN where n is 0.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(n > 0, sums_of(values, owner, n.size) / n, np.nan))


def sums_of(values: npt.NDArray[Any], owner: Integers, n_exposures: int) -> Doubles:
    """Return the sum of each exposure's values.

    Parameters
    ----------
    values : ndarray, (m,)
    owner : ndarray, (m,) int64
        Index of the exposure that each value belongs to.
    n_exposures : int

    Returns
    -------
    ndarray, (n_exposures,) float64
    """
    return np.bincount(owner, values, minlength=n_exposures).astype(np.float64)


def on_threads(dataset: Dataset, backend: Backend) -> bool:
    """Whether the kinds of a dataset are scored by threads: a survey's, on a CPU. A GPU belongs to one thread.

    Parameters
    ----------
    dataset : Dataset
    backend : Backend
        Where the divergences are computed.
    """
    if not is_large(dataset.counts) or backend.takes_encoded:
        return False
    # Made here once, and not by each thread.
    return bool(dataset.totals.size)


def _pooled(counts: Integers, owner: Integers, n_exposures: int) -> Integers:
    """The sum of each exposure's histograms, (n_exposures, N) int64; zeros for an exposure without any."""
    pooled = np.zeros((n_exposures, counts.shape[1]), dtype=np.int64)
    if is_large(counts):
        from gpuanom.records.histogram_sums import in_a_row, pool

        pool(*in_a_row(counts), owner, pooled)
        return pooled
    starts = np.searchsorted(owner, np.arange(n_exposures + 1))
    for first in range(0, n_exposures, EXPOSURES_AT_ONCE):
        bounds = starts[first : first + EXPOSURES_AT_ONCE + 1]
        # reduceat gives an empty stretch the row that follows it, so exposures without histograms are left out.
        filled = np.flatnonzero(bounds[:-1] < bounds[1:])
        if filled.size:
            block = counts[bounds[0] : bounds[-1]].astype(np.int64)
            pooled[first + filled] = np.add.reduceat(block, bounds[filled] - bounds[0], axis=0)
    return pooled


def _divergence(backend: Backend, histograms: Integers, mean: Doubles) -> Doubles:
    """KL of each histogram, computed by the backend."""
    kl = backend.divergence(backend.to_device(histograms), backend.to_device(mean))
    return np.asarray(backend.to_host(kl))
