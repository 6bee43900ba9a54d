"""How good the scores are: true-positive rates of the highest scores (METHOD.md 8)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table

from gpuanom.digits import printed
from gpuanom.errors import OutputError
from gpuanom.natural_order import natural_key
from gpuanom.records import KINDS, ExposureKey
from gpuanom.review.analysts import Consensus, consensus
from gpuanom.review.labels import Label
from gpuanom.review.opened import ScoredNight, is_background, key_of
from gpuanom.settings import decimal

FRACTION = 0.1
BINS = 10
SCORES = ("kl", "z", "deviation")
JUDGED = (*KINDS, "autoencoder")
"""The kinds of score that are compared with labels; the last only where the night was scored with a model."""
_RECONSTRUCTED = {"kl": "autoencoder_mse", "deviation": "autoencoder_deviation"}
"""An autoencoder's error takes the place of the KL of the other kinds; it has no z."""


@dataclass(frozen=True)
class Bin:
    """A range of ranks among the highest scores of a dataset, with the labels of its exposures.

    Attributes
    ----------
    first, last : float
        The first and the last rank, in percent of the dataset's scored exposures.
    n : int
        Number of exposures.
    labelled, prominent, dubious : int
        Number of exposures with a label, with the label prominent, and with the label dubious.
    """

    first: float
    last: float
    n: int
    labelled: int
    prominent: int
    dubious: int

    @property
    def prominent_rate(self) -> float:
        """Fraction of the labelled exposures that are prominent; NaN where nothing is labelled."""
        return self.prominent / self.labelled if self.labelled else math.nan

    @property
    def dubious_rate(self) -> float:
        """Fraction of the labelled exposures that are prominent or dubious; NaN where nothing is labelled."""
        return (self.prominent + self.dubious) / self.labelled if self.labelled else math.nan


Rates = dict[tuple[str, str, str], list[Bin]]
"""The bins, from the highest scores down, by camera, band and kind of score."""


def true_positive_rates(
    night: ScoredNight,
    labelled: Iterable[Label],
    *,
    how: Consensus = "majority",
    score: str = "kl",
    fraction: float = FRACTION,
    bins: int = BINS,
) -> Rates:
    """Compute true-positive rates of the highest scores of each dataset and kind: the paper's figures 5, 7 and 9.

    Parameters
    ----------
    night : ScoredNight
    labelled : iterable of Label
        One for each exposure, kind and analyst. Labels of sources are compared with both source scores and with the
        autoencoder's, labels of backgrounds with both background scores.
    how : str, optional
        How many analysts must agree, see `gpuanom.review.analysts.consensus`.
    score : str, optional
        One of `SCORES`.
    fraction : float, optional
        Fraction of each dataset's scored exposures that counts as the highest, rounded up.
    bins : int, optional
        Number of bins of these highest scores.

    Returns
    -------
    dict of (camera, band, kind) to list of Bin
        From the highest scores down.
    """
    agreed = consensus(labelled, how)
    rates: Rates = {}
    for (camera, band, kind), order in ranked_exposures(night, score).items():
        top = order[: math.ceil(decimal(fraction) * len(order))]
        label_kind = "background" if is_background(kind) else "source"
        grades = [agreed.get((*key, label_kind)) for key in top]
        ranges, done = [], 0
        for part in np.array_split(np.arange(len(top)), bins):
            marks = [grades[i] for i in part]
            first, last = (100.0 * k / len(order) for k in (done, done + len(marks)))
            n_labelled = len(marks) - marks.count(None)
            prominent, dubious = marks.count("prominent"), marks.count("dubious")
            ranges.append(Bin(first, last, len(marks), n_labelled, prominent, dubious))
            done += len(marks)
        rates[camera, band, kind] = [b for b in ranges if b.n]
    return rates


def ranked_exposures(night: ScoredNight, score: str) -> dict[tuple[str, str, str], list[ExposureKey]]:
    """Return the scored exposures of each dataset and kind, the highest score first, ties by id.

    Parameters
    ----------
    night : ScoredNight
    score : str
        One of `SCORES`.

    Returns
    -------
    dict of (camera, band, kind) to list of ExposureKey
    """
    found: dict[tuple[str, str, str], list[tuple[float, Any, ExposureKey]]] = {}
    for row in night.exposures:
        for kind in JUDGED:
            column = f"{kind}_{score}" if kind in KINDS else _RECONSTRUCTED.get(score, "")
            value = row.get(column)
            if value is not None:
                values = found.setdefault((row["camera"], row["band"], kind), [])
                values.append((-printed(value), natural_key(row["exposure"]), key_of(row)))
    return {dataset: [key for _, _, key in sorted(values)] for dataset, values in sorted(found.items())}


def require_scores(night: ScoredNight, kinds: Sequence[str], score: str) -> None:
    """Refuse to rank a night by scores that it does not have: nothing would be found, whatever is known.

    Parameters
    ----------
    night : ScoredNight
    kinds : sequence of str
        Some of `JUDGED`.
    score : str
        One of `SCORES`.

    Raises
    ------
    OutputError
        When no exposure has a score of these kinds, or none has an autoencoder's error although it is asked for.
    """
    scored = {kind for _, _, kind in ranked_exposures(night, score)}
    if "autoencoder" in kinds and "autoencoder" not in scored:
        if score not in _RECONSTRUCTED:
            raise OutputError(f"an autoencoder's errors have no {score} (give --score kl or --score deviation)")
        remedy = f"gpuanom score -o {night.folder} --model MODEL"
        raise OutputError(f"{night.folder}: was scored without an autoencoder ({remedy})")
    if not scored.intersection(kinds):
        other = ", ".join(name for name in SCORES if name != score)
        raise OutputError(f"{night.folder}: no exposure has a {score} to rank by (of --score, try {other})")


def rates_table(rates: Mapping[str, Rates]) -> Table:
    """Make a table of true-positive rates, with a row for each bin.

    Parameters
    ----------
    rates : mapping of str to Rates
        Rates by how many analysts must agree.

    Returns
    -------
    Table
    """
    rows = [
        (camera, band, kind, how, b.first, b.last, b.n, b.labelled, b.prominent, b.dubious)
        + (b.prominent_rate, b.dubious_rate)
        for how, of_datasets in rates.items()
        for (camera, band, kind), ranges in of_datasets.items()
        for b in ranges
    ]
    names = ("camera", "band", "score", "analysts", "first_percent", "last_percent", "n", "labelled", "prominent")
    kinds = ("U64", "U64", "U16", "U8", float, float, int, int, int, int, float, float)
    return Table(rows=rows or None, names=(*names, "dubious", "prominent_rate", "with_dubious_rate"), dtype=kinds)
