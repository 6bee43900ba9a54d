"""The labels of several analysts: where they contradict each other, what they agree on, and how well they agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

from gpuanom.review.labels import GRADES, Label, Subject

Consensus = Literal["any", "majority", "all"]
CONSENSUS: tuple[str, ...] = get_args(Consensus)


def contradictions(labels: Iterable[Label]) -> dict[Subject, list[Label]]:
    """Find where one analyst says prominent and another one normal, by camera, exposure and kind.

    Parameters
    ----------
    labels : iterable of Label
        At most one for each exposure, kind and analyst (see `gpuanom.review.labels.merged`).
    """
    found: dict[Subject, list[Label]] = {}
    for label in labels:
        found.setdefault(label.subject, []).append(label)
    return {key: several for key, several in found.items() if {GRADES[0], GRADES[-1]} <= {a.label for a in several}}


def consensus(labels: Iterable[Label], how: Consensus = "majority") -> dict[Subject, str]:
    """Combine the labels of all analysts into one grade for each exposure and kind.

    Parameters
    ----------
    labels : iterable of Label
        At most one for each exposure, kind and analyst (see `gpuanom.review.labels.merged`).
    how : str, optional
        An exposure is prominent when any, the majority (more than half) or all of its analysts call it prominent; else
        it is dubious when as many call it dubious or prominent; else it is normal.

    Returns
    -------
    dict of (camera, exposure, kind) to str
    """
    votes: dict[Subject, list[int]] = {}
    for label in labels:
        votes.setdefault(label.subject, []).append(GRADES.index(label.label))
    return {key: GRADES[_grade(cast, how)] for key, cast in votes.items()}


def _grade(votes: Sequence[int], how: Consensus) -> int:
    needed = {"any": 1, "majority": len(votes) // 2 + 1, "all": len(votes)}[how]
    return max(grade for grade in range(len(GRADES)) if sum(v >= grade for v in votes) >= needed)


@dataclass(frozen=True)
class Agreement:
    """How well two analysts agree on the exposures and kinds that both labelled.

    Attributes
    ----------
    first, second : str
        The analysts.
    n : int
        Number of exposures and kinds that both labelled.
    same : float
        Fraction on which both give the same grade.
    kappa : float
        Cohen's kappa: 1 is full agreement, 0 the agreement by chance; NaN where chance alone gives full agreement.
    """

    first: str
    second: str
    n: int
    same: float
    kappa: float


def agreement(labels: Iterable[Label]) -> list[Agreement]:
    """Compare each pair of analysts with labels in common, in order of their names."""
    grades: dict[str, dict[Subject, str]] = {}
    for label in labels:
        grades.setdefault(label.analyst, {})[label.subject] = label.label
    found = []
    for first, second in combinations(sorted(grades), 2):
        common = sorted(grades[first].keys() & grades[second].keys())
        if not common:
            continue
        n = len(common)
        pairs = [(grades[first][key], grades[second][key]) for key in common]
        same = sum(a == b for a, b in pairs) / n
        chance = sum(
            (sum(a == grade for a, _ in pairs) / n) * (sum(b == grade for _, b in pairs) / n) for grade in GRADES
        )
        kappa = (same - chance) / (1.0 - chance) if chance < 1.0 else float("nan")
        found.append(Agreement(first, second, n, same, kappa))
    return found
