"""The random points: drawn once, on the host, and the same on every machine (METHOD.md 6).

A point depends only on the seed, the exposure's id, the CCD's id and the purpose that it is drawn
for, never on order, batch or device.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import numpy.typing as npt

Purpose = Literal["background", "sigma", "gradients", "simulation", "stamps", "split"]
"""What random numbers are drawn for: points of the fit, of sigma and of gradients; simulated histograms; the stamps
that train an autoencoder; the split into training and test."""


def stream(seed: int, exposure: str, ccd: str, purpose: Purpose) -> np.random.Philox:
    """Return the random generator of one purpose (METHOD.md 6).

    Parameters
    ----------
    seed : int
        The setting `seed`.
    exposure, ccd : str
        Ids of the exposure and of the CCD.
    purpose : str
        What the random numbers are for, see `Purpose`.

    Returns
    -------
    numpy.random.Philox
        Philox4x64, counter-based, keyed by BLAKE2b-128 of the four arguments. Each argument is
        preceded by its length in the hashed message, so that different arguments never share a
        key.
    """
    texts = [text.encode() for text in (str(seed), exposure, ccd, purpose)]
    message = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    digest = hashlib.blake2b(message, digest_size=16).digest()
    return np.random.Philox(key=np.frombuffer(digest, dtype="<u8").astype(np.uint64))


def points(
    seed: int, exposure: str, ccd: str, purpose: Purpose, n: int, ny: int, nx: int, margin: int = 0
) -> npt.NDArray[np.int32]:
    """Draw random pixels of a CCD, with replacement (METHOD.md 6).

    Parameters
    ----------
    seed : int
        The setting `seed`.
    exposure, ccd : str
        Ids of the exposure and of the CCD.
    purpose : str
        What the points are for, see `Purpose`.
    n : int
        Number of points.
    ny, nx : int
        Shape of the CCD in pixels.
    margin : int, optional
        Half the side of an even-sized patch, in pixels: points keep to ``margin ... size -
        margin``, where the patch lies on the CCD. 0 means all pixels.

    Returns
    -------
    ndarray, (n, 2) int32
        (y, x), 0-based, in draw order. Each point takes one raw 64-bit word: the upper half gives
        y and the lower half x, each by multiply and shift.
    """
    words = stream(seed, exposure, ccd, purpose).random_raw(n)
    span = 1 - 2 * margin if margin else 0
    drawn = np.empty((n, 2), dtype=np.int32)
    drawn[:, 0] = margin + (((words >> np.uint64(32)) * np.uint64(ny + span)) >> np.uint64(32))
    drawn[:, 1] = margin + (((words & np.uint64(0xFFFFFFFF)) * np.uint64(nx + span)) >> np.uint64(32))
    return drawn
