"""Pixels through astropy, for the few forms of image that are not decoded here; it says so to the log."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.fits.astropy_warnings import ignore_astropy_warnings
from gpuanom.fits.decoder import decoded
from gpuanom.fits.isolated import decode_isolated

log = logging.getLogger("gpuanom")


def through_astropy(raw: bytes, primary: bool, n_pixels: int, what: str, where: str) -> npt.NDArray[Any]:
    """Return the pixels of one HDU as astropy decodes them, BSCALE and BZERO applied.

    Parameters
    ----------
    raw : bytes
        The HDU: header and data.
    primary : bool
        Whether it is a primary HDU.
    n_pixels : int
        Pixels that a compressed image claims; 0 of a plain one, for which no process of its own is needed.
    what, where : str
        Why it is unusual, and file and HDU, for the log.

    Raises
    ------
    Exception
        Whatever astropy and its decoders raise.
    """
    log.info("%s: %s: read through astropy, which is slower", where, what)
    if n_pixels:
        return decode_isolated(raw, primary, n_pixels)
    with ignore_astropy_warnings():
        return decoded(raw, primary)


def blanked(pixels: npt.NDArray[Any], blank: float) -> npt.NDArray[np.float32]:
    """Copy pixels to native float32, C-contiguous, blank pixels of integers to NaN.

    Parameters
    ----------
    pixels : ndarray, (ny, nx)
        Any numbers, any byte order. float64 beyond float32's range becomes infinite, which the steps count as bad.
    blank : float
        Physical value of the pixels without value in an integer image; NaN where there is none.

    Returns
    -------
    ndarray, (ny, nx) float32
    """
    with np.errstate(over="ignore", invalid="ignore"):
        image = np.array(pixels, dtype=np.float32, order="C")
    if pixels.dtype.kind in "iu" and np.isfinite(blank):
        image[pixels == blank] = np.nan
    return image
