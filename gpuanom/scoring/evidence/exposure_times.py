"""What is normal for an exposure follows from how long it was exposed: exposures of about one time are compared.

A short exposure among long ones has a dark sky and few sources, although nothing is wrong with it. The statistics of
the exposures of each time are moved by what their median differs from that of the most frequent time. All of them then
tell together how far an exposure may be from that median by chance: those of one time alone would be too few. Too few
exposures of one time do not even tell their median, and get no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gpuanom.records import Doubles, Flags, Integers
from gpuanom.scoring.medians import median

COLUMN = "exptime"
"""The column of `Measured.exposures` that holds the times, in seconds."""

LEAST = 10
"""So many exposures of about one time tell what is normal for that time: their median is known to 0.4 of a scatter."""

_BETWEEN = 30
"""One of so many exposures may lie between two times, but at most `LEAST` - 1, without making one group of both."""

_SLACK = 1e-3
"""Times that differ by just the ratio of the settings count as alike, also where they are kept as float32."""


class Times(NamedTuple):
    """The exposure times of a dataset, in groups; the largest group first.

    Attributes
    ----------
    low, high, usual : ndarray, (n_groups,) float64
        The shortest, the longest and the median time of each group, in seconds; empty where all are compared.
    counts : ndarray, (n_groups,) int64
        Exposures of each group.
    ratio : float
        Exposures whose times differ by more are not alike.
    are_mixed : bool
        Whether times differ, and most exposures have a rare one: all are compared all the same.
    """

    low: Doubles = np.zeros(0)
    high: Doubles = np.zeros(0)
    usual: Doubles = np.zeros(0)
    counts: Integers = np.zeros(0, dtype=np.int64)
    ratio: float = 1.5
    are_mixed: bool = False

    def group_of(self, times: Doubles) -> Integers:
        """Return the group of each exposure, (n,) int64; -1 for a time that no group has.

        Parameters
        ----------
        times : ndarray, (n,) float64
            An unknown one counts as one of the most frequent time.
        """
        group = np.zeros(len(times), dtype=np.int64)
        if not self.low.size:
            return group
        known = _known(times)
        return np.where(known, _nearest(np.log(np.where(known, times, 1.0)), self.low, self.high, self.ratio), 0)

    def n_alike(self, n_exposures: int) -> int:
        """Return how many of the n exposures, which these times were found of, are compared with each other."""
        return int(self.counts.sum()) if self.low.size else n_exposures


def find(columns: Mapping[str, Doubles], ratio: float) -> Times:
    """Put exposures into groups of about one exposure time.

    Sorted times that follow each other within the ratio belong together: times that were chosen by the conditions are
    one group. A few exposures between two groups join the nearer group; they do not make one group of both.

    Parameters
    ----------
    columns : mapping of str to ndarray
        `Measured.exposures`.
    ratio : float

    Returns
    -------
    Times
        It does not depend on the order of the exposures.
    """
    times = columns.get(COLUMN, np.zeros(0))
    known = _known(times)
    if not known.any():
        return Times(ratio=ratio)
    x = np.sort(np.log(times[known]))
    low, high = _runs(x, ratio)
    everyone = low.size == 1
    group = _nearest(x, low, high, ratio)
    enough = np.bincount(group[group >= 0], minlength=low.size) >= LEAST
    if not everyone:
        low, high = low[enough], high[enough]
        group = _nearest(x, low, high, ratio) if low.size else np.full(x.size, -1, dtype=np.int64)
    if 2 * np.count_nonzero(group >= 0) < x.size:
        return Times(ratio=ratio, are_mixed=True)
    counts = np.bincount(group[group >= 0], minlength=low.size)
    counts[np.argmax(counts)] += np.count_nonzero(~known)
    usual = np.array([math.exp(float(np.median(x[group == k]))) for k in range(low.size)])
    order = np.lexsort((-usual, -counts))
    return Times(low[order], high[order], usual[order], counts[order], ratio)


def groups(times: Times, columns: Mapping[str, Doubles], n_exposures: int) -> Integers:
    """Return the group of each exposure by its exposure time, (n_exposures,) int64; -1 for a time of no group.

    Parameters
    ----------
    times : Times
    columns : mapping of str to ndarray
        `Measured.exposures`; without exposure times all exposures are of the most frequent one.
    n_exposures : int
    """
    return times.group_of(columns.get(COLUMN, np.full(n_exposures, np.nan)))


def _known(times: Doubles) -> Flags:
    return np.asarray(np.isfinite(times) & (np.nan_to_num(times) > 0.0))


def _runs(x: Doubles, ratio: float) -> tuple[Doubles, Doubles]:
    """The first and the last time of each run, in seconds, of sorted logarithms of times."""
    at, counts = np.unique(x, return_counts=True)
    until = np.cumsum(counts)
    beyond = np.searchsorted(at, at + math.log(ratio) + _SLACK, side="right")
    few = min(x.size // _BETWEEN, LEAST - 1)
    # From each time on, the exposures within the ratio; behind them there are more.
    opens = (until[beyond - 1] - until <= few) & (beyond < at.size)
    covered = np.zeros(at.size + 1, dtype=np.int64)
    np.add.at(covered, np.flatnonzero(opens) + 1, 1)
    np.add.at(covered, beyond[opens], -1)
    inside = np.cumsum(covered)[:-1] == 0
    run: Integers = (np.cumsum(opens) - opens)[inside]
    starts = np.flatnonzero(np.diff(run, prepend=-1))
    ends = np.append(starts[1:], run.size) - 1
    return np.exp(at[inside][starts]), np.exp(at[inside][ends])


def _nearest(x: Doubles, low: Doubles, high: Doubles, ratio: float) -> Integers:
    """The nearest group of each logarithm of a time, -1 where none is within the ratio."""
    away = np.maximum(np.log(low)[:, None] - x, x - np.log(high)[:, None]).clip(0.0)
    group = np.argmin(away, axis=0)
    return np.where(away.min(axis=0) <= math.log(ratio) + _SLACK, group, -1).astype(np.int64)


def offsets(values: Doubles, group: Integers, times: Times) -> Doubles:
    """Return what the statistics of each group differ by from those of the first, (n_rows, n_groups) float64.

    Parameters
    ----------
    values : ndarray, (n_rows, n) float64
    group : ndarray, (n,) int64
        See `Times.group_of`.
    times : Times
    """
    n_groups = max(times.low.size, 1)
    if n_groups == 1:
        return np.zeros((len(values), 1))
    middle = np.stack([median(values[:, group == k]) for k in range(n_groups)], axis=1)
    return np.asarray(middle - middle[:, :1])


def moved(values: Doubles, group: Integers, by: Doubles) -> Doubles:
    """Return statistics as exposures of the most frequent time would have them.

    Parameters
    ----------
    values : ndarray, (n_rows, n) float64
    group : ndarray, (n,) int64
        The statistics of an exposure of no group are not compared, and become NaN.
    by : ndarray, (n_rows, n_groups) float64
        See `offsets`. A statistic that one of two groups lacks is NaN in the other one.
    """
    if not group.any():
        return values
    return np.where(group >= 0, np.where(group == 0, values, values - by[:, group]), np.nan)


def without_group(times: Times, seconds: float) -> str:
    """Say why an exposure of a rare time has no verdict.

    Parameters
    ----------
    times : Times
    seconds : float
    """
    return (
        f"no verdict: exposed for {_text(seconds)}, most exposures for {_text(float(times.usual[0]))}"
        f" ({LEAST} exposures of about one time tell what is normal for it)"
    )


def notes(times: Times, columns: Mapping[str, Doubles], n_exposures: int) -> list[str]:
    """Return what the note of each exposure says about its exposure time; mostly nothing.

    Parameters
    ----------
    times : Times
    columns : mapping of str to ndarray
        `Measured.exposures`.
    n_exposures : int
    """
    if times.are_mixed:
        return ["most exposure times of its dataset are rare: exposures of all times are judged together"] * n_exposures
    result = [""] * n_exposures
    seconds = columns.get(COLUMN)
    if seconds is None or not times.low.size:
        return result
    group, known = times.group_of(seconds), _known(seconds)
    for i in np.flatnonzero(group > 0).tolist():
        k = int(group[i])
        alike = f"judged by what is normal for the {times.counts[k]} exposures of about {_text(float(times.usual[k]))}"
        result[i] = (
            f"exposed for {_text(float(seconds[i]))}, most exposures for {_text(float(times.usual[0]))}: {alike}"
        )
    if times.low.size > 1:
        for i in np.flatnonzero(~known).tolist():
            result[i] = f"its exposure time is unknown: judged as one of about {_text(float(times.usual[0]))}"
    return result


def _text(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 1000.0 else f"{seconds:.0f} s"
