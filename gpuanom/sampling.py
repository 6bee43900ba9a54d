"""The random points: functions of their key, and the same on every machine (METHOD.md 6).

A key depends only on the seed, the exposure's id, the CCD's id and the purpose that points are
drawn for, and points depend on their key and their number only, never on order, batch or device.
So a backend draws them where it uses them (`gpuanom.backends.protocol.Backend.points`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

Purpose = Literal["background", "sigma", "gradients", "simulation", "stamps", "split"]
"""What random numbers are drawn for: points of the fit, of sigma and of gradients; simulated histograms; the stamps
that train an autoencoder; the split into training and test."""


def key(seed: int, exposure: str, ccd: str, purpose: Purpose) -> bytes:
    """Return the key of the random numbers of one purpose (METHOD.md 6).

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
    bytes
        BLAKE2b-128 of the four arguments: two little-endian words of 64 bits. Each argument is
        preceded by its length in the hashed message, so that different arguments never share a
        key.
    """
    message = b"".join(map(_with_length, (str(seed), exposure, ccd, purpose)))
    return hashlib.blake2b(message, digest_size=16).digest()


@lru_cache(maxsize=1024)
def _with_length(text: str) -> bytes:
    """The bytes of a text behind their number."""
    content = text.encode()
    return len(content).to_bytes(4, "little") + content


def keys(seed: int, exposure: str, ccds: Sequence[str], purpose: Purpose) -> npt.NDArray[np.uint64]:
    """Return the keys of several CCDs as numbers, (n_ccd, 2) uint64; see `key`."""
    # What the CCDs have in common is hashed once.
    common = hashlib.blake2b(_with_length(str(seed)) + _with_length(exposure), digest_size=16)
    end = _with_length(purpose)
    digests = []
    for ccd in ccds:
        of_ccd = common.copy()
        of_ccd.update(_with_length(ccd) + end)
        digests.append(of_ccd.digest())
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64).reshape(-1, 2)


def stream(seed: int, exposure: str, ccd: str, purpose: Purpose) -> np.random.Philox:
    """Return the random generator of one purpose: Philox4x64, counter-based, with the key of `key`.

    Parameters
    ----------
    seed, exposure, ccd, purpose
        As for `key`.
    """
    return np.random.Philox(key=keys(seed, exposure, [ccd], purpose)[0])


def span(size: int, margin: int) -> int:
    """Return how many different coordinates points have along an axis; see the argument `margin` of `points`."""
    return size + 1 - 2 * margin if margin else size


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
    height, width = np.uint64(span(ny, margin)), np.uint64(span(nx, margin))
    drawn = np.empty((n, 2), dtype=np.int32)
    drawn[:, 0] = margin + (((words >> np.uint64(32)) * height) >> np.uint64(32))
    drawn[:, 1] = margin + (((words & np.uint64(0xFFFFFFFF)) * width) >> np.uint64(32))
    return drawn
