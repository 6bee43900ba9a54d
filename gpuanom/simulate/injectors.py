"""The anomalies that can be put into exposures: names, strengths, and how each changes an image.

The same injectors act on a scene before its noise is drawn (`act_on_scene`) and on a real image (`inject`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from gpuanom.errors import SettingsError
from gpuanom.records import Doubles
from gpuanom.simulate import optics, patterns
from gpuanom.simulate.conditions import Anomaly, CcdPlace

BOX = 64
"""Side of the boxes whose medians are a real image's sky, in pixels."""

Spread = Callable[[Anomaly, CcdPlace, float], Doubles]
Pattern = Callable[[Anomaly, CcdPlace], Doubles]


@dataclass(frozen=True)
class Injector:
    """One class of anomalies; of `spread`, `pattern`, `shade` and `dim` it has one.

    Attributes
    ----------
    kind : str
        Which score should see it, ``source`` or ``background``.
    unit : str
        Of its strength.
    default, highest : float
        Usual and highest strength; all are above 0.
    help : str
        What it is, in one line.
    directed : bool
        Whether it has a direction.
    size : float
        Period or radius in pixels where it has one; NaN: a share of the focal plane's.
    usual : callable
        The usual period or radius on a focal plane, where `size` alone does not say it.
    sized : str
        What the size is, empty where there is none.
    spread : callable
        Points that a point of light becomes (`optics`), from anomaly, place and FWHM.
    pattern : callable
        Added to the sky, in units of its noise.
    shade : callable
        Share of all light that a strength of 1 takes away.
    dim : callable
        Light of the sources after it, from their light (sky subtracted) and the strength.
    shear : callable
        With `spread`: shear and direction in radians of the PSF at a field position. Simulated sources are drawn with
        it (`sky.scene`); real images are convolved with `spread` instead.
    varies : bool
        Whether `spread` changes over a CCD.
    single : bool
        Whether one CCD shows it, unless a share of the CCDs is asked for.
    reaches : callable
        Whether a CCD gets a part of the pattern that is worth the name; without it every CCD does.
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
    """Read out with an open shutter: a share of each column's light is spread evenly along it."""
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
    """Whether a CCD is among those that show the anomaly."""
    if anomaly.shown is not None:
        return place.number in anomaly.shown
    return place.number in in_order(anomaly, place.of)[: asked_for(anomaly, place.of)]


def asked_for(anomaly: Anomaly, of: int) -> int:
    """How many of so many CCDs should show the anomaly: its share of them, rounded, at least one."""
    if math.isnan(anomaly.ccds):
        return 1 if INJECTORS[anomaly.name].single else of
    return max(1, round(anomaly.ccds * of))


def in_order(anomaly: Anomaly, of: int) -> list[int]:
    """The numbers of so many CCDs, in the order in which the anomaly takes them."""
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
        Of the PSF, in pixels.
    drawn : bool, optional
        Whether the sources were drawn with the anomaly's shear already; nothing to classes without a `shear`.

    Returns
    -------
    sky, light : ndarray, (ny, nx) float64
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

    Convolutions and clouds take noise away; what is missing is added as white noise (see `optics.convolved_image`). A
    shadow takes light and its shot noise: the sky is taken as all of the noise. Patterns bring no noise of their own,
    which is right while they are faint beside the sky.

    Parameters
    ----------
    image : ndarray, (ny, nx) floating
        In any linear unit; pixels that are not finite stay as they are.
    anomaly : Anomaly
    place : CcdPlace
    fwhm : float
        Of the image's stars, in pixels: what a shear acts on.
    rng : Generator

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


def sky_of(image: Doubles) -> tuple[Doubles, float]:
    """The sky of a real image, from medians of boxes, and the noise about it.

    Returns
    -------
    sky : ndarray, (ny, nx) float64
    sigma : float
        1.4826 times the median of absolute differences.
    """
    ny, nx = image.shape
    rows, columns = max(1, ny // BOX), max(1, nx // BOX)
    finite = np.where(np.isfinite(image), image, np.nan)
    if not np.isfinite(finite).any():
        return np.zeros((ny, nx)), 0.0
    whole = float(np.nanmedian(finite))
    medians = np.empty((rows, columns))
    for i, band in enumerate(np.array_split(finite, rows)):
        for j, box in enumerate(np.array_split(band, columns, axis=1)):
            known = box[np.isfinite(box)]
            medians[i, j] = np.median(known) if known.size else whole
    y, x = np.meshgrid(
        (np.arange(ny) + 0.5) * rows / ny - 0.5, (np.arange(nx) + 0.5) * columns / nx - 0.5, indexing="ij"
    )
    sky = ndimage.map_coordinates(medians, (y, x), order=1, mode="nearest")
    return sky, 1.4826 * float(np.nanmedian(np.abs(finite - sky)))
