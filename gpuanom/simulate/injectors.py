"""The anomalies that can be put into exposures: names, strengths, and how each changes an image.

The same injectors act on a simulated scene that has no noise yet (`act_on_scene`) and on a real image (`inject`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gpuanom.errors import SettingsError
from gpuanom.records import Doubles
from gpuanom.simulate import optics, patterns
from gpuanom.simulate.conditions import Anomaly, CcdPlace
from gpuanom.simulate.real_sky import sky_of

Spread = Callable[[Anomaly, CcdPlace, float], Doubles]
Pattern = Callable[[Anomaly, CcdPlace], Doubles]


@dataclass(frozen=True)
class Injector:
    """A class of anomalies; each has one of `spread`, `pattern`, `shade` and `dim`.

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
    directed: bool = False
    size: float = math.nan
    sized: str = ""
    spread: Spread | None = None
    pattern: Pattern | None = None
    shade: Pattern | None = None
    dim: Callable[[Doubles, float], Doubles] | None = None
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


INJECTORS: dict[str, Injector] = {
    "elongation": Injector(
        "source", "shear added to the PSF", 0.25, 0.8, "every source elongated along one axis", True,
        spread=optics.elongation, shear=optics.elongation_shear,
    ),
    "guiding": Injector(
        "source", "pixels of drift", 4.0, 60, "guiding lost: every source drawn out to a line", True,
        spread=optics.guiding,
    ),
    "focus": Injector(
        "source", "pixels of length", 8.0, 60, "astigmatic defocus: every source an ellipse, half as wide", True,
        spread=optics.focus,
    ),
    "astigmatism": Injector(
        "source", "shear at the field's edge", 0.3, 0.8, "sources elongated radially, more so away from the centre",
        spread=optics.astigmatism, shear=optics.astigmatism_shear, varies=True,
    ),
    "coma": Injector(
        "source", "pixels of length", 8.0, 60, "every source a comet", True, spread=optics.coma,
    ),
    "double": Injector(
        "source", "pixels apart", 8.0, 60, "two images of every source", True, spread=optics.double,
    ),
    "multiple": Injector(
        "source", "pixels between images", 6.0, 30, "four images of every source, on a zigzag", True,
        spread=optics.multiple,
    ),
    "donuts": Injector(
        "source", "pixels across", 16.0, 60, "out of focus: every source a ring", spread=optics.donut,
    ),
    "trails": Injector(
        "source", "share of the light", 0.1, 1, "read out with an open shutter: vertical trails", dim=_trails,
    ),
    "clouds": Injector(
        "source", "share of the light lost", 0.8, 1, "clouds: few sources", dim=_clouds,
    ),
    "stripes": Injector(
        "background", "sky noise, half of peak to peak", 0.3, 1000, "stripes: interference, banding", True,
        size=32.0, sized="period", pattern=patterns.stripes,
    ),
    "ring": Injector(
        "background", "sky noise, at the crest", 1.0, 1000, "a reflection: a ring on one CCD",
        size=patterns.RING_RADIUS, sized="radius", pattern=patterns.ring, single=True, reaches=patterns.ring_reaches,
        usual=patterns.ring_radius,
    ),
    "arc": Injector(
        "background", "sky noise, at the crest", 1.0, 1000, "a reflection: arcs across the focal plane",
        sized="radius", pattern=patterns.arc, reaches=patterns.arc_reaches, usual=patterns.arc_radius,
    ),
    "streak": Injector(
        "background", "sky noise, at the crest", 3.0, 10_000, "a satellite's track across the focal plane", True,
        pattern=patterns.streak, reaches=patterns.streak_reaches,
    ),
    "glow": Injector(
        "background", "sky noise, at the brightest", 3.0, 1000, "scattered light of a star outside the field",
        sized="scale", pattern=patterns.glow, reaches=patterns.glow_reaches, usual=patterns.glow_scale,
    ),
    "fringing": Injector(
        "background", "sky noise, half of peak to peak", 0.3, 1000, "fringes, bent, of each CCD's own",
        size=48.0, sized="period", pattern=patterns.fringing,
    ),
    "shadow": Injector(
        "background", "share of the light lost", 0.03, 1, "the shadow of dome or tree, with an edge", True,
        shade=patterns.shadow, reaches=patterns.shadow_reaches,
    ),
}  # fmt: skip
"""Every class of anomalies by name."""

SYNTAX = "NAME[:STRENGTH][@DIRECTION][/SIZE][%CCDS][xCOUNT]"
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_FORM = re.compile(
    rf"(?P<name>[a-z]+)(?::(?P<amplitude>{_NUMBER}))?(?:@(?P<direction>{_NUMBER}))?(?:/(?P<size>{_NUMBER}))?"
    rf"(?:%(?P<ccds>{_NUMBER}))?(?:x(?P<count>\d+))?"
)


def parse(text: str) -> list[Anomaly]:
    """Anomalies from words such as ``stripes:0.1@30/16%25x2``: see `SYNTAX`.

    Parameters
    ----------
    text : str
        Strength in the class's unit, direction in degrees, size in pixels, percent of the CCDs, how many exposures.

    Returns
    -------
    list of Anomaly
        As many equal ones as the count says; a direction that was not given is NaN.

    Raises
    ------
    SettingsError
        When the class is unknown, or a number is impossible for it; the message names it.
    """
    found = _FORM.fullmatch(text.strip())
    if not found:
        raise SettingsError(f"anomaly '{text}' is not of the form {SYNTAX}, such as stripes:0.3@30")
    name = found["name"]
    if name not in INJECTORS:
        raise SettingsError(f"unknown anomaly '{name}' (one of {', '.join(INJECTORS)})")
    injector = INJECTORS[name]
    given = {key: float(found[key]) for key in ("amplitude", "direction", "size", "ccds") if found[key]}
    amplitude = given.get("amplitude", injector.default)
    if not 0 < amplitude <= injector.highest:
        raise SettingsError(f"anomaly '{text}': a strength [{injector.unit}] is above 0, up to {injector.highest:g}")
    if "direction" in given and not injector.directed:
        raise SettingsError(f"anomaly '{text}': {name} has no direction")
    if "size" in given and not (injector.sized and 1 <= given["size"] <= 1e5):
        has = f"a {injector.sized} is from 1 to 100000 pixels" if injector.sized else f"{name} has no size"
        raise SettingsError(f"anomaly '{text}': {has}")
    percent = given.get("ccds", math.nan)
    if "ccds" in given and not 0 < percent <= 100:
        raise SettingsError(f"anomaly '{text}': a share of the CCDs is above 0%, up to 100%")
    count = int(found["count"] or 1)
    if not 1 <= count <= 100_000:
        raise SettingsError(f"anomaly '{text}': a count is from 1 to 100000")
    direction = given.get("direction", math.nan)
    if not math.isnan(direction):
        direction = 90 - (90 - direction) % 180
    size = given.get("size", math.nan)
    return [Anomaly(injector.kind, name, amplitude, direction, size, percent / 100)] * count


def shows(anomaly: Anomaly, place: CcdPlace) -> bool:
    """Whether a CCD is among those that show the anomaly.

    Parameters
    ----------
    anomaly : Anomaly
    place : CcdPlace
        Where the CCD lies.

    Returns
    -------
    bool
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

    Returns
    -------
    int
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

    Returns
    -------
    list of int
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


def act_on_scene(
    sky: Doubles, light: Doubles, anomaly: Anomaly, place: CcdPlace, *, noise: float, fwhm: float, drawn: bool = False
) -> tuple[Doubles, Doubles]:
    """Put an anomaly into a scene that has no noise yet.

    Parameters
    ----------
    sky, light : ndarray, (ny, nx) float64
        Expected electrons of the sky, and of the sources.
    anomaly : Anomaly
    place : CcdPlace
    noise : float
        Noise of a pixel of the sky, in electrons: the unit of patterns.
    fwhm : float
        FWHM of the PSF, in pixels.
    drawn : bool, optional
        Whether the sources were drawn with the anomaly's shear already; no matter for classes without a `shear`.

    Returns
    -------
    sky, light : ndarray, (ny, nx) float64
        Expected electrons with the anomaly.
    """
    if anomaly.name == "none" or not shows(anomaly, place):
        return sky, light
    anomaly, injector = complete(anomaly), INJECTORS[anomaly.name]
    if injector.spread:
        if not (injector.shear and drawn):
            light = _in_parts(injector, anomaly, place, fwhm, lambda spread: optics.convolved(light, spread))
    elif injector.pattern:
        sky = sky + anomaly.amplitude * noise * injector.pattern(anomaly, place)
    elif injector.shade:
        left = 1 - anomaly.amplitude * injector.shade(anomaly, place)
        sky, light = sky * left, light * left
    elif injector.dim:
        light = injector.dim(light, anomaly.amplitude)
    return sky, light


def inject(image: Doubles, anomaly: Anomaly, place: CcdPlace, *, fwhm: float, rng: np.random.Generator) -> Doubles:
    """Put an anomaly into an image that has noise; the noise of its sky is kept.

    Convolutions and clouds reduce the noise, and white noise is added in its place (see `optics.convolved_image`). A
    shadow reduces the light and its shot noise, where all noise is taken to be shot noise of the sky. Patterns add no
    noise, which is right while they are faint compared with the sky.

    Parameters
    ----------
    image : ndarray, (ny, nx) floating
        In any linear unit; pixels that are not finite stay as they are.
    anomaly : Anomaly
    place : CcdPlace
        Where the CCD lies.
    fwhm : float
        FWHM of the image's stars, in pixels; a shear depends on it.
    rng : Generator
        Random numbers for the noise.

    Returns
    -------
    ndarray, (ny, nx) float64
    """
    if anomaly.name == "none" or not shows(anomaly, place):
        return np.array(image, dtype=np.float64)
    anomaly, injector = complete(anomaly), INJECTORS[anomaly.name]
    good = np.isfinite(image)
    sky, sigma = sky_of(image)
    filled = np.where(good, image, sky)
    if injector.spread:
        result = _in_parts(
            injector, anomaly, place, fwhm, lambda spread: optics.convolved_image(filled, spread, sigma, rng)
        )
    elif injector.pattern:
        result = filled + anomaly.amplitude * sigma * injector.pattern(anomaly, place)
    elif injector.shade:
        left = 1 - anomaly.amplitude * injector.shade(anomaly, place)
        # Shot noise of the light that is left has the variance `left`; the image's own, dimmed, has left^2.
        result = filled * left + sigma * np.sqrt(left - left**2) * rng.standard_normal(filled.shape)
    else:
        assert injector.dim is not None
        # What is dimmed loses noise with its light.
        lost = sigma * math.sqrt(1 - (1 - anomaly.amplitude) ** 2)
        result = sky + injector.dim(filled - sky, anomaly.amplitude) + lost * rng.standard_normal(filled.shape)
    return np.where(good, result, image)


def _in_parts(
    injector: Injector, anomaly: Anomaly, place: CcdPlace, fwhm: float, convolved: Callable[[Doubles], Doubles]
) -> Doubles:
    """A whole CCD convolved: with one kernel, or quarter by quarter where the kernel changes over the CCD.

    One kernel of the CCD's middle would leave a CCD in the middle of the field without any astigmatism.
    """
    assert injector.spread is not None
    if not injector.varies:
        return convolved(optics.kernel(injector.spread(anomaly, place, fwhm)))
    result = np.empty(place.shape)
    for rows in _halves(place.shape[0]):
        for columns in _halves(place.shape[1]):
            corner = place.corner[0] + columns.start, place.corner[1] + rows.start
            part = replace(place, shape=(rows.stop - rows.start, columns.stop - columns.start), corner=corner)
            result[rows, columns] = convolved(optics.kernel(injector.spread(anomaly, part, fwhm)))[rows, columns]
    return result


def _halves(n: int) -> tuple[slice, slice]:
    return slice(0, n // 2), slice(n // 2, n)
