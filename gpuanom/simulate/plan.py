"""The plan of a simulated night: the conditions of each exposure, and which exposures are anomalous."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gpuanom.errors import SettingsError
from gpuanom.simulate.conditions import Anomaly, Conditions
from gpuanom.simulate.injectors import INJECTORS
from gpuanom.simulate.placing import for_exposure

ELONGATION = 0.25
DONUTS = 16.0
STRIPES = 0.3
ORDER = 1_000_000
"""Number of the random stream that chooses anomalous exposures; smaller numbers are the streams of the CCDs."""
BAD_COLUMNS = 3.0
"""Bad columns among 1000: masks of surveys flag a few per mille of a CCD's columns."""
AMPLIFIER_STEP = 1e-3
"""Scatter of the step between a CCD's two amplifiers, relative to the sky: such steps remain after flat-fielding."""


def draw_conditions(number: int, band: str, anomaly: Anomaly, rng: np.random.Generator) -> Conditions:
    """Draw ordinary conditions for an exposure.

    Parameters
    ----------
    number : int
        Number of the exposure, from 1.
    band : str
    anomaly : Anomaly
    rng : Generator
    """
    return Conditions(
        number=number,
        band=band,
        fwhm=float(np.clip(rng.normal(3.8, 0.35), 2.8, 5.0)),
        shear=rng.normal(0, 0.012, (3, 2)),
        sky=float(rng.uniform(900, 1600)),
        slope=rng.normal(0, 0.02, 2),
        pointing=(float(rng.uniform(0, 360)), float(rng.uniform(-60, 30))),
        anomaly=anomaly,
        bad_columns=BAD_COLUMNS,
        step=AMPLIFIER_STEP,
        bleeding=True,
    )


def plan_night(
    exposures: int,
    bands: Sequence[str],
    seed: int,
    wanted: Sequence[Anomaly] | None = None,
    *,
    night: int = 1,
    first: int = 1,
) -> list[Conditions]:
    """Plan the conditions of every exposure; the bands alternate.

    Equal seeds give equal conditions whatever the anomalies are, so that the same night with and without an anomaly
    can be compared.

    Parameters
    ----------
    exposures : int
        Number of exposures.
    bands : sequence of str
    seed : int
        Seed of the night.
    wanted : sequence of Anomaly, optional
        Anomalies, each for one exposure chosen at random; `for_exposure` draws what an anomaly leaves open. By default
        an exposure of the first band is elongated, one of the second band (of the same one if there is one band) is
        out of focus, and another one has stripes. At least one exposure stays normal, and an anomaly whose band has no
        exposure left is dropped.
    night : int, optional
        Nights of one seed have other conditions.
    first : int, optional
        Number of the first exposure.

    Returns
    -------
    list of Conditions
        One for each exposure.

    Raises
    ------
    SettingsError
        When more anomalies are wanted than leave one exposure normal.
    """
    of_night = [seed, 0] if night == 1 else [seed, 0, 0, night]
    rng = np.random.default_rng(of_night)
    band_of = [bands[i % len(bands)] for i in range(exposures)]
    # The default plan is drawn even when another one is asked for: the conditions come from the same stream after it.
    anomalies = _default_plan(band_of, bands, rng)
    if wanted is not None:
        if len(wanted) > max(0, exposures - 1):
            raise SettingsError(
                f"'anomalies' asks for {len(wanted)} anomalous exposures of {exposures}; at least one stays normal"
            )
        anomalies = [Anomaly()] * exposures
        order = np.random.default_rng([*of_night, ORDER]).permutation(exposures).tolist()
        for i, anomaly in zip(order, wanted, strict=False):
            anomalies[i] = for_exposure(anomaly, str(first + i), seed)
    return [draw_conditions(first + i, band_of[i], anomalies[i], rng) for i in range(exposures)]


def _default_plan(band_of: Sequence[str], bands: Sequence[str], rng: np.random.Generator) -> list[Anomaly]:
    anomalies = [Anomaly()] * len(band_of)
    default = (
        ("source", "elongation", ELONGATION, bands[0]),
        ("source", "donuts", DONUTS, bands[1 % len(bands)]),
        ("background", "stripes", STRIPES, bands[int(rng.integers(len(bands)))]),
    )
    for kind, name, amplitude, band in default[: len(band_of) - 1]:
        free = [i for i, exposure_band in enumerate(band_of) if exposure_band == band and anomalies[i].kind == "none"]
        drawn = round(90 - rng.uniform(0, 180), 1)
        direction = drawn if INJECTORS[name].directed else math.nan
        if free:
            anomalies[free[int(rng.integers(len(free)))]] = Anomaly(kind, name, amplitude, direction)
    return anomalies
