"""p-values by simulation, for histograms with too few counts for chi-squared (METHOD.md 5b and 6).

Counts are dealt to simulated histograms one by one, so that the first n counts that were dealt are a histogram of n
counts. One deal serves all exposures of a dataset, however many counts each has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from gpuanom import sampling
from gpuanom.records import Doubles, Integers
from gpuanom.scoring.histograms.reference import Reference
from gpuanom.scoring.histograms.significance import noise_factor

LARGE_REFERENCE = 100
"""A reference of at least so many histograms is taken as exact."""
DRAWN_AT_ONCE = 16
"""Counts for which random numbers are drawn at once."""


class Sparse(NamedTuple):
    """The histograms of an exposure, some of them too sparse for chi-squared.

    Attributes
    ----------
    counts : tuple of int
        Counts of the sparse histograms, in ascending order; these are simulated.
    dense : int
        Number of the other histograms, whose part of X is drawn from chi-squared.
    contained : bool
        Whether the reference contains the histograms.
    """

    counts: tuple[int, ...]
    dense: int
    contained: bool


def p_values(
    x: Sequence[float], exposures: Sequence[Sparse], reference: Reference, *, seed: int, simulations: int
) -> Doubles:
    """Tail probabilities of X by seeded simulation, for exposures with sparse histograms (METHOD.md 5b).

    Parameters
    ----------
    x : sequence of float
        The statistic of each exposure, summed over all of its histograms.
    exposures : sequence of Sparse
        The histograms of each exposure.
    reference : Reference
        What the histograms were compared with.
    seed : int
        Seed of the simulated histograms (`Settings.seed`).
    simulations : int
        Number of simulated histograms.

    Returns
    -------
    ndarray, (n_exposures,) float64
        (1 + number of simulated X at or above x) / (1 + simulations). It depends on the exposure's counts and on the
        reference alone, so exposures with equal counts share a distribution, in whatever order they come.
    """
    parts = _simulated_parts(exposures, reference, seed, simulations)
    nulls: dict[Sparse, Doubles] = {}
    p = np.empty(len(exposures))
    for i, exposure in enumerate(exposures):
        if exposure not in nulls:
            nulls[exposure] = np.sort(_null(exposure, parts, reference.shares.size, seed, simulations))
        null = nulls[exposure]
        # A simulated value equal to x but for its last bit counts as "at or above".
        at_or_above = null.size - int(np.searchsorted(null, x[i] * (1.0 - 1e-12), side="left"))
        p[i] = (1.0 + at_or_above) / (1.0 + simulations)
    return p


def _null(
    exposure: Sparse, parts: dict[tuple[bool, int, int], Doubles], bins: int, seed: int, simulations: int
) -> Doubles:
    """X of simulated exposures with the counts of one exposure, (simulations,)."""
    null = np.zeros(simulations)
    for place, n in enumerate(exposure.counts):
        null += parts[exposure.contained, place, n]
    if exposure.dense:
        null += _draw(seed, f"{exposure.dense} dense").chisquare(exposure.dense * (bins - 1), size=simulations)
    return null


def _draw(seed: int, part: str) -> np.random.RandomState:
    """Random numbers for one part of the simulations. RandomState's streams are frozen by NumPy's promise."""
    return np.random.RandomState(sampling.stream(seed, part, "", "simulation"))


def _simulated_parts(
    exposures: Sequence[Sparse], reference: Reference, seed: int, simulations: int
) -> dict[tuple[bool, int, int], Doubles]:
    """X of simulated histograms, by whether the reference contains them, place among the exposure's, and counts.

    The histograms of one exposure are independent, since each place has its own random numbers.
    """
    needed: dict[tuple[bool, int], set[int]] = {}
    for exposure in set(exposures):
        for place, n in enumerate(exposure.counts):
            needed.setdefault((exposure.contained, place), set()).add(n)
    parts = {}
    for (contained, place), counts in needed.items():
        draw = _draw(seed, f"histogram {place}, {contained}")
        for n, x in _statistics(sorted(counts), reference, contained, simulations, draw):
            parts[contained, place, n] = x
    return parts


def _statistics(
    counts: Sequence[int], reference: Reference, contained: bool, simulations: int, draw: np.random.RandomState
) -> Iterator[tuple[int, Doubles]]:
    """X of simulated histograms of n counts, each compared with a reference that is simulated together with it.

    Where the reference contains the histogram, its pooled counts are dealt out anew between the histogram and the
    other histograms: the true distribution need not be guessed, and a few sparse histograms say too little about it.
    Otherwise the histogram and the reference are both drawn from the mean with half a count in each bin. All other
    histograms of the reference are taken to be of equal size. A large reference is taken as exact.
    """
    m, bins = reference.n_histograms, reference.shares.size
    others = m - contained
    if m >= LARGE_REFERENCE:
        truth = reference.mean(contains=contained)
        for n, drawn in _dealt(counts, truth, simulations, draw, replaced=True):
            yield n, 2.0 * n * _divergences(drawn, n, np.broadcast_to(truth[:, None], (bins, n + 1)))
        return
    if contained:
        pool = reference.counts
        for n, drawn in _dealt(counts, pool, simulations, draw, replaced=False):
            taken = np.arange(n + 1)
            rest = np.maximum(pool[:, None] - taken, 0)
            mean = (rest * (others / max(1, int(pool.sum()) - n)) + taken / n) / m
            yield n, 2.0 * n * _divergences(drawn, n, mean) / _factor(n, reference, contained)
        return
    from scipy.special import rel_entr

    per_other = others / reference.inverse_counts
    truth = reference.shares + 0.5 * others / reference.counts.sum()
    truth = truth / truth.sum()
    counted = draw.multinomial(round(others * per_other), truth, size=simulations).T
    # The half count of METHOD.md 5, where a simulated reference has an empty bin.
    spread = np.where((counted == 0).any(axis=0), 0.5 / per_other, 0.0)
    mean = (counted / per_other + spread) / (others + spread * bins)
    for n, drawn in _dealt(counts, truth, simulations, draw, replaced=True):
        yield n, 2.0 * n * rel_entr(drawn / n, mean).sum(axis=0) / _factor(n, reference, contained)


def _factor(n: int, reference: Reference, contained: bool) -> float:
    return float(
        noise_factor(np.array([n]), reference.n_histograms, reference.inverse_counts, np.array([contained]))[0]
    )


def _divergences(drawn: Integers, n: int, mean: Doubles) -> Doubles:
    """KL divergences of histograms of n counts, (simulations,), where `mean` depends on the bin and its count alone.

    `mean` is (N, n + 1): the mean of each bin where the histogram has 0 ... n counts in that bin.
    """
    from scipy.special import rel_entr

    terms = rel_entr(np.arange(n + 1) / n, mean)
    return np.asarray(np.take_along_axis(terms, drawn, axis=1).sum(axis=0))


def _dealt(
    counts: Sequence[int],
    pool: Integers | Doubles,
    simulations: int,
    draw: np.random.RandomState,
    *,
    replaced: bool,
) -> Iterator[tuple[int, Integers]]:
    """Deal counts to simulated histograms one by one.

    Parameters
    ----------
    counts : sequence of int
        In ascending order.
    pool : ndarray, (N,) int64 or float64
        What the counts are dealt from: counts of each bin, or probabilities in any unit.
    simulations : int
    draw : numpy.random.RandomState
    replaced : bool
        Whether a count goes back into the pool after it was dealt.

    Yields
    ------
    n : int
        Each of `counts`.
    drawn : ndarray, (N, simulations) int64
        Histograms of n counts. Those of a larger n are the same histograms with more counts.
    """
    up_to = np.cumsum(pool)[:, None]
    total = up_to[-1, 0]
    below = np.zeros((pool.size, simulations), dtype=np.int64)
    dealt, numbers = 0, np.zeros((0, simulations))
    for n in counts:
        while dealt < n:
            at = dealt % DRAWN_AT_ONCE
            if at == 0:
                numbers = draw.random_sample((DRAWN_AT_ONCE, simulations))
            if replaced:
                below += up_to > numbers[at] * total
            else:
                below += up_to - below > np.floor(numbers[at] * (total - dealt))
            # No number reaches the last bin's end but by rounding.
            below[-1] = dealt = dealt + 1
        yield n, np.diff(below, axis=0, prepend=0)
