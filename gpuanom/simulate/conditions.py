"""How the exposures of a simulated night are taken, and what is wrong with some of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from gpuanom.records import Doubles


@dataclass(frozen=True)
class Anomaly:
    """What is wrong with an exposure.

    Attributes
    ----------
    kind : str
        The score that should find the anomaly: ``source``, ``background`` or ``none``.
    name : str
        The class of the anomaly, one of `gpuanom.simulate.INJECTORS`, or ``none``.
    amplitude : float
        The strength, in the unit of the class.
    direction : float
        The long axis, or the axis along which stripes, streaks and edges run: degrees in (-90, 90], from +x toward
        +y; NaN for classes without one.
    size : float
        Period or radius in pixels; NaN means the usual one of the class.
    ccds : float
        Share of the CCDs that show the anomaly, at least one CCD; NaN means the usual share of the class: all CCDs, or
        one for what happens to one CCD, such as a ring.
    seed : int
        Seed of all other choices: where a ring lies, which CCDs show the anomaly.
    shown : tuple of int, optional
        Numbers of the CCDs that show the anomaly (`CcdPlace.number`), once `gpuanom.simulate.choose_ccds` has
        chosen them among the CCDs of an exposure; before that they follow from share and seed.
    """

    kind: str = "none"
    name: str = "none"
    amplitude: float = 0.0
    direction: float = math.nan
    size: float = math.nan
    ccds: float = math.nan
    seed: int = 0
    shown: tuple[int, ...] | None = None


@dataclass(frozen=True)
class CcdPlace:
    """Where a CCD lies in the focal plane.

    Attributes
    ----------
    shape : tuple of 2 ints
        Rows and columns.
    corner : tuple of 2 floats
        (x, y) of the CCD's first pixel, in pixels from the focal plane's centre.
    extent : float
        Half of the focal plane's longer side, in pixels.
    number, of : int
        The number of the CCD, from 0, and the number of all CCDs.
    """

    shape: tuple[int, int]
    corner: tuple[float, float]
    extent: float
    number: int = 0
    of: int = 1

    def grids(self) -> tuple[Doubles, Doubles]:
        """Focal-plane x, (1, nx), and y, (ny, 1), of the pixels."""
        return (
            self.corner[0] + np.arange(self.shape[1], dtype=np.float64)[None, :],
            self.corner[1] + np.arange(self.shape[0], dtype=np.float64)[:, None],
        )

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the CCD's middle in the focal plane, in pixels."""
        return self.corner[0] + (self.shape[1] - 1) / 2, self.corner[1] + (self.shape[0] - 1) / 2


@dataclass(frozen=True, eq=False)
class Conditions:
    """How an exposure was taken. Field positions run from -1 to 1 over the longer side of the focal plane.

    Attributes
    ----------
    number : int
        The exposure's number, from 1.
    band : str
    fwhm : float
        FWHM of the PSF, in pixels.
    shear : ndarray, (3, 2) float64
        Shear (g1, g2) of the PSF at the field's centre, and its change along x and y.
    sky : float
        Electrons a pixel at the field's centre.
    slope : ndarray, (2,) float64
        Relative change of the sky along x and y.
    pointing : tuple of 2 floats
        Right ascension and declination of the field's centre, degrees.
    density : float
        Number of stars and galaxies in a pixel, relative to the usual one.
    anomaly : Anomaly
    bad_columns : float
        Dead and hot columns among 1000 columns; the same in all exposures of a CCD.
    step : float
        Scatter of the step between a CCD's two amplifiers, relative to the sky.
    bleeding : bool
        Whether charge above saturation runs along its column.
    """

    number: int
    band: str
    fwhm: float
    shear: Doubles
    sky: float
    slope: Doubles
    pointing: tuple[float, float]
    density: float = 1.0
    anomaly: Anomaly = Anomaly()
    bad_columns: float = 0.0
    step: float = 0.0
    bleeding: bool = False
