"""The steps of the statistics on a stack of CCDs, and the statistics that each CCD keeps (METHOD.md Part II).

A lane runs the steps on its stack and lets go of the device; the statistics are then made on the host, CCD by CCD.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np

from gpuanom.backends.protocol import Backend
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
from gpuanom.settings import Settings
from gpuanom.statistics import background_map, crosstalk, lines, profiles, shapes, spectrum
from gpuanom.statistics.listed import NAMES

Record = TypeVar("Record", Patterns, Shapes)


@dataclass(frozen=True, eq=False)
class StatisticArrays:
    """What the steps of the statistics gave for a stack: small arrays on the device, or on the host."""

    patterns: Patterns
    shapes: Shapes
    repeats: Repeats
    lines: Doubles | None = None
    """From `gpuanom.statistics.lines.find`, once the arrays are on the host."""


@dataclass(frozen=True, eq=False)
class CcdArrays:
    """What the steps gave for one CCD, before its statistics are made.

    Attributes
    ----------
    patterns : Patterns
        Of a stack of this CCD alone.
    shapes : Shapes
        The same.
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
    repeats: Integers | None
    n_maxima: int
    line: Doubles
    turn: Turn


@dataclass(frozen=True, eq=False)
class CcdParts:
    """What one CCD contributes to the statistics of its exposure.

    Attributes
    ----------
    spectra : Spectra or None
        None where the CCD could not be measured.
    stars : Stars or None
        The same.
    crosstalk : tuple of 2 ints
        Sum of residuals in steps of `gpuanom.records.patterns.STEP` sigma, and number of pixels.
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
    crosstalk: tuple[int, int]
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
    found: list[CcdMeasurement] = []
    for record, (i, ccd) in zip(records, ccds, strict=True):
        of_ccd = CcdArrays(
            patterns=_slice(arrays.patterns, i),
            shapes=_slice(arrays.shapes, i),
            repeats=None if found else np.array(arrays.repeats.pairs),
            n_maxima=int(arrays.repeats.n_maxima[i]),
            line=np.full(4, np.nan) if arrays.lines is None else arrays.lines[i],
            turn=Turn(ccd.turn),
        )
        found.append(replace(record, parts=of_ccd))
    return found


def _slice(record: Record, i: int) -> Record:
    """A record of the i-th CCD of a stack alone, in memory of its own: that of the stack is the device's to reuse."""
    return replace(record, **{f.name: np.array(getattr(record, f.name)[i : i + 1]) for f in fields(record)})


def with_statistics(record: CcdMeasurement) -> CcdMeasurement:
    """Make the statistics of a CCD, and its parts of those of its exposure, from what the steps gave.

    Parameters
    ----------
    record : CcdMeasurement
        From `with_arrays`; another record is returned as it is.

    Returns
    -------
    CcdMeasurement
        Without the arrays. The straight line is judged with those of the other CCDs, when all of them are measured
        (`gpuanom.measuring.exposure_record`).
    """
    arrays = record.parts
    if not isinstance(arrays, CcdArrays):
        return record
    patterns = arrays.patterns
    parts = CcdParts(
        spectra=None,
        stars=None,
        crosstalk=(int(patterns.crosstalk_sum[0]), int(patterns.crosstalk_count[0])),
        line=np.full(4, np.nan),
        repeats=arrays.repeats,
        n_maxima=arrays.n_maxima,
        turn=arrays.turn,
    )
    if record.status != "ok":
        return replace(record, parts=parts)
    turns = [int(arrays.turn)]
    found = spectrum.spectra(patterns)
    stars = shapes.stars(arrays.shapes, 0, arrays.turn, record.shape)
    values = np.concatenate(
        [
            spectrum.ccd_statistics(found, turns)[0],
            profiles.ccd_statistics(patterns)[0],
            background_map.ccd_statistics(patterns)[0],
            crosstalk.ccd_statistics(patterns)[0],
            np.full(len(lines.CCD_STATISTICS), np.nan, dtype=np.float32),
            shapes.ccd_statistics([stars])[0],
        ]
    )
    if values.shape != (len(NAMES.ccds),) or values.dtype != np.float32:
        raise ValueError(f"{values.shape} {values.dtype} statistics of a CCD where there should be {len(NAMES.ccds)}")
    rows, columns = profiles.steps(patterns)
    cells = background_map.encoded(background_map.maps(patterns))[0]
    statistics = CcdStatistics(values, cells, rows[0], columns[0])
    return replace(record, statistics=statistics, parts=replace(parts, spectra=found[0], stars=stars, line=arrays.line))
