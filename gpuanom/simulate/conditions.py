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
        Which score should see it: ``source``, ``background`` or ``none``.
    name : str
        Its class, one of `gpuanom.simulate.INJECTORS`, or ``none``.
    amplitude : float
        Its strength, in the unit of its class.
    direction : float
        The long axis, or the axis along which stripes, streaks and edges run: degrees in (-90, 90], from +x toward
        +y; NaN for classes without one.
    size : float
        Period or radius in pixels; NaN is the usual one of its class.
    ccds : float
        Share of the CCDs that show it, at least one CCD; NaN is the usual of its class: all CCDs, or one for a ring.
    seed : int
        Of everything else about it: where a ring lies, which CCDs show it.
    shown : tuple of int, optional
        Numbers of the CCDs that show it (`CcdPlace.number`), once `gpuanom.simulate.settle` has chosen them among the
        CCDs of an exposure; without them they follow from share and seed alone.
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
        (x, y) of its first pixel, in pixels from the focal plane's centre.
    extent : float
        Half of the focal plane's longer side, in pixels.
    number, of : int
        Which CCD it is, from 0, and how many there are.
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
        Of the PSF, in pixels.
    shear : ndarray, (3, 2) float64
        Shear (g1, g2) of the PSF at the field's centre, and its change along x and y.
    sky : float
        Electrons a pixel at the field's centre.
    slope : ndarray, (2,) float64
        Relative change of the sky along x and y.
    pointing : tuple of 2 floats
        Right ascension and declination of the field's centre, degrees.
    density : float
        Stars and galaxies a pixel, relative to the usual.
    anomaly : Anomaly
    bad_columns : float
        Dead and hot columns of 1000; the same in all exposures of a CCD.
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
