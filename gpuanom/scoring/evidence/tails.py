"""How unlikely a value is by chance: a Weibull tail through the bulk of a dataset's own values (METHOD.md 13).

Arrays have one row for each statistic, so that an exposure's values are a column and every row is contiguous.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gpuanom.records import Doubles, Flags, Integers
from gpuanom.scoring.evenly_spread import evenly_spread
from gpuanom.side_by_side import side_by_side

MOST_FITTED = 65_536
"""Tails are fitted to at most so many values of a row, evenly spread: more do not move the quantiles."""

LEAST_NUMBER = 0.5
"""The largest of several values is not taken for that of fewer: values with tails thinner than expected look so."""

_LEAST_SHAPE, _LARGEST_SHAPE = 0.5, 2.0
_START = 0.02
_NUMBER = 0.75
_OUTLYING = 4.0
_ROUNDS = 3
_PRIOR, _PRIOR_SHAPE = 100.0, 1.2
"""A shape counts as if so many further values had had this shape: that of few values alone is too uncertain.

With 30 exposures of noise this halves the evidence that 1 in 100 reaches, and doubles the share of planted anomalies
above it (`profiling/verdict_thresholds.py`).
"""

_EXACT, _BEYOND = 2.0, 0.75
"""The evidence of exposures above the first number counts in part: it is the largest of many, whose tails are known
from few values each, so that chance reaches 4.6 in 2 cases of 100 (`profiling/verdict_thresholds.py`)."""

_TIED, _ALIKE, _NEARLY = 0.3, 1e-6, 0.05
"""Values are tied where so large a part of them is as near as the second number to their median, or as near as the
third part of the range of the bulk: those of a statistic below its floor are equal, and so are many counts of few
things. What is subtracted from equal values, a median of few CCDs, may make them differ a little."""

_BULK = (0.1, 0.75)
"""The range of the bulk is between these quantiles. Strong anomalies beyond them make the range so large that values
with their usual scatter seem alike: as few as 15% of the exposures, in a night of clouds, must not do so."""

_LEAST_ABOVE = 10
"""So many values above tied ones tell how they scatter; fewer tell nothing."""

_FIRST_OF_ABOVE = (0.25, 0.5)
"""The first tails of these go through such quantiles: one exposure in ten with the same anomaly may be half of them."""

_RELATIVE_SPREAD = 1e-6
"""Values that differ by less than this part of their size count as equal: they come from float32 numbers."""


class Tails(NamedTuple):
    """A Weibull tail for each row: P(value as large by chance) = exp(-((value - start) / scale)^shape).

    Attributes
    ----------
    start, scale, shape : ndarray, (n_rows,) float64
        The scale is NaN where the values have no spread: such a row says nothing about any exposure.
    """

    start: Doubles
    scale: Doubles
    shape: Doubles

    def evidence(self, values: Doubles) -> Doubles:
        """Return L = -ln P for values, (n_rows, n) float64; NaN where a value or the tail is missing."""
        with np.errstate(invalid="ignore"):
            beyond = values - self.start[:, None]
            np.maximum(beyond, 0.0, out=beyond)
            beyond /= self.scale[:, None]
            return np.asarray(np.power(beyond, self.shape[:, None], out=beyond))


def fit(values: Sequence[Doubles] | Doubles, least: float = 0.0, tied: Flags | None = None) -> Tails:
    """Put a tail through each row's own values.

    A first tail through the 50% and 75% quantiles tells which values are outliers: the k largest of n leave where each
    has L > 4 + ln(n / k): chance alone would give a fiftieth of them. This is repeated with
    the rest, since many outliers widen the first tail. The tail then goes through the 50% and 90% quantiles of the
    rest, so that one exposure in ten with the same anomaly does not make the anomaly look normal.

    Where many values are equal, as those of CCDs without any glow, quantiles that lie among these tell nothing of how
    the others scatter. The equal values then count as values whose size is not known, and an exponential tail goes
    through the 50% and 90% quantiles of those above them, without the outliers, which first tails through their 25% and
    50% quantiles tell.

    Parameters
    ----------
    values : sequence of n_rows ndarrays, (n,) float64
        Distances from normal, larger is stranger; NaN where there is none.
    least : float, optional
        The quantiles that a tail goes through are taken as at least this far from the start of the tail.
    tied : ndarray, (n_rows,) bool, optional
        Rows whose values were tied before medians were taken off, which made them differ. By default the values
        themselves tell.

    Returns
    -------
    Tails
        Its numbers depend on the values of a row, not on their order as long as there are at most `MOST_FITTED`.
    """
    ordered, n = _sorted_rows(values)
    start = _quantile(ordered, n, _START)
    rest = n.copy()
    for _ in range(_ROUNDS):
        first = _through(ordered, rest, start, 0.75, least)
        with np.errstate(invalid="ignore"):
            near = first.start + first.scale * (0.99 * _OUTLYING) ** (1.0 / first.shape)
        for row in np.flatnonzero(np.isfinite(first.evidence(ordered[:, :1]).sum(axis=1))).tolist():
            # The evidence grows along the sorted row, so that the outliers are its end.
            end = int(n[row])
            begin = int(np.searchsorted(ordered[row, :end], near[row]))
            one = Tails(*(values[row : row + 1] for values in first))
            evidence = one.evidence(ordered[row : row + 1, begin:end])[0]
            rest[row] = begin + _first_outlier(evidence, end)
    found = _through(ordered, rest, start, 0.9, least)
    alike = _alike(ordered, n)
    are_alike = _are_tied(ordered, n, alike)
    for row in np.flatnonzero(are_alike if tied is None else (are_alike | tied) & (n > 0)).tolist():
        found.start[row], found.scale[row], found.shape[row] = _above_tied(
            ordered[row, : int(n[row])], float(alike[row])
        )
    return found


def _first_outlier(evidence: Doubles, n: int) -> int:
    """The place of the first outlier in the evidence of the largest of n values, in ascending order; its end without.

    The k largest are outliers where each has L > 4 + ln(n / k).
    """
    beyond = np.flatnonzero(evidence > _OUTLYING + np.log(n / np.arange(evidence.size, 0, -1)))
    return int(beyond[0]) if beyond.size else evidence.size


def are_tied(values: Doubles) -> Flags:
    """Return in which rows many values are alike, (n_rows,) bool.

    Parameters
    ----------
    values : ndarray, (n_rows, n) float64
        NaN where there is none.
    """
    ordered, n = _sorted_rows(values)
    return _are_tied(ordered, n, _alike(ordered, n))


def have_equal(values: Sequence[Doubles] | Doubles) -> Flags:
    """Return in which rows as many values are equal as make a row tied, (n_rows,) bool.

    Values that are merely near each other do not count: those of CCDs that differ from each other may be.

    Parameters
    ----------
    values : sequence of n_rows ndarrays, (n,) float64
        NaN where there is none.
    """
    ordered, n = _sorted_rows(values)
    equal = np.zeros(len(ordered), dtype=np.bool_)
    for row in np.flatnonzero(n > 1).tolist():
        known = ordered[row, : int(n[row])]
        further = max(math.ceil(_TIED * known.size) - 1, 1)
        equal[row] = bool((known[further:] - known[:-further] <= _ALIKE).any())
    return equal


def _sorted_rows(values: Sequence[Doubles] | Doubles) -> tuple[Doubles, Integers]:
    """At most `MOST_FITTED` values of each row, in ascending order, and how many are finite: these come first."""
    longest = max(map(len, values), default=0)
    taken = evenly_spread(longest, MOST_FITTED)
    several = side_by_side(lambda row: np.sort(row[taken]), values, many=longest > MOST_FITTED)
    ordered = np.array(several, dtype=np.float64).reshape(len(values), max(map(len, several), default=0))
    return ordered, np.count_nonzero(np.isfinite(ordered), axis=1)


def _are_tied(ordered: Doubles, n: Integers, alike: Doubles) -> Flags:
    """Of which sorted rows so many of the first n values are alike that their quantiles do not tell of the others."""
    middle, tied = _quantile(ordered, n, 0.5), np.zeros(len(ordered), dtype=np.bool_)
    for row in np.flatnonzero(n).tolist():
        first, last = np.searchsorted(ordered[row, : int(n[row])], (middle[row] - alike[row], middle[row] + alike[row]))
        tied[row] = last - first >= _TIED * n[row]
    return tied


def _alike(ordered: Doubles, n: Integers) -> Doubles:
    """How near the median of each sorted row values are alike."""
    low, high = (_quantile(ordered, n, share) for share in _BULK)
    return np.fmax(_NEARLY * (high - low), _ALIKE)


def _above_tied(values: Doubles, alike: float) -> tuple[float, float, float]:
    """Start, scale and shape of the tail of sorted values many of which are alike; the scale is NaN without a tail."""
    n, middle = values.size, float(np.median(values))
    above = int(np.searchsorted(values, middle + alike, side="right"))
    end, start, scale = n, middle, math.nan
    for shares in (*[_FIRST_OF_ABOVE] * _ROUNDS, (0.5, 0.9)):
        if end - above < _LEAST_ABOVE:
            return middle, math.nan, 1.0
        half, high = (float(values[above + int(share * (end - above))]) for share in shares)
        # How many are as large: of equal values all.
        of_half, of_high = (-math.log((end - int(np.searchsorted(values, value))) / end) for value in (half, high))
        scale = (high - middle) / of_high
        if of_high > of_half:
            scale = max(scale, (high - half) / (of_high - of_half))
        start = high - scale * of_high
        evidence = (values[above:] - start) / scale
        end = above + _first_outlier(evidence, n)
    return start, scale, 1.0


def effective_number(largest: Doubles) -> Doubles:
    """Return of how many independent values each row's values seem to be the largest, (n_rows,) float64.

    Each value is the largest of several L, which are not independent of each other and may not be quite exponential. So
    their number comes from the largest values' own 75% quantile: m independent L are below it in 75 of 100 cases.

    Parameters
    ----------
    largest : ndarray, (n_rows, n) float64
        NaN where there is none.

    Returns
    -------
    ndarray, (n_rows,) float64
        At least `LEAST_NUMBER`; NaN for a row without values, and where three quarters of the values are 0.
    """
    ordered = np.sort(largest, axis=1)
    high = _quantile(ordered, np.count_nonzero(np.isfinite(ordered), axis=1), _NUMBER)
    with np.errstate(divide="ignore", invalid="ignore"):
        number = math.log(_NUMBER) / np.log1p(-np.exp(-high))
    return np.asarray(np.where(high > 0.0, np.maximum(number, LEAST_NUMBER), np.nan))


def evidence_of_largest(largest: Doubles, number: Doubles) -> Doubles:
    """Return L of the largest of several L: -ln of the probability that any of them is as large by chance.

    Parameters
    ----------
    largest : ndarray, (n_rows, n) float64
    number : ndarray, (n_rows,) float64
        See `effective_number`; NaN is taken as 1.

    Returns
    -------
    ndarray, (n_rows, n) float64
        -ln(1 - (1 - exp(-L))^m), which is L - ln m far out.
    """
    m = np.where(np.isfinite(number), number, 1.0)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        below = m * np.log1p(-np.exp(-largest))
        # -expm1(below) is m exp(-L) far out, where the probability itself is lost beside 1.
        return np.asarray(np.where(largest > 30.0, largest - np.log(m), -np.log(-np.expm1(below))))


def calibrated(evidence: Doubles) -> Doubles:
    """Return the evidence of exposures as often as chance reaches it: of 100 normal exposures one is above 4.6.

    Parameters
    ----------
    evidence : ndarray, float64
        L of the largest list, corrected for the number of lists; NaN where nothing was measured.
    """
    return np.asarray(np.where(evidence > _EXACT, _EXACT + _BEYOND * (evidence - _EXACT), evidence))


def _through(ordered: Doubles, n: Integers, start: Doubles, upper: float, least: float = 0.0) -> Tails:
    """The tails through the 50% and the upper quantile of the first n values of each sorted row."""
    middle = _quantile(ordered, n, 0.5) - start
    high = _quantile(ordered, n, upper) - start
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = high > _RELATIVE_SPREAD * np.maximum(np.abs(start), 1e-30)
        shape = math.log(math.log(1.0 - upper) / math.log(0.5)) / np.log(high / middle)
        shape = np.exp((n * np.log(shape) + _PRIOR * math.log(_PRIOR_SHAPE)) / (n + _PRIOR))
        high = np.maximum(high, least)
        # With half of the values at the start the ratio is infinite and the shape 0: the bound below holds.
        shape = np.clip(np.where(middle > 0.0, shape, 0.0), _LEAST_SHAPE, _LARGEST_SHAPE)
        # Where the shape is at a bound the tail goes through the upper quantile, the one nearer to what it tells of.
        scale = high / (-math.log(1.0 - upper)) ** (1.0 / shape)
    return Tails(start, np.where(spread, scale, np.nan), shape)


def _quantile(ordered: Doubles, n: Integers, share: float) -> Doubles:
    """The quantile of the first n values of each sorted row, between values in proportion; NaN where n is 0."""
    place = share * np.maximum(n - 1, 0)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(n - 1, 0))
    rows = np.arange(len(ordered))
    if not ordered.shape[1]:
        return np.full(len(ordered), np.nan)
    below, above = ordered[rows, low], ordered[rows, high]
    return np.asarray(np.where(n > 0, below + (place - low) * (above - below), np.nan))
