"""The steps of the statistics on a stack of CCDs, and the statistics that each CCD keeps (METHOD.md Part II).

A lane runs the steps on its stack and lets go of the device; the statistics are then made on the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.measuring.ccd_record import MOSTLY
from gpuanom.records import (
    Array,
    Background,
    CcdMeasurement,
    CcdStack,
    Cells,
    Doubles,
    Integers,
    Patterns,
    Profiles,
    Repeats,
    Shapes,
    Singles,
    Sources,
)
from gpuanom.records.attributes import attributes
from gpuanom.settings import Settings
from gpuanom.statistics import background_map, crosstalk, lines, profiles, shapes, spectrum
from gpuanom.statistics.listed import NAMES


@dataclass(frozen=True, eq=False)
class StatisticArrays:
    """The results of the statistics' steps for a stack: small arrays on the device, or on the host."""

    patterns: Patterns
    shapes: Shapes
    repeats: Repeats
    turns: Integers
    """`Turn` of each CCD, from its axes to those of the focal plane; always on the host."""
    exposures: Integers
    """Number of the exposure of each CCD, among those that are measured together; always on the host."""
    profiles: Profiles
    line_ends: Array
    """From `gpuanom.backends.protocol.Backend.lines`."""
    lines: Doubles | None = None
    """From `gpuanom.statistics.lines.find`, once the arrays are on the host."""


@dataclass(frozen=True, eq=False)
class StackParts:
    """The contributions of a stack's CCDs to the statistics of their exposure.

    The arrays have a row for each CCD that could be measured. An exposure on a GPU is one stack or a few, so that the
    numbers of all its CCDs are worked on at once.

    Attributes
    ----------
    values, cells, row_steps, column_steps : ndarray, (n_ccd, ...)
        The fields of each CCD's `CcdStatistics`; the straight lines are not among the values yet.
    spectra : StackSpectra
    stars : Stars
    crosstalk : ndarray, (n_ccd, 5) int64
        See `gpuanom.statistics.crosstalk.parts_of_ccds`.
    lines : ndarray, (n_ccd, 4) float64
        See `gpuanom.statistics.lines.find`.
    turns : ndarray, (n_ccd,) int64
        `Turn` of each CCD, from its axes to those of the focal plane.
    """

    values: Singles
    cells: Cells
    row_steps: Singles
    column_steps: Singles
    spectra: spectrum.StackSpectra
    stars: shapes.Stars
    crosstalk: Integers
    lines: Doubles
    turns: Integers


@dataclass(frozen=True, eq=False)
class Maxima:
    """Pairs of maxima and numbers of maxima, which are counted over the CCDs that a stack has of an exposure.

    Attributes
    ----------
    pairs : ndarray, (PAIR_ROWS, PAIR_COLUMNS) int32
    n_maxima : int
        Of those of the CCDs that could be decoded.
    """

    pairs: Integers
    n_maxima: int


class StackStatistics:
    """The record that the CCDs of a stack share: first the results of the steps, later the parts made of these.

    The records of the CCDs name this record. So each of them is made once, before its statistics are.

    Attributes
    ----------
    arrays : StatisticArrays or None
        None once `make_parts` has made the parts.
    parts : StackParts or None
        None until then, and where no CCD of the stack could be measured.
    maxima : dict of int to Maxima
        Of each exposure, by its number; empty until then.
    rows : dict of int to int
        The row in `parts` of each row of `arrays`.
    """

    def __init__(self) -> None:
        self.arrays: StatisticArrays | None = None
        self.parts: StackParts | None = None
        self.maxima: dict[int, Maxima] = {}
        self.rows: dict[int, int] = {}


class CcdOfStack(NamedTuple):
    """Where the record of a CCD finds what its statistics are made from: `CcdMeasurement.parts`.

    Attributes
    ----------
    stack : StackStatistics
        Shared by the CCDs of a stack.
    number : int
        Of the CCD in the stack: its row of the arrays that the steps gave.
    exposure : int
        Number of the CCD's exposure, among those that are measured together.
    """

    stack: StackStatistics
    number: int
    exposure: int


def statistic_arrays(
    stack: CcdStack,
    background: Background,
    sources: Sources,
    turns: Integers,
    exposures: Integers,
    settings: Settings,
    backend: Backend,
) -> StatisticArrays | None:
    """Run the steps of the statistics on a stack.

    Parameters
    ----------
    stack : CcdStack
    background : Background
    sources : Sources
    turns : ndarray, (n_ccd,) int64
        `Turn` of each CCD.
    exposures : ndarray, (n_ccd,) int64
        Number of the exposure of each CCD, among those that are measured together.
    settings : Settings
    backend : Backend

    Returns
    -------
    StatisticArrays or None
        On the device; None where the settings do not ask for statistics.
    """
    if not settings.statistics:
        return None
    patterns, profile_sums, bins = backend.patterns(stack, background, settings)
    return StatisticArrays(
        patterns,
        backend.shapes(stack, background, sources, settings),
        backend.repeats(stack, background, sources, turns, exposures, settings),
        turns,
        exposures,
        backend.profiles(profile_sums),
        backend.lines(bins),
    )


def without_saturated(
    arrays: StatisticArrays,
    stack: CcdStack,
    background: Background,
    sources: Sources,
    settings: Settings,
    backend: Backend,
) -> StatisticArrays:
    """Count the pairs of maxima of a stack again without the CCDs that are unusable because they are mostly saturated.

    Such a CCD may have a background and maxima where the rest of it is sky. All its other arrays are left unused, but
    pairs are one sum over the CCDs of an exposure.

    Parameters
    ----------
    arrays : StatisticArrays
        From `statistic_arrays`, on the host.
    stack, background, sources : CcdStack, Background, Sources
        On the device.
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
    background = replace(background, sigma=sigma, usable=usable)
    found = backend.repeats(stack, background, sources, arrays.turns, arrays.exposures, settings)
    return replace(arrays, repeats=backend.to_host(found))


def make_parts(records: Sequence[CcdMeasurement]) -> None:
    """Make what CCDs contribute to the statistics of their exposures, in the `StackStatistics` that the records name.

    The straight lines are judged with those of the other CCDs, when all of them are measured, and the statistics of
    the CCDs are complete then (`gpuanom.measuring.exposure_record`).

    Parameters
    ----------
    records : sequence of CcdMeasurement
        From `gpuanom.measuring.exposure.measure_group`: all CCDs of a stack, which are worked on together, since each
        call of a native loop holds the interpreter's lock for a moment.
    """
    parts, statuses, shapes = attributes(records, "parts", "status", "shape")
    for stack in dict.fromkeys(map(itemgetter(0), filter(None, parts))):
        if stack.arrays is None:
            continue  # the parts of this stack were made before
        arrays, stack.arrays = stack.arrays, None
        of_stack = [i for i, part in enumerate(parts) if part is not None and part.stack is stack]
        numbers = [parts[i].number for i in of_stack]
        measured = list(compress(numbers, map("ok".__eq__, map(statuses.__getitem__, of_stack))))
        if measured:
            stack.parts = _stack_parts(arrays, measured, shapes[of_stack[0]])
        stack.rows = dict(zip(measured, range(len(measured)), strict=True))
        exposures = arrays.exposures[numbers]
        n_maxima = np.bincount(exposures, arrays.repeats.n_maxima[numbers])
        for exposure in np.unique(exposures).tolist():
            # A copy, since the arrays of a stack lie in one piece of memory.
            stack.maxima[exposure] = Maxima(np.array(arrays.repeats.pairs[exposure]), int(n_maxima[exposure]))


def _stack_parts(arrays: StatisticArrays, chosen: list[int], shape: tuple[int, int]) -> StackParts:
    """The contributions of chosen CCDs of one stack, whose images have that shape."""
    patterns, turns = arrays.patterns, arrays.turns[chosen].tolist()
    # Nothing is copied where all CCDs of the stack were measured.
    rows_chosen = slice(None) if chosen == list(range(len(patterns.n_fine))) else chosen
    maps = background_map.maps(patterns)
    spectra = spectrum.spectra(patterns, maps, rows_chosen)
    stars = shapes.stars_of_ccds(arrays.shapes, chosen, turns, shape)
    values = np.concatenate(
        [
            spectrum.ccd_statistics(spectra, turns),
            profiles.ccd_statistics(arrays.profiles)[rows_chosen],
            background_map.ccd_statistics(patterns, maps)[rows_chosen],
            crosstalk.ccd_statistics(patterns)[rows_chosen],
            np.full((len(chosen), len(lines.CCD_STATISTICS)), np.nan, dtype=np.float32),
            shapes.ccd_statistics([stars]),
        ],
        axis=1,
    )
    if values.shape[1] != len(NAMES.ccds) or values.dtype != np.float32:
        raise ValueError(f"{values.shape} {values.dtype} statistics of CCDs where there should be {len(NAMES.ccds)}")
    row_steps, column_steps = arrays.profiles.row_steps[rows_chosen], arrays.profiles.column_steps[rows_chosen]
    found_lines = np.full((len(patterns.n_fine), 4), np.nan) if arrays.lines is None else arrays.lines
    return StackParts(
        values,
        background_map.encoded(maps)[rows_chosen],
        row_steps,
        column_steps,
        spectra,
        stars,
        crosstalk.parts_of_ccds(patterns)[rows_chosen],
        found_lines[rows_chosen],
        arrays.turns[chosen],
    )
