"""The record of an exposure, made of those of its CCDs: their order, and the statistics of the exposure as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from gpuanom.naming import natural_key
from gpuanom.records import CcdMeasurement, Exposure, ExposureStatistics, Measurement, Singles
from gpuanom.settings import Settings
from gpuanom.statistics import listed


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
    ccds = in_order(done)
    statistics = None
    if settings.statistics and all(ccd.statistics is not None for ccd in ccds if ccd.status == "ok"):
        statistics = ExposureStatistics(listed.NAMES, _values(exposure, ccds))
    plain = tuple(replace(ccd, parts={}) if ccd.parts else ccd for ccd in ccds)
    return Measurement(exposure, plain, settings.fingerprint(), model, statistics)


def _values(exposure: Exposure, ccds: Sequence[CcdMeasurement]) -> Singles:
    """The statistics of an exposure in the order of `listed.EXPOSURE_STATISTICS`."""
    values: list[Singles] = [np.empty(0, dtype=np.float32)]
    joined = np.concatenate(values)
    if joined.shape != (len(listed.EXPOSURE_STATISTICS),):
        raise ValueError(
            f"{joined.size} statistics of an exposure where there should be {len(listed.EXPOSURE_STATISTICS)}"
        )
    return joined
