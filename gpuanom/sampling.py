"""The random points: functions of their key, and the same on every machine (METHOD.md 6).

A key depends only on the seed, the exposure's id, the CCD's id and the purpose that points are
drawn for, and points depend on their key and their number only, never on order, batch or device.
So a backend draws them where it uses them (`gpuanom.backends.protocol.Backend.points`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from operator import add, methodcaller
from typing import Literal

import numpy as np
import numpy.typing as npt

Purpose = Literal["background", "sigma", "gradients", "simulation", "stamps", "split"]
"""What random numbers are drawn for: points of the fit, of sigma and of gradients; simulated histograms; the stamps
that train an autoencoder; the split into training and test."""


@lru_cache(maxsize=1024)
def _with_length(text: str) -> bytes:
    """The bytes of a text behind their number."""
    content = text.encode()
    return len(content).to_bytes(4, "little") + content


def keys(seed: int, exposures: Sequence[str], ccds: Sequence[str], purpose: Purpose) -> npt.NDArray[np.uint64]:
    """Return the keys of the random numbers of several CCDs for one purpose (METHOD.md 6).

    Parameters
    ----------
    seed : int
        The setting `seed`.
    exposures : sequence of str
        Id of the exposure of each CCD.
    ccds : sequence of str
        Ids of the CCDs.
    purpose : str
        What the random numbers are for, see `Purpose`.

    Returns
    -------
    ndarray, (n_ccd, 2) uint64
        BLAKE2b-128 of seed, exposure, CCD and purpose: two little-endian words of 64 bits. Each of the four is preceded
        by its length in the hashed message, so that different ones never share a key.
    """
    # What the CCDs of an exposure have in common is hashed once. Functions written in C go through the CCDs, since a
    # loop would hold the interpreter's lock several times as long.
    begin, end = _with_length(str(seed)), _with_length(purpose)
    common = {exposure: hashlib.blake2b(begin + _with_length(exposure), digest_size=16) for exposure in set(exposures)}
    hashes = list(map(methodcaller("copy"), map(common.__getitem__, exposures)))
    list(map(hashlib.blake2b.update, hashes, map(add, map(_with_length, ccds), repeat(end))))
    digests = b"".join(map(hashlib.blake2b.digest, hashes))
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64).reshape(-1, 2)


def stream(seed: int, exposure: str, ccd: str, purpose: Purpose) -> np.random.Philox:
    """Return the random generator of one purpose: Philox4x64, counter-based, with the key of `keys`.

    Parameters
    ----------
    seed, exposure, ccd, purpose
        As for `keys`.
    """
    return np.random.Philox(key=keys(seed, [exposure], [ccd], purpose)[0])


def span(size: int, margin: int) -> int:
    """Return how many different coordinates points have along an axis (`gpuanom.backends.protocol.Backend.points`)."""
    return size + 1 - 2 * margin if margin else size
