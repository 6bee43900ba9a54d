"""Scores and ranks of the exposures of one dataset, from stored histograms (METHOD.md 5 and 5b).

An exposure has one source and one isophote histogram, and a background histogram for each CCD. All of them are scored
in the same way: an exposure's score is the mean KL of its histograms, and its X is the sum of their X.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.records import BACKGROUND, FLAT_BACKGROUND, KINDS, Dataset, Doubles, Flags, Integers
from gpuanom.scoring.histograms import comparable, significance, simulated_p
from gpuanom.scoring.histograms.comparison import Comparison, Group, compared_with
from gpuanom.scoring.histograms.divergences import (
    divergences,
    histograms_of,
    mean_of,
    on_threads,
    ranks_of,
    sums_of,
)
from gpuanom.scoring.histograms.reference import DatasetReference, Reference
from gpuanom.scoring.histograms.robust_reference import KindReference
from gpuanom.settings import Settings
from gpuanom.side_by_side import side_by_side


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one kind; arrays of (n_exposures,) except those of CCDs, NaN where there is no score.

    Attributes
    ----------
    n : ndarray of int64
        Number of orientations.
    kl, floor, z, p, deviation : ndarray of float64
    rank : ndarray of int64
        1 is the most anomalous; 0 where there is no score.
    angle : ndarray of float64
        Degrees in (-90, 90].
    alignment : ndarray of float64
    ccd_kl, ccd_z : ndarray, (n_ccd,) float64
        Scores of each CCD's histogram; empty for kinds with one histogram for each exposure.
    spread : ndarray of bool
        Whether half a count was spread over the reference's bins, because a bin was empty (METHOD.md 5).
    local : LocalAlignment
        Alignment of sources and isophotes within single CCDs; NaN for backgrounds, which are scored for each CCD.
    """

    n: Integers
    kl: Doubles
    floor: Doubles
    z: Doubles
    p: Doubles
    rank: Integers
    deviation: Doubles
    angle: Doubles
    alignment: Doubles
    ccd_kl: Doubles
    ccd_z: Doubles
    spread: Flags
    local: significance.LocalAlignment


def score_dataset(
    dataset: Dataset, settings: Settings, backend: Backend, reference: DatasetReference | None = None
) -> tuple[Scores, ...]:
    """Score every exposure of a dataset, for each kind of histogram.

    Parameters
    ----------
    dataset : Dataset
    settings : Settings
    backend : Backend
        Where the divergences are computed.
    reference : DatasetReference, optional
        A saved reference; without one the dataset is compared with itself, after `robust_rounds`.

    Returns
    -------
    tuple of 4 Scores
        In the order of `KINDS`. A dataset of one exposure has no scores: there is nothing to compare it with.
    """
    return scores_by(dataset, compared_with(dataset, settings, backend, reference), settings, backend)


def scores_by(dataset: Dataset, compared: Comparison, settings: Settings, backend: Backend) -> tuple[Scores, ...]:
    """Score every exposure of a dataset by references that exist already, for each kind of histogram.

    Parameters
    ----------
    dataset : Dataset
    compared : Comparison
        See `gpuanom.scoring.histograms.comparison.compared_with`.
    settings : Settings
    backend : Backend
        Where the divergences are computed.

    Returns
    -------
    tuple of 4 Scores
        In the order of `KINDS`.
    """
    parts = [(group.members, _scores_of(group, settings, backend)) for group in compared.groups]
    return parts[0][1] if compared.whole else comparable.joined(dataset, parts, no_scores(dataset))


def _scores_of(group: Group, settings: Settings, backend: Backend) -> tuple[Scores, ...]:
    """The scores of exposures that are compared with each other."""

    def of_kind(kind: int) -> Scores:
        return _score_kind(group.dataset, kind, settings, backend, group.kinds[kind])

    return tuple(side_by_side(of_kind, range(len(KINDS)), many=on_threads(group.dataset, backend)))


def no_scores(dataset: Dataset) -> tuple[Scores, ...]:
    """Return counts and directions alone, for each kind: the scores of a dataset without anything to compare with."""
    return tuple(_no_scores(dataset, kind) for kind in range(len(KINDS)))


def _score_kind(dataset: Dataset, kind: int, settings: Settings, backend: Backend, compared: KindReference) -> Scores:
    """The scores of one kind: the divergences, and everything that follows from them."""
    unscored = _no_scores(dataset, kind)
    if not compared.comparable:
        return unscored
    histograms, owner, n = histograms_of(dataset, kind)
    reference, contained = compared.reference, compared.contained[owner]
    kl, spread = divergences(histograms, n, contained, reference, backend)
    bins = histograms.shape[1]
    n_exposures = len(dataset.exposures)
    f = significance.noise_factor(n, reference.n_histograms, reference.inverse_counts, contained)
    # f is 0 for the only histogram of its reference, which cannot differ from it.
    chosen = np.flatnonzero((n > 0) & (f > 1e-9))
    exposure = owner[chosen]
    n_filled = sums_of(np.ones(exposure.size), exposure, n_exposures)
    x = significance.statistic(n[chosen], kl[chosen], f[chosen])
    noise = significance.floor(n[chosen], f[chosen], bins)
    exposure_x = sums_of(x, exposure, n_exposures)
    degrees = n_filled * (bins - 1)
    score = mean_of(kl[chosen], exposure, n_filled)
    known = n_filled > 0
    z, p = np.full(n_exposures, np.nan), np.full(n_exposures, np.nan)
    z[known] = significance.z_score(exposure_x[known], degrees[known])
    p[known] = significance.p_value(exposure_x[known], degrees[known])
    _simulate_sparse(p, exposure_x, n[chosen], exposure, contained[chosen], settings, reference)
    scores = replace(
        unscored,
        kl=score,
        floor=mean_of(noise, exposure, n_filled),
        z=z,
        p=p,
        rank=ranks_of(score),
        deviation=significance.deviation(score),
        spread=sums_of(spread, owner, n_exposures) > 0,
    )
    if kind in (BACKGROUND, FLAT_BACKGROUND):
        ccd_z = np.full(len(n), np.nan)
        ccd_z[chosen] = significance.z_score(x, bins - 1)
        return replace(scores, ccd_kl=kl, ccd_z=ccd_z)
    cosine, sine, of_ccds = dataset.cosine[:, kind], dataset.sine[:, kind], dataset.totals[:, kind]
    local = significance.local_alignment(cosine, sine, of_ccds, dataset.owner, contained, reference)
    return replace(scores, local=local)


def _simulate_sparse(
    p: Doubles,
    x: Doubles,
    n: Integers,
    owner: Integers,
    contained: Flags,
    settings: Settings,
    reference: Reference,
) -> None:
    """Replace p by a simulated one for exposures with a histogram too sparse for chi-squared."""
    sparse = n < settings.sparse_counts * reference.shares.size
    chosen = np.unique(owner[sparse])
    exposures = []
    for i in chosen:
        first, last = np.searchsorted(owner, (i, i + 1))
        counts, is_sparse = n[first:last], sparse[first:last]
        dense = int(np.count_nonzero(~is_sparse))
        exposures.append(simulated_p.Sparse(tuple(sorted(counts[is_sparse].tolist())), dense, bool(contained[first])))
    p[chosen] = simulated_p.p_values(
        x[chosen].tolist(), exposures, reference, seed=settings.seed, simulations=settings.simulations
    )


def _no_scores(dataset: Dataset, kind: int) -> Scores:
    """Counts and directions without a score, where there is nothing to compare with."""
    n_exposures = len(dataset.exposures)
    none = np.full(n_exposures, np.nan)
    _, owner, n = histograms_of(dataset, kind)
    per_ccd = np.full(len(n), np.nan) if kind in (BACKGROUND, FLAT_BACKGROUND) else np.zeros(0)
    counted = sums_of(n, owner, n_exposures)
    cosine = sums_of(dataset.cosine[:, kind], dataset.owner, n_exposures)
    sine = sums_of(dataset.sine[:, kind], dataset.owner, n_exposures)
    angle, alignment = significance.direction(cosine, sine, counted)
    return Scores(
        n=counted.astype(np.int64),
        kl=none,
        floor=none,
        z=none,
        p=none,
        rank=np.zeros(n_exposures, dtype=np.int64),
        deviation=none,
        angle=angle,
        alignment=alignment,
        ccd_kl=per_ccd,
        ccd_z=per_ccd,
        spread=np.zeros(n_exposures, dtype=bool),
        local=significance.LocalAlignment.none(n_exposures),
    )
