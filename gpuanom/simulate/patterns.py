"""What is added to the sky, in units of its noise, or takes light away: functions of the focal plane's pixels.

A pattern is computed from the anomaly and from where the CCD lies: (ny, nx) float64, in units of the anomaly's
strength. Its function ``..._reaches`` tells whether the pattern is visible on the CCD. What is random in a pattern,
such as where a ring lies, follows from the anomaly's seed alone: all CCDs of an exposure show parts of one pattern.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit

from gpuanom.records import Doubles
from gpuanom.simulate.conditions import Anomaly, CcdPlace

RING_EDGE = 6.0
"""Standard deviation of a ring's width, in pixels."""
RING_RADIUS = 100.0
"""Usual radius of a ring in pixels, where the CCD is large enough."""
GHOST_EDGE = 1.0
"""Scale over which the edge of a ghost fades, in pixels."""
GHOST_HOLE = 0.35
"""Radius of a ghost's hole, relative to the ghost's."""
STREAK_WIDTH = 2.0
EDGE_WIDTH = 40.0
"""Scale over which a shadow's edge fades, in pixels: what stands before the telescope is out of focus."""


def stripes(anomaly: Anomaly, place: CcdPlace) -> Doubles:
    """A sine wave whose crests run along the direction."""
    return np.sin(2 * np.pi / anomaly.size * _across(anomaly, place))


def ring(anomaly: Anomaly, place: CcdPlace) -> Doubles:
    """A ring of light about a point in the inner half of the CCD."""
    ny, nx = place.shape
    x, y = _ring_centre(anomaly, place)
    return _annulus(np.arange(float(nx))[None, :] - x, np.arange(float(ny))[:, None] - y, anomaly.size)


def ring_radius(place: CcdPlace) -> float:
    """The usual radius on CCDs of this size, in pixels."""
    return min(RING_RADIUS, 0.4 * min(place.shape))


def ring_reaches(anomaly: Anomaly, place: CcdPlace) -> bool:
    """Whether the ring is small enough to lie on the CCD, in part at least."""
    ny, nx = place.shape
    x, y = _ring_centre(anomaly, place)
    return anomaly.size <= math.hypot(max(x, nx - 1 - x), max(y, ny - 1 - y))


def first_ccd(anomaly: Anomaly, of: int) -> int:
    """The number of the CCD, of so many, on which the ring lies when it lies on one."""
    return int(_random(anomaly).integers(of))


def _ring_centre(anomaly: Anomaly, place: CcdPlace) -> tuple[float, float]:
    """(x, y) in pixels of the CCD; each CCD's own where several show a ring."""
    rng = _random(anomaly)
    if int(rng.integers(place.of)) != place.number:
        rng = np.random.default_rng([anomaly.seed, place.number])
    ny, nx = place.shape
    x = rng.uniform(0.25, 0.75) * nx
    return x, rng.uniform(0.25, 0.75) * ny


def ghost(anomaly: Anomaly, place: CcdPlace) -> Doubles:
    """An even disc of light with a hole, both with sharp edges, about a point in the inner half of the CCD.

    Such a disc is the image of the telescope's mirror, its hole that of the secondary mirror.
    """
    ny, nx = place.shape
    x, y = _ring_centre(anomaly, place)
    radius = np.hypot(np.arange(float(nx))[None, :] - x, np.arange(float(ny))[:, None] - y)
    inside: Doubles = expit((anomaly.size - radius) / GHOST_EDGE)
    return inside * expit((radius - GHOST_HOLE * anomaly.size) / GHOST_EDGE)


def arc(anomaly: Anomaly, place: CcdPlace) -> Doubles:
    """A ring of 1.2 times the focal plane's half side about a point near its edge: arcs on many CCDs."""
    centre, radius = _arc(anomaly, place)
    x, y = place.grids()
    return _annulus(x - centre[0], y - centre[1], radius)


def arc_radius(place: CcdPlace) -> float:
    """The usual radius, in pixels."""
    return 1.2 * place.extent


def arc_reaches(anomaly: Anomaly, place: CcdPlace) -> bool:
    """Whether the arc's crest crosses the CCD."""
    centre, radius = _arc(anomaly, place)
    near, far = _distances(centre, place)
    return near <= radius <= far


def _arc(anomaly: Anomaly, place: CcdPlace) -> tuple[tuple[float, float], float]:
    """Centre and radius, in pixels of the focal plane."""
    radius = anomaly.size if math.isfinite(anomaly.size) else arc_radius(place)
    return _on_the_edge(anomaly, place), radius


def streak(anomaly: Anomaly, place: CcdPlace) -> Doubles:
    """A satellite's straight track across the focal plane, near its centre."""
    return np.exp(-0.5 * ((_across(anomaly, place) - _streak_offset(anomaly, place)) / STREAK_WIDTH) ** 2)


def streak_reaches(anomaly: Anomaly, place: CcdPlace) -> bool:
    """Whether the middle of the track crosses the CCD; it may run between two rows of CCDs."""
    low, high = _range_across(anomaly, place)
    return low <= _streak_offset(anomaly, place) <= high


def _streak_offset(anomaly: Anomaly, place: CcdPlace) -> float:
    return float(_random(anomaly).uniform(-0.4, 0.4) * place.extent)


def glow(anomaly: Anomaly, place: CcdPlace) -> Doubles:
    """Scattered light of a bright star just outside the field: brightest at the edge, fading over half of the field."""
    star = _on_the_edge(anomaly, place)
    x, y = place.grids()
    return np.exp(-np.hypot(x - star[0], y - star[1]) / _glow_scale(anomaly, place))


def glow_scale(place: CcdPlace) -> float:
    """The usual scale over which the light falls to 1/e, in pixels."""
    return 0.5 * place.extent


def glow_reaches(anomaly: Anomaly, place: CcdPlace) -> bool:
    """Whether the CCD gets more than 5% (e^-3) of the brightest light somewhere."""
    return _distances(_on_the_edge(anomaly, place), place)[0] <= 3 * _glow_scale(anomaly, place)


def _glow_scale(anomaly: Anomaly, place: CcdPlace) -> float:
    return anomaly.size if math.isfinite(anomaly.size) else glow_scale(place)


def fringing(anomaly: Anomaly, place: CcdPlace) -> Doubles:
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


def tree_rings(anomaly: Anomaly, place: CcdPlace) -> Doubles:
    """Rings of growth of the silicon: concentric about the wafer's centre, which lies beside the CCD.

    The period is the usual one at the CCD's middle, and shrinks outward. Each CCD has a wafer of its own.
    """
    rng = np.random.default_rng([anomaly.seed, place.number])
    ny, nx = place.shape
    side, along = rng.choice((-0.3, 1.3)), rng.uniform(0.2, 0.8)
    cx, cy = (side * nx, along * ny) if rng.random() < 0.5 else (along * nx, side * ny)
    radius = np.hypot(np.arange(nx)[None, :] - cx, np.arange(ny)[:, None] - cy)
    middle = math.hypot(nx / 2 - cx, ny / 2 - cy)
    # The phase's slope, 2 pi radius / (middle x period), is that of the usual period at the middle.
    return np.sin(np.pi * radius**2 / (middle * anomaly.size) + rng.uniform(0, 2 * np.pi))


def shadow(anomaly: Anomaly, place: CcdPlace) -> Doubles:
    """How far a pixel lies in the shadow of a dome or a tree, 0 to 1; its edge runs along the direction."""
    return expit((_across(anomaly, place) - _shadow_offset(anomaly, place)) / EDGE_WIDTH)


def shadow_reaches(anomaly: Anomaly, place: CcdPlace) -> bool:
    """Whether a part of the CCD lies behind the shadow's edge."""
    return _range_across(anomaly, place)[1] > _shadow_offset(anomaly, place)


def _shadow_offset(anomaly: Anomaly, place: CcdPlace) -> float:
    return float(_random(anomaly).uniform(-0.5, 0.5) * place.extent)


def _random(anomaly: Anomaly) -> np.random.Generator:
    return np.random.default_rng(anomaly.seed)


def _on_the_edge(anomaly: Anomaly, place: CcdPlace) -> tuple[float, float]:
    """A point at the edge of the field, in pixels of the focal plane."""
    angle = _random(anomaly).uniform(0, 2 * np.pi)
    return place.extent * math.cos(angle), place.extent * math.sin(angle)


def _distances(point: tuple[float, float], place: CcdPlace) -> tuple[float, float]:
    """The smallest and largest distance from a point of the focal plane to the CCD's pixels."""
    near, far = [], []
    for value, start, n in zip(point, place.corner, reversed(place.shape), strict=True):
        ends = value - start, value - (start + n - 1)
        near.append(0.0 if ends[0] >= 0 >= ends[1] else min(map(abs, ends)))
        far.append(max(map(abs, ends)))
    return math.hypot(*near), math.hypot(*far)


def _range_across(anomaly: Anomaly, place: CcdPlace) -> tuple[float, float]:
    """The smallest and largest `_across` of a CCD, those of two of its corners."""
    (x, y), across = place.grids(), math.radians(anomaly.direction + 90)
    corners = [math.cos(across) * a + math.sin(across) * b for a in (x[0, 0], x[0, -1]) for b in (y[0, 0], y[-1, 0])]
    return float(min(corners)), float(max(corners))


def _across(anomaly: Anomaly, place: CcdPlace) -> Doubles:
    """Distance from the focal plane's centre across the direction, in pixels."""
    x, y = place.grids()
    across = math.radians(anomaly.direction + 90)
    return math.cos(across) * x + math.sin(across) * y


def _annulus(dx: Doubles, dy: Doubles, radius: float) -> Doubles:
    return np.exp(-0.5 * ((np.hypot(dx, dy) - radius) / RING_EDGE) ** 2)
