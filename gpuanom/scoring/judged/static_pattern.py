"""The static pattern of each CCD, and what its maps and steps show beyond that pattern (METHOD.md 9.4 and 9.7).

An amplifier that always stands out is normal. The pattern of a CCD is the median of its maps, and of the steps of its
profiles, over up to 200 exposures of the dataset, which a hash chooses: the pattern does not depend on the order of the
exposures, and few new exposures change it. A pattern that scales with the sky is taken in units of sky/sigma.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from gpuanom.records import CcdPatterns, DatasetStatistics, Doubles, Integers, Singles
from gpuanom.statistics import background_map, profiles
from gpuanom.statistics.statistic import Statistic

MOST_EXPOSURES = 200
"""A pattern is the median over at most so many exposures."""
LEAST_EXPOSURES = 20
"""A CCD that fewer exposures have measured has no pattern, and no statistics that need it."""
LEAST_VALUES = 10
"""A cell or step with a value in fewer exposures has no pattern. Sources hide other cells in each exposure: if a cell
needed 20 values, maps of a night of 20 exposures would consist of holes, and be compared with whole ones."""
LEAST_SKY = 5.0
"""Where the sky of a CCD is under so many sigma in one of these exposures, its pattern does not scale with the sky."""

MOST_THREADS = 16
"""Most threads that make the statistics of exposures side by side."""

CCD_STATISTICS: tuple[Statistic, ...] = (
    Statistic("glow", "", "Largest value of the smoothed map of the residual sky less its static pattern, in sigma."),
    Statistic("edge", "", "Height of the edges of that map, as rings and ghosts have them, in sigma."),
    Statistic("pattern_rms", "", "Root mean square of that map, in sigma."),
    Statistic("row_step", "", "Largest step between rows less its static pattern, over the exposure's typical step."),
    Statistic("column_step", "", "The same between columns."),
)
"""What needs a static pattern, in the order of the values that the store keeps."""
NAMES = tuple(statistic.name for statistic in CCD_STATISTICS)


@dataclass(frozen=True, eq=False)
class StaticPattern:
    """What is normal for one CCD.

    Attributes
    ----------
    map : ndarray, (my, mx) float64
        In sigma, or in units of sky/sigma; NaN where too few exposures have a value.
    row_steps, column_steps : ndarray, (n,) float64
        The same of the steps.
    scales : bool
        Whether the pattern is in units of sky/sigma.
    """

    map: Doubles
    row_steps: Doubles
    column_steps: Doubles
    scales: bool

    @property
    def shapes(self) -> tuple[int, ...]:
        """Rows and columns of the map, and numbers of row steps and column steps."""
        return *self.map.shape, self.row_steps.size, self.column_steps.size


def chosen_exposures(statistics: DatasetStatistics, seed: int) -> list[int]:
    """Return the exposures that the pattern is made of: those with the lowest hash of (seed, exposure id).

    Parameters
    ----------
    statistics : DatasetStatistics
    seed : int
        The setting of this name.

    Returns
    -------
    list of int
        Indices in the order of the hashes; empty with fewer than `LEAST_EXPOSURES` exposures.
    """
    hashed = [
        (blake2b(f"{seed} {name}".encode("utf-8", "surrogateescape"), digest_size=8).digest(), i)
        for i, name in enumerate(statistics.exposures)
        if statistics.measured[i]
    ]
    return [i for _, i in sorted(hashed)][:MOST_EXPOSURES] if len(hashed) >= LEAST_EXPOSURES else []


def pattern_fingerprint(statistics: DatasetStatistics, chosen: list[int], seed: int) -> str:
    """Return a hash of the exposures that a pattern is made of; empty without a pattern.

    Parameters
    ----------
    statistics : DatasetStatistics
    chosen : list of int
        From `chosen_exposures`.
    seed : int

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    if not chosen:
        return ""
    digest = blake2b(f"{VERSION} {seed}".encode(), digest_size=8)
    for i in chosen:
        for text in (statistics.exposures[i], statistics.fingerprints[i]):
            digest.update(text.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


VERSION = 3
"""Raised when these statistics are computed in another way: what a store keeps of them is then made again."""


def static_patterns(statistics: DatasetStatistics, sky: Doubles, chosen: list[int]) -> dict[str, StaticPattern]:
    """Return the static pattern of each CCD, by name.

    Parameters
    ----------
    statistics : DatasetStatistics
    sky : ndarray, (n_ccd,) float64
        Sky of each CCD over its sigma; NaN where it was not measured.
    chosen : list of int
        The exposures whose median is taken.

    Returns
    -------
    dict of str to StaticPattern
        Without CCDs that fewer than `LEAST_EXPOSURES` of these exposures have measured.
    """
    found: dict[str, list[tuple[CcdPatterns, float]]] = {}
    for i in chosen:
        first = int(np.searchsorted(statistics.owner, i))
        for j, pattern in enumerate(statistics.patterns(i), start=first):
            if pattern.map.size and np.isfinite(sky[j]):
                found.setdefault(statistics.ccds[j], []).append((pattern, float(sky[j])))
    patterns = {name: _static_pattern(several) for name, several in found.items()}
    return {name: pattern for name, pattern in patterns.items() if pattern is not None}


def _static_pattern(several: list[tuple[CcdPatterns, float]]) -> StaticPattern | None:
    """The pattern of a CCD: the median over exposures in which the CCD has its most frequent size."""
    shapes = [_shapes(pattern) for pattern, _ in several]
    usual = max(shapes, key=lambda shape: (shapes.count(shape), shape))
    alike = [item for item, shape in zip(several, shapes, strict=True) if shape == usual]
    if len(alike) < LEAST_EXPOSURES:
        return None
    sky = np.array([value for _, value in alike])
    scales = bool((sky >= LEAST_SKY).all())
    unit = sky if scales else np.ones(sky.size)

    def over(values: list[Singles]) -> Doubles:
        return _median(np.array([v / u for v, u in zip(values, unit, strict=True)], dtype=np.float64))

    return StaticPattern(
        over([background_map.decoded(pattern.map) for pattern, _ in alike]),
        over([pattern.row_steps for pattern, _ in alike]),
        over([pattern.column_steps for pattern, _ in alike]),
        scales,
    )


def _shapes(pattern: CcdPatterns) -> tuple[int, ...]:
    return *pattern.map.shape, pattern.row_steps.size, pattern.column_steps.size


def _median(values: Doubles) -> Doubles:
    """The median along the first axis without NaN; NaN where fewer than `LEAST_VALUES` values are left."""
    ordered = np.sort(values, axis=0)  # NaN last
    n = np.count_nonzero(np.isfinite(values), axis=0)
    low, high = (np.maximum(n, 1) - 1) // 2, np.maximum(n, 1) // 2
    middle = [np.take_along_axis(ordered, k[None], axis=0)[0] for k in (low, high)]
    return np.where(n >= LEAST_VALUES, (middle[0] + middle[1]) / 2.0, np.nan)


def less_patterns(patterns: Sequence[CcdPatterns], static: Sequence[StaticPattern | None], sky: Doubles) -> Singles:
    """Return what the CCDs of one exposure show beyond their static patterns.

    Parameters
    ----------
    patterns : sequence of CcdPatterns
        Maps and steps of each CCD.
    static : sequence of StaticPattern or None
        None where a CCD has no pattern.
    sky : ndarray, (n_ccd,) float64
        Sky of each CCD over its sigma.

    Returns
    -------
    ndarray, (n_ccd, len(CCD_STATISTICS)) float32
        NaN where there is no pattern, or one of another size. Steps are in units of the exposure's typical step.
    """
    from gpuanom.statistics.beyond_pattern import beyond_pattern  # imports Numba, which a night ranked again needs not

    values = np.full((len(patterns), len(CCD_STATISTICS)), np.nan)
    rows: dict[int, Doubles] = {}
    columns: dict[int, Doubles] = {}
    for i, (pattern, usual) in enumerate(zip(patterns, static, strict=True)):
        if usual is None or not pattern.map.size or not np.isfinite(sky[i]) or _shapes(pattern) != usual.shapes:
            continue
        unit = float(sky[i]) if usual.scales else 1.0
        values[i, :3] = beyond_pattern(pattern.map, (unit * usual.map).astype(np.float32))
        rows[i], columns[i] = (
            pattern.row_steps - unit * usual.row_steps,
            pattern.column_steps - unit * usual.column_steps,
        )
    for place, steps in ((3, rows), (4, columns)):
        scale = profiles.step_scale(list(steps.values()))
        for i, of_ccd in steps.items():
            values[i, place] = profiles.largest_step(of_ccd.astype(np.float32), scale=scale)[0]
    return values.astype(np.float32)


def with_static_patterns(
    statistics: DatasetStatistics,
    sky: Doubles,
    seed: int,
    known: Callable[[str], Mapping[str, Singles]] = lambda _fingerprint: {},
    keep: Callable[[str, Mapping[str, Singles]], None] = lambda _fingerprint, _values: None,
    given: Mapping[str, StaticPattern] | None = None,
) -> DatasetStatistics:
    """Add the statistics that need static patterns to those of a dataset.

    Parameters
    ----------
    statistics : DatasetStatistics
    sky : ndarray, (n_ccd,) float64
        Sky of each CCD over its sigma; NaN where it was not measured.
    seed : int
        The setting of this name.
    known : callable, optional
        Takes the fingerprint of the pattern and returns the values, (n_ccd, n) float32, of exposures for which they
        were made before.
    keep : callable, optional
        Takes the fingerprint and the values of the other exposures.
    given : mapping of str to StaticPattern, optional
        Patterns of each CCD that were made from other exposures; by default they are made from these.

    Returns
    -------
    DatasetStatistics
        With the columns `NAMES` behind those of the CCDs.
    """
    n_before = len(statistics.ccd_names)
    both = statistics.with_room
    if both is None or both.shape[1] != n_before + len(NAMES):
        more = np.empty((statistics.owner.size, len(NAMES)), dtype=np.float32, order="F")
        both = np.concatenate([statistics.ccd_values, more], axis=1)
    values = both[:, n_before:]
    values[...] = np.nan
    chosen = chosen_exposures(statistics, seed) if given is None else []
    if given or chosen:
        fingerprint = pattern_fingerprint(statistics, chosen, seed)
        before = known(fingerprint) if chosen else {}
        new: list[int] = []
        places = np.searchsorted(statistics.owner, np.arange(len(statistics.exposures) + 1))
        for i in np.flatnonzero(statistics.measured).tolist():
            first, last = places[i : i + 2]
            of_exposure = before.get(statistics.exposures[i])
            if of_exposure is not None and of_exposure.shape == (last - first, len(NAMES)):
                values[first:last] = of_exposure
            else:
                new.append(i)
        new_values: dict[str, Singles] = {}
        static = (given or static_patterns(statistics, sky, chosen)) if new else {}
        for i, beyond in _beyond(statistics, static, sky, new, places):
            values[places[i] : places[i + 1]] = new_values[statistics.exposures[i]] = beyond
        if chosen and new:
            keep(fingerprint, new_values)
    return replace(
        statistics,
        ccd_names=(*statistics.ccd_names, *NAMES),
        ccd_values=both,
        with_room=None,
    )


def _beyond(
    statistics: DatasetStatistics,
    static: Mapping[str, StaticPattern],
    sky: Doubles,
    wanted: Sequence[int],
    places: Integers,
) -> Iterator[tuple[int, Singles]]:
    """Yield `less_patterns` of exposures, in their order, made by several threads; maps are read by this thread."""

    def task(i: int, patterns: Sequence[CcdPatterns]) -> Singles:
        ccds = slice(places[i], places[i + 1])
        return less_patterns(patterns, [static.get(ccd) for ccd in statistics.ccds[ccds]], sky[ccds])

    with ThreadPoolExecutor(min(MOST_THREADS, os.cpu_count() or 1), thread_name_prefix="gpuanom-beyond") as pool:
        waiting: deque[tuple[int, Future[Singles]]] = deque()
        for i in wanted:
            waiting.append((i, pool.submit(task, i, statistics.patterns(i))))
            if len(waiting) > 2 * MOST_THREADS:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()
