"""The order of the table of exposures: by verdict and evidence, or by the deviations where there are no verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpuanom.digits import printed_values
from gpuanom.natural_order import natural_key
from gpuanom.records import KINDS, Doubles, Integers
from gpuanom.records.texts import CodedTexts
from gpuanom.scoring.verdict.levels import VERDICTS
from gpuanom.settings import Settings
from gpuanom.tables.dataset_columns import Columns
from gpuanom.tables.statistic_columns import largest_of_each


def largest_of_ccds(ccds: Columns, n_ccds: Integers) -> Doubles:
    """Return the largest evidence of the CCDs of each exposure of a dataset, (n,) float64; NaN where there is none.

    Parameters
    ----------
    ccds : dict
        The columns of the CCDs, those of each exposure together.
    n_ccds : ndarray, (n,) int64
        The number of CCDs of each exposure.
    """
    if "evidence" not in ccds:
        return np.full(n_ccds.size, np.nan)
    values = np.ma.filled(np.ma.asarray(ccds["evidence"], dtype=np.float64), np.nan)
    return largest_of_each(values, np.repeat(np.arange(n_ccds.size), n_ccds), n_ccds.size)[0]


def order_of(
    verdict: Sequence[str],
    evidence: Doubles,
    deviation: Doubles,
    ids: Sequence[Any],
    of_ccds: Doubles | None = None,
) -> list[int]:
    """Return the order of the tables: the verdict, the evidence, and for exposures without a verdict the deviation.

    Exposures that are to be checked because of one CCD alone have the evidence of the threshold where their own is
    lower, which makes many equal: these are sorted by the evidence of the CCD.

    Parameters
    ----------
    verdict : sequence of str
        Of the exposures of all datasets, and of failures, which have an empty one.
    evidence, deviation : ndarray, (n,) float64
        NaN where there is none.
    ids : sequence
        What exposures of equal evidence are sorted by.
    of_ccds : ndarray, (n,) float64, optional
        The largest evidence of a CCD of each exposure, NaN where there is none.

    Returns
    -------
    list of int
    """
    rank = {name: i for i, name in enumerate(VERDICTS)}
    judged = np.array([bool(name) for name in verdict], dtype=bool)
    strength = printed_values(np.where(judged, evidence, deviation))
    weakness = np.where(np.isnan(strength), np.inf, -strength).tolist()
    worst = np.full(len(ids), np.nan) if of_ccds is None else np.where(judged, printed_values(of_ccds), np.nan)
    of_worst = np.where(np.isnan(worst), np.inf, -worst).tolist()
    levels = [rank.get(name, len(VERDICTS)) for name in verdict]
    return sorted(range(len(ids)), key=lambda i: (levels[i], weakness[i], of_worst[i], ids[i]))


def order_of_exposures(parts: Sequence[Columns], settings: Settings, of_ccds: Doubles) -> Integers:
    """Return the order of the table of exposures, (n_exposures,) int64.

    Parameters
    ----------
    parts : sequence of Columns
        The printed columns of all datasets and of failures.
    settings : Settings
    of_ccds : ndarray, (n_exposures,) float64
        The largest evidence of a CCD of each exposure, NaN where there is none.
    """

    def joined(name: str) -> list[Any]:
        return [value for part in parts for value in _array(part[name]).tolist()]

    def numbers(name: str) -> Doubles:
        return np.concatenate([np.ma.getdata(part[name]) for part in parts])

    names = map(natural_key, joined("exposure"))
    ids = list(zip(names, joined("camera"), joined("band"), joined("file"), strict=True))
    if settings.statistics:
        ranks = order_of(joined("verdict"), numbers("evidence"), numbers("deviation"), ids, of_ccds)
    else:
        none = np.full(len(ids), np.nan)
        largest = np.fmax.reduce([numbers(f"{kind}_deviation") for kind in KINDS])
        ranks = order_of([""] * len(ids), none, largest, ids)
    return np.array(ranks, dtype=np.int64)


def _array(column: Any) -> Any:
    """A column as an array, whatever it is kept as."""
    return column.array() if isinstance(column, CodedTexts) else column
