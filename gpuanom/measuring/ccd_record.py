"""The record of a CCD that went through the steps, or of one that could not be measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gpuanom.errors import printable
from gpuanom.records import (
    KINDS,
    Array,
    Background,
    Ccd,
    CcdFailure,
    CcdMeasurement,
    OrientationHistograms,
    Turn,
)
from gpuanom.settings import Settings

MOSTLY = 0.5
"""A CCD with a larger fraction of saturated pixels is not an image of the sky."""


def unmeasured(failure: CcdFailure, bins: int) -> CcdMeasurement:
    """Make the record of a CCD that could not be measured: status and reason, and no counts.

    Parameters
    ----------
    failure : CcdFailure
    bins : int
        N, bins of the histograms.

    Returns
    -------
    CcdMeasurement
    """
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


@dataclass(frozen=True, eq=False)
class Counted:
    """Numbers of sources, bad pixels, saturated pixels and gradient points of each CCD of a stack, (n_ccd,) int64."""

    n_sources: Array
    n_bad: Array
    n_saturated: Array
    n_gradients: Array


def ccd_record(
    i: int,
    ccd: Ccd,
    n_pixels: int,
    background: Background,
    counted: Counted,
    histograms: Sequence[OrientationHistograms],
    settings: Settings,
) -> CcdMeasurement:
    """Make the record of one CCD of a stack.

    Parameters
    ----------
    i : int
        Index of the CCD in the stack.
    ccd : Ccd
        The CCD; its pixels are not used.
    n_pixels : int
    background : Background
        Of the stack, on the host.
    counted : Counted
        Of the stack, on the host.
    histograms : sequence of 4 OrientationHistograms
        In the order of `gpuanom.records.KINDS`, of the stack, on the host.
    settings : Settings

    Returns
    -------
    CcdMeasurement
    """
    saturated = float(counted.n_saturated[i]) / n_pixels
    if saturated > MOSTLY:
        reason = f"CCD {ccd.name}: {saturated:.0%} of its pixels are saturated"
        return unmeasured(CcdFailure(ccd.name, "saturated", reason), settings.bins)
    status, reason = _status(i, ccd.name, background, settings)
    coefficients = background.coefficients[i].copy()
    n_sources = int(counted.n_sources[i])
    return CcdMeasurement(
        name=printable(ccd.name),
        status=status,
        reason=reason,
        coefficients=coefficients,
        # The sky at the CCD's centre, where X = Y = 0.
        sky=float(coefficients[0]),
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
    """The status of a CCD, and in a line why it could not be measured."""
    if background.usable[i]:
        return "ok", ""
    usable = int(min(background.n_points[i], background.n_sigma_points[i]))
    if usable < settings.minimum_points:
        return "too_few_pixels", f"CCD {name}: only {usable} of the drawn points fell on usable pixels"
    return "constant", f"CCD {name}: no noise to measure by; the image is constant up to rounding"


def focal_plane_axes(sky_axes: tuple[float, float, float, float], turn: Turn) -> tuple[float, float, float, float]:
    """Return the CD matrix of the focal plane's axes.

    Parameters
    ----------
    sky_axes : tuple of 4 floats
        CD1_1, CD1_2, CD2_1, CD2_2 of the CCD's axes, in degrees a pixel.
    turn : Turn
        How the CCD is turned in the focal plane.

    Returns
    -------
    tuple of 4 floats
        CD1_1, CD1_2, CD2_1, CD2_2 of the focal plane's axes.
    """
    # Each column of a CD matrix is one axis on the sky.
    along_x, along_y = (sky_axes[0], sky_axes[2]), (sky_axes[1], sky_axes[3])
    if turn & Turn.MIRRORED:
        along_y = (-along_y[0], -along_y[1])
    if turn & Turn.QUARTER:
        # The CCD's x axis is the focal plane's y axis, and its y axis points along -x.
        along_x, along_y = (-along_y[0], -along_y[1]), along_x
    return along_x[0], along_y[0], along_x[1], along_y[1]
