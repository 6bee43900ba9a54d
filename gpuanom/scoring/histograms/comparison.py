"""What the exposures of a dataset are compared with: the dataset's own references, or saved ones (METHOD.md 5, 5b).

An exposure has one source and one isophote histogram, and a background histogram for each CCD. Scores, reports and
saved references all get their references here; `gpuanom.scoring.histograms.robust_reference` makes one of each kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gpuanom.backends.choice import select
from gpuanom.backends.protocol import Backend
from gpuanom.records import KINDS, Dataset, Doubles, Integers
from gpuanom.scoring.histograms import comparable
from gpuanom.scoring.histograms.divergences import on_threads
from gpuanom.scoring.histograms.reference import DatasetReference
from gpuanom.scoring.histograms.robust_reference import (
    KindReference,
    digests,
    from_dataset,
    from_kept,
    scored_exposures,
)
from gpuanom.settings import Settings
from gpuanom.side_by_side import side_by_side


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
        Exposures whose CCDs differ in size are not compared with each other (`gpuanom.scoring.histograms.comparable`).
    """
    n_exposures = len(dataset.exposures)
    found = comparable.split(dataset.sizes, n_exposures) if saved is None else comparable.like(dataset, saved.size)
    groups = []
    for members in found.groups:
        compared = dataset if found.whole else comparable.part(dataset, members)
        if saved is None:

            def of_kind(kind: int, compared: Dataset = compared) -> KindReference:
                return from_dataset(compared, kind, settings, backend)

            kinds = tuple(side_by_side(of_kind, range(len(KINDS)), many=on_threads(compared, backend)))
        else:
            kinds = from_kept(compared, saved.kinds, saved.exposures, saved.robust_outliers, digests(compared))
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
    references = tuple(compared.reference for compared in usual.kinds)
    return DatasetReference(
        dataset.camera, dataset.band, references, digests(usual.dataset), robust_outliers(usual), size
    )


def robust_outliers(group: Group) -> tuple[frozenset[str], ...]:
    """Return, for each kind, the ids of the exposures that the robust rounds left out of the reference.

    Parameters
    ----------
    group : Group
    """
    return tuple(
        frozenset(
            group.dataset.exposures[i]
            for i in np.flatnonzero(scored_exposures(group.dataset, kind) & ~compared.contained)
        )
        for kind, compared in enumerate(group.kinds)
    )
