"""How the exposures of a simulated night are taken, and what is wrong with some of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpuanom.records import Doubles

ELONGATION = 0.25
STRIPES = 0.3


@dataclass(frozen=True)
class Anomaly:
    """What is wrong with an exposure.

    Attributes
    ----------
    kind : str
        Which score should see it: ``source``, ``background`` or ``none``.
    name : str
        Its class: ``elongation``, ``stripes`` or ``none``.
    amplitude : float
        ``elongation``: the shear added to the PSF (a round PSF gets the axis ratio (1 - shear) / (1 + shear)).
        ``stripes``: half of peak to peak, in units of the sky noise.
    direction : float
        The long axis, or the axis along which the stripes run: degrees in (-90, 90], from +x toward +y.
    """

    kind: str = "none"
    name: str = "none"
    amplitude: float = 0.0
    direction: float = math.nan


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


def draw_conditions(number: int, band: str, anomaly: Anomaly, rng: np.random.Generator) -> Conditions:
    """Ordinary conditions, different for every exposure."""
    return Conditions(
        number=number,
        band=band,
        fwhm=float(np.clip(rng.normal(3.8, 0.35), 2.8, 5.0)),
        shear=rng.normal(0, 0.012, (3, 2)),
        sky=float(rng.uniform(900, 1600)),
        slope=rng.normal(0, 0.02, 2),
        pointing=(float(rng.uniform(0, 360)), float(rng.uniform(-60, 30))),
        anomaly=anomaly,
    )


def plan_night(exposures: int, bands: Sequence[str], seed: int) -> list[Conditions]:
    """Conditions of every exposure; the bands alternate.

    One exposure of each of the first two bands is elongated (two of the only band), another one has stripes; at least
    one stays normal, and a band that has no exposure left goes without its anomaly.
    """
    rng = np.random.default_rng([seed, 0])
    band_of = [bands[i % len(bands)] for i in range(exposures)]
    anomalies = [Anomaly()] * exposures
    wanted = (
        ("source", "elongation", ELONGATION, bands[0]),
        ("source", "elongation", ELONGATION, bands[1 % len(bands)]),
        ("background", "stripes", STRIPES, bands[int(rng.integers(len(bands)))]),
    )
    for kind, name, amplitude, band in wanted[: exposures - 1]:
        free = [i for i in range(exposures) if band_of[i] == band and anomalies[i].kind == "none"]
        direction = round(90 - rng.uniform(0, 180), 1)
        if free:
            anomalies[free[int(rng.integers(len(free)))]] = Anomaly(kind, name, amplitude, direction)
    return [draw_conditions(i + 1, band_of[i], anomalies[i], rng) for i in range(exposures)]
