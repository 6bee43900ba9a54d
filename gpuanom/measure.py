"""One exposure through the steps: read this first.

CCDs -> stack -> background -> sources -> orientations -> histograms, and gradients -> orientations -> histograms.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from gpuanom import sampling
from gpuanom.backend import Backend
from gpuanom.errors import printable
from gpuanom.naming import natural_key
from gpuanom.records import (
    KINDS,
    Array,
    Background,
    Ccd,
    CcdFailure,
    CcdMeasurement,
    CcdStack,
    OrientationHistograms,
    Sources,
    Turn,
)
from gpuanom.settings import Settings

MOSTLY = 0.5
"""A CCD with a larger share of saturated pixels is no image of the sky."""


def measure_ccds(
    exposure: str, ccds: Iterable[Ccd | CcdFailure], settings: Settings, backend: Backend
) -> tuple[CcdMeasurement, ...]:
    """Measure the CCDs of one exposure.

    Parameters
    ----------
    exposure : str
        Id of the exposure; with each CCD's name it decides the random points.
    ccds : iterable of Ccd or CcdFailure
        Taken one at a time, and let go when measured.
    settings : Settings
    backend : Backend

    Returns
    -------
    tuple of CcdMeasurement
        One for each CCD and failure, in natural order of their names.
    """
    done: list[CcdMeasurement] = []
    for group in _groups(ccds, settings, backend):
        if isinstance(group, CcdFailure):
            done.append(unmeasured(group, settings.bins))
        else:
            # Damaged pixels may hold NaN patterns that even a cast complains of; they are bad pixels, no more.
            with np.errstate(invalid="ignore", over="ignore"):
                done.extend(_measure_stack(exposure, group, settings, backend))
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


def _groups(ccds: Iterable[Ccd | CcdFailure], settings: Settings, backend: Backend) -> Iterator[list[Ccd] | CcdFailure]:
    """Runs of CCDs that share a shape and fit the device together; failures, and CCDs too small to measure, alone."""
    smallest = max(settings.stamp_size, settings.patch_size)
    group: list[Ccd] = []
    for ccd in ccds:
        if isinstance(ccd, CcdFailure):
            yield ccd
            continue
        ny, nx = ccd.image.shape
        if min(ny, nx) < smallest:
            yield CcdFailure(
                ccd.name, "too_small", f"CCD {ccd.name}: {nx} x {ny} pixels hold no stamp of {smallest} x {smallest}"
            )
            continue
        if group and (group[0].image.shape != (ny, nx) or len(group) >= backend.group_size(ny, nx)):
            yield group
            group = []
        group.append(ccd)
        if len(group) >= backend.group_size(ny, nx):
            yield group
            group = []
        del ccd
    if group:
        yield group


def _measure_stack(
    exposure: str, ccds: Sequence[Ccd], settings: Settings, backend: Backend
) -> Iterator[CcdMeasurement]:
    """The steps, for CCDs that share a shape."""
    ny, nx = ccds[0].image.shape
    turns = np.array([ccd.turn for ccd in ccds], dtype=np.int64)

    def drawn(purpose: sampling.Purpose, wanted: int, margin: int = 0) -> npt.NDArray[np.int32]:
        n = wanted * settings.draws
        return np.stack([sampling.points(settings.seed, exposure, c.name, purpose, n, ny, nx, margin) for c in ccds])

    stack = backend.prepare(ccds)
    background = backend.background(
        stack, drawn("background", settings.background_points), drawn("sigma", settings.sigma_points), settings
    )
    sources = backend.sources(stack, background, settings)
    gradients = backend.gradients(
        stack, drawn("gradients", settings.gradient_points, settings.patch_size // 2), background, settings
    )
    orientations = (
        (backend.orientation(sources.moments), sources.ccd),
        (backend.orientation(isophote_moments(sources, settings)), sources.ccd),
        (backend.gradient_orientation(gradients.dx, gradients.dy), gradients.ccd),
        (backend.gradient_orientation(gradients.flat_dx, gradients.flat_dy), gradients.ccd),
    )
    histograms = [backend.histogram(theta, ccd, turns, settings.bins) for theta, ccd in orientations]
    background, sources, gradients = backend.to_host(background), backend.to_host(sources), backend.to_host(gradients)
    n_gradients = np.bincount(gradients.ccd, minlength=len(ccds))
    histograms = [backend.to_host(h) for h in histograms]
    for i, ccd in enumerate(ccds):
        yield _record(i, ccd, stack, background, sources, int(n_gradients[i]), histograms, settings)


def isophote_moments(sources: Sources, settings: Settings) -> Array:
    """Isophotal moments, NaN where too few pixels are connected for an orientation (METHOD.md 3b)."""
    masked = sources.isophote_moments.copy()
    masked[sources.n_isophote < settings.isophote_pixels] = float("nan")
    return masked


def _record(
    i: int,
    ccd: Ccd,
    stack: CcdStack,
    background: Background,
    sources: Sources,
    n_gradients: int,
    histograms: Sequence[OrientationHistograms],
    settings: Settings,
) -> CcdMeasurement:
    """What is kept of the stack's CCD i."""
    _, ny, nx = stack.shape
    saturated = float(sources.n_saturated[i]) / (ny * nx)
    if saturated > MOSTLY:
        reason = f"CCD {ccd.name}: {saturated:.0%} of its pixels are saturated"
        return unmeasured(CcdFailure(ccd.name, "saturated", reason), settings.bins)
    status, reason = _status(i, ccd.name, background, settings)
    c = background.coefficients[i]
    n_sources = int(np.count_nonzero(sources.ccd == i))
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
        n_gradients=n_gradients,
        masked_fraction=float(sources.n_bad[i]) / (ny * nx),
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
