"""The record of an exposure, made of those of its CCDs: their order, and the statistics of the exposure as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, groupby
from operator import attrgetter, itemgetter
from typing import Any, TypeAlias

import numpy as np

from gpuanom.backends.limits import PAIR_COLUMNS, PAIR_ROWS
from gpuanom.cameras.focalplane import Position, places
from gpuanom.measuring.ccd_statistics import CcdOfStack, Maxima, StackParts
from gpuanom.natural_order import natural_key
from gpuanom.records import (
    CcdMeasurement,
    CcdStatistics,
    Exposure,
    ExposureStatistics,
    FloatImage,
    Measurement,
    Singles,
)
from gpuanom.records.attributes import attributes
from gpuanom.set_at_once import changed
from gpuanom.settings import Settings
from gpuanom.statistics import crosstalk, lines, repeats, shapes, spectrum
from gpuanom.statistics.listed import NAMES

_STREAK = NAMES.ccds.index("streak")

_Run: TypeAlias = tuple[StackParts, list[int]]
"""CCDs that follow each other in the order of an exposure and are of one stack: its parts, and the rows of the CCDs."""


def in_order(done: Iterable[CcdMeasurement]) -> tuple[CcdMeasurement, ...]:
    """Sort measurements in natural order of their CCDs' names."""
    return tuple(sorted(done, key=lambda m: natural_key(m.name)))


def exposure_record(
    exposure: Exposure, done: Iterable[CcdMeasurement], settings: Settings, model: str = ""
) -> Measurement:
    """Make the record of an exposure whose CCDs are all measured.

    Parameters
    ----------
    exposure : Exposure
    done : iterable of CcdMeasurement
        In any order.
    settings : Settings
        Those the CCDs were measured with.
    model : str, optional
        Fingerprint of the autoencoder that the stamps went through; empty without one.

    Returns
    -------
    Measurement
        Its CCDs in natural order of their names, without their parts. The statistics of the exposure are summed in
        that order, so that they do not depend on how the CCDs were grouped or which was measured first. Where only the
        stamps of the CCDs were used, there are no statistics.
    """
    ccds, statistics = in_order(done), None
    status, parts, names = attributes(ccds, "status", "parts", "name")
    is_ok = list(map("ok".__eq__, status))
    measured = list(compress(parts, is_ok))
    if settings.statistics and None not in measured:
        runs = _runs(measured)
        streaks = lines.ccd_statistics(_rows(runs, "lines", (0, 4)), _rows(runs, "turns", (0,)).tolist())
        positions = places(exposure.camera, names)
        of_measured = list(map(positions.__getitem__, compress(names, is_ok)))
        stacks = dict.fromkeys(map(attrgetter("stack", "exposure"), filter(None, parts)))
        maxima = [stack.maxima[number] for stack, number in stacks]
        values = _exposure_values(runs, streaks, of_measured, maxima)
        statistics = ExposureStatistics(NAMES, values)
        of_ccds = iter(_ccd_statistics(runs, streaks))
        ccds = tuple(
            [changed(ccd, statistics=next(of_ccds) if ccd.status == "ok" else None, parts=None) for ccd in ccds]
        )
    return Measurement(exposure, ccds, settings.fingerprint(), model, statistics)


def _runs(parts: Sequence[CcdOfStack]) -> list[_Run]:
    """Those of the measured CCDs that follow each other and are of one stack together."""
    return [
        (stack.parts, list(map(stack.rows.__getitem__, map(itemgetter(1), run))))
        for stack, run in groupby(parts, key=itemgetter(0))
    ]


def _rows(runs: Sequence[_Run], name: str, none: tuple[int, ...]) -> Any:
    """The rows of an array of `StackParts` for all CCDs, in their order; an array of the shape `none` without CCDs."""
    found = [getattr(stack, name)[rows] for stack, rows in runs]
    return np.concatenate(found) if found else np.zeros(none, dtype=np.int64)


def _exposure_values(
    runs: Sequence[_Run], streaks: FloatImage, positions: Sequence[Position], maxima_of_stacks: Sequence[Maxima]
) -> Singles:
    """The statistics of an exposure in the order of `listed.EXPOSURE_STATISTICS`.

    Parameters
    ----------
    runs : sequence of runs
        The CCDs that have statistics.
    streaks : ndarray, (n_ccd, 2) float32
        From `gpuanom.statistics.lines.ccd_statistics`.
    positions : sequence of Position
        Of each CCD in the focal plane.
    maxima_of_stacks : sequence of Maxima
        Of the exposure's CCDs in each of its stacks.
    """
    pairs = np.zeros((PAIR_ROWS, PAIR_COLUMNS), dtype=np.int64)
    for maxima in maxima_of_stacks:
        pairs += maxima.pairs
    free = _free_of_streaks(runs, streaks)
    values = np.concatenate(
        [
            spectrum.exposure_statistics(
                [(stack.spectra, rows) for stack, rows in free], _rows(free, "turns", (0,)).tolist()
            ),
            crosstalk.exposure_statistics(_rows(runs, "crosstalk", (0, 5))),
            shapes.exposure_statistics([stack.stars.of_ccds(rows) for stack, rows in runs], positions),
            repeats.exposure_statistics(pairs, sum([maxima.n_maxima for maxima in maxima_of_stacks])),
        ]
    )
    if values.shape != (len(NAMES.exposures),) or values.dtype != np.float32:
        wanted = len(NAMES.exposures)
        raise ValueError(f"{values.shape} {values.dtype} statistics of an exposure where there should be {wanted}")
    return values


def _free_of_streaks(runs: Sequence[_Run], streaks: FloatImage) -> Sequence[_Run]:
    """The CCDs that no satellite's trail crosses, or all where each CCD has one.

    What is left of a trail after its pixels are masked would still be a stripe of the sum.
    """
    crossed = streaks[:, 0] > 0.0
    if not crossed.any() or crossed.all():
        return runs
    is_crossed = iter(crossed.tolist())
    return [(stack, [row for row in rows if not next(is_crossed)]) for stack, rows in runs]


def _ccd_statistics(runs: Sequence[_Run], streaks: FloatImage) -> Iterator[CcdStatistics]:
    """The statistics of each CCD, with its streak: a trail on one CCD makes weaker ones on the others count."""
    start = 0
    for stack, rows in runs:
        values = stack.values[rows]
        values[:, _STREAK : _STREAK + streaks.shape[1]] = streaks[start : start + len(rows)]
        start += len(rows)
        yield from map(CcdStatistics, values, stack.cells[rows], stack.row_steps[rows], stack.column_steps[rows])
