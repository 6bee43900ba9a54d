"""The random points: drawn once, on the host, and the same on every machine (METHOD.md 6).

A point depends only on the seed, the exposure's id, the CCD's id and what it is for, never on order, batch or device.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np
import numpy.typing as npt

Purpose = Literal["background", "sigma", "gradients", "simulation", "stamps", "split"]


def stream(seed: int, exposure: str, ccd: str, purpose: Purpose) -> np.random.Philox:
    """The counter-based generator of one purpose: Philox4x64 keyed by BLAKE2b-128 of its arguments.

    Each text is preceded by its length, so that no two different sets of arguments share a key.
    """
    texts = [text.encode() for text in (str(seed), exposure, ccd, purpose)]
    message = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    digest = hashlib.blake2b(message, digest_size=16).digest()
    return np.random.Philox(key=np.frombuffer(digest, dtype="<u8").astype(np.uint64))


def points(
    seed: int, exposure: str, ccd: str, purpose: Purpose, n: int, ny: int, nx: int, margin: int = 0
) -> npt.NDArray[np.int32]:
    """Random pixels of a CCD, with replacement.

    Parameters
    ----------
    seed : int
    exposure, ccd : str
        Ids.
    purpose : str
        What the points are for.
    n : int
        How many.
    ny, nx : int
        Shape of the CCD in pixels.
    margin : int, optional
        Half of an even-sized patch: points keep to ``margin ... size - margin``, where it fits. 0 means all pixels.

    Returns
    -------
    ndarray, (n, 2) int32
        (y, x), 0-based, in draw order. One raw 64-bit word a point: its upper half gives y, its lower half x, each by
        multiply and shift.
    """
    words = stream(seed, exposure, ccd, purpose).random_raw(n)
    span = 1 - 2 * margin if margin else 0
    drawn = np.empty((n, 2), dtype=np.int32)
    drawn[:, 0] = margin + (((words >> np.uint64(32)) * np.uint64(ny + span)) >> np.uint64(32))
    drawn[:, 1] = margin + (((words & np.uint64(0xFFFFFFFF)) * np.uint64(nx + span)) >> np.uint64(32))
    return drawn
