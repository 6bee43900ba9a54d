"""Numbers of CCDs and the exposures that they belong to: medians over CCDs, and what is normal for one CCD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpuanom.records import Doubles, Integers
from gpuanom.records.texts import Texts, coded
from gpuanom.scoring.evenly_spread import evenly_spread
from gpuanom.scoring.medians import median

MANY = 50_000
"""From so many CCDs on, to load the compiled loops takes less time than the loops save."""

MOST_FOR_PATTERN = 512
"""The median of a CCD over a dataset is taken over at most so many exposures, evenly spread."""

LEAST_CCDS = 3
"""With fewer CCDs an exposure has no median to which one of the CCDs could be compared."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where each CCD of each exposure has its place in arrays of (n_exposures, most CCDs of an exposure).

    Attributes
    ----------
    owner, place : ndarray, (n_ccd,) int64
        Index of the exposure, and position among the exposure's CCDs.
    name : ndarray, (n_ccd,) int64
        Index of the CCD's name in `names`.
    names : tuple of str
        Names of the CCDs, each once, in the order in which they first come.
    shape : tuple of 2 ints
    """

    owner: Integers
    place: Integers
    name: Integers
    names: tuple[str, ...]
    shape: tuple[int, int]

    @classmethod
    def of(cls, owner: Integers, ccds: Sequence[str] | Texts, n_exposures: int) -> Grid:
        """Return the grid of CCDs whose exposures and names are given; `owner` is ascending."""
        names, name = coded(np.asarray(ccds, dtype=np.str_))
        place = np.arange(owner.size) - np.searchsorted(owner, np.arange(n_exposures))[owner]
        width = int(place.max(initial=-1)) + 1
        return cls(owner, place, name, tuple(names.tolist()), (n_exposures, width))

    @property
    def is_large(self) -> bool:
        """Whether compiled loops are worth while."""
        return self.owner.size >= MANY

    @cached_property
    def starts(self) -> Integers:
        """The first CCD of each exposure, and the end of the last one, (n_exposures + 1,) int64."""
        return np.searchsorted(self.owner, np.arange(self.shape[0] + 1)).astype(np.int64)

    @property
    def is_full(self) -> bool:
        """Whether all exposures have the same number of CCDs, so that arrays of `shape` have no gaps."""
        return self.owner.size == self.shape[0] * self.shape[1]

    def spread(self, values: Doubles) -> Doubles:
        """Return values of CCDs, (n_ccd,) float64, in an array of `shape`; NaN where an exposure has fewer CCDs."""
        if self.is_full:
            return values.reshape(self.shape).astype(np.float64)
        full = np.full(self.shape, np.nan)
        full[self.owner, self.place] = values
        return full

    def medians(self, values: Doubles) -> Doubles:
        """Return the median over the CCDs of each exposure, (n_exposures,), of values of CCDs, (n_ccd,) float64."""
        return median(np.asarray(values, np.float64).reshape(self.shape) if self.is_full else self.spread(values))

    def counted(self, values: Doubles) -> Integers:
        """Return how many CCDs of each exposure have a value, (n_exposures,) int64."""
        known = np.isfinite(values)
        if self.is_full:
            return np.asarray(np.add.reduce(known.reshape(self.shape), axis=1, dtype=np.int64))
        return np.bincount(self.owner, known, minlength=self.shape[0]).astype(np.int64)


def patterns(values: Sequence[Doubles], grid: Grid, least: int, follow: Sequence[bool] = ()) -> Doubles:
    """Return what is normal for each CCD: its median over the dataset (METHOD.md 9.7).

    The exposures may be of a rich and of a poor field. The median of a CCD is then that of either field, and of a CCD
    that some exposures lack it may be that of the other field. So the typical level of each exposure is taken off a
    statistic that follows the exposure, before the medians are taken: the median over the exposure's CCDs, each less
    its own first median.

    Parameters
    ----------
    values : sequence of ndarray, (n_ccd,) float64
        One for each statistic.
    grid : Grid
    least : int
        A CCD with fewer exposures has no pattern.
    follow : sequence of bool, optional
        Which statistics follow the exposure; by default none.

    Returns
    -------
    ndarray, (n_statistics, n_names) float64
        NaN where there is none.
    """
    found = np.full((len(values), len(grid.names)), np.nan)
    order = np.argsort(grid.name, kind="stable")
    ends = np.searchsorted(grid.name[order], np.arange(len(grid.names) + 1))
    taken = [order[ends[k] : ends[k + 1]] for k in range(len(grid.names))]
    taken = [rows[evenly_spread(rows.size, MOST_FOR_PATTERN)] for rows in taken]
    # Only the rows that are looked at are put beside each other: a survey has a million.
    chosen = np.array([np.take(row, np.concatenate(taken)) for row in values]) if taken and len(values) else found
    ends = np.cumsum([0, *(rows.size for rows in taken)])
    for k in range(len(taken)):
        of_name = chosen[:, ends[k] : ends[k + 1]]
        enough = np.count_nonzero(np.isfinite(of_name), axis=1) >= least
        found[:, k] = np.where(enough, median(of_name), np.nan)
    if grid.shape[1] >= LEAST_CCDS:
        for i in np.flatnonzero(follow).tolist():
            of_rows = np.concatenate(taken)
            of_exposures = _medians_of_enough(values[i] - found[i][grid.name], grid)[grid.owner[of_rows]]
            less = values[i][of_rows] - of_exposures
            for k in range(len(taken)):
                of_name = less[ends[k] : ends[k + 1]]
                if np.count_nonzero(np.isfinite(of_name)) >= least:
                    found[i, k] = median(of_name[None])[0]
    return found


def _medians_of_enough(less: Doubles, grid: Grid) -> Doubles:
    """The medians over the CCDs of each exposure, (n_exposures,), NaN with too few of them."""
    return np.where(grid.counted(less) >= LEAST_CCDS, grid.medians(less), np.nan)
