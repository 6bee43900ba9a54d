"""Quick looks at the CCDs of one exposure: smoothed images, sources and stamps.

The store keeps counts and no pixels, so the pixels are read again from the files here, one CCD at a time. Sources are
found with the same random points as when the exposure was scored, so they are the same sources.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.cameras.focalplane import places
from gpuanom.errors import InputError, printable
from gpuanom.fits import open_ccds
from gpuanom.fits.reader import Origin, open_by_file, origin_of
from gpuanom.measuring.isophotes import isophote_moments
from gpuanom.measuring.points import draw_points
from gpuanom.measuring.readahead import Readers
from gpuanom.records import (
    Array,
    Background,
    Ccd,
    CcdFailure,
    CcdOnDisk,
    CcdStack,
    Doubles,
    Exposure,
    FloatImage,
    Integers,
    Shapes,
    Sources,
    Turn,
)
from gpuanom.settings import Settings
from gpuanom.statistics import lines
from gpuanom.statistics import shapes as star_shapes
from gpuanom.statistics.shapes import Stars

BINNING = 16
"""Side of the cells of a quick look, pixels."""

SMALLEST_PICTURE = 360
"""A focal plane is binned less where its picture would be smaller than this, pixels."""


@dataclass(frozen=True, eq=False)
class SeenSources:
    """The sources of one CCD in order of y and x, and stamps of the brightest.

    Attributes
    ----------
    y, x : ndarray, (n,) int64
        Central pixels, 0-based, in the CCD's own axes.
    source_angle, isophote_angle : ndarray, (n,) float64
        Degrees in the CCD's own axes, in (-90, 90]; NaN where there is none.
    ellipticity : ndarray, (n,) float64
        Ellipticity of the isophotal moments, 0 (round) to 1; NaN where there is none.
    stamps : ndarray, (m, size, size) float32
        Stamps divided by their central values, in focal-plane axes.
    stamp_snr : ndarray, (m,) float64
        Central values of these sources above the background, divided by the CCD's noise.
    """

    y: Integers
    x: Integers
    source_angle: Doubles
    isophote_angle: Doubles
    ellipticity: Doubles
    stamps: FloatImage
    stamp_snr: Doubles


@dataclass(frozen=True, eq=False)
class Look:
    """A quick look at one CCD.

    Attributes
    ----------
    name : str
    shape : tuple of 2 ints
        (ny, nx) of the image without overscan.
    ccd : Ccd
        The CCD without its pixels.
    image : ndarray, (rows, columns) float32, or None
        The image, smoothed by the method's mean filter and binned, in focal-plane axes; NaN where no pixel is finite.
    sources : SeenSources
    stars : Stars or None
        The star-like sources, in focal-plane axes.
    file : Path or None
        The file of the CCD.
    origin : Origin or None
        Which HDU of the file it is, and which parts of the HDU's image are kept.
    trail : tuple of 2 floats, or None
        The straight line that stands out most: its angle in radians in the CCD's own axes, and its distance from the
        CCD's centre in pixels, positive along that angle + pi/2; None where none was asked for or found.
    """

    name: str
    shape: tuple[int, int]
    ccd: Ccd
    image: FloatImage | None
    sources: SeenSources
    stars: Stars | None = None
    file: Path | None = None
    origin: Origin | None = None
    trail: tuple[float, float] | None = None


def look(
    exposure: Exposure,
    settings: Settings,
    backend: Backend,
    *,
    binning: int = BINNING,
    stamps: int = 0,
    stars: bool = False,
    trails: Collection[str] = (),
    threads: int = 1,
) -> Iterator[Look | CcdFailure]:
    """Look at the CCDs of an exposure, in the order of its files; at most `threads` of them are in memory.

    Parameters
    ----------
    exposure : Exposure
    settings : Settings
        The settings that the exposure was measured with.
    backend : Backend
        The CPU's, if there are several threads.
    binning : int, optional
        Side of the cells of the quick look, pixels; 0 for no image.
    stamps : int, optional
        Number of each CCD's brightest unsaturated sources to cut out.
    stars : bool, optional
        Whether to measure the shapes of the stars.
    trails : collection of str, optional
        Names of CCDs on which to find the straight line that stands out most.
    threads : int, optional
        Number of CCDs that are read at a time.

    Yields
    ------
    Look or CcdFailure
        A failure where a CCD or a file cannot be read; nothing is raised for that.
    """

    def looked_at(place: tuple[Path, CcdOnDisk | CcdFailure]) -> Look | CcdFailure:
        file, item = place
        if isinstance(item, CcdFailure):
            return item
        ccd = item.load()
        if isinstance(ccd, CcdFailure):
            return ccd
        if min(ccd.image.shape) < max(settings.stamp_size, settings.patch_size):
            return CcdFailure(ccd.name, "too_small", f"CCD {ccd.name}: too small to look at")
        try:
            seen = _look(
                exposure.points_id, ccd, settings, backend, binning=binning, n_stamps=stamps, with_stars=stars,
                with_trail=ccd.name in trails,
            )  # fmt: skip
            return replace(seen, file=file, origin=origin_of(item, mask=False))
        except Exception as error:  # a CCD that cannot be shown must not cost the others
            cause = f"{type(error).__name__}: {printable(str(error))}"
            return CcdFailure(ccd.name, "failed", f"CCD {ccd.name}: cannot be shown, {cause}")

    try:
        with Readers(threads, ahead=threads) as readers:
            # The checksums were compared when the exposure was scored.
            yield from readers.ahead(looked_at, open_by_file(exposure, settings.replace(checksum=False)))
    except (InputError, OSError) as error:
        yield CcdFailure("", "unreadable", str(error))


def _look(
    exposure: str,
    ccd: Ccd,
    settings: Settings,
    backend: Backend,
    *,
    binning: int,
    n_stamps: int,
    with_stars: bool,
    with_trail: bool,
) -> Look:
    """A quick look at a CCD whose pixels have been read."""
    image = None
    with np.errstate(invalid="ignore", over="ignore"):
        if binning:
            image = turned_image(quick_look(np.asarray(ccd.image), settings.smooth_size, binning), ccd.turn)
        with backend.working():
            stack = backend.prepare([ccd], 1)
            background = _background(exposure, ccd, stack, settings, backend)
            seen, stars = _sources(ccd, stack, background, settings, backend, n_stamps, with_stars=with_stars)
            trail = _trail(stack, background, settings, backend) if with_trail else None
    without_pixels = replace(ccd, image=np.empty((0, 0), dtype=np.float32), bad=None)
    shape = (int(ccd.image.shape[0]), int(ccd.image.shape[1]))
    return Look(ccd.name, shape, without_pixels, image, seen, stars, trail=trail)


def binning_for(exposure: Exposure, ccds: Sequence[str], settings: Settings) -> int:
    """Choose the binning of an exposure's quick looks: 16, or less for a small focal plane.

    Parameters
    ----------
    exposure : Exposure
    ccds : sequence of str
        Names of the CCDs.
    settings : Settings

    Returns
    -------
    int
        Side of the cells, pixels.
    """
    try:
        shape = next((item.shape for item in open_ccds(exposure, settings) if isinstance(item, CcdOnDisk)), None)
    except (InputError, OSError):
        shape = None
    ccd_places = places(exposure.camera, ccds).values()
    if shape is None or not ccd_places:
        return BINNING
    xs, ys = [place.x for place in ccd_places], [place.y for place in ccd_places]
    across, up = (max(xs) - min(xs) + 1) * shape[1], (max(ys) - min(ys) + 1) * shape[0]
    return int(np.clip(2.0 ** math.floor(math.log2(max(across, up) / SMALLEST_PICTURE)), 1, BINNING))


def quick_look(image: FloatImage, size: int, binning: int) -> FloatImage:
    """Smooth a CCD by the mean filter and bin it, both at once.

    A mean of means is a single weighted mean, so only the binned pixels are computed. Pixels that are not finite or lie
    outside of the image are left out of the mean.

    Parameters
    ----------
    image : ndarray, (ny, nx) float32
    size : int
        Side of the mean filter.
    binning : int
        Side of the cells.

    Returns
    -------
    ndarray, (ceil(ny / binning), ceil(nx / binning)) float32
        NaN where no pixel is finite.
    """
    finite = np.isfinite(image)
    if finite.all():
        ones = [np.ones((1, n), dtype=np.float32) for n in image.shape]
        weights = _binned_rows(ones[0].T, size, binning), _binned_rows(ones[1].T, size, binning).T
        total = _binned_rows(_binned_rows(image, size, binning).T, size, binning).T
        return np.asarray(total / (weights[0] * weights[1]), dtype=np.float32)
    filled = np.where(finite, image, np.float32(0.0))
    total, n = (
        _binned_rows(_binned_rows(plane, size, binning).T, size, binning).T
        for plane in (filled, finite.astype(np.float32))
    )
    return np.divide(total, n, out=np.full(n.shape, np.nan, dtype=np.float32), where=n > 0)


def _binned_rows(image: FloatImage, size: int, binning: int) -> FloatImage:
    """Sums over rows with the weights of both means, (ceil(ny / binning), nx)."""
    ny, nx = image.shape
    weights = np.convolve(np.full(size, 1.0 / size), np.full(binning, 1.0 / binning)).astype(np.float32)
    rows = -(-ny // binning)
    before = size // 2
    padded = np.zeros((before + rows * binning + size, nx), dtype=np.float32)
    padded[before : before + ny] = image
    total = np.zeros((rows, nx), dtype=np.float32)
    for k, weight in enumerate(weights):
        total += weight * padded[k : k + rows * binning : binning]
    return total


def _background(exposure: str, ccd: Ccd, stack: CcdStack, settings: Settings, backend: Backend) -> Background:
    _, ny, nx = stack.shape
    fit_points = draw_points([exposure], [ccd.name], "background", ny, nx, settings, backend)
    sigma_points = draw_points([exposure], [ccd.name], "sigma", ny, nx, settings, backend)
    return backend.background(stack, fit_points, sigma_points, settings)


def _trail(stack: CcdStack, background: Background, settings: Settings, backend: Backend) -> tuple[float, float] | None:
    """The line that stands out most, as it was found when the exposure was measured; the store keeps no place of it."""
    _, _, bins = backend.patterns(stack, background, settings)
    ends = backend.to_host(backend.lines(bins))
    _, ny, nx = stack.shape
    height, angle, distance, _ = lines.find(ends, int(ny), int(nx))[0].tolist()
    return (angle, distance) if height > lines.WEAK else None


def _sources(
    ccd: Ccd,
    stack: CcdStack,
    background: Background,
    settings: Settings,
    backend: Backend,
    n_stamps: int,
    *,
    with_stars: bool,
) -> tuple[SeenSources, Stars | None]:
    _, ny, nx = stack.shape
    found = backend.sources(stack, background, settings)
    moments = isophote_moments(found, settings)
    angles = backend.orientation(found.moments), backend.orientation(moments)
    host: Any = backend.to_host(
        (found.y, found.x, found.value, moments, *angles, background.sigma, found.ccd, stack.images)
    )
    y, x, value, moments, source, isophote, noise, _, images = host
    # The shape of a source with a saturated core is lost.
    bright = np.argsort(-np.where(images[0][y, x] >= ccd.saturation, -np.inf, value), kind="stable")
    bright = bright[np.isfinite(value[bright])][:n_stamps]
    with np.errstate(invalid="ignore", divide="ignore"):
        size = moments[:, 0] + moments[:, 1]
        ellipticity = np.hypot(moments[:, 0] - moments[:, 1], 2.0 * moments[:, 2]) / size
        stamp_snr = value[bright] / noise[0]
    stars = None
    if with_stars:
        shapes = backend.shapes(stack, background, found, settings)
        arrays: Any = backend.to_host((shapes.centre, shapes.moments, shapes.spoilt, shapes.width))
        stars = star_shapes.stars(Shapes(*arrays), 0, ccd.turn, (ny, nx))
    seen = SeenSources(
        y=y,
        x=x,
        source_angle=np.degrees(source),
        isophote_angle=np.degrees(isophote),
        ellipticity=ellipticity,
        stamps=_stamps(stack, background, found, bright, ccd.turn, settings, backend),
        stamp_snr=stamp_snr,
    )
    return seen, stars


def _stamps(
    stack: CcdStack,
    background: Background,
    found: Sources,
    chosen: Integers,
    turn: Turn,
    settings: Settings,
    backend: Backend,
) -> FloatImage:
    """The stamps of the chosen sources, in focal-plane axes."""
    if not chosen.size:
        return np.zeros((0, settings.stamp_size, settings.stamp_size), dtype=np.float32)
    indices: Array = backend.to_device(chosen)
    names = ("ccd", "y", "x", "value", "n_above", "moments", "isophote_moments", "n_isophote")
    selected = replace(found, **{name: getattr(found, name)[indices] for name in names})
    stamps = backend.to_host(backend.stamps(stack, background, selected, settings))
    return np.stack([turned_image(stamp, turn) for stamp in stamps])


def turned_image(image: FloatImage, turn: Turn) -> FloatImage:
    """Turn an image from CCD axes to focal-plane axes.

    Parameters
    ----------
    image : ndarray, (ny, nx)
    turn : Turn
        How the CCD is turned in the focal plane.

    Returns
    -------
    ndarray
        (ny, nx), or (nx, ny) for a quarter turn.
    """
    if turn & Turn.MIRRORED:
        image = image[::-1]
    if turn & Turn.QUARTER:
        image = image.T[:, ::-1]
    return image
