"""One exposure through the steps: read this first.

CCDs -> stack -> background -> sources -> orientations -> histograms, and gradients -> orientations -> histograms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from gpuanom import nvtx as ranges
from gpuanom import sampling
from gpuanom.backends.protocol import Backend
from gpuanom.errors import InputError, printable
from gpuanom.measuring.readahead import Readers, buffer
from gpuanom.measuring.stamp_hook import StampUse
from gpuanom.naming import natural_key
from gpuanom.records import (
    KINDS,
    Array,
    Background,
    Ccd,
    CcdFailure,
    CcdMeasurement,
    CcdOnDisk,
    Gradients,
    OrientationHistograms,
    Reconstruction,
    Sources,
    Turn,
)
from gpuanom.settings import Settings

MOSTLY = 0.5
"""A CCD with a larger share of saturated pixels is no image of the sky."""

Points = npt.NDArray[np.int32]
NO_PIXELS = np.empty((0, 0), dtype=np.float32)


def measure_ccds(
    exposure: str,
    ccds: Iterable[Ccd | CcdOnDisk | CcdFailure],
    settings: Settings,
    backend: Backend,
    use: StampUse | None = None,
) -> tuple[CcdMeasurement, ...]:
    """Measure the CCDs of one exposure.

    Parameters
    ----------
    exposure : str
        Id of the exposure; with each CCD's name it decides the random points.
    ccds : iterable of Ccd, CcdOnDisk or CcdFailure
        Taken a stack at a time, and let go when measured.
    settings : Settings
    backend : Backend
    use : StampUse, optional
        What else is done with the stamps.

    Returns
    -------
    tuple of CcdMeasurement
        One for each CCD and failure, in natural order of their names.
    """
    done: list[CcdMeasurement] = []
    for group in groups(ccds, settings, backend):
        done += measure_group(exposure, group, settings, backend, use=use)
    return in_order(done)


def in_order(done: Iterable[CcdMeasurement]) -> tuple[CcdMeasurement, ...]:
    """Measurements in natural order of their CCDs' names."""
    return tuple(sorted(done, key=lambda m: natural_key(m.name)))


def unmeasured(failure: CcdFailure, bins: int) -> CcdMeasurement:
    """The record of a CCD without measurements: its status, and no counts."""
    nan = float("nan")
    return CcdMeasurement(
        name=printable(failure.name),
        status=failure.status,
        reason=printable(failure.reason),
        coefficients=np.full(6, nan),
        sky=nan,
        sigma=nan,
        n_points=0,
        n_sigma_points=0,
        n_sources=0,
        n_without_orientation=0,
        n_isophote=0,
        n_gradients=0,
        masked_fraction=nan,
        saturated_fraction=nan,
        counts=np.zeros((len(KINDS), bins), dtype=np.int64),
        cosine=np.zeros(len(KINDS)),
        sine=np.zeros(len(KINDS)),
        sky_axes=None,
    )


def groups(
    ccds: Iterable[Ccd | CcdOnDisk | CcdFailure], settings: Settings, backend: Backend
) -> Iterator[list[Ccd | CcdOnDisk] | CcdFailure]:
    """Runs of CCDs that share a shape and fit the device together; failures, and CCDs too small to measure, alone."""
    smallest = max(settings.stamp_size, settings.patch_size)
    group: list[Ccd | CcdOnDisk] = []
    for ccd in ccds:
        if isinstance(ccd, CcdFailure):
            yield ccd
            continue
        ny, nx = _shape(ccd)
        if min(ny, nx) < smallest:
            yield CcdFailure(
                ccd.name, "too_small", f"CCD {ccd.name}: {nx} x {ny} pixels hold no stamp of {smallest} x {smallest}"
            )
            continue
        if group and (_shape(group[0]) != (ny, nx) or len(group) >= backend.group_size(ny, nx)):
            yield group
            group = []
        group.append(ccd)
        if len(group) >= backend.group_size(ny, nx):
            yield group
            group = []
        del ccd
    if group:
        yield group


def _shape(ccd: Ccd | CcdOnDisk) -> tuple[int, int]:
    ny, nx = ccd.shape if isinstance(ccd, CcdOnDisk) else ccd.image.shape
    return ny, nx


def measure_group(
    exposure: str,
    group: Sequence[Ccd | CcdOnDisk] | CcdFailure,
    settings: Settings,
    backend: Backend,
    readers: Readers | None = None,
    use: StampUse | None = None,
) -> list[CcdMeasurement]:
    """Measure CCDs that share a shape; where memory does not suffice for all, one half after the other.

    Parameters
    ----------
    exposure : str
    group : sequence of Ccd or CcdOnDisk, or CcdFailure
        One of those that `groups` gives.
    settings : Settings
    backend : Backend
    readers : Readers, optional
        Who reads the CCDs ahead; by default each is read when its turn comes.
    use : StampUse, optional
        What else is done with the stamps.

    Returns
    -------
    list of CcdMeasurement
        One for each CCD.
    """
    if isinstance(group, CcdFailure):
        return [unmeasured(group, settings.bins)]
    done = _attempt(exposure, group, settings, backend, readers, use)
    ny, nx = _shape(group[0])
    if done is None:
        backend.too_many(len(group), ny, nx)
        if len(group) > 1:
            half = len(group) // 2
            parts = (group[:half], group[half:])
            return [m for part in parts for m in measure_group(exposure, part, settings, backend, readers, use)]
        # What it lacks may be what others hold.
        done = _attempt(exposure, group, settings, backend, readers, use, alone=True)
    if done is None:
        reason = f"CCD {group[0].name}: no memory for its {nx} x {ny} pixels (free some, or use another --device)"
        return [unmeasured(CcdFailure(group[0].name, "out_of_memory", reason), settings.bins)]
    measured, damaged = done
    return measured + [m for item in damaged for m in _again(exposure, item, settings, backend, use)]


def _attempt(
    exposure: str,
    group: Sequence[Ccd | CcdOnDisk],
    settings: Settings,
    backend: Backend,
    readers: Readers | None,
    use: StampUse | None,
    alone: bool = False,
) -> tuple[list[CcdMeasurement], list[Ccd | CcdOnDisk]] | None:
    """What is measured of a stack, and what the device could not decode; None where memory does not suffice."""
    try:
        # Damaged pixels may hold NaN patterns that even a cast complains of; they are bad pixels, no more.
        with backend.sharing(alone), np.errstate(invalid="ignore", over="ignore"):
            return _measure_stack(exposure, group, settings, backend, readers, use)
    except MemoryError:
        return None  # and outside, the error's traceback holds no arrays any more
    except InputError as error:
        # CCDs that the backend cannot take, all of one shape: the exposure's others are measured all the same.
        refused = [CcdFailure(item.name, error.status, f"CCD {item.name}: {error}") for item in group]
        return [unmeasured(failure, settings.bins) for failure in refused], []


class _Reading:
    """The CCDs of a group as they come from disk, each with its random points; what cannot be read is set aside."""

    def __init__(self, exposure: str, settings: Settings, backend: Backend, readers: Readers | None) -> None:
        self.exposure, self.settings, self.backend, self.readers = exposure, settings, backend, readers
        self.failures: list[CcdFailure] = []
        self.items: list[Ccd | CcdOnDisk] = []
        """Those whose CCDs were handed on."""
        self.ccds: list[Ccd] = []
        """What they say of themselves; the pixels are let go."""
        self.draws: list[tuple[Points, Points, Points]] = []

    def __call__(self, group: Sequence[Ccd | CcdOnDisk]) -> Iterator[Ccd]:
        """The CCDs that can be read, in order."""
        several = self.readers is not None and len(group) > 1
        read = self.readers.ahead(self._read, group) if self.readers and several else map(self._read, group)
        for item, (ccd, draws) in zip(group, read, strict=True):
            if isinstance(ccd, CcdFailure):
                self.failures.append(ccd)
                continue
            self.items.append(item)
            self.ccds.append(replace(ccd, image=NO_PIXELS, bad=None))
            self.draws.append(draws)
            yield ccd
            del ccd

    def _read(self, item: Ccd | CcdOnDisk) -> tuple[Ccd | CcdFailure, tuple[Points, Points, Points]]:
        ny, nx = _shape(item)
        ccd: Ccd | CcdFailure
        if isinstance(item, Ccd):
            ccd = item
        else:
            with ranges.named("read"):
                ccd = item.load(encoded=True) if self.backend.takes_encoded else item.load(out=buffer(ny, nx))
        some = self.settings
        wanted: tuple[tuple[sampling.Purpose, int, int], ...] = (
            ("background", some.background_points, 0),
            ("sigma", some.sigma_points, 0),
            ("gradients", some.gradient_points, some.patch_size // 2),
        )
        fit, sigma, gradients = (
            sampling.points(some.seed, self.exposure, item.name, purpose, n * some.draws, ny, nx, margin)
            for purpose, n, margin in wanted
        )
        return ccd, (fit, sigma, gradients)


def _measure_stack(
    exposure: str,
    group: Sequence[Ccd | CcdOnDisk],
    settings: Settings,
    backend: Backend,
    readers: Readers | None,
    use: StampUse | None,
) -> tuple[list[CcdMeasurement], list[Ccd | CcdOnDisk]]:
    """The steps, for CCDs that share a shape; and the CCDs that the device could not decode."""
    measured: list[CcdMeasurement] = []
    again: list[Ccd | CcdOnDisk] = []
    reading = _Reading(exposure, settings, backend, readers)
    arriving = reading(group)
    first = next(arriving, None)
    if first is not None:
        stack = backend.prepare(chain((first,), arriving), len(group))
        del first
        fit_points, sigma_points, gradient_points = (np.stack(points) for points in zip(*reading.draws, strict=True))
        ccds, (_, ny, nx) = reading.ccds, stack.shape
        turns = np.array([ccd.turn for ccd in ccds], dtype=np.int64)
        background = backend.background(stack, fit_points, sigma_points, settings)
        sources = backend.sources(stack, background, settings)
        n_gradients: Array = np.zeros(len(ccds), dtype=np.int64)
        histograms = [_empty(len(ccds), settings.bins)] * len(KINDS)
        if use is None or not use.only:
            gradients = backend.gradients(stack, gradient_points, background, settings)
            histograms, n_gradients = _histograms(sources, gradients, turns, settings, backend), gradients.n_points
        reconstructed: Sequence[Reconstruction | None] = [None] * len(ccds)
        if use is not None:
            reconstructed = use([ccd.name for ccd in ccds], stack, background, sources, settings, backend)
        counted = Counted(sources.n_sources, sources.n_bad, sources.n_saturated, n_gradients)
        background, counted, histograms, damaged = backend.to_host((background, counted, histograms, stack.damaged))
        for i, ccd in enumerate(ccds):
            if damaged is not None and damaged[i] >= 0:
                again.append(reading.items[i])
            else:
                record = _record(i, ccd, ny * nx, background, counted, histograms, settings)
                record = replace(record, shape=(int(ny), int(nx)), remark=printable(ccd.remark))
                its = reconstructed[i] if record.status == "ok" else None
                measured.append(record if its is None else replace(record, reconstruction=its))
    return measured + [unmeasured(failure, settings.bins) for failure in reading.failures], again


def _histograms(
    sources: Sources, gradients: Gradients, turns: npt.NDArray[np.int64], settings: Settings, backend: Backend
) -> list[OrientationHistograms]:
    """The four histograms of a stack, in the order of `KINDS`."""
    with backend.working():
        isophotal = isophote_moments(sources, settings)
    orientations = (
        (backend.orientation(sources.moments), sources.ccd),
        (backend.orientation(isophotal), sources.ccd),
        (backend.gradient_orientation(gradients.dx, gradients.dy), gradients.ccd),
        (backend.gradient_orientation(gradients.flat_dx, gradients.flat_dy), gradients.ccd),
    )
    return [backend.histogram(theta, ccd, turns, settings.bins) for theta, ccd in orientations]


def _empty(n_ccd: int, bins: int) -> OrientationHistograms:
    """Histograms of nothing, on the host."""
    return OrientationHistograms(np.zeros((n_ccd, bins), dtype=np.int64), np.zeros(n_ccd), np.zeros(n_ccd))


def _again(
    exposure: str, item: Ccd | CcdOnDisk, settings: Settings, backend: Backend, use: StampUse | None
) -> list[CcdMeasurement]:
    """A CCD that the device could not decode, once more through the host: its message is the one for the user."""
    if isinstance(item, Ccd):
        raise ValueError(f"CCD {item.name}: images as a file holds them come from files only")
    ccd = item.load()
    return measure_group(exposure, ccd if isinstance(ccd, CcdFailure) else [ccd], settings, backend, use=use)


def isophote_moments(sources: Sources, settings: Settings) -> Array:
    """Isophotal moments, NaN where too few pixels are connected for an orientation (METHOD.md 3b)."""
    masked = sources.isophote_moments.copy()
    masked[sources.n_isophote < settings.isophote_pixels] = float("nan")
    return masked


@dataclass(frozen=True, eq=False)
class Counted:
    """What is counted of each CCD of a stack: all that is wanted of its sources and gradients, (n_ccd,) int64 each."""

    n_sources: Array
    n_bad: Array
    n_saturated: Array
    n_gradients: Array


def _record(
    i: int,
    ccd: Ccd,
    n_pixels: int,
    background: Background,
    counted: Counted,
    histograms: Sequence[OrientationHistograms],
    settings: Settings,
) -> CcdMeasurement:
    """What is kept of the stack's CCD i."""
    saturated = float(counted.n_saturated[i]) / n_pixels
    if saturated > MOSTLY:
        reason = f"CCD {ccd.name}: {saturated:.0%} of its pixels are saturated"
        return unmeasured(CcdFailure(ccd.name, "saturated", reason), settings.bins)
    status, reason = _status(i, ccd.name, background, settings)
    c = background.coefficients[i].copy()
    n_sources = int(counted.n_sources[i])
    return CcdMeasurement(
        name=printable(ccd.name),
        status=status,
        reason=reason,
        coefficients=c,
        # X = Y = 0 at the CCD's centre.
        sky=float(c[0]),
        sigma=float(background.sigma[i]),
        n_points=int(background.n_points[i]),
        n_sigma_points=int(background.n_sigma_points[i]),
        n_sources=n_sources,
        n_without_orientation=n_sources - int(histograms[0].counts[i].sum()),
        n_isophote=int(histograms[1].counts[i].sum()),
        n_gradients=int(counted.n_gradients[i]),
        masked_fraction=float(counted.n_bad[i]) / n_pixels,
        saturated_fraction=float("nan") if np.isnan(ccd.saturation) else saturated,
        counts=np.stack([h.counts[i] for h in histograms]),
        cosine=np.array([h.cosine[i] for h in histograms]),
        sine=np.array([h.sine[i] for h in histograms]),
        sky_axes=None if ccd.sky_axes is None else focal_plane_axes(ccd.sky_axes, ccd.turn),
    )


def _status(i: int, name: str, background: Background, settings: Settings) -> tuple[str, str]:
    """One word and one line on what keeps a CCD from being measured."""
    if background.usable[i]:
        return "ok", ""
    usable = int(min(background.n_points[i], background.n_sigma_points[i]))
    if usable < settings.minimum_points:
        return "too_few_pixels", f"CCD {name}: only {usable} of the drawn points fell on usable pixels"
    return "constant", f"CCD {name}: no noise to measure by; the image is constant up to rounding"


def focal_plane_axes(sky_axes: tuple[float, float, float, float], turn: Turn) -> tuple[float, float, float, float]:
    """The CD matrix of the focal plane's axes, from a CCD's own and its turn: each column is one axis on the sky."""
    along_x, along_y = (sky_axes[0], sky_axes[2]), (sky_axes[1], sky_axes[3])
    if turn & Turn.MIRRORED:
        along_y = (-along_y[0], -along_y[1])
    if turn & Turn.QUARTER:
        # The CCD's x axis is the focal plane's y axis, and its y axis points along -x.
        along_x, along_y = (-along_y[0], -along_y[1]), along_x
    return along_x[0], along_y[0], along_x[1], along_y[1]
