"""CCDs at full resolution: their pixels, read when they are asked for, and parts of them as grey pictures."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from gpuanom.errors import InputError
from gpuanom.fits import open_ccds
from gpuanom.records import CcdFailure, Exposure, ExposureKey, FloatImage
from gpuanom.review.opened import ScoredNight

Stretch = Literal["asinh", "linear"]
STRETCHES: tuple[str, ...] = get_args(Stretch)

TILE = 4096
"""Longest side of a picture, pixels: browsers draw no picture of any size."""

SOFTENING = 10.0
"""An asinh stretch shows asinh(10 x) / asinh(10) for x from 0 to 1, as DS9 does."""

BRIGHT = 99.8
"""An asinh stretch ends at this percentile, so that stars have a shape."""

_SAMPLE = 250_000
"""Limits are found from about so many pixels."""


class Limits(NamedTuple):
    """The levels at which a stretch begins and ends, in the image's unit."""

    low: float
    high: float


def usual_limits(image: FloatImage, stretch: Stretch) -> Limits:
    """Return limits that show an image well: zscale; asinh goes on to the 99.8th percentile.

    Parameters
    ----------
    image : ndarray, (ny, nx) float32
        Pixels that are not finite are left out.
    stretch : str
        ``asinh`` or ``linear``.

    Returns
    -------
    Limits
        `high` is above `low`.
    """
    from astropy.visualization import ZScaleInterval

    step = max(1, round((image.size / _SAMPLE) ** 0.5))
    values = image[::step, ::step].astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return Limits(0.0, 1.0)
    low, high = (float(v) for v in ZScaleInterval().get_limits(values))
    if stretch == "asinh":
        high = max(high, float(np.percentile(values, BRIGHT)))
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        low, high = float(values.min()), float(values.max())
    return Limits(low, high if high > low else low + max(1.0, abs(low)))


def grey(image: FloatImage, stretch: Stretch, limits: Limits) -> npt.NDArray[np.uint8]:
    """Return an image as grey levels; pixels that are not finite are black.

    Parameters
    ----------
    image : ndarray, (ny, nx) float32
    stretch : str
        ``asinh`` or ``linear``.
    limits : Limits

    Returns
    -------
    ndarray, (ny, nx) uint8
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # limits may lie closer than float32 tells
        share = (image - np.float32(limits.low)) / np.float32(limits.high - limits.low)
        share = np.clip(np.nan_to_num(share, nan=0.0), 0.0, 1.0)
    if stretch == "asinh":
        share = np.arcsinh(np.float32(SOFTENING) * share) / np.float32(np.arcsinh(SOFTENING))
    levels: npt.NDArray[np.uint8] = np.rint(255.0 * share).astype(np.uint8)
    return levels


def png(levels: npt.NDArray[np.uint8]) -> bytes:
    """Return grey levels as a PNG file, which is not compressed: noise can hardly be.

    Parameters
    ----------
    levels : ndarray, (ny, nx) uint8
        The first row is the lowest one of the picture.
    """
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(levels[::-1])).save(file, "PNG", compress_level=0)
    return file.getvalue()


class CcdImages:
    """The pixels of a night's CCDs; those that were asked for last are kept in memory.

    Parameters
    ----------
    night : ScoredNight
    most_bytes : int, optional
        Keep CCDs whose pixels together take at most so many bytes; the last one is kept in any case.
    """

    def __init__(self, night: ScoredNight, most_bytes: int = 300_000_000) -> None:
        self._night, self._most_bytes = night, most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[ExposureKey, str], FloatImage] = OrderedDict()

    def image(self, key: ExposureKey, ccd: str) -> FloatImage:
        """Return the pixels of a CCD without overscan, in its own axes.

        Parameters
        ----------
        key : tuple of (str, str)
            Camera and id of the exposure.
        ccd : str
            Name of the CCD.

        Returns
        -------
        ndarray, (ny, nx) float32

        Raises
        ------
        KeyError
            When the night has no such exposure.
        InputError
            When the CCD cannot be read; the message is one line that names the file.
        """
        exposure = self._night.found[key]
        with self._lock:  # one CCD is read at a time, so that many requests need no more memory than one
            if (key, ccd) in self._kept:
                self._kept.move_to_end((key, ccd))
                return self._kept[key, ccd]
            image = self._read(exposure, ccd)
            n_bytes = image.nbytes + sum(kept.nbytes for kept in self._kept.values())
            while self._kept and n_bytes > self._most_bytes:
                n_bytes -= self._kept.popitem(last=False)[1].nbytes
            self._kept[key, ccd] = image
            return image

    def _read(self, exposure: Exposure, ccd: str) -> FloatImage:
        reasons = []
        # The checksums were compared when the exposure was scored.
        for item in open_ccds(exposure, self._night.settings.replace(checksum=False)):
            if isinstance(item, CcdFailure):
                reasons.append(item.reason)
            elif item.name == ccd:
                found = item.load()
                if isinstance(found, CcdFailure):
                    raise InputError(found.reason)
                return np.asarray(found.image, dtype=np.float32)
        missing = f"no CCD {ccd} in the files of exposure {exposure.exposure}"
        raise InputError(reasons[0] if reasons else missing)
