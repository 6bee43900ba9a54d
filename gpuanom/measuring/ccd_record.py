"""The record of a CCD that went through the steps, or of one that could not be measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

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
from gpuanom.records.attributes import attributes
from gpuanom.set_at_once import changed
from gpuanom.settings import Settings

SATURATED = "saturated"
"""Status of a CCD of which more than the share `MOSTLY` of the pixels is saturated."""

_FIELDS = tuple(field.name for field in fields(CcdMeasurement))

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
    parts: Sequence[object],
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
    parts : sequence of object
        Of each CCD, see `CcdMeasurement`.

    Returns
    -------
    list of CcdMeasurement
        Their arrays are views of arrays of the stack.
    """
    n, n_pixels = len(ccds), shape[0] * shape[1]
    counts = np.stack([h.counts[:n] for h in histograms], axis=1)
    cosine, sine = (np.stack([getattr(h, of)[:n] for h in histograms], axis=1) for of in ("cosine", "sine"))
    n_sources, in_histograms = np.asarray(counted.n_sources)[:n], counts.sum(axis=2)
    saturated = np.asarray(counted.n_saturated)[:n] / n_pixels
    names, saturations, turns, sky_axes, remarks = attributes(ccds, "name", "saturation", "turn", "sky_axes", "remark")
    is_unknown = np.isnan(saturations)
    coefficients = background.coefficients[:n].copy()
    # A column for each field of the records: numbers of Python once for all CCDs, since an element of an array at a
    # time takes ten times as long.
    columns: dict[str, Iterable[Any]] = {
        "name": _all_printable(names),
        "status": ["ok"] * n,
        "reason": [""] * n,
        "coefficients": coefficients,
        # The sky at the CCD's centre, where X = Y = 0.
        "sky": coefficients[:, 0].tolist(),
        "sigma": background.sigma[:n].tolist(),
        "n_points": background.n_points[:n].tolist(),
        "n_sigma_points": background.n_sigma_points[:n].tolist(),
        "n_sources": n_sources.tolist(),
        "n_without_orientation": (n_sources - in_histograms[:, 0]).tolist(),
        "n_isophote": in_histograms[:, 1].tolist(),
        "n_gradients": np.asarray(counted.n_gradients)[:n].tolist(),
        "masked_fraction": (np.asarray(counted.n_bad)[:n] / n_pixels).tolist(),
        "saturated_fraction": np.where(is_unknown, np.nan, saturated).tolist(),
        "counts": counts,
        "cosine": cosine,
        "sine": sine,
        "sky_axes": [
            axes if turn is Turn.NONE else axes and focal_plane_axes(axes, turn)
            for axes, turn in zip(sky_axes, turns, strict=True)
        ],
        "reconstruction": [None] * n,
        "shape": [shape] * n,
        "remark": _all_printable(remarks),
        "statistics": [None] * n,
        "parts": parts,
    }
    records = list(map(CcdMeasurement, *[columns[name] for name in _FIELDS]))
    for i in np.flatnonzero((saturated > MOSTLY) | ~background.usable[:n]).tolist():
        records[i] = _unusable(records[i], i, ccds[i].name, float(saturated[i]), background, settings)
    return records


def _unusable(
    record: CcdMeasurement, i: int, name: str, saturated: float, background: Background, settings: Settings
) -> CcdMeasurement:
    """The record of the i-th CCD of a stack, which is mostly saturated or has no usable background."""
    if saturated > MOSTLY:
        reason = f"CCD {name}: {saturated:.0%} of its pixels are saturated"
        empty = unmeasured(CcdFailure(name, SATURATED, reason), settings.bins)
        return changed(empty, shape=record.shape, remark=record.remark, parts=record.parts)
    status, reason = _why_unusable(i, name, background, settings)
    return changed(record, status=status, reason=reason)


def _all_printable(texts: Sequence[str]) -> Sequence[str]:
    """Make each text `printable`; most names and remarks need no change, which one look at all of them tells."""
    text = "".join(texts)
    return texts if text.isprintable() and " " not in text else list(map(printable, texts))


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
