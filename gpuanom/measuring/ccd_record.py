"""The record of a CCD that went through the steps, or of one that could not be measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

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

SATURATED = "saturated"
"""Status of a CCD of which more than the share `MOSTLY` of the pixels is saturated."""

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


def ccd_records(
    ccds: Sequence[Ccd],
    shape: tuple[int, int],
    background: Background,
    counted: Counted,
    histograms: Sequence[OrientationHistograms],
    settings: Settings,
) -> list[CcdMeasurement]:
    """Make the records of the CCDs of a stack.

    Parameters
    ----------
    ccds : sequence of Ccd
        The CCDs; their pixels are not used.
    shape : tuple of int
        (ny, nx) of each.
    background : Background
        Of the stack, on the host.
    counted : Counted
        Of the stack, on the host.
    histograms : sequence of 4 OrientationHistograms
        In the order of `gpuanom.records.KINDS`, of the stack, on the host.
    settings : Settings

    Returns
    -------
    list of CcdMeasurement
        Their arrays are views of arrays of the stack.
    """
    n = len(ccds)
    n_pixels = shape[0] * shape[1]
    # Numbers of Python once for all CCDs: an element of an array at a time takes ten times as long.
    counts = np.stack([h.counts[:n] for h in histograms], axis=1)
    cosine, sine = (np.stack([getattr(h, of)[:n] for h in histograms], axis=1) for of in ("cosine", "sine"))
    in_histograms = counts.sum(axis=2).tolist()
    coefficients = background.coefficients[:n].copy()
    sky, sigma = coefficients[:, 0].tolist(), background.sigma[:n].tolist()
    n_points, n_sigma_points = background.n_points[:n].tolist(), background.n_sigma_points[:n].tolist()
    n_sources, n_bad, n_saturated, n_gradients = (
        np.asarray(numbers)[:n].tolist()
        for numbers in (counted.n_sources, counted.n_bad, counted.n_saturated, counted.n_gradients)
    )
    usable = background.usable[:n].tolist()
    records = []
    for i, ccd in enumerate(ccds):
        saturated = n_saturated[i] / n_pixels
        if saturated > MOSTLY:
            reason = f"CCD {ccd.name}: {saturated:.0%} of its pixels are saturated"
            record = unmeasured(CcdFailure(ccd.name, SATURATED, reason), settings.bins)
            records.append(replace(record, shape=shape, remark=printable(ccd.remark)))
            continue
        status, reason = ("ok", "") if usable[i] else _why_unusable(i, ccd.name, background, settings)
        records.append(
            CcdMeasurement(
                name=printable(ccd.name),
                status=status,
                reason=reason,
                coefficients=coefficients[i],
                # The sky at the CCD's centre, where X = Y = 0.
                sky=sky[i],
                sigma=sigma[i],
                n_points=n_points[i],
                n_sigma_points=n_sigma_points[i],
                n_sources=n_sources[i],
                n_without_orientation=n_sources[i] - in_histograms[i][0],
                n_isophote=in_histograms[i][1],
                n_gradients=n_gradients[i],
                masked_fraction=n_bad[i] / n_pixels,
                saturated_fraction=float("nan") if math.isnan(ccd.saturation) else saturated,
                counts=counts[i],
                cosine=cosine[i],
                sine=sine[i],
                sky_axes=None if ccd.sky_axes is None else focal_plane_axes(ccd.sky_axes, ccd.turn),
                shape=shape,
                remark=printable(ccd.remark),
            )
        )
    return records


def _why_unusable(i: int, name: str, background: Background, settings: Settings) -> tuple[str, str]:
    """The status of a CCD without a usable background, and in a line why it could not be measured."""
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
