"""What is added to the sky, in units of its noise, or takes light away: functions of the focal plane's pixels.

What is random in a pattern (where a ring lies) follows from the anomaly's seed alone, so that all CCDs of an exposure
show parts of one pattern.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit

from gpuanom.records import Doubles
from gpuanom.simulate.conditions import Anomaly, Place

RING_EDGE = 6.0
"""Standard deviation of a ring's width, in pixels."""
STREAK_WIDTH = 2.0
EDGE_WIDTH = 40.0
"""Scale over which a shadow's edge fades, in pixels: what stands before the telescope is out of focus."""


def stripes(anomaly: Anomaly, place: Place) -> Doubles:
    """A sine wave whose crests run along the direction."""
    return np.sin(2 * np.pi / anomaly.size * _across(anomaly, place))


def ring(anomaly: Anomaly, place: Place) -> Doubles:
    """A ring of light on one CCD, about a point in its inner half."""
    rng = _random(anomaly)
    number = int(rng.integers(place.of))
    ny, nx = place.shape
    x = rng.uniform(0.25, 0.75) * nx
    y = rng.uniform(0.25, 0.75) * ny
    if number != place.number:
        return np.zeros(place.shape)
    return _annulus(np.arange(float(nx))[None, :] - x, np.arange(float(ny))[:, None] - y, anomaly.size)


def arc(anomaly: Anomaly, place: Place) -> Doubles:
    """A ring of 1.2 times the focal plane's half side about a point near its edge: arcs on many CCDs."""
    rng = _random(anomaly)
    angle = rng.uniform(0, 2 * np.pi)
    radius = anomaly.size if math.isfinite(anomaly.size) else 1.2 * place.extent
    x, y = place.grids()
    return _annulus(x - place.extent * math.cos(angle), y - place.extent * math.sin(angle), radius)


def streak(anomaly: Anomaly, place: Place) -> Doubles:
    """A satellite's straight track across the focal plane, near its centre."""
    offset = _random(anomaly).uniform(-0.4, 0.4) * place.extent
    return np.exp(-0.5 * ((_across(anomaly, place) - offset) / STREAK_WIDTH) ** 2)


def glow(anomaly: Anomaly, place: Place) -> Doubles:
    """Scattered light of a bright star just outside the field: brightest at the edge, fading over half of the field."""
    angle = _random(anomaly).uniform(0, 2 * np.pi)
    x, y = place.grids()
    scale = anomaly.size if math.isfinite(anomaly.size) else 0.5 * place.extent
    distance = np.hypot(x - place.extent * math.cos(angle), y - place.extent * math.sin(angle))
    return np.exp(-distance / scale)


def fringing(anomaly: Anomaly, place: Place) -> Doubles:
    """Interference in a CCD of uneven thickness: bent fringes of a period that varies, other ones on each CCD."""
    rng = np.random.default_rng([anomaly.seed, place.number])
    ny, nx = place.shape
    x, y = np.arange(nx)[None, :] / anomaly.size, np.arange(ny)[:, None] / anomaly.size
    cx, cy = rng.uniform(-1, 2) * nx / anomaly.size, rng.uniform(-1, 2) * ny / anomaly.size
    phase = 2 * np.pi * np.hypot(x - cx, y - cy)
    for _ in range(4):
        kx, ky = rng.normal(0, 0.8, 2)
        phase = phase + rng.normal(0, 1.2) * np.sin(kx * x + ky * y + rng.uniform(0, 2 * np.pi))
    return np.sin(phase)


def shadow(anomaly: Anomaly, place: Place) -> Doubles:
    """How far a pixel lies in the shadow of a dome or a tree, 0 to 1; its edge runs along the direction."""
    offset = _random(anomaly).uniform(-0.5, 0.5) * place.extent
    return expit((_across(anomaly, place) - offset) / EDGE_WIDTH)


def _random(anomaly: Anomaly) -> np.random.Generator:
    return np.random.default_rng(anomaly.seed)


def _across(anomaly: Anomaly, place: Place) -> Doubles:
    """Distance from the focal plane's centre across the direction, in pixels."""
    x, y = place.grids()
    across = math.radians(anomaly.direction + 90)
    return math.cos(across) * x + math.sin(across) * y


def _annulus(dx: Doubles, dy: Doubles, radius: float) -> Doubles:
    return np.exp(-0.5 * ((np.hypot(dx, dy) - radius) / RING_EDGE) ** 2)
