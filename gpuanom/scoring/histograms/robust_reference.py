"""Where references are made: from a dataset itself, in robust rounds, or from a saved reference (METHOD.md 5, 5b)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.records import Dataset, Doubles, Flags
from gpuanom.scoring.histograms.divergences import divergences, histograms_of, mean_of, ranks_of, sums_of
from gpuanom.scoring.histograms.reference import Reference
from gpuanom.settings import Settings, decimal


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


def from_dataset(dataset: Dataset, kind: int, settings: Settings, backend: Backend) -> KindReference:
    """Make the reference of one kind from the dataset itself, after the robust rounds (METHOD.md 5 and 5b).

    Parameters
    ----------
    dataset : Dataset
        Exposures that can be compared with each other.
    kind : int
        Index into `KINDS`.
    settings : Settings
        `robust_rounds`, `robust_fraction` and `robust_minimum`.
    backend : Backend
        Where the divergences of the robust rounds are computed.

    Returns
    -------
    KindReference
    """
    histograms, owner, n = histograms_of(dataset, kind)
    n_exposures = len(dataset.exposures)
    filled = n > 0
    n_filled = sums_of(filled, owner, n_exposures)
    scored = n_filled > 0
    members = scored
    reference = Reference.of(histograms, n)
    if np.count_nonzero(scored) < 2:
        return KindReference(reference, members, comparable=False)
    for _ in range(settings.robust_rounds):
        kl, _ = divergences(histograms, n, members[owner], reference, backend)
        members = _without_highest(mean_of(kl[filled], owner[filled], n_filled), scored, settings)
        reference = Reference.of(histograms[members[owner]], n[members[owner]])
    return KindReference(reference, members, comparable=reference.n_histograms > 0)


def from_kept(
    dataset: Dataset,
    references: Sequence[Reference],
    behind: Mapping[str, str],
    robust_outliers: Sequence[Collection[str]],
    hashes: Mapping[str, str],
) -> tuple[KindReference, ...]:
    """Give the reference of each kind that was made before, and which exposures of the dataset it was made from.

    Parameters
    ----------
    dataset : Dataset
        Exposures that can be compared with the references.
    references : sequence of 4 Reference
        In the order of `KINDS`.
    behind : mapping of str to str
        The exposures that the references were made from, by id, and a hash of each.
    robust_outliers : sequence of 4 collections of str
        Of each kind the ids of exposures behind the references that robust rounds left out.
    hashes : mapping of str to str
        The hash of each exposure of the dataset: an exposure that has changed counts as a new one.

    Returns
    -------
    tuple of 4 KindReference
        In the order of `KINDS`.
    """
    unchanged = np.array([behind.get(e) == hashes[e] for e in dataset.exposures], dtype=bool)
    alone = len(behind) == 1 and bool(unchanged.all())
    found = []
    for kind, reference in enumerate(references):
        out = np.array([e in robust_outliers[kind] for e in dataset.exposures], dtype=bool)
        contained = unchanged & scored_exposures(dataset, kind) & ~out
        found.append(KindReference(reference, contained, comparable=reference.n_histograms > 0 and not alone))
    return tuple(found)


def scored_exposures(dataset: Dataset, kind: int) -> Flags:
    """Tell which exposures have any histogram of a kind that is not empty.

    Parameters
    ----------
    dataset : Dataset
    kind : int
        Index into `KINDS`.

    Returns
    -------
    ndarray, (n_exposures,) bool
    """
    _, owner, n = histograms_of(dataset, kind)
    return np.asarray(sums_of(n > 0, owner, len(dataset.exposures)) > 0)


def _without_highest(score: Doubles, scored: Flags, settings: Settings) -> Flags:
    """Which exposures stay in the robust reference: all but those of the highest scores, at least `robust_minimum`."""
    n = int(np.count_nonzero(scored))
    out = min(math.ceil(decimal(settings.robust_fraction) * n), max(0, n - settings.robust_minimum))
    ranks = ranks_of(score)
    return np.asarray(scored & ~((ranks > 0) & (ranks <= out)))


def digests(dataset: Dataset) -> dict[str, str]:
    """Hash each exposure's histograms: the hash tells whether a reference was made from just these histograms."""
    ends = np.searchsorted(dataset.owner, np.arange(len(dataset.exposures) + 1))
    counts = dataset.counts.astype("<i8")
    return {
        exposure: hashlib.blake2b(counts[ends[i] : ends[i + 1]].tobytes(), digest_size=8).hexdigest()
        for i, exposure in enumerate(dataset.exposures)
    }
