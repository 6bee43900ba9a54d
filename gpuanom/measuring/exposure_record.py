"""The record of an exposure, made of those of its CCDs: their order, and the statistics of the exposure as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from gpuanom.backends.limits import PAIR_COLUMNS, PAIR_ROWS
from gpuanom.cameras.focalplane import places
from gpuanom.measuring.ccd_statistics import CcdParts, changed
from gpuanom.naming import natural_key
from gpuanom.records import CcdMeasurement, Exposure, ExposureStatistics, Measurement, Singles
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
        ccds = _with_lines(ccds)
        statistics = ExposureStatistics(NAMES, _values(exposure, ccds))
    plain = tuple(ccd if ccd.parts is None else changed(ccd, parts=None) for ccd in ccds)
    return Measurement(exposure, plain, settings.fingerprint(), model, statistics)


def _values(exposure: Exposure, ccds: Sequence[CcdMeasurement]) -> Singles:
    """The statistics of an exposure in the order of `listed.EXPOSURE_STATISTICS`."""
    parts: list[CcdParts] = [ccd.parts for ccd in ccds if ccd.parts is not None]
    measured: list[tuple[str, CcdParts]] = [(ccd.name, ccd.parts) for ccd in ccds if ccd.statistics is not None]
    where = places(exposure.camera, [ccd.name for ccd in ccds])
    pairs = np.zeros((PAIR_ROWS, PAIR_COLUMNS), dtype=np.int64)
    for part in parts:
        if part.repeats is not None:
            pairs += part.repeats
    sums, counts = np.array([p.crosstalk for _, p in measured], dtype=np.int64).reshape(-1, 2).T
    free = _free_of_streaks([ccd for ccd in ccds if ccd.statistics is not None])
    spectra = [(part.spectra, int(part.turn)) for part in free if part.spectra is not None]
    stars = [(p.stars, where[name]) for name, p in measured if p.stars is not None]
    values = np.concatenate(
        [
            spectrum.exposure_statistics([s for s, _ in spectra], [turn for _, turn in spectra]),
            crosstalk.exposure_statistics(sums, counts),
            shapes.exposure_statistics([s for s, _ in stars], [place for _, place in stars]),
            repeats.exposure_statistics(pairs, sum(part.n_maxima for part in parts)),
        ]
    )
    if values.shape != (len(NAMES.exposures),) or values.dtype != np.float32:
        wanted = len(NAMES.exposures)
        raise ValueError(f"{values.shape} {values.dtype} statistics of an exposure where there should be {wanted}")
    return values


def _free_of_streaks(ccds: Sequence[CcdMeasurement]) -> list[CcdParts]:
    """The parts of the CCDs that no satellite's trail crosses, or of all where each CCD has one.

    What is left of a trail after its pixels are masked would still be a stripe of the sum.
    """
    free = [ccd for ccd in ccds if ccd.statistics is not None and not ccd.statistics.values[_STREAK] > 0.0]
    return [ccd.parts for ccd in free or ccds]


def _with_lines(ccds: Sequence[CcdMeasurement]) -> tuple[CcdMeasurement, ...]:
    """The CCDs with their straight lines judged: a trail on one CCD makes weaker ones on the others count."""
    measured = [ccd for ccd in ccds if ccd.statistics is not None]
    if not measured:
        return tuple(ccds)
    found = np.array([ccd.parts.line for ccd in measured])
    values = np.array([ccd.statistics.values for ccd in measured if ccd.statistics is not None])
    judged = lines.ccd_statistics(found, [int(ccd.parts.turn) for ccd in measured])
    values[:, _STREAK : _STREAK + judged.shape[1]] = judged
    rows = iter(values)
    return tuple(
        ccd if ccd.statistics is None else changed(ccd, statistics=changed(ccd.statistics, values=next(rows)))
        for ccd in ccds
    )
