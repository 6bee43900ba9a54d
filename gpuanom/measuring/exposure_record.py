"""The record of an exposure, made of those of its CCDs: their order, and the statistics of the exposure as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpuanom.backends.limits import PAIR_COLUMNS, PAIR_ROWS
from gpuanom.cameras.focalplane import places
from gpuanom.measuring.ccd_statistics import CcdParts, changed
from gpuanom.naming import natural_key
from gpuanom.records import CcdMeasurement, Exposure, ExposureStatistics, FloatImage, Measurement, Singles
from gpuanom.settings import Settings
from gpuanom.statistics import crosstalk, lines, repeats, shapes, spectrum
from gpuanom.statistics.listed import NAMES

_STREAK = NAMES.ccds.index("streak")


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
    if settings.statistics and all(ccd.statistics is not None for ccd in ccds if ccd.status == "ok"):
        judged = _judged_lines(ccds)
        statistics = ExposureStatistics(NAMES, _values(exposure, ccds, judged))
        ccds = _with_lines(ccds, judged)
    plain = tuple(ccd if ccd.parts is None else changed(ccd, parts=None) for ccd in ccds)
    return Measurement(exposure, plain, settings.fingerprint(), model, statistics)


def _measured(ccds: Sequence[CcdMeasurement]) -> list[CcdMeasurement]:
    """The CCDs that have statistics."""
    return [ccd for ccd in ccds if ccd.statistics is not None]


def _values(exposure: Exposure, ccds: Sequence[CcdMeasurement], judged: FloatImage) -> Singles:
    """The statistics of an exposure in the order of `listed.EXPOSURE_STATISTICS`; `judged` is from `_judged_lines`."""
    every: list[CcdParts] = [ccd.parts for ccd in ccds if ccd.parts is not None]
    names = [ccd.name for ccd in _measured(ccds)]
    parts: list[Any] = [ccd.parts for ccd in _measured(ccds)]
    where = places(exposure.camera, [ccd.name for ccd in ccds])
    pairs = np.zeros((PAIR_ROWS, PAIR_COLUMNS), dtype=np.int64)
    for of_stack in [part.repeats for part in every if part.repeats is not None]:
        pairs += of_stack
    free = _free_of_streaks(parts, judged)
    values = np.concatenate(
        [
            spectrum.exposure_statistics([part.spectra for part in free], [part.turn for part in free]),
            crosstalk.exposure_statistics(np.array([part.crosstalk for part in parts], dtype=np.int64).reshape(-1, 5)),
            shapes.exposure_statistics([part.stars for part in parts], [where[name] for name in names]),
            repeats.exposure_statistics(pairs, sum([part.n_maxima for part in every])),
        ]
    )
    if values.shape != (len(NAMES.exposures),) or values.dtype != np.float32:
        wanted = len(NAMES.exposures)
        raise ValueError(f"{values.shape} {values.dtype} statistics of an exposure where there should be {wanted}")
    return values


def _free_of_streaks(parts: list[Any], judged: FloatImage) -> list[Any]:
    """The parts of the CCDs that no satellite's trail crosses, or all parts where each CCD has one.

    What is left of a trail after its pixels are masked would still be a stripe of the sum.
    """
    free = [part for part, height in zip(parts, judged[:, 0].tolist(), strict=True) if not height > 0.0]
    return free or parts


def _judged_lines(ccds: Sequence[CcdMeasurement]) -> FloatImage:
    """The straight lines of the CCDs that have statistics: a trail on one CCD makes weaker ones on the others count."""
    parts: list[CcdParts] = [ccd.parts for ccd in _measured(ccds)]
    found = np.array([part.line for part in parts]).reshape(-1, 4)
    return lines.ccd_statistics(found, [part.turn for part in parts])


def _with_lines(ccds: Sequence[CcdMeasurement], judged: FloatImage) -> tuple[CcdMeasurement, ...]:
    """The CCDs with their judged lines among their statistics; those that have statistics are without their parts."""
    statistics = [ccd.statistics for ccd in ccds if ccd.statistics is not None]
    values = np.array([of_ccd.values for of_ccd in statistics])
    if statistics:
        values[:, _STREAK : _STREAK + judged.shape[1]] = judged
    made = (changed(of_ccd, values=row) for of_ccd, row in zip(statistics, values, strict=True))
    return tuple(ccd if ccd.statistics is None else changed(ccd, statistics=next(made), parts=None) for ccd in ccds)
