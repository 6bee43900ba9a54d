"""Scores and ranks of the exposures of one dataset, from stored histograms (METHOD.md 5 and 5b).

Source and isophote histograms are one an exposure, background histograms one a CCD. Both go the same way: an
exposure's score is the mean KL of its histograms, and its X the sum of theirs.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom import significance
from gpuanom.backend import Backend
from gpuanom.columns import DIGITS
from gpuanom.records import BACKGROUND, FLAT_BACKGROUND, KINDS, Doubles, Integers
from gpuanom.reference import DatasetReference, Reference
from gpuanom.settings import Settings, decimal

EXPOSURES_AT_ONCE = 256
"""Exposures pooled together: some MB of their CCDs' histograms, so that a survey's need little memory."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Dataset:
    """The stored histograms of the exposures of one camera and band.

    Attributes
    ----------
    camera, band : str
    exposures : tuple of str
        Ids, sorted.
    owner : ndarray, (n_ccd,) int64
        Index of each CCD's exposure, ascending.
    counts : ndarray, (n_ccd, 4, N) int
        Histograms in the order of `KINDS`; all zero for a CCD without measurements.
    cosine, sine : ndarray, (n_ccd, 4) float64
        Sums of cos 2 theta and sin 2 theta.
    """

    camera: str
    band: str
    exposures: tuple[str, ...]
    owner: Integers
    counts: Integers
    cosine: Doubles
    sine: Doubles


@dataclass(frozen=True, eq=False)
class Scores:
    """The scores of one kind; arrays of (n_exposures,) but for those of CCDs, NaN where there is none.

    Attributes
    ----------
    n : ndarray of int64
        Orientations counted.
    kl, floor, z, p, deviation : ndarray of float64
    rank : ndarray of int64
        1 is the most anomalous; 0 where there is no score.
    angle : ndarray of float64
        Degrees in (-90, 90].
    alignment : ndarray of float64
    ccd_kl, ccd_z : ndarray, (n_ccd,) float64
        Of each CCD's own histogram; empty for kinds with one histogram an exposure.
    spread : ndarray of bool
        Whether half a count was spread over the reference's bins, one of them being empty (METHOD.md 5).
    local : LocalAlignment
        Of sources and isophotes; NaN for backgrounds, whose histograms are each CCD's own.
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
    """Score every exposure of a dataset, once a kind.

    Parameters
    ----------
    dataset : Dataset
    settings : Settings
    backend : Backend
        Where the divergences are computed.
    reference : DatasetReference, optional
        A saved reference; without one the dataset is its own, by `robust_rounds`.

    Returns
    -------
    tuple of 4 Scores
        In the order of `KINDS`. A dataset of one exposure has no scores: there is nothing to compare it with.
    """
    contained = np.ones(len(dataset.exposures), dtype=bool)
    if reference is not None:
        digests = _digests(dataset)
        contained = np.array([reference.exposures.get(e) == digests[e] for e in dataset.exposures], dtype=bool)
        if len(reference.exposures) == 1 and contained.all():
            return no_scores(dataset)
    return tuple(_score_kind(dataset, kind, settings, backend, reference, contained) for kind in range(len(KINDS)))


def no_scores(dataset: Dataset) -> tuple[Scores, ...]:
    """Counts and directions alone, once a kind: for a dataset that there is nothing to compare with."""
    result = []
    for kind in range(len(KINDS)):
        histograms, owner = _histograms(dataset, kind)
        result.append(_no_scores(dataset, kind, histograms.sum(axis=1), owner))
    return tuple(result)


def dataset_reference(dataset: Dataset) -> DatasetReference:
    """The references of a dataset, all its exposures counted."""
    kinds = []
    for kind in range(len(KINDS)):
        histograms, _ = _histograms(dataset, kind)
        kinds.append(Reference.of(histograms))
    return DatasetReference(dataset.camera, dataset.band, tuple(kinds), _digests(dataset))


def _digests(dataset: Dataset) -> dict[str, str]:
    """A short hash of each exposure's histograms: a reference contains what it was made from, not what has its name."""
    ends = np.searchsorted(dataset.owner, np.arange(len(dataset.exposures) + 1))
    counts = dataset.counts.astype("<i8")
    return {
        exposure: hashlib.blake2b(counts[ends[i] : ends[i + 1]].tobytes(), digest_size=8).hexdigest()
        for i, exposure in enumerate(dataset.exposures)
    }


def table_order(deviations: Doubles, ids: list[tuple[Any, ...]]) -> list[int]:
    """The tables' order: by the largest of an exposure's deviations, downwards, then by id.

    Parameters
    ----------
    deviations : ndarray, (n, n_kinds) float64
        NaN where there is none; exposures without any come last.
    ids : list
        What ties are sorted by.
    """
    largest = np.where(np.isnan(deviations), -np.inf, deviations).max(axis=1, initial=-np.inf)
    # As printed: of two exposures each is as far from the other, and the last bit, in which backends may differ, must
    # not decide which comes first.
    printed = [float(f"{value:.{DIGITS}g}") for value in largest]
    return sorted(range(len(ids)), key=lambda i: (-printed[i], ids[i]))


def _histograms(dataset: Dataset, kind: int) -> tuple[Integers, Integers]:
    """The histograms of a kind and the index of the exposure that each belongs to."""
    counts = dataset.counts[:, kind]
    if kind in (BACKGROUND, FLAT_BACKGROUND):
        return counts, dataset.owner
    n_exposures = len(dataset.exposures)
    return _pooled(counts, dataset.owner, n_exposures), np.arange(n_exposures)


def _pooled(counts: Integers, owner: Integers, n_exposures: int) -> Integers:
    """The sum of each exposure's histograms, (n_exposures, N) int64; zeros for an exposure without any."""
    pooled = np.zeros((n_exposures, counts.shape[1]), dtype=np.int64)
    starts = np.searchsorted(owner, np.arange(n_exposures + 1))
    for first in range(0, n_exposures, EXPOSURES_AT_ONCE):
        bounds = starts[first : first + EXPOSURES_AT_ONCE + 1]
        # reduceat gives an empty stretch the row that follows it, so exposures without histograms are left out.
        filled = np.flatnonzero(bounds[:-1] < bounds[1:])
        if filled.size:
            some = counts[bounds[0] : bounds[-1]].astype(np.int64)
            pooled[first + filled] = np.add.reduceat(some, bounds[filled] - bounds[0], axis=0)
    return pooled


def _score_kind(
    dataset: Dataset, kind: int, settings: Settings, backend: Backend, saved: DatasetReference | None, contained: Flags
) -> Scores:
    histograms, owner = _histograms(dataset, kind)
    n_exposures = len(dataset.exposures)
    n = histograms.sum(axis=1)
    filled = n > 0
    n_filled = _sums(filled, owner, n_exposures)
    scored = n_filled > 0
    members = scored
    if saved is not None:
        reference = saved.kinds[kind]
        members = contained & scored
    elif np.count_nonzero(scored) < 2:
        return _no_scores(dataset, kind, n, owner)
    else:
        reference = Reference.of(histograms)
        for _ in range(settings.robust_rounds):
            kl, _ = _divergences(histograms, n, filled, members[owner], reference, backend)
            members = _without_highest(_mean(kl, filled, owner, n_filled), scored, settings)
            reference = Reference.of(histograms[members[owner]])
    if reference.n_histograms == 0:
        return _no_scores(dataset, kind, n, owner)
    kl, spread = _divergences(histograms, n, filled, members[owner], reference, backend)
    return _scores(dataset, kind, settings, reference, histograms, n, owner, members[owner], kl, spread)


def _divergences(
    histograms: Integers, n: Integers, filled: Flags, contained: Flags, reference: Reference, backend: Backend
) -> tuple[Doubles, Flags]:
    """KL of each histogram, NaN where it is empty, and whether its reference had half a count spread over it."""
    spread = ~contained & filled & reference.has_empty_bin
    if not spread.any():
        return _divergence(backend, histograms, reference.mean(contains=True)), spread
    kl = np.full(len(n), np.nan)
    for chosen, contains in ((~spread, True), (spread, False)):
        kl[chosen] = _divergence(backend, histograms[chosen], reference.mean(contains=contains))
    return kl, spread


def _divergence(backend: Backend, histograms: Integers, mean: Doubles) -> Doubles:
    """KL of each histogram, computed where the backend works."""
    kl = backend.divergence(backend.to_device(histograms), backend.to_device(mean))
    return np.asarray(backend.to_host(kl))


def _scores(
    dataset: Dataset,
    kind: int,
    settings: Settings,
    reference: Reference,
    histograms: Integers,
    n: Integers,
    owner: Integers,
    contained: Flags,
    kl: Doubles,
    spread: Flags,
) -> Scores:
    """Everything that follows from the divergences."""
    bins = histograms.shape[1]
    n_exposures = len(dataset.exposures)
    f = significance.noise_factor(n, reference.n_histograms, reference.inverse_counts, contained)
    # f is 0 for the only histogram of its reference, which cannot differ from it.
    filled = (n > 0) & (f > 1e-9)
    some, whose = np.flatnonzero(filled), owner[filled]
    n_filled = _sums(np.ones(whose.size), whose, n_exposures)
    x = significance.statistic(n[some], kl[some], f[some])
    noise = significance.floor(n[some], f[some], bins)
    exposure_x = _sums(x, whose, n_exposures)
    degrees = n_filled * (bins - 1)
    score = _mean(kl, filled, owner, n_filled)
    known = n_filled > 0
    z, p = np.full(n_exposures, np.nan), np.full(n_exposures, np.nan)
    z[known] = significance.z_score(exposure_x[known], degrees[known])
    p[known] = significance.p_value(exposure_x[known], degrees[known])
    _simulate_sparse(p, exposure_x, n[some], whose, contained[some], settings, reference, bins)
    ccd_kl, ccd_z = np.zeros(0), np.zeros(0)
    if kind in (BACKGROUND, FLAT_BACKGROUND):
        ccd_kl, ccd_z = kl, np.full(len(n), np.nan)
        ccd_z[some] = significance.z_score(x, bins - 1)
    counted = _sums(n, owner, n_exposures)
    angle, alignment = _directions(dataset, kind, counted)
    return Scores(
        n=counted.astype(np.int64),
        kl=score,
        floor=_mean_of(noise, whose, n_filled),
        z=z,
        p=p,
        rank=ranks_of(score),
        deviation=significance.deviation(score),
        angle=angle,
        alignment=alignment,
        ccd_kl=ccd_kl,
        ccd_z=ccd_z,
        spread=_sums(spread, owner, n_exposures) > 0,
        local=_local(dataset, kind, contained, reference),
    )


def _simulate_sparse(
    p: Doubles,
    x: Doubles,
    n: Integers,
    owner: Integers,
    contained: Flags,
    settings: Settings,
    reference: Reference,
    bins: int,
) -> None:
    """Replace p by a simulated one for exposures with a histogram too sparse for chi-squared."""
    sparse = n < settings.sparse_counts * bins
    cache: dict[object, Doubles] = {}
    for i in np.unique(owner[sparse]):
        first, last = np.searchsorted(owner, (i, i + 1))
        own_n, own_sparse = n[first:last], sparse[first:last]
        p[i] = significance.simulated_p_value(
            float(x[i]),
            own_n[own_sparse].tolist(),
            int(np.count_nonzero(~own_sparse)),
            reference,
            contained=bool(contained[first]),
            seed=settings.seed,
            simulations=settings.simulations,
            cache=cache,
        )


def _without_highest(score: Doubles, scored: Flags, settings: Settings) -> Flags:
    """The members that stay in a round of the robust reference: all but the highest, at least `robust_minimum`."""
    n = int(np.count_nonzero(scored))
    out = min(math.ceil(decimal(settings.robust_fraction) * n), max(0, n - settings.robust_minimum))
    ranks = ranks_of(score)
    return np.asarray(scored & ~((ranks > 0) & (ranks <= out)))


def ranks_of(score: Doubles) -> Integers:
    """1 for the highest score, ties by exposure id (their order), 0 where there is none."""
    known = np.flatnonzero(~np.isnan(score))
    printed = np.array([float(f"{value:.{DIGITS}g}") for value in score[known]])
    order = known[np.argsort(-printed, kind="stable")]
    ranks = np.zeros(score.size, dtype=np.int64)
    ranks[order] = np.arange(1, order.size + 1)
    return ranks


def _mean(values: Doubles, filled: Flags, owner: Integers, n_filled: Doubles) -> Doubles:
    """The mean over each exposure's filled histograms, NaN where it has none."""
    return _mean_of(values[filled], owner[filled], n_filled)


def _mean_of(values: Doubles, owner: Integers, n: Doubles) -> Doubles:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(n > 0, _sums(values, owner, n.size) / n, np.nan))


def _sums(values: npt.NDArray[Any], owner: Integers, n_exposures: int) -> Doubles:
    """The sum over each exposure's values."""
    return np.bincount(owner, values, minlength=n_exposures).astype(np.float64)


def _directions(dataset: Dataset, kind: int, n: Doubles) -> tuple[Doubles, Doubles]:
    """Preferred direction of each exposure, all its n orientations pooled."""
    n_exposures = len(dataset.exposures)
    cosine = _sums(dataset.cosine[:, kind], dataset.owner, n_exposures)
    sine = _sums(dataset.sine[:, kind], dataset.owner, n_exposures)
    return significance.direction(cosine, sine, n)


def _local(dataset: Dataset, kind: int, contained: Flags, reference: Reference) -> significance.LocalAlignment:
    """Alignment of the CCDs of each exposure; a kind with one histogram an exposure has `contained` of each."""
    if kind in (BACKGROUND, FLAT_BACKGROUND):
        none = np.full(len(dataset.exposures), np.nan)
        return significance.LocalAlignment(none, none, none, none)
    n = dataset.counts[:, kind].sum(axis=1, dtype=np.int64)
    cosine, sine = dataset.cosine[:, kind], dataset.sine[:, kind]
    return significance.local_alignment(cosine, sine, n, dataset.owner, contained, reference)


def _no_scores(dataset: Dataset, kind: int, n: Integers, owner: Integers) -> Scores:
    """Counts and directions, and no score: there is nothing to compare with."""
    n_exposures = len(dataset.exposures)
    none = np.full(n_exposures, np.nan)
    per_ccd = np.full(len(n), np.nan) if kind in (BACKGROUND, FLAT_BACKGROUND) else np.zeros(0)
    counted = _sums(n, owner, n_exposures)
    angle, alignment = _directions(dataset, kind, counted)
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
        local=significance.LocalAlignment(none, none, none, none),
    )
