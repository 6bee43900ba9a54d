"""The order of the table of exposures: by verdict and evidence, or by the deviations where there are no verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from gpuanom.naming import natural_key
from gpuanom.records import KINDS, Doubles, Integers
from gpuanom.records.texts import CodedTexts
from gpuanom.scoring import ranking
from gpuanom.settings import Settings
from gpuanom.tables import verdicts
from gpuanom.tables.rows import Columns


class OfDataset(Protocol):
    """The columns of the CCDs of one dataset, and the number of CCDs of each exposure."""

    @property
    def ccds(self) -> Columns:
        """The columns."""

    @property
    def n_ccds(self) -> Integers:
        """The numbers, (n_exposures,) int64."""


def largest_of_ccds(parts: Sequence[OfDataset], n_failures: int) -> Doubles:
    """Return the largest evidence of the CCDs of each exposure, (n_exposures,) float64; NaN where there is none.

    Parameters
    ----------
    parts : sequence of OfDataset
    n_failures : int
        Exposures without CCDs, which come last.
    """
    found = [np.full(n_failures, np.nan)]
    for part in reversed(parts):
        largest = np.full(part.n_ccds.size, -np.inf)
        if "evidence" in part.ccds:
            values = np.ma.filled(np.ma.asarray(part.ccds["evidence"], dtype=np.float64), np.nan)
            owner = np.repeat(np.arange(part.n_ccds.size), part.n_ccds)
            np.fmax.at(largest, owner, values)
        found.append(np.where(np.isfinite(largest), largest, np.nan))
    return np.concatenate(found[::-1])


def order_of_exposures(parts: Sequence[Columns], settings: Settings, of_ccds: Doubles) -> Integers:
    """Return the order of the table of exposures, (n_exposures,) int64.

    Parameters
    ----------
    parts : sequence of Columns
        The printed columns of all datasets and of failures.
    settings : Settings
    of_ccds : ndarray, (n_exposures,) float64
        From `largest_of_ccds`.
    """

    def joined(name: str) -> list[Any]:
        return [value for part in parts for value in _array(part[name]).tolist()]

    def numbers(name: str) -> Doubles:
        return np.concatenate([np.ma.getdata(part[name]) for part in parts])

    names = map(natural_key, joined("exposure"))
    ids = list(zip(names, joined("camera"), joined("band"), joined("file"), strict=True))
    if settings.statistics:
        ranks = verdicts.order_of(joined("verdict"), numbers("evidence"), numbers("deviation"), ids, of_ccds)
    else:
        ranks = ranking.table_order(np.stack([numbers(f"{kind}_deviation") for kind in KINDS], axis=1), ids)
    return np.array(ranks, dtype=np.int64)


def _array(column: Any) -> Any:
    """A column as an array, whatever it is kept as."""
    return column.array() if isinstance(column, CodedTexts) else column
