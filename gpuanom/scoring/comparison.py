"""What the exposures of a dataset are compared with: the dataset's own references, or saved ones (METHOD.md 5, 5b).

An exposure has one source and one isophote histogram, and a background histogram for each CCD. References of a dataset
are made in `compared_with` and nowhere else; scores, reports and saved references all come from there.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.backends.choice import select
from gpuanom.backends.protocol import Backend
from gpuanom.digits import printed_values
from gpuanom.records import BACKGROUND, FLAT_BACKGROUND, KINDS, Dataset, Doubles, Integers
from gpuanom.scoring import comparable
from gpuanom.scoring.reference import DatasetReference, Reference
from gpuanom.settings import Settings, decimal

EXPOSURES_AT_ONCE = 256
"""Exposures whose histograms are summed at a time: a few MB, so that a whole survey needs little memory."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class KindReference:
    """What the histograms of one kind are compared with.

    Attributes
    ----------
    reference : Reference
    contained : ndarray, (n_exposures,) bool
        Whether the reference was made with the exposure's histograms.
    comparable : bool
        Whether there is anything to compare with; if not, no exposure has a score of this kind.
    """

    reference: Reference
    contained: Flags
    comparable: bool

    def mean(self, exposure: int) -> Doubles | None:
        """Return the mean histogram, (N,), that the exposure of this index is compared with; None without one."""
        if not self.comparable:
            return None
        return self.reference.mean(contains=bool(self.contained[exposure]))

    @property
    def typical_mean(self) -> Doubles | None:
        """The mean histogram that most exposures of the dataset are compared with, (N,); None where there is none."""
        if not self.comparable:
            return None
        return self.reference.mean(contains=bool(2 * np.count_nonzero(self.contained) >= self.contained.size))


@dataclass(frozen=True, eq=False)
class Group:
    """Exposures of a dataset that are compared with each other, and their references.

    Attributes
    ----------
    members : ndarray, (n,) int64
        Indices of the exposures in the dataset, ascending.
    dataset : Dataset
        The dataset of these exposures alone.
    kinds : tuple of 4 KindReference
        In the order of `KINDS`; their indices of exposures are those of `dataset`.
    """

    members: Integers
    dataset: Dataset
    kinds: tuple[KindReference, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What the exposures of a dataset are compared with.

    Attributes
    ----------
    groups : tuple of Group
        Exposures whose CCDs have one size, the usual size first; mostly one group with all exposures.
    n_exposures : int
        Exposures of the dataset. An exposure in no group is compared with nothing.
    """

    groups: tuple[Group, ...]
    n_exposures: int

    @property
    def whole(self) -> bool:
        """Whether all exposures are compared with each other."""
        return len(self.groups) == 1 and self.groups[0].members.size == self.n_exposures

    def means(self, exposure: int) -> tuple[Doubles | None, ...]:
        """Return the mean histograms, (N,) for each kind, that the exposure of this index is compared with, or None."""
        for group in self.groups:
            place = int(np.searchsorted(group.members, exposure))
            if place < group.members.size and group.members[place] == exposure:
                return tuple(kind.mean(place) for kind in group.kinds)
        return (None,) * len(KINDS)

    @property
    def typical_means(self) -> tuple[Doubles | None, ...]:
        """The mean histograms that most exposures of the dataset are compared with, for each kind, or None."""
        return tuple(kind.typical_mean for kind in self.groups[0].kinds) if self.groups else (None,) * len(KINDS)


def compared_with(
    dataset: Dataset, settings: Settings, backend: Backend, saved: DatasetReference | None = None
) -> Comparison:
    """Make the references of a dataset, those of the robust rounds included.

    Parameters
    ----------
    dataset : Dataset
    settings : Settings
        `robust_rounds`, `robust_fraction` and `robust_minimum` (METHOD.md 5b).
    backend : Backend
        Where the divergences of the robust rounds are computed.
    saved : DatasetReference, optional
        A saved reference; without one the dataset is compared with itself.

    Returns
    -------
    Comparison
        Exposures whose CCDs differ in size are not compared with each other (`gpuanom.scoring.comparable`).
    """
    n_exposures = len(dataset.exposures)
    found = comparable.split(dataset.sizes, n_exposures) if saved is None else comparable.like(dataset, saved.size)
    groups = []
    for members in found.groups:
        compared = dataset if found.whole else comparable.part(dataset, members)
        if saved is None:
            kinds = tuple(_from_dataset(compared, kind, settings, backend) for kind in range(len(KINDS)))
        else:
            kinds = _from_saved(compared, saved)
        groups.append(Group(members, compared, kinds))
    return Comparison(tuple(groups), n_exposures)


def dataset_reference(
    dataset: Dataset, settings: Settings | None = None, backend: Backend | None = None
) -> DatasetReference:
    """Make the references of a dataset for saving, from its exposures of the usual size.

    Parameters
    ----------
    dataset : Dataset
    settings : Settings, optional
        By default the paper's: all exposures count.
    backend : Backend, optional
        By default the CPU's.

    Returns
    -------
    DatasetReference
    """
    size = comparable.usual_size(dataset)
    usual = compared_with(dataset, settings or Settings(), backend or select("cpu")).groups[0]
    left_out = tuple(
        frozenset(
            usual.dataset.exposures[i] for i in np.flatnonzero(_scored(usual.dataset, kind) & ~compared.contained)
        )
        for kind, compared in enumerate(usual.kinds)
    )
    references = tuple(compared.reference for compared in usual.kinds)
    return DatasetReference(dataset.camera, dataset.band, references, _digests(usual.dataset), left_out, size)


def histograms_of(dataset: Dataset, kind: int) -> tuple[Integers, Integers]:
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
    """
    counts = dataset.counts[:, kind]
    if kind in (BACKGROUND, FLAT_BACKGROUND):
        return counts, dataset.owner
    n_exposures = len(dataset.exposures)
    return _pooled(counts, dataset.owner, n_exposures), np.arange(n_exposures)


def divergences(
    histograms: Integers, n: Integers, filled: Flags, contained: Flags, reference: Reference, backend: Backend
) -> tuple[Doubles, Flags]:
    """Compute the KL divergence of each histogram from its reference (METHOD.md 5, eq. 1).

    Parameters
    ----------
    histograms : ndarray, (m, N) int64
    n : ndarray, (m,) int64
        Counts of each histogram.
    filled : ndarray, (m,) bool
        Whether the histogram has any counts.
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
    spread = ~contained & filled & reference.has_empty_bin
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


def mean_of_filled(values: Doubles, filled: Flags, owner: Integers, n_filled: Doubles) -> Doubles:
    """Return the mean over each exposure's histograms that are not empty.

    Parameters
    ----------
    values : ndarray, (m,) float64
        One for each histogram.
    filled : ndarray, (m,) bool
        Whether the histogram has any counts.
    owner : ndarray, (m,) int64
        Index of the exposure that each histogram belongs to.
    n_filled : ndarray, (n_exposures,) float64
        Number of histograms of each exposure that are not empty.

    Returns
    -------
    ndarray, (n_exposures,) float64
        NaN where all histograms of the exposure are empty.
    """
    return mean_of(values[filled], owner[filled], n_filled)


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


def _from_dataset(dataset: Dataset, kind: int, settings: Settings, backend: Backend) -> KindReference:
    """The reference that is made from the dataset itself, after the robust rounds."""
    histograms, owner = histograms_of(dataset, kind)
    n_exposures = len(dataset.exposures)
    n = histograms.sum(axis=1)
    filled = n > 0
    n_filled = sums_of(filled, owner, n_exposures)
    scored = n_filled > 0
    members = scored
    reference = Reference.of(histograms)
    if np.count_nonzero(scored) < 2:
        return KindReference(reference, members, comparable=False)
    for _ in range(settings.robust_rounds):
        kl, _ = divergences(histograms, n, filled, members[owner], reference, backend)
        members = _without_highest(mean_of_filled(kl, filled, owner, n_filled), scored, settings)
        reference = Reference.of(histograms[members[owner]])
    return KindReference(reference, members, comparable=reference.n_histograms > 0)


def _from_saved(dataset: Dataset, saved: DatasetReference) -> tuple[KindReference, ...]:
    """A saved reference of each kind, and which exposures of the dataset it was made from."""
    digests = _digests(dataset)
    held = np.array([saved.exposures.get(e) == digests[e] for e in dataset.exposures], dtype=bool)
    alone = len(saved.exposures) == 1 and bool(held.all())
    found = []
    for kind, reference in enumerate(saved.kinds):
        left_out = np.array([e in saved.left_out[kind] for e in dataset.exposures], dtype=bool)
        contained = held & _scored(dataset, kind) & ~left_out
        found.append(KindReference(reference, contained, comparable=reference.n_histograms > 0 and not alone))
    return tuple(found)


def _scored(dataset: Dataset, kind: int) -> Flags:
    """Whether each exposure has any histogram of a kind that is not empty."""
    histograms, owner = histograms_of(dataset, kind)
    return np.asarray(sums_of(histograms.sum(axis=1) > 0, owner, len(dataset.exposures)) > 0)


def _without_highest(score: Doubles, scored: Flags, settings: Settings) -> Flags:
    """Which exposures stay in the robust reference: all but those of the highest scores, at least `robust_minimum`."""
    n = int(np.count_nonzero(scored))
    out = min(math.ceil(decimal(settings.robust_fraction) * n), max(0, n - settings.robust_minimum))
    ranks = ranks_of(score)
    return np.asarray(scored & ~((ranks > 0) & (ranks <= out)))


def _digests(dataset: Dataset) -> dict[str, str]:
    """A hash of each exposure's histograms, which tells whether a reference was made from just these histograms."""
    ends = np.searchsorted(dataset.owner, np.arange(len(dataset.exposures) + 1))
    counts = dataset.counts.astype("<i8")
    return {
        exposure: hashlib.blake2b(counts[ends[i] : ends[i + 1]].tobytes(), digest_size=8).hexdigest()
        for i, exposure in enumerate(dataset.exposures)
    }


def _pooled(counts: Integers, owner: Integers, n_exposures: int) -> Integers:
    """The sum of each exposure's histograms, (n_exposures, N) int64; zeros for an exposure without any."""
    pooled = np.zeros((n_exposures, counts.shape[1]), dtype=np.int64)
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
