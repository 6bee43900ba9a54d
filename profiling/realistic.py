"""Exposures of a simulated camera whose conditions vary as they do on a real sky: what the validation measures.

The exposures of `gpuanom simulate` differ little from each other. Here the seeing varies, the sky and the density of
sources vary threefold, cirrus takes light from some exposures, one in 25 has a trail, and each CCD has a step
between its amplifiers and a pattern of its own, the same in all exposures. Everything follows from the seed, the number
of the exposure and that of the CCD.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

import gpuanom
from gpuanom.simulate import INJECTORS, Anomaly, CcdPlace, choose_ccds
from gpuanom.simulate.conditions import Conditions
from gpuanom.simulate.detector import SATURATION
from gpuanom.simulate.injection import act_on_scene
from gpuanom.simulate.plan import draw_conditions
from gpuanom.simulate.sky import drawn_with, expose, scene, sky_noise
from gpuanom.simulate.stamps import Library, draw_library

GAP = 40
SKY = (700.0, 2100.0)  # electrons a pixel
DENSITY = (0.58, 1.74)  # relative to the simulator's usual one
SEEING = (3.8, 0.15)  # pixels; scatter of its logarithm
CIRRUS = 0.25  # share of the exposures
CIRRUS_LOSS = (0.05, 0.4)  # of the light
TRAILS = 1 / 25  # share of the exposures
TRAIL = (1.0, 30.0)  # sky noise, at the crest
STEP = 3e-3  # scatter of the step between two amplifiers, relative to the sky
FLAT = 2e-3  # what a flat field leaves on the scale of the CCD, relative to the sky
RINGS = 5e-4  # tree rings that it leaves
DUST = (3, 5e-3)  # specks of dust on a CCD, and the share of the light that each takes
UNFIT = np.zeros(256, dtype=np.uint8)  # as the default settings take a DECam mask
UNFIT[[1, 3, 4, 5]] = (7, 1, 1, 3)


@dataclass(frozen=True)
class Camera:
    """A focal plane of equal CCDs on a square grid, and the seed of all its exposures.

    Attributes
    ----------
    ccds : int
    shape : tuple of 2 ints
        Rows and columns of a CCD.
    seed : int
    four_together : bool
        Whether each square of 2 x 2 CCDs shares a library of drawn stamps: stars have the PSF at the middle of a
        quarter of the square, which is a CCD, and galaxies that at the middle of the square. Drawing libraries takes
        two thirds of the time of an exposure of small CCDs otherwise.
    """

    ccds: int
    shape: tuple[int, int]
    seed: int
    four_together: bool = False

    @functools.cached_property
    def places(self):
        """Where the CCDs lie."""
        ny, nx = self.shape
        columns = math.ceil(math.sqrt(self.ccds))
        rows = math.ceil(self.ccds / columns)
        width, height = columns * (nx + GAP) - GAP, rows * (ny + GAP) - GAP
        return [
            CcdPlace(
                (ny, nx),
                ((c % columns) * (nx + GAP) - width / 2, (c // columns) * (ny + GAP) - height / 2),
                max(width, height) / 2,
                c,
                self.ccds,
            )
            for c in range(self.ccds)
        ]


@dataclass(frozen=True)
class Weather:
    """How an exposure was taken, and what of it `Conditions` does not hold.

    Attributes
    ----------
    conditions : Conditions
    transparency : float
        Share of the sources' light that cirrus lets through.
    trail : Anomaly or None
        A satellite's trail, which is no anomaly.
    direction : float
        A direction for an anomaly in this exposure, degrees.
    seed : int
        A seed for an anomaly in this exposure.
    """

    conditions: Conditions
    transparency: float
    trail: Anomaly | None
    direction: float
    seed: int


def weather(camera, number):
    """The conditions of a normal exposure."""
    rng = np.random.default_rng([camera.seed, number])
    plain = draw_conditions(number, "r", Anomaly(), rng)
    direction, seed = float(rng.uniform(-90, 90)), int(rng.integers(2**31))
    fwhm = SEEING[0] * math.exp(SEEING[1] * np.clip(rng.standard_normal(), -2.5, 2.5))
    loss = rng.uniform(*CIRRUS_LOSS) if rng.random() < CIRRUS else 0.0
    # Cirrus scatters light of the sky, too: a thick one brightens the sky by some per cent.
    sky = _log_uniform(rng, SKY) * (1 + 0.2 * loss)
    conditions = replace(plain, fwhm=fwhm, sky=sky, density=_log_uniform(rng, DENSITY), step=STEP)
    trail = None
    if rng.random() < TRAILS:
        along = float(rng.uniform(-90, 90))
        trail = Anomaly("background", "streak", _log_uniform(rng, TRAIL), along, seed=int(rng.integers(2**31)))
    return Weather(conditions, 1 - loss, trail, direction, seed)


def scenes(camera, about, anomaly=Anomaly()):  # noqa: B008
    """The scenes of all CCDs, without the anomaly unless its class shears the PSF."""
    conditions = replace(about.conditions, anomaly=anomaly)
    result, libraries = [], _libraries(camera, conditions) if camera.four_together else {}
    for place in camera.places:
        rng = np.random.default_rng([camera.seed, conditions.number, place.number, 0])
        drawn = scene(conditions, place, rng, libraries.get(place.number))
        flat = 1 + static_pattern(camera, place.number)
        sky, light = drawn.sky * flat, drawn.light * flat * about.transparency
        if about.trail is not None:
            noise = sky_noise(conditions)
            sky, light = act_on_scene(sky, light, about.trail, place, noise=noise, fwhm=conditions.fwhm)
        result.append(drawn._replace(sky=sky, light=light))
    return result


def _libraries(camera, conditions):
    """The library of stamps of each CCD by its number, drawn once for each square of 2 x 2 CCDs."""
    ny, nx = camera.shape
    columns = math.ceil(math.sqrt(camera.ccds))
    squares = {}
    for place in camera.places:
        row, column = divmod(place.number, columns)
        squares.setdefault((row // 2, column // 2), []).append((row % 2, column % 2, place))
    result = {}
    for (row, column), members in squares.items():
        i, j, one = members[0]
        corner = (one.corner[0] - j * (nx + GAP), one.corner[1] - i * (ny + GAP))
        square = replace(one, shape=(2 * ny + GAP, 2 * nx + GAP), corner=corner)
        rng = np.random.default_rng([camera.seed, conditions.number, row, column, 3])
        drawn = {}
        for i, j, place in members:
            # A CCD that does not show an anomaly of the PSF has sources without that anomaly.
            how = drawn_with(conditions, place)
            if how.anomaly.name not in drawn:
                drawn[how.anomaly.name] = draw_library(how, square, rng)
            library = drawn[how.anomaly.name]
            result[place.number] = Library(library.stars[i : i + 1, j : j + 1], library.galaxies)
    return result


def ccds(camera, about, drawn, anomaly=Anomaly()):  # noqa: B008
    """The CCDs as they are read out, with the anomaly."""
    conditions = replace(about.conditions, anomaly=anomaly)
    result = []
    for place, one in zip(camera.places, drawn, strict=True):
        rng = np.random.default_rng([camera.seed, conditions.number, place.number, 1])
        own = np.random.default_rng([camera.seed, 0, place.number])
        image, codes = expose(conditions, place, one, rng, own)
        result.append(gpuanom.Ccd(str(place.number + 1), image.astype(np.float32), UNFIT[codes], SATURATION))
    return result


def anomaly_of(camera, key, strength, about):
    """The anomaly ``class`` or ``class/size`` of a strength in an exposure, on the CCDs that its pattern reaches."""
    name, _, size = key.partition("/")
    injector = INJECTORS[name]
    along = about.direction if injector.directed else math.nan
    anomaly = Anomaly(injector.kind, name, strength, along, float(size or "nan"), seed=about.seed)
    return choose_ccds(anomaly, camera.places)


@functools.cache
def static_pattern(camera, number):
    """What the flat field left on a CCD, relative to the light: waves as long as the CCD, tree rings, dust."""
    rng = np.random.default_rng([camera.seed, 0, number, 2])
    ny, nx = camera.shape
    y, x = np.mgrid[:ny, :nx].astype(np.float64)
    pattern = np.zeros((ny, nx))
    for _ in range(4):
        ky, kx = rng.uniform(-1.5, 1.5, 2) * 2 * np.pi
        pattern += rng.normal(0, FLAT / math.sqrt(2)) * np.cos(ky * y / ny + kx * x / nx + rng.uniform(0, 2 * np.pi))
    rings = INJECTORS["treerings"].pattern
    pattern += RINGS * rings(Anomaly(size=20.0, seed=int(rng.integers(2**31))), camera.places[number])
    for _ in range(DUST[0]):
        cy, cx, radius = rng.uniform(0, ny), rng.uniform(0, nx), rng.uniform(8, 20)
        pattern -= DUST[1] * (np.hypot(y - cy, x - cx) < radius)
    pattern.setflags(write=False)
    return pattern


def _log_uniform(rng, limits):
    return float(math.exp(rng.uniform(*np.log(limits))))
