"""Which of very many values medians, fits and quantiles are taken from: evenly spread, and at no fixed distance."""

from __future__ import annotations

import numpy as np

from gpuanom.records import Integers

_GOLDEN = 0.6180339887498949
"""Multiples of this number less their whole part are spread evenly, and never repeat."""


def evenly_spread(n: int, most: int) -> slice | Integers:
    """Return which of n values stand for all of them: one, at a place of its own, of every so many neighbours.

    Every second exposure would be one of the same field, where a telescope goes back and forth between two fields, and
    every second CCD of a survey one of the same half of the focal plane.

    Parameters
    ----------
    n : int
    most : int
        At most so many are taken.

    Returns
    -------
    slice or ndarray of int64
        All of them, as a slice, where there are no more than `most`; else places in ascending order.
    """
    step = max(1, -(-n // most))
    if step == 1:
        return slice(None)
    first = np.arange(0, n, step, dtype=np.int64)
    within = (first // step * _GOLDEN) % 1.0
    return np.minimum(first + (within * step).astype(np.int64), n - 1)
