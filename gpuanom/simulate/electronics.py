"""What amplifiers and cables do to an image: functions of a CCD's own rows and columns.

A pattern is computed from the anomaly and from where the CCD lies, as in `gpuanom.simulate.patterns`. What is random
follows from the anomaly's seed and the CCD's number alone.
"""

from __future__ import annotations

import math

import numpy as np

from gpuanom.records import Doubles
from gpuanom.simulate.conditions import Anomaly, CcdPlace
from gpuanom.simulate.detector import SATURATION

HERRINGBONE_ROWS = 64
"""Rows after which the stripes of a herringbone pattern turn."""
HERRINGBONE_SLOPE = math.tan(math.radians(30))
"""Columns by which such stripes move from row to row."""


def one_half(anomaly: Anomaly, place: CcdPlace) -> Doubles:
    """1 on the columns that one of a CCD's two amplifiers reads, the left or the right half; 0 on the others."""
    ny, nx = place.shape
    is_right = np.arange(nx) >= nx // 2
    chosen = is_right if _random(anomaly, place).random() < 0.5 else ~is_right
    return np.broadcast_to(chosen.astype(np.float64), (ny, nx))


def row_jitter(anomaly: Anomaly, place: CcdPlace) -> Doubles:
    """A level of each row's own, normally distributed."""
    ny, nx = place.shape
    return np.broadcast_to(_random(anomaly, place).standard_normal(ny)[:, None], (ny, nx))


def herringbone(anomaly: Anomaly, place: CcdPlace) -> Doubles:
    """Fine stripes 30 degrees off the columns, which turn back every `HERRINGBONE_ROWS` rows."""
    ny, nx = place.shape
    rng = _random(anomaly, place)
    rows = (np.arange(float(ny)) + rng.integers(HERRINGBONE_ROWS)) % (2 * HERRINGBONE_ROWS)
    moved = HERRINGBONE_SLOPE * np.abs(rows - HERRINGBONE_ROWS)
    # Across stripes that lean by 30 degrees, a step along x is cos(30 deg) as long.
    across = math.cos(math.atan(HERRINGBONE_SLOPE)) * (np.arange(float(nx))[None, :] + moved[:, None])
    return np.sin(2 * np.pi / anomaly.size * across + rng.uniform(0, 2 * np.pi))


def crosstalk(light: Doubles) -> Doubles:
    """The light of the pixel that the CCD's other amplifier reads at the same time: the image mirrored left to right.

    No pixel gives more than saturation, which is a matter of scenes in electrons; real images end there already.

    Parameters
    ----------
    light : ndarray, (ny, nx) float64
        Light of the sources, in electrons.

    Returns
    -------
    ndarray, (ny, nx) float64
    """
    return np.minimum(light[:, ::-1], SATURATION)


def _random(anomaly: Anomaly, place: CcdPlace) -> np.random.Generator:
    return np.random.default_rng([anomaly.seed, place.number])
