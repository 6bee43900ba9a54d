"""The random choices about an anomaly in one exposure: its direction, its position, and the CCDs that show it.

`gpuanom simulate` and `gpuanom inject` share these choices, so that the same words and seed give the same anomaly.
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
"""How many positions of a pattern are tried until the pattern reaches the CCDs that were asked for."""


def for_exposure(wanted: Anomaly, exposure: str, seed: int) -> Anomaly:
    """Draw the direction of an anomaly, if it was not given, and the seed of the other choices, for one exposure.

    Parameters
    ----------
    wanted : Anomaly
        As `gpuanom.simulate.parse` gives it.
    exposure : str
        The exposure's id.
    seed : int
        Seed of the night.

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
    """The seed of a random stream of an exposure.

    Parameters
    ----------
    exposure : str
        The exposure's id.
    *numbers : int
        What else tells the stream from others, such as the night's seed and a CCD's number.

    Returns
    -------
    list of int
        A seed for `numpy.random.default_rng`.
    """
    return [int.from_bytes(hashlib.blake2b(exposure.encode(), digest_size=7).digest(), "little"), *numbers]


def choose_ccds(anomaly: Anomaly, places: Sequence[CcdPlace]) -> Anomaly:
    """Choose the CCDs of an exposure that show the anomaly, among those that its pattern reaches.

    A satellite's track may run between two rows of CCDs, or an arc may miss the CCDs that were chosen. Then other
    positions are tried, so that the anomaly is really in the pixels.

    Parameters
    ----------
    anomaly : Anomaly
    places : sequence of CcdPlace
        Places of all CCDs of the exposure.

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
    n_asked = asked_for(anomaly, len(places))
    everywhere = math.isnan(anomaly.ccds) and not injector.single
    best: Anomaly | None = None
    most = 0
    for attempt in range(TRIES):
        candidate = replace(anomaly, seed=anomaly.seed + attempt)
        order = in_order(candidate, len(places))
        reached = [c for c in order if injector.reaches is None or injector.reaches(candidate, places[c])]
        if len(reached) > most:
            shown = tuple(sorted(order if everywhere else reached[:n_asked]))
            most, best = len(reached), replace(candidate, shown=shown)
        if most >= (1 if everywhere else n_asked):
            break
    if best is None:
        size = f" with a {injector.sized} of {anomaly.size:g} pixels" if injector.sized else ""
        raise SettingsError(f"{anomaly.name}{size} lies outside every CCD (give another size or direction)")
    return best
