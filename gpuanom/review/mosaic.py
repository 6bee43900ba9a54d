"""A picture of an exposure's whole focal plane, made from quick looks at the CCDs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpuanom.cameras.focalplane import places
from gpuanom.natural_order import natural_key
from gpuanom.records import ExposureKey, FloatImage
from gpuanom.review.opened import is_named

GAP = 2
"""Pixels between neighbouring CCDs."""


@dataclass(frozen=True, eq=False)
class Mosaic:
    """A picture of a focal plane.

    Attributes
    ----------
    image : ndarray, (ny, nx) float32
        Origin at the lower left; NaN where there is no CCD or no pixel.
    boxes : dict of str to (x, y, width, height)
        Where each CCD lies in the picture, in pixels.
    limits : tuple of 2 floats
        Darkest and brightest level to show (zscale).
    """

    image: FloatImage
    boxes: dict[str, tuple[int, int, int, int]]
    limits: tuple[float, float]


def usual_names(of_ccds: Mapping[ExposureKey, Sequence[Mapping[str, Any]]]) -> dict[str, list[str]]:
    """Return the names of the CCDs that at least half of the exposures of each camera have.

    Parameters
    ----------
    of_ccds : mapping
        The rows of the table of CCDs, by camera and exposure id.

    Returns
    -------
    dict of str to list of str
        By camera, in natural order.
    """
    n_exposures = Counter(camera for camera, _ in of_ccds)
    counts = Counter((camera, ccd["ccd"]) for (camera, _), rows in of_ccds.items() for ccd in filter(is_named, rows))
    usual: dict[str, list[str]] = {camera: [] for camera in n_exposures}
    for (camera, name), n in counts.items():
        if 2 * n >= n_exposures[camera]:
            usual[camera].append(name)
    return {camera: sorted(names, key=natural_key) for camera, names in usual.items()}


def mosaic(
    camera: str, looks: Sequence[tuple[str, FloatImage]], ccds: Iterable[str] = (), usual: Iterable[str] = ()
) -> Mosaic:
    """Put the quick looks of an exposure's CCDs together.

    Parameters
    ----------
    camera : str
        Tells the places of the CCDs, see `gpuanom.cameras.focalplane`.
    looks : sequence of (str, ndarray)
        Names of CCDs and their images, in focal-plane axes.
    ccds : iterable of str, optional
        All CCDs of the exposure in the order of the table: the place of a CCD without an image stays empty.
    usual : iterable of str, optional
        The CCDs that exposures of the camera usually have: where this exposure lacks one, the others stay at their
        places in the grid, and what could not be read and has no name of a CCD has none.

    Returns
    -------
    Mosaic
    """
    images = dict(looks)
    names = [*dict.fromkeys([*ccds, *images])]
    usual = set(usual)
    if usual:
        names = [name for name in names if name in images or name in usual or not name.startswith("(")]
    every = sorted({*usual, *names}, key=natural_key) if usual - set(names) else names
    place_of = places(camera, every)
    height = max((image.shape[0] for image in images.values()), default=1)
    width = max((image.shape[1] for image in images.values()), default=1)
    # An exposure of a few CCDs is shown without the rest of the focal plane.
    left = min((place.x for place in place_of.values()), default=0.0)
    bottom = min((place.y for place in place_of.values()), default=0.0)
    corners = {
        name: (round((place.x - left) * (width + GAP)), round((place.y - bottom) * (height + GAP)))
        for name, place in place_of.items()
    }
    whole = np.full(
        (
            max((y for _, y in corners.values()), default=0) + height,
            max((x for x, _ in corners.values()), default=0) + width,
        ),
        np.nan,
        dtype=np.float32,
    )
    boxes = {}
    for name in names:
        x, y = corners[name]
        image = images.get(name)
        if image is not None:
            rows, columns = image.shape
            whole[y : y + rows, x : x + columns] = image[::-1, ::-1] if place_of[name].upside_down else image
            boxes[name] = (x, y, columns, rows)
        else:
            boxes[name] = (x, y, width, height)
    return Mosaic(whole, boxes, _limits(whole))


def _limits(image: FloatImage) -> tuple[float, float]:
    """The limits of zscale; any limits for an image of a single value."""
    from astropy.visualization import ZScaleInterval  # takes longer to import than most commands to run

    values = image[np.isfinite(image)]
    if not values.size:
        return 0.0, 1.0
    low, high = ZScaleInterval().get_limits(values)
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        low, high = float(values.min()), float(values.max())
    return float(low), float(high if high > low else low + 1.0)


def level(looks: Sequence[tuple[str, FloatImage]]) -> tuple[list[tuple[str, FloatImage]], bool]:
    """Bring CCDs to one level where their levels differ by more than their contrast, as in raw images.

    Parameters
    ----------
    looks : sequence of (str, ndarray)
        Names of CCDs and their images.

    Returns
    -------
    looks : list of (str, ndarray)
        The images, less their medians where the levels differ so much.
    levelled : bool
        Whether the levels differ so much.
    """
    levels = [_level(image) for _, image in looks]
    if len(levels) < 2:
        return list(looks), False
    middle, spread = np.array(levels).T
    low, high = np.percentile(middle, (10.0, 90.0))
    if not high - low > 3.0 * np.median(spread):
        return list(looks), False
    return [(name, image - np.float32(m)) for (name, image), m in zip(looks, middle, strict=True)], True


def _level(image: FloatImage) -> tuple[float, float]:
    """The median of a quick look, and the difference between its 95th and 5th percentile."""
    known = image[np.isfinite(image)]
    if not known.size:
        return 0.0, 0.0
    low, middle, high = np.percentile(known, (5.0, 50.0, 95.0))
    return float(middle), float(high - low)
