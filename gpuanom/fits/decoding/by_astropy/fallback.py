"""Reading pixels through astropy, for the few forms of image that gpuanom does not decode itself."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.fits.decoding.by_astropy.process import decode_isolated
from gpuanom.fits.decoding.by_astropy.process_program import decoded
from gpuanom.fits.headers.astropy_warnings import ignore_astropy_warnings

log = logging.getLogger("gpuanom")


def through_astropy(raw: bytes, primary: bool, n_pixels: int, reason: str, where: str) -> npt.NDArray[Any]:
    """Read the pixels of one HDU through astropy, with BSCALE and BZERO applied, and log that this was done.

    Parameters
    ----------
    raw : bytes
        The bytes of the HDU: header and data.
    primary : bool
        Whether this is a primary HDU.
    n_pixels : int
        Number of pixels that the header of a compressed image claims. 0 for an uncompressed image,
        which is read without a separate process.
    reason, where : str
        Why only astropy can read the image, and its file and HDU, for the log.

    Returns
    -------
    ndarray, (..., ny, nx)
        Of the type that astropy gives the pixels.

    Raises
    ------
    Exception
        Whatever astropy and its decoders raise.
    """
    log.info("%s: %s: read through astropy, which is slower", where, reason)
    if n_pixels:
        return decode_isolated(raw, primary, n_pixels)
    import astropy.io.fits  # noqa: F401 (warnings are ignored of what is imported)

    with ignore_astropy_warnings():
        return decoded(raw, primary)


def blanked(pixels: npt.NDArray[Any], blank: float) -> npt.NDArray[np.float32]:
    """Copy pixels to float32; the blank pixels of integer images become NaN.

    Parameters
    ----------
    pixels : ndarray, (ny, nx)
        Numbers of any type and byte order. Numbers beyond the range of float32 become infinite,
        which the steps count as bad.
    blank : float
        BLANK of an integer image, with BSCALE and BZERO applied; NaN where there is none.

    Returns
    -------
    ndarray, (ny, nx) float32
        C-contiguous, in the machine's byte order.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        image = np.array(pixels, dtype=np.float32, order="C")
    if pixels.dtype.kind in "iu" and np.isfinite(blank):
        image[pixels == blank] = np.nan
    return image
