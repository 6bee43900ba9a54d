"""The steps of the statistics on a stack of CCDs, and the statistics that each CCD keeps (METHOD.md Part II).

A lane runs the steps on its stack and lets go of the device; the statistics are then made on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import TypeVar

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.measuring.ccd_record import MOSTLY
from gpuanom.records import (
    Background,
    Ccd,
    CcdMeasurement,
    CcdStack,
    CcdStatistics,
    Doubles,
    Integers,
    Patterns,
    Repeats,
    Shapes,
    Sources,
    Turn,
)
from gpuanom.set_at_once import set_at_once
from gpuanom.settings import Settings
from gpuanom.statistics import background_map, crosstalk, lines, profiles, shapes, spectrum
from gpuanom.statistics.listed import NAMES

Changed = TypeVar("Changed")


@dataclass(frozen=True, eq=False)
class StatisticArrays:
    """What the steps of the statistics gave for a stack: small arrays on the device, or on the host."""

    patterns: Patterns
    shapes: Shapes
    repeats: Repeats
    lines: Doubles | None = None
    """From `gpuanom.statistics.lines.find`, once the arrays are on the host."""


@set_at_once
@dataclass(frozen=True, eq=False)
class CcdArrays:
    """What the steps gave for one CCD, before its statistics are made.

    Attributes
    ----------
    patterns : Patterns
        Of the stack that the CCD was measured in, without the bins of lines.
    shapes : Shapes
        The same.
    index : int
        Of the CCD in the stack.
    repeats : ndarray, (PAIR_ROWS, PAIR_COLUMNS) int32, or None
        Pairs of maxima of the stack that the CCD was measured in, for the first CCD of the stack; None for the others.
    n_maxima : int
        Number of maxima of this CCD.
    line : ndarray, (4,) float64
        See `gpuanom.statistics.lines.find`.
    turn : Turn
        From the axes of the CCD to those of the focal plane.
    """

    patterns: Patterns
    shapes: Shapes
    index: int
    repeats: Integers | None
    n_maxima: int
    line: Doubles
    turn: Turn


@set_at_once
@dataclass(frozen=True, eq=False)
class CcdParts:
    """What one CCD contributes to the statistics of its exposure.

    Attributes
    ----------
    spectra : Spectra or None
        None where the CCD could not be measured.
    stars : Stars or None
        The same.
    crosstalk : tuple of 5 ints
        See `gpuanom.statistics.crosstalk.parts_of_ccds`.
    line : ndarray, (4,) float64
        See `gpuanom.statistics.lines.find`; NaN where the CCD could not be measured.
    repeats : ndarray, (PAIR_ROWS, PAIR_COLUMNS) int32, or None
        Pairs of the stack that the CCD was the first of.
    n_maxima : int
        Of the CCD.
    turn : Turn
        From the axes of the CCD to those of the focal plane.
    """

    spectra: spectrum.Spectra | None
    stars: shapes.Stars | None
    crosstalk: tuple[int, ...]
    line: Doubles
    repeats: Integers | None
    n_maxima: int
    turn: Turn


def statistic_arrays(
    stack: CcdStack, background: Background, sources: Sources, turns: Integers, settings: Settings, backend: Backend
) -> StatisticArrays | None:
    """Run the steps of the statistics on a stack.

    Parameters
    ----------
    stack : CcdStack
    background : Background
    sources : Sources
    turns : ndarray, (n_ccd,) int64
        `Turn` of each CCD.
    settings : Settings
    backend : Backend

    Returns
    -------
    StatisticArrays or None
        On the device; None where the settings do not ask for statistics.
    """
    if not settings.statistics:
        return None
    return StatisticArrays(
        backend.patterns(stack, background, settings),
        backend.shapes(stack, background, sources, settings),
        backend.repeats(stack, background, sources, turns, settings),
    )


def without_saturated(
    arrays: StatisticArrays,
    stack: CcdStack,
    background: Background,
    sources: Sources,
    turns: Integers,
    settings: Settings,
    backend: Backend,
) -> StatisticArrays:
    """Count the pairs of maxima of a stack again without the CCDs that are unusable because they are mostly saturated.

    Such a CCD may have a background and maxima where the rest of it is sky. All its other arrays are left unused, but
    pairs are one sum over the stack.

    Parameters
    ----------
    arrays : StatisticArrays
        From `statistic_arrays`, on the host.
    stack, background, sources : CcdStack, Background, Sources
        On the device.
    turns : ndarray, (n_ccd,) int64
        `Turn` of each CCD.
    settings : Settings
    backend : Backend

    Returns
    -------
    StatisticArrays
        The same with other pairs; on the host.
    """
    _, ny, nx = stack.shape
    with backend.working():
        saturated = sources.n_saturated / (ny * nx) > MOSTLY
        sigma, usable = np.where(saturated, np.nan, background.sigma), background.usable & ~saturated
    found = backend.repeats(stack, replace(background, sigma=sigma, usable=usable), sources, turns, settings)
    return replace(arrays, repeats=backend.to_host(found))


def with_arrays(
    records: Sequence[CcdMeasurement], ccds: Sequence[tuple[int, Ccd]], arrays: StatisticArrays
) -> list[CcdMeasurement]:
    """Give each record of a stack what the steps of the statistics gave for its CCD.

    Parameters
    ----------
    records : sequence of CcdMeasurement
        Of the CCDs that could be decoded.
    ccds : sequence of (int, Ccd)
        The CCD of each record, and its index in the stack; the pixels are not used.
    arrays : StatisticArrays
        Of the stack, from `gpuanom.measuring.streaks.without_streaks`.

    Returns
    -------
    list of CcdMeasurement
    """
    none = np.zeros((len(arrays.patterns.bin_sum), 0, 0), dtype=np.int64)
    patterns = replace(arrays.patterns, bin_sum=none, faint_bin_sum=none)
    n_maxima = arrays.repeats.n_maxima.tolist()
    found_lines = np.full((len(n_maxima), 4), np.nan) if arrays.lines is None else arrays.lines
    pairs = chain([np.array(arrays.repeats.pairs)], repeat(None))
    return [
        changed(record, parts=CcdArrays(patterns, arrays.shapes, i, of_first, n_maxima[i], found_lines[i], ccd.turn))
        for record, (i, ccd), of_first in zip(records, ccds, pairs, strict=False)
    ]


def changed(record: Changed, **values: object) -> Changed:
    """A copy of a record with other values: `dataclasses.replace`, which takes ten times as long for many fields.

    Parameters
    ----------
    record : any record
        Of a dataclass that computes nothing from its fields when it is made.
    **values
        New values of its fields.
    """
    copy = object.__new__(type(record))
    copy.__dict__.update(record.__dict__)
    copy.__dict__.update(values)
    return copy


def with_statistics(records: Sequence[CcdMeasurement]) -> list[CcdMeasurement]:
    """Make the statistics of CCDs, and their parts of those of their exposure, from what the steps gave.

    Parameters
    ----------
    records : sequence of CcdMeasurement
        From `with_arrays`; other records are returned as they are. CCDs of one stack are worked on together, since
        each call of a native loop holds the interpreter's lock for a moment.

    Returns
    -------
    list of CcdMeasurement
        Without the arrays. The straight lines are judged with those of the other CCDs, when all of them are measured
        (`gpuanom.measuring.exposure_record`).
    """
    done = list(records)
    stacks: dict[int, list[int]] = {}
    for place, record in enumerate(done):
        if isinstance(record.parts, CcdArrays):
            if record.status == "ok":
                stacks.setdefault(id(record.parts.patterns), []).append(place)
            else:
                done[place] = changed(record, parts=_without_statistics(record.parts))
    for places in stacks.values():
        made = _made([records[place].parts for place in places], records[places[0]].shape)
        for place, (statistics, parts) in zip(places, made, strict=True):
            done[place] = changed(records[place], statistics=statistics, parts=parts)
    return done


def _without_statistics(of_ccd: CcdArrays) -> CcdParts:
    """What a CCD that could not be measured contributes to the statistics of its exposure."""
    of_crosstalk = tuple(crosstalk.parts_of_ccds(of_ccd.patterns)[of_ccd.index].tolist())
    return CcdParts(None, None, of_crosstalk, np.full(4, np.nan), of_ccd.repeats, of_ccd.n_maxima, of_ccd.turn)


def _made(arrays: Sequence[CcdArrays], shape: tuple[int, int]) -> list[tuple[CcdStatistics, CcdParts]]:
    """What is made of the arrays of measured CCDs of one stack, whose pixels have that shape."""
    chosen, patterns, turns = [a.index for a in arrays], arrays[0].patterns, [a.turn for a in arrays]
    # Nothing is copied where all CCDs of the stack were measured.
    rows_chosen = slice(None) if chosen == list(range(len(patterns.n_fine))) else chosen
    maps = background_map.maps(patterns)
    of_stack = spectrum.spectra_of_stack(patterns, maps, rows_chosen)
    spectra = spectrum.of_ccds(of_stack)
    stars = shapes.stars_of_ccds(arrays[0].shapes, chosen, turns, shape)
    values = np.concatenate(
        [
            spectrum.stack_statistics(of_stack, turns),
            profiles.ccd_statistics(patterns)[rows_chosen],
            background_map.ccd_statistics(patterns, maps)[rows_chosen],
            crosstalk.ccd_statistics(patterns)[rows_chosen],
            np.full((len(arrays), len(lines.CCD_STATISTICS)), np.nan, dtype=np.float32),
            shapes.ccd_statistics(stars),
        ],
        axis=1,
    )
    if values.shape[1] != len(NAMES.ccds) or values.dtype != np.float32:
        raise ValueError(f"{values.shape} {values.dtype} statistics of CCDs where there should be {len(NAMES.ccds)}")
    rows, columns = (steps[rows_chosen] for steps in profiles.steps(patterns))
    cells = background_map.encoded(maps)[rows_chosen]
    of_crosstalk = crosstalk.parts_of_ccds(patterns)[rows_chosen].tolist()
    parts = [
        CcdParts(of_spectra, of_stars, tuple(counted), of_ccd.line, of_ccd.repeats, of_ccd.n_maxima, of_ccd.turn)
        for of_ccd, of_spectra, of_stars, counted in zip(arrays, spectra, stars, of_crosstalk, strict=True)
    ]
    return list(zip(map(CcdStatistics, values, cells, rows, columns), parts, strict=True))
