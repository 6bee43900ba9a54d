"""The record of an exposure, made of those of its CCDs: their order, and the statistics of the exposure as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, groupby
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np

from gpuanom.attributes import attributes
from gpuanom.backends.limits import PAIR_COLUMNS, PAIR_ROWS
from gpuanom.cameras.focalplane import Position, places
from gpuanom.measuring.ccd_statistics import Maxima, OfCcd, StackParts
from gpuanom.naming import natural_key
from gpuanom.records import (
    CcdMeasurement,
    CcdStatistics,
    Exposure,
    ExposureStatistics,
    FloatImage,
    Measurement,
    Singles,
)
from gpuanom.set_at_once import changed
from gpuanom.settings import Settings
from gpuanom.statistics import crosstalk, lines, repeats, shapes, spectrum
from gpuanom.statistics.listed import NAMES

_STREAK = NAMES.ccds.index("streak")

_Run: TypeAlias = tuple[StackParts, list[int]]
"""CCDs that follow each other in the order of an exposure and are of one stack: that, and their rows of its arrays."""


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
    is_ok = [of_ccd == "ok" for of_ccd in status]
    measured = list(compress(parts, is_ok))
    if settings.statistics and None not in measured:
        runs = _runs(measured)
        judged = lines.ccd_statistics(_rows(runs, "lines", (0, 4)), _rows(runs, "turns", (0,)).tolist())
        where = places(exposure.camera, names)
        stacks = dict.fromkeys([of_ccd.of_stack for of_ccd in parts if of_ccd is not None])
        maxima = [of_stack.maxima for of_stack in stacks]
        found = _values(runs, judged, [where[name] for name in compress(names, is_ok)], maxima)
        statistics = ExposureStatistics(NAMES, found)
        made = iter(_ccd_statistics(runs, judged))
        of_ccds = [next(made) if of_ccd else None for of_ccd in is_ok]
        ccds = tuple([changed(ccd, statistics=new, parts=None) for ccd, new in zip(ccds, of_ccds, strict=True)])
    return Measurement(exposure, ccds, settings.fingerprint(), model, statistics)


def _runs(parts: Sequence[OfCcd]) -> list[_Run]:
    """Those of the measured CCDs that follow each other and are of one stack together."""
    return [
        (of_stack.parts, [of_stack.rows[number] for _, number in run])
        for of_stack, run in groupby(parts, key=itemgetter(0))
    ]


def _rows(runs: Sequence[_Run], name: str, none: tuple[int, ...]) -> Any:
    """The rows of an array of `StackParts` for all CCDs, in their order; an array of the shape `none` without CCDs."""
    found = [getattr(stack, name)[rows] for stack, rows in runs]
    return np.concatenate(found) if found else np.zeros(none, dtype=np.int64)


def _values(
    runs: Sequence[_Run], judged: FloatImage, where: Sequence[Position], of_stacks: Sequence[Maxima]
) -> Singles:
    """The statistics of an exposure in the order of `listed.EXPOSURE_STATISTICS`.

    Parameters
    ----------
    runs : sequence of runs
        The CCDs that have statistics.
    judged : ndarray, (n_ccd, 2) float32
        Their straight lines.
    where : sequence of Position
        Where each of them lies.
    of_stacks : sequence of Maxima
        Of each stack of the exposure.
    """
    pairs = np.zeros((PAIR_ROWS, PAIR_COLUMNS), dtype=np.int64)
    for of_stack in of_stacks:
        pairs += of_stack.pairs
    free = _free_of_streaks(runs, judged)
    values = np.concatenate(
        [
            spectrum.exposure_statistics(
                [(stack.spectra, rows) for stack, rows in free], _rows(free, "turns", (0,)).tolist()
            ),
            crosstalk.exposure_statistics(_rows(runs, "crosstalk", (0, 5))),
            shapes.exposure_statistics([stack.stars.of_ccds(rows) for stack, rows in runs], where),
            repeats.exposure_statistics(pairs, sum([of_stack.n_maxima for of_stack in of_stacks])),
        ]
    )
    if values.shape != (len(NAMES.exposures),) or values.dtype != np.float32:
        wanted = len(NAMES.exposures)
        raise ValueError(f"{values.shape} {values.dtype} statistics of an exposure where there should be {wanted}")
    return values


def _free_of_streaks(runs: Sequence[_Run], judged: FloatImage) -> Sequence[_Run]:
    """The CCDs that no satellite's trail crosses, or all where each CCD has one.

    What is left of a trail after its pixels are masked would still be a stripe of the sum.
    """
    crossed = judged[:, 0] > 0.0
    if not crossed.any() or crossed.all():
        return runs
    is_crossed = iter(crossed.tolist())
    return [(stack, [row for row in rows if not next(is_crossed)]) for stack, rows in runs]


def _ccd_statistics(runs: Sequence[_Run], judged: FloatImage) -> Iterator[CcdStatistics]:
    """The statistics of each CCD, with the judged lines: a trail on one CCD makes weaker ones on the others count."""
    start = 0
    for stack, rows in runs:
        values = stack.values[rows]
        values[:, _STREAK : _STREAK + judged.shape[1]] = judged[start : start + len(rows)]
        start += len(rows)
        yield from map(CcdStatistics, values, stack.cells[rows], stack.row_steps[rows], stack.column_steps[rows])
