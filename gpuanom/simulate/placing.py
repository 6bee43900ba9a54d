"""An anomaly as one exposure has it: its direction, where a pattern lies, and which CCDs show it.

`gpuanom simulate` and `gpuanom inject` share these choices, so that the same words and seed mean the same anomaly.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from gpuanom.errors import SettingsError
from gpuanom.simulate.conditions import Anomaly, CcdPlace
from gpuanom.simulate.injectors import INJECTORS, asked_for, complete, in_order

TRIES = 64
"""Positions of a pattern that are tried until it reaches the CCDs that were asked for."""


def for_exposure(wanted: Anomaly, exposure: str, seed: int) -> Anomaly:
    """The anomaly of one exposure: what was not asked for is drawn, for each exposure its own.

    Parameters
    ----------
    wanted : Anomaly
        As `gpuanom.simulate.parse` gives it.
    exposure : str
        The exposure's id.
    seed : int

    Returns
    -------
    Anomaly
        With a direction in degrees, where its class has one, and a seed.
    """
    rng = np.random.default_rng(key(exposure, seed))
    direction = 90 - rng.uniform(0, 180)
    if INJECTORS[wanted.name].directed and math.isnan(wanted.direction):
        wanted = replace(wanted, direction=round(direction, 1))
    return replace(wanted, seed=int(rng.integers(2**31)))


def key(exposure: str, *numbers: int) -> list[int]:
    """The seed of a random stream that belongs to an exposure."""
    return [int.from_bytes(hashlib.blake2b(exposure.encode(), digest_size=7).digest(), "little"), *numbers]


def settle(anomaly: Anomaly, places: Sequence[CcdPlace]) -> Anomaly:
    """Choose the CCDs of an exposure that show the anomaly, among those that its pattern reaches.

    A satellite's track may run between two rows of CCDs, and a share of the CCDs may be chosen that an arc does not
    cross: other positions are tried then, so that the anomaly is in the pixels.

    Parameters
    ----------
    anomaly : Anomaly
    places : sequence of CcdPlace
        Of all CCDs of the exposure.

    Returns
    -------
    Anomaly
        With its size, where its class has one, and `shown`; fewer CCDs than were asked for only where no position of
        the pattern reaches so many.

    Raises
    ------
    SettingsError
        When the pattern lies outside every CCD wherever it is put.
    """
    if anomaly.name == "none":
        return anomaly
    injector = INJECTORS[anomaly.name]
    if math.isnan(anomaly.size) and injector.usual:
        anomaly = replace(anomaly, size=injector.usual(places[0]))
    anomaly = complete(anomaly)
    asked = asked_for(anomaly, len(places))
    everywhere = math.isnan(anomaly.ccds) and not injector.single
    best: Anomaly | None = None
    most = 0
    for attempt in range(TRIES):
        its = replace(anomaly, seed=anomaly.seed + attempt)
        order = in_order(its, len(places))
        reached = [c for c in order if injector.reaches is None or injector.reaches(its, places[c])]
        if len(reached) > most:
            most, best = len(reached), replace(its, shown=tuple(sorted(order if everywhere else reached[:asked])))
        if most >= (1 if everywhere else asked):
            break
    if best is None:
        size = f" with a {injector.sized} of {anomaly.size:g} pixels" if injector.sized else ""
        raise SettingsError(f"{anomaly.name}{size} lies outside every CCD (give another size or direction)")
    return best
