"""What is normal for a dataset, kept so that one exposure is judged without the others (METHOD.md 5, 5b and 13).

Nothing is approximated: an exposure that is among those behind the null is judged as it is together with them, and a
new one is judged by a dataset that lacks it, and all that came after the null was made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuanom.digits import printed_values
from gpuanom.records import Dataset, Doubles, Integers
from gpuanom.scoring.evidence.null import Null
from gpuanom.scoring.histograms import comparable
from gpuanom.scoring.histograms.comparison import Comparison, Group
from gpuanom.scoring.histograms.ranking import Scores
from gpuanom.scoring.histograms.reference import Reference
from gpuanom.scoring.histograms.robust_reference import from_kept
from gpuanom.scoring.histograms.significance import Usual, deviation
from gpuanom.scoring.judged import static_pattern
from gpuanom.scoring.judged.ccd_places import UsualCcds
from gpuanom.scoring.judged.static_pattern import StaticPattern
from gpuanom.settings import Settings
from gpuanom.statistics.listed import NAMES
from gpuanom.version import __version__

LEAST_EXPOSURES = 200
"""A null is kept of a dataset of at least so many exposures: as many as a static pattern is made of."""

SURVEY = 1000
"""Nulls are kept in a store of at least so many exposures; a smaller night is ranked again in a second or two."""

MOST_GROWTH = 0.1
"""A null that lacks more than this part of its dataset is made anew. Each new exposure then costs a tenth of what ten
exposures cost in a full pass, however large the survey is."""


@dataclass(frozen=True, eq=False)
class StoredNull:
    """What is normal for the exposures of one camera and band.

    Attributes
    ----------
    camera, band : str
    made : str
        The day on which the null was made, UTC.
    basis : mapping
        What the null follows from besides the exposures, see `basis_of`.
    members : mapping of str to str
        The exposures of the dataset when the null was made, by id, and a hash of the files of each.
    size : tuple of 2 ints
        (ny, nx) of the CCDs; only exposures of about this size are compared. (0, 0) where unknown or mixed.
    references : tuple of 4 Reference
        In the order of `gpuanom.records.KINDS`.
    robust_outliers : tuple of 4 frozensets of str
        The ids of the exposures that robust rounds left out of each reference.
    usual, usual_local : tuple of 4 Usual
        What the scores usually are, and those of the alignment within CCDs.
    ordered : tuple of 4 ndarray, (n,) float64
        The scores of the dataset to the printed digits, ascending.
    positions : mapping of str to (float, float)
        Where each CCD of the dataset lies in the focal plane (`Measured.x`); an exposure may lack some.
    usual_ccds : UsualCcds
        The CCDs that most exposures have: the gradients of others may not be comparable.
    pattern : str
        Fingerprint of the static patterns (`static_pattern.pattern_fingerprint`).
    patterns : mapping of str to StaticPattern
        By name of the CCD.
    null : Null or None
        None where there are no verdicts.
    alerts_pending : tuple of str
        Members that were new when a watch made the null; if the watch was killed, their alerts were not given.
    """

    camera: str
    band: str
    made: str
    basis: Mapping[str, Any]
    members: Mapping[str, str]
    size: tuple[int, int]
    references: tuple[Reference, ...]
    robust_outliers: tuple[frozenset[str], ...]
    usual: tuple[Usual, ...]
    usual_local: tuple[Usual, ...]
    ordered: tuple[Doubles, ...]
    positions: Mapping[str, tuple[float, float]]
    usual_ccds: UsualCcds
    pattern: str
    patterns: Mapping[str, StaticPattern]
    null: Null | None
    alerts_pending: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The null in words: when it was made, and of how many exposures."""
        return f"the null of {self.made}, {len(self.members):,} exposures"

    def comparison(self, dataset: Dataset, fingerprints: Mapping[str, str]) -> Comparison:
        """Return what exposures are compared with.

        Parameters
        ----------
        dataset : Dataset
            Exposures of the same camera and band, of the null or new.
        fingerprints : mapping of str to str
            A hash of the files of each exposure, by id; an exposure whose files have changed counts as a new one.

        Returns
        -------
        Comparison
            Exposures of another size of CCD are compared with nothing.
        """
        groups = []
        for members in comparable.like(dataset, self.size).groups:
            part = dataset if members.size == len(dataset.exposures) else comparable.part(dataset, members)
            kinds = from_kept(part, self.references, self.members, self.robust_outliers, fingerprints)
            groups.append(Group(members, part, kinds))
        return Comparison(tuple(groups), len(dataset.exposures))

    def placed(self, scores: tuple[Scores, ...]) -> tuple[Scores, ...]:
        """Return scores with the ranks and deviations that they have among the exposures of the null.

        Parameters
        ----------
        scores : tuple of 4 Scores

        Returns
        -------
        tuple of 4 Scores
            Rank 1 has no exposure of the null above it.
        """
        return tuple(
            dataclasses.replace(
                s,
                rank=_ranks(s.kl, self.ordered[kind]),
                deviation=deviation(s.kl, self.usual[kind]),
                local=s.local._replace(deviation=deviation(s.local.score, self.usual_local[kind])),
            )
            for kind, s in enumerate(scores)
        )


def _ranks(score: Doubles, ordered: Doubles) -> Integers:
    """The rank of each score among sorted ones, 0 where there is none."""
    above = ordered.size - np.searchsorted(ordered, printed_values(score), side="right")
    return np.where(np.isnan(score), 0, above + 1).astype(np.int64)


def basis_of(settings: Settings) -> dict[str, Any]:
    """Return what a null follows from besides the exposures: versions and settings.

    Parameters
    ----------
    settings : Settings
    """
    return {
        "version": __version__,
        "statistics": NAMES.version,
        "patterns": static_pattern.VERSION,
        "measurement": settings.fingerprint(),
        "scoring": settings.scoring(),
    }


def differing(basis: Mapping[str, Any], settings: Settings) -> str:
    """Say why a null cannot be used with these settings by this version of gpuanom; empty if it can.

    Parameters
    ----------
    basis : mapping
        What `basis_of` gave when the null was made.
    settings : Settings
    """
    wanted = basis_of(settings)
    for name in ("version", "statistics", "patterns"):
        if basis.get(name) != wanted[name]:
            return f"another version of gpuanom made it ({basis.get('version')})"
    return "" if basis == wanted else "it was made with other settings"


def usual_of(scores: tuple[Scores, ...], members: Integers) -> dict[str, tuple[Any, ...]]:
    """Return the attributes `usual`, `usual_local` and `ordered` of a null, from the scores of its exposures.

    Parameters
    ----------
    scores : tuple of 4 Scores
        Of all exposures of the dataset.
    members : ndarray, (n,) int64
        Indices of those that the null is made from.
    """
    kls = [s.kl[members] for s in scores]
    return {
        "usual": tuple(map(Usual.of, kls)),
        "usual_local": tuple(Usual.of(s.local.score[members]) for s in scores),
        "ordered": tuple(np.sort(printed_values(kl[~np.isnan(kl)])) for kl in kls),
    }
