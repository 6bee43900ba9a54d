"""Which exposures of a dataset are compared with each other: those whose CCDs have about the same size.

A read-out window among full frames has fewer stars and shows another part of the sky's slope: compared with full frames
it would rank first although nothing is wrong with it. Exposures are separated by the measured area of their CCDs, so
that the order in which they came does not matter. Binned exposures form a separate dataset anyway (`gpuanom.fits`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpuanom.records import Integers

if TYPE_CHECKING:
    from gpuanom.records import Dataset
    from gpuanom.scoring.histograms.ranking import Scores

LIKE = 1.25
"""Areas that follow each other within this ratio, when sorted, count as one size: cut-outs differ by a few pixels."""

ENOUGH = 5
"""So many exposures of one size are always compared with each other; in small datasets half of all are enough."""


@dataclass(frozen=True, eq=False)
class Split:
    """The exposures of a dataset, grouped by the size of their CCDs.

    Attributes
    ----------
    groups : tuple of ndarray of int64
        Indices of the exposures that are compared with each other, ascending; the largest group first.
    apart : ndarray of int64
        Indices of the exposures whose size is too rare to be compared.
    mixed : bool
        Whether no size is frequent enough; all exposures are then compared with each other, whatever their size.
    """

    groups: tuple[Integers, ...]
    apart: Integers
    mixed: bool = False

    @property
    def whole(self) -> bool:
        """Whether all exposures are compared with each other."""
        return len(self.groups) == 1 and not self.apart.size


def split(sizes: Integers | None, n_exposures: int) -> Split:
    """Group the exposures of a dataset by the size of their CCDs.

    Parameters
    ----------
    sizes : ndarray, (n_exposures, 2) int64, or None
        (ny, nx) of each exposure's typical CCD; 0 where no CCD could be measured: such an exposure counts as of the
        usual size.
    n_exposures : int

    Returns
    -------
    Split
        It depends on the sizes and on how many exposures have each size, not on the order of the exposures.
    """
    everything = Split((np.arange(n_exposures),), np.zeros(0, dtype=np.int64))
    if sizes is None:
        return everything
    area = sizes[:, 0] * sizes[:, 1]
    known = np.unique(area[area > 0])
    if known.size < 2:
        return everything
    # The first area of each run of areas that follow each other closely.
    starts = np.concatenate([known[:1], known[1:][known[1:] > LIKE * known[:-1]]])
    if starts.size == 1:
        return everything
    size_of = np.searchsorted(starts, area, side="right") - 1
    counts = np.bincount(size_of[area > 0], minlength=starts.size)
    n_known = int(counts.sum())
    least = max(2, min(ENOUGH, math.ceil(n_known / 2)))
    order = sorted(range(starts.size), key=lambda k: (-counts[k], -starts[k]))
    enough = [k for k in order if counts[k] >= least]
    if not enough:
        return Split(everything.groups, everything.apart, mixed=True)
    size_of[area == 0] = enough[0]
    groups = tuple(np.flatnonzero(size_of == k) for k in enough)
    return Split(groups, np.flatnonzero(~np.isin(size_of, enough)))


def part(dataset: Dataset, members: Integers) -> Dataset:
    """Return a dataset of a part of the exposures.

    Parameters
    ----------
    dataset : Dataset
    members : ndarray, (n,) int64
        Indices of the exposures, ascending.

    Returns
    -------
    Dataset
    """
    rows = _ccds_of(dataset, members)
    return dataclasses.replace(
        dataset,
        exposures=tuple(dataset.exposures[i] for i in members),
        owner=np.searchsorted(members, dataset.owner[rows]),
        counts=dataset.counts[rows],
        cosine=dataset.cosine[rows],
        sine=dataset.sine[rows],
        sizes=None if dataset.sizes is None else dataset.sizes[members],
    )


def _ccds_of(dataset: Dataset, members: Integers) -> Integers:
    """The CCDs of a part of the exposures."""
    return np.flatnonzero(np.isin(dataset.owner, members))


def joined(
    dataset: Dataset, parts: Sequence[tuple[Integers, tuple[Scores, ...]]], none: tuple[Scores, ...]
) -> tuple[Scores, ...]:
    """Put the scores of groups of a dataset's exposures together.

    Parameters
    ----------
    dataset : Dataset
    parts : sequence of (ndarray of int64, tuple of Scores)
        Indices of the exposures of each group, and their scores of each kind.
    none : tuple of Scores
        Counts and directions of all exposures without scores: exposures that are compared with nothing keep them.

    Returns
    -------
    tuple of Scores
        Scores of all exposures, for each kind.
    """
    rows = [(members, _ccds_of(dataset, members), scores) for members, scores in parts]
    return tuple(_joined(whole, [(m, r, s[k]) for m, r, s in rows]) for k, whole in enumerate(none))


def _joined(whole: Scores, parts: Sequence[tuple[Integers, Integers, Scores]]) -> Scores:
    """Put the scores of parts into those of all exposures."""
    values = {}
    for field in dataclasses.fields(whole):
        if field.name == "local":
            continue
        merged = np.array(getattr(whole, field.name))
        for members, rows, scores in parts:
            value = getattr(scores, field.name)
            if field.name not in ("ccd_kl", "ccd_z"):
                merged[members] = value
            elif value.size:
                merged[rows] = value
        values[field.name] = merged
    local = [np.array(column) for column in whole.local]
    for members, _, scores in parts:
        for column, value in zip(local, scores.local, strict=True):
            column[members] = value
    return dataclasses.replace(whole, **values, local=type(whole.local)(*local))


def notes(dataset: Dataset, saved: tuple[int, int] | None = None) -> list[tuple[str, str]]:
    """Return the status and the note that each exposure gets from the size of its CCDs; empty where all sizes agree.

    Parameters
    ----------
    dataset : Dataset
    saved : tuple of 2 ints, optional
        (ny, nx) of the CCDs that a saved reference was made from.

    Returns
    -------
    list of (str, str)
        One for each exposure.
    """
    n = len(dataset.exposures)
    result = [("", "")] * n
    sizes = dataset.sizes
    if sizes is None:
        return result
    if saved is not None:
        for i in unlike(dataset, saved):
            result[i] = ("other_size", f"its CCDs have {_text(sizes[i])}, the reference's {_text(saved)}: {_REMEDY}")
        return result
    found = split(sizes, n)
    if found.mixed:
        note = "the CCDs of its dataset differ in size from exposure to exposure: all are compared all the same"
        return [("", note)] * n
    if found.whole:
        return result
    typical = _text(usual_size(dataset))
    for i in found.apart:
        result[i] = ("other_size", f"its CCDs have {_text(sizes[i])}, most of its dataset {typical}: {_REMEDY}")
    for members in found.groups[1:]:
        for i in members:
            note = f"{_text(sizes[i])}: compared with the {len(members)} exposures of about that size only"
            result[i] = ("", f"its CCDs have {note}")
    return result


_REMEDY = "a read-out window or a cut-out is not compared (score exposures of one size together)"


def usual_size(dataset: Dataset) -> tuple[int, int]:
    """Return (ny, nx) of the CCDs behind the dataset's reference; (0, 0) where sizes are unknown or mixed."""
    found = split(dataset.sizes, len(dataset.exposures))
    if dataset.sizes is None or found.mixed:
        return 0, 0
    y, x = dataset.sizes[found.groups[0]].T
    known = np.flatnonzero((y > 0) & (x > 0))
    if not known.size:
        return 0, 0
    middle = known[np.lexsort((x[known], y[known], y[known] * x[known]))[known.size // 2]]
    return int(y[middle]), int(x[middle])


def like(dataset: Dataset, saved: tuple[int, int]) -> Split:
    """Separate the exposures that can be compared with a saved reference from those of another size.

    Parameters
    ----------
    dataset : Dataset
    saved : tuple of 2 ints
        (ny, nx) of the CCDs behind the reference; (0, 0) where unknown: then all can be compared.

    Returns
    -------
    Split
    """
    other = unlike(dataset, saved)
    alike = np.setdiff1d(np.arange(len(dataset.exposures)), other)
    return Split((alike,) if alike.size else (), other)


def are_alike(areas: Any, other: int) -> Any:
    """Whether areas count as one size with another one.

    Parameters
    ----------
    areas : int or ndarray of int64
    other : int
    """
    return (areas <= LIKE * other) & (other <= LIKE * areas)


def unlike(dataset: Dataset, saved: tuple[int, int]) -> Integers:
    """Return the exposures whose CCDs differ in size from those behind a saved reference.

    Parameters
    ----------
    dataset : Dataset
    saved : tuple of 2 ints
        (ny, nx) of the CCDs behind the reference; (0, 0) where unknown.

    Returns
    -------
    ndarray, (n,) int64
        Indices of the exposures, ascending.
    """
    if dataset.sizes is None or not all(saved):
        return np.zeros(0, dtype=np.int64)
    area, wanted = dataset.sizes[:, 0] * dataset.sizes[:, 1], saved[0] * saved[1]
    return np.flatnonzero((area > 0) & ~are_alike(area, wanted))


def _text(size: Sequence[int] | Integers) -> str:
    return f"{int(size[1])} x {int(size[0])} pixels"
