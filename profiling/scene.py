"""The CCD on which the benchmarks run: seeded and in memory."""

from __future__ import annotations

import numpy as np

from gpuanom.simulate import CcdPlace, Conditions
from gpuanom.simulate.sky import draw

SHAPE = (4094, 2046)
"""Rows and columns of a DECam CCD after trimming."""

DENSITY = 0.14
"""Density of stars and galaxies, relative to that of a simulated night: about 800 sources on a CCD of `SHAPE`."""


def ccd(shape: tuple[int, int] = SHAPE, density: float = DENSITY, seed: int = 1) -> np.ndarray:
    """An ordinary CCD: float32, C-contiguous, in electrons."""
    conditions = Conditions(
        number=1,
        band="r",
        fwhm=4.0,
        shear=np.array([[0.01, -0.01], [0.01, 0.0], [0.0, 0.01]]),
        sky=1200.0,
        slope=np.array([0.01, -0.01]),
        pointing=(150.0, 2.0),
        density=density,
    )
    corner = (-shape[1] / 2, -shape[0] / 2)
    image = draw(conditions, CcdPlace(shape, corner, max(shape) / 2), np.random.default_rng(seed)).image
    return np.ascontiguousarray(image, dtype=np.float32)
