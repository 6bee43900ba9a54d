"""The anomalies that can be put into exposures: names, strengths, how each changes an image, and on which CCDs.

`gpuanom.simulate.injection` puts them into a simulated scene that has no noise yet, and into a real image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace

import numpy as np

from gpuanom.records import Doubles
from gpuanom.simulate import electronics, optics, patterns
from gpuanom.simulate.conditions import Anomaly, CcdPlace

Spread = Callable[[Anomaly, CcdPlace, float], Doubles]
Pattern = Callable[[Anomaly, CcdPlace], Doubles]


@dataclass(frozen=True)
class Injector:
    """A class of anomalies; each has one of `spread`, `pattern`, `shade`, `dim`, `echo` and `brightens`.

    Attributes
    ----------
    kind : str
        The score that should find the anomaly, ``source`` or ``background``.
    unit : str
        Unit of the strength.
    default, highest : float
        Usual and highest strength; strengths are above 0.
    help : str
        The anomaly in one line.
    directed : bool
        Whether the anomaly has a direction.
    size : float
        Usual period or radius in pixels; NaN where there is none, or where it depends on the focal plane (`usual`).
    usual : callable
        The usual period or radius on a focal plane, where `size` alone does not say it.
    sized : str
        What the size means, such as ``period``; empty where the anomaly has no size.
    spread : callable
        Points that a point of light becomes (`optics`), from anomaly, place and FWHM.
    pattern : callable
        Added to the sky, in units of its noise.
    shade : callable
        Share of all light that a strength of 1 takes away.
    dim : callable
        The light of the sources with the anomaly, from their light without (sky subtracted) and the strength.
    echo : callable
        Light that a strength of 1 adds, from the light of the sources without the anomaly (sky subtracted).
    brightens : bool
        Whether the anomaly is a bright sky, with the strength as the light that is added, relative to the sky's.
    shear : callable
        With `spread`: shear and direction in radians of the PSF at a field position. Simulated sources are drawn with
        it (`sky.scene`); real images are convolved with `spread` instead.
    varies : bool
        Whether `spread` changes over a CCD.
    single : bool
        Whether one CCD shows it, unless a share of the CCDs is asked for.
    reaches : callable
        Whether the pattern is visible on a CCD; without this function it is visible on every CCD.
    """

    kind: str
    unit: str
    default: float
    highest: float
    help: str
    _: KW_ONLY
    directed: bool = False
    size: float = math.nan
    sized: str = ""
    spread: Spread | None = None
    pattern: Pattern | None = None
    shade: Pattern | None = None
    dim: Callable[[Doubles, float], Doubles] | None = None
    echo: Callable[[Doubles], Doubles] | None = None
    brightens: bool = False
    shear: Callable[[Anomaly, float, float], tuple[float, float]] | None = None
    varies: bool = False
    single: bool = False
    reaches: Callable[[Anomaly, CcdPlace], bool] | None = None
    usual: Callable[[CcdPlace], float] | None = None


def _trails(light: Doubles, share: float) -> Doubles:
    """Read out with an open shutter: a share of the light of each column is spread evenly over the column."""
    return np.asarray((1 - share) * light + share * light.mean(axis=0))


def _clouds(light: Doubles, share: float) -> Doubles:
    return (1 - share) * light


def _everywhere(spread: Callable[[Anomaly], Doubles]) -> Spread:
    """A spread function that is the same on all CCDs and for all stars."""
    return lambda anomaly, _place, _fwhm: spread(anomaly)


INJECTORS: dict[str, Injector] = {
    "elongation": Injector(
        "source", "shear added to the PSF", 0.25, 0.8, "every source elongated along one axis",
        directed=True, spread=optics.elongation, shear=optics.elongation_shear,
    ),
    "guiding": Injector(
        "source", "pixels of drift", 4.0, 60, "guiding lost: every source drawn out to a line",
        directed=True, spread=_everywhere(optics.guiding),
    ),
    "focus": Injector(
        "source", "pixels of length", 8.0, 60, "astigmatic defocus: every source an ellipse, half as wide",
        directed=True, spread=_everywhere(optics.focus),
    ),
    "astigmatism": Injector(
        "source", "shear at the field's edge", 0.3, 0.8, "sources elongated radially, more so away from the centre",
        spread=optics.astigmatism, shear=optics.astigmatism_shear, varies=True,
    ),
    "tilt": Injector(
        "source", "shear at the field's edge", 0.3, 0.8,
        "a tilted focal plane: elongated along the direction on one side of the field, across it on the other",
        directed=True, spread=optics.tilt, varies=True,
    ),
    "coma": Injector(
        "source", "pixels of length", 8.0, 60, "every source a comet",
        directed=True, spread=_everywhere(optics.coma),
    ),
    "double": Injector(
        "source", "pixels apart", 8.0, 60, "two images of every source",
        directed=True, spread=_everywhere(optics.double),
    ),
    "multiple": Injector(
        "source", "pixels between images", 6.0, 30, "four images of every source, on a zigzag",
        directed=True, spread=_everywhere(optics.multiple),
    ),
    "repeats": Injector(
        "source", "share of the light in the second image", 0.3, 0.5,
        "the telescope moved far: every source twice, its images well apart",
        directed=True, size=40.0, sized="separation", spread=_everywhere(optics.repeats),
    ),
    "donuts": Injector(
        "source", "pixels across", 16.0, 60, "out of focus: every source a ring", spread=_everywhere(optics.donut),
    ),
    "trails": Injector(
        "source", "share of the light", 0.1, 1, "read out with an open shutter: vertical trails", dim=_trails,
    ),
    "clouds": Injector(
        "source", "share of the light lost", 0.8, 1, "clouds: few sources", dim=_clouds,
    ),
    "moonlight": Injector(
        "background", "light added to the sky, relative to the sky", 1.0, 30, "moonlight or twilight: a bright sky",
        brightens=True,
    ),
    "crosstalk": Injector(
        "background", "share of the light", 0.003, 1,
        "crosstalk: a faint mirror image of every source on the CCD's other half", echo=electronics.crosstalk,
    ),
    "stripes": Injector(
        "background", "sky noise, half of peak to peak", 0.3, 1000, "stripes: interference, banding",
        directed=True, size=32.0, sized="period", pattern=patterns.stripes,
    ),
    "pickup": Injector(
        "background", "sky noise, half of peak to peak", 0.3, 1000, "interference in one CCD: stripes on one CCD",
        directed=True, size=12.0, sized="period", pattern=patterns.stripes, single=True,
    ),
    "herringbone": Injector(
        "background", "sky noise, half of peak to peak", 0.3, 1000,
        "interference while a CCD is read out: fine stripes that bend back and forth", size=8.0, sized="period",
        pattern=electronics.herringbone,
    ),
    "jitter": Injector(
        "background", "sky noise, standard deviation", 0.3, 1000, "row jitter: a level of each row's own",
        pattern=electronics.row_jitter,
    ),
    "amplifier": Injector(
        "background", "sky noise", 1.0, 1000, "an amplifier step: half of one CCD brighter than the other half",
        pattern=electronics.one_half, single=True,
    ),
    "dead": Injector(
        "background", "share of the light lost", 1.0, 1, "a dead or weak amplifier: half of one CCD without its light",
        shade=electronics.one_half, single=True,
    ),
    "ring": Injector(
        "background", "sky noise, at the crest", 1.0, 1000, "a reflection: a ring on one CCD",
        size=patterns.RING_RADIUS, sized="radius", pattern=patterns.ring, single=True, reaches=patterns.ring_reaches,
        usual=patterns.ring_radius,
    ),
    "ghost": Injector(
        "background", "sky noise", 1.0, 1000,
        "the ghost of a bright star: a disc of light with a sharp edge and a hole, on one CCD",
        size=patterns.RING_RADIUS, sized="radius", pattern=patterns.ghost, single=True, reaches=patterns.ring_reaches,
        usual=patterns.ring_radius,
    ),
    "arc": Injector(
        "background", "sky noise, at the crest", 1.0, 1000, "a reflection: arcs across the focal plane",
        sized="radius", pattern=patterns.arc, reaches=patterns.arc_reaches, usual=patterns.arc_radius,
    ),
    "streak": Injector(
        "background", "sky noise, at the crest", 3.0, 10_000, "a satellite's track across the focal plane",
        directed=True, pattern=patterns.streak, reaches=patterns.streak_reaches,
    ),
    "glow": Injector(
        "background", "sky noise, at the brightest", 3.0, 1000, "scattered light of a star outside the field",
        sized="scale", pattern=patterns.glow, reaches=patterns.glow_reaches, usual=patterns.glow_scale,
    ),
    "fringing": Injector(
        "background", "sky noise, half of peak to peak", 0.3, 1000, "fringes, bent, of each CCD's own",
        size=48.0, sized="period", pattern=patterns.fringing,
    ),
    "treerings": Injector(
        "background", "sky noise, half of peak to peak", 0.3, 1000,
        "tree rings that the flat field left: arcs about a point beside each CCD, finer further out",
        size=24.0, sized="period", pattern=patterns.tree_rings,
    ),
    "shadow": Injector(
        "background", "share of the light lost", 0.03, 1, "the shadow of dome or tree, with an edge",
        directed=True, shade=patterns.shadow, reaches=patterns.shadow_reaches,
    ),
}  # fmt: skip
"""Every class of anomalies by name."""


def shows(anomaly: Anomaly, place: CcdPlace) -> bool:
    """Whether a CCD is among those that show the anomaly.

    Parameters
    ----------
    anomaly : Anomaly
    place : CcdPlace
        Where the CCD lies.
    """
    if anomaly.shown is not None:
        return place.number in anomaly.shown
    return place.number in in_order(anomaly, place.of)[: asked_for(anomaly, place.of)]


def asked_for(anomaly: Anomaly, of: int) -> int:
    """How many CCDs should show the anomaly: its share of all CCDs, rounded, at least one.

    Parameters
    ----------
    anomaly : Anomaly
    of : int
        Number of CCDs.
    """
    if math.isnan(anomaly.ccds):
        return 1 if INJECTORS[anomaly.name].single else of
    return max(1, round(anomaly.ccds * of))


def in_order(anomaly: Anomaly, of: int) -> list[int]:
    """The numbers of all CCDs, in the random order in which CCDs are chosen to show the anomaly.

    Parameters
    ----------
    anomaly : Anomaly
    of : int
        Number of CCDs.
    """
    order: list[int] = np.random.default_rng([anomaly.seed, 1]).permutation(of).tolist()
    if INJECTORS[anomaly.name].single:
        first = patterns.first_ccd(anomaly, of)
        order.remove(first)
        order.insert(0, first)
    return order


def complete(anomaly: Anomaly) -> Anomaly:
    """The anomaly with its class's usual size where it has none."""
    return replace(anomaly, size=INJECTORS[anomaly.name].size) if math.isnan(anomaly.size) else anomaly
