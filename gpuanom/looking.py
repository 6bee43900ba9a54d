"""The CCDs of one exposure looked at again, one at a time: smoothed quick looks, sources, stamps.

What the store keeps are counts; whoever wants to see pixels goes back to the files through here. Sources are found
with the same random points as when the exposure was scored, so they are the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gpuanom import sampling
from gpuanom.backend import Backend
from gpuanom.errors import InputError
from gpuanom.fits import open_ccds
from gpuanom.measure import isophote_moments
from gpuanom.records import Array, Ccd, CcdFailure, CcdStack, Doubles, Exposure, FloatImage, Integers, Sources, Turn
from gpuanom.settings import Settings

BINNING = 16
"""Side of the cells of a quick look, pixels."""


@dataclass(frozen=True, eq=False)
class SeenSources:
    """The sources of one CCD in (y, x) order, and stamps of the brightest.

    Attributes
    ----------
    y, x : ndarray, (n,) int64
        Central pixels, 0-based, in the CCD's own axes.
    snr : ndarray, (n,) float64
        Central value above the background, over the CCD's noise.
    source_angle, isophote_angle : ndarray, (n,) float64
        Degrees in the CCD's own axes, in (-90, 90]; NaN where there is none.
    ellipticity : ndarray, (n,) float64
        Of the isophotal moments, 0 (round) to 1; NaN where there is none.
    stamps : ndarray, (m, size, size) float32
        Over their central values, in focal-plane axes.
    stamp_snr : ndarray, (m,) float64
    """

    y: Integers
    x: Integers
    snr: Doubles
    source_angle: Doubles
    isophote_angle: Doubles
    ellipticity: Doubles
    stamps: FloatImage
    stamp_snr: Doubles


@dataclass(frozen=True, eq=False)
class Look:
    """What is to be seen of one CCD.

    Attributes
    ----------
    name : str
    ccd : Ccd
        What it says of itself, without pixels.
    image : ndarray, (rows, columns) float32, or None
        Smoothed by the method's mean filter and binned, in focal-plane axes; NaN where there is nothing.
    sources : SeenSources or None
    """

    name: str
    ccd: Ccd
    image: FloatImage | None
    sources: SeenSources | None


def look(
    exposure: Exposure,
    settings: Settings,
    backend: Backend,
    *,
    image: bool = True,
    sources: bool = True,
    stamps: int = 0,
) -> Iterator[Look | CcdFailure]:
    """Look at the CCDs of an exposure, one at a time in the order of its files.

    Parameters
    ----------
    exposure : Exposure
    settings : Settings
        Those that it was measured with.
    backend : Backend
    image, sources : bool, optional
        What is wanted.
    stamps : int, optional
        How many of each CCD's brightest unsaturated sources to cut out.

    Yields
    ------
    Look or CcdFailure
        Nothing is raised for what a file holds, or when it is gone.
    """
    names = set()
    try:
        for item in open_ccds(exposure, settings):
            ccd = item if isinstance(item, CcdFailure) else item.load()
            names.add(ccd.name)
            if isinstance(ccd, CcdFailure):
                yield ccd
            elif min(ccd.image.shape) < max(settings.stamp_size, settings.patch_size):
                yield CcdFailure(ccd.name, "too_small", f"CCD {ccd.name}: too small to look at")
            else:
                yield _look(exposure.exposure, ccd, settings, backend, image, sources, stamps)
            del item, ccd
    except (InputError, OSError) as error:
        yield CcdFailure("", "unreadable", str(error))


def _look(
    exposure: str, ccd: Ccd, settings: Settings, backend: Backend, image: bool, sources: bool, stamps: int
) -> Look:
    with np.errstate(invalid="ignore", over="ignore"), backend.working():
        stack = backend.prepare([ccd], 1)
        smoothed = backend.to_host(backend.smooth(stack, settings, binning=BINNING))[0] if image else None
        seen = _sources(exposure, ccd, stack, settings, backend, stamps) if sources else None
    about = replace(ccd, image=np.empty((0, 0), dtype=np.float32), bad=None)
    return Look(ccd.name, about, None if smoothed is None else turned_image(smoothed, ccd.turn), seen)


def _sources(
    exposure: str, ccd: Ccd, stack: CcdStack, settings: Settings, backend: Backend, n_stamps: int
) -> SeenSources:
    _, ny, nx = stack.shape
    wanted: tuple[tuple[sampling.Purpose, int], ...] = (
        ("background", settings.background_points),
        ("sigma", settings.sigma_points),
    )
    fit, sigma = (
        sampling.points(settings.seed, exposure, ccd.name, purpose, n * settings.draws, ny, nx)[None]
        for purpose, n in wanted
    )
    background = backend.background(stack, fit, sigma, settings)
    found = backend.sources(stack, background, settings)
    moments = isophote_moments(found, settings)
    angles = backend.orientation(found.moments), backend.orientation(moments)
    host: Any = backend.to_host(
        (found.y, found.x, found.value, moments, *angles, background.sigma, found.ccd, stack.images)
    )
    y, x, value, moments, source, isophote, noise, _, images = host
    # A saturated core tells nothing of a source's shape.
    bright = np.argsort(-np.where(images[0][y, x] >= ccd.saturation, -np.inf, value), kind="stable")
    bright = bright[np.isfinite(value[bright])][:n_stamps]
    with np.errstate(invalid="ignore", divide="ignore"):
        size = moments[:, 0] + moments[:, 1]
        ellipticity = np.hypot(moments[:, 0] - moments[:, 1], 2.0 * moments[:, 2]) / size
        snr = value / noise[0]
    return SeenSources(
        y=y,
        x=x,
        snr=snr,
        source_angle=np.degrees(source),
        isophote_angle=np.degrees(isophote),
        ellipticity=ellipticity,
        stamps=_stamps(stack, background, found, bright, ccd.turn, settings, backend),
        stamp_snr=snr[bright],
    )


def _stamps(
    stack: CcdStack,
    background: Any,
    found: Sources,
    chosen: Integers,
    turn: Turn,
    settings: Settings,
    backend: Backend,
) -> FloatImage:
    """The stamps of some sources, in focal-plane axes."""
    if not chosen.size:
        return np.zeros((0, settings.stamp_size, settings.stamp_size), dtype=np.float32)
    indices: Array = backend.to_device(chosen)
    names = ("ccd", "y", "x", "value", "n_above", "moments", "isophote_moments", "n_isophote")
    some = replace(found, **{name: getattr(found, name)[indices] for name in names})
    stamps = backend.to_host(backend.stamps(stack, background, some, settings))
    return np.stack([turned_image(stamp, turn) for stamp in stamps])


def turned_image(image: FloatImage, turn: Turn) -> FloatImage:
    """An image in CCD axes brought to focal-plane axes, as `Turn` turns orientations."""
    if turn & Turn.MIRRORED:
        image = image[::-1]
    if turn & Turn.QUARTER:
        image = image.T[:, ::-1]
    return image
