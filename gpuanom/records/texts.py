"""Columns of texts, most of which come many times: a million CCDs have 61 names."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gpuanom.records.kinds import Integers

Texts: TypeAlias = npt.NDArray[np.str_]

_PRIME = np.uint64(0x100000001B3)


def coded(texts: Texts) -> tuple[Texts, Integers]:
    """Return the different texts of a column, and the place of each row's text among them.

    Parameters
    ----------
    texts : ndarray, (n,) str

    Returns
    -------
    different : ndarray, (m,) str
        In the order in which they first come.
    codes : ndarray, (n,) int64
    """
    if not texts.size:
        return texts, np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.concatenate([[True], texts[1:] != texts[:-1]]))
    if 2 * starts.size < texts.size:
        different, codes = coded(texts[starts])
        return different, np.repeat(codes, np.diff(starts, append=texts.size))
    keys = _keys(texts)
    _, first, codes = np.unique(keys, return_index=True, return_inverse=True)
    different = texts[first]
    if not np.array_equal(different[codes], texts):  # two texts have the same key
        different, first, codes = np.unique(texts, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(order.size, dtype=np.int64)
    place[order] = np.arange(order.size)
    return different[order], place[codes]


def _keys(texts: Texts) -> npt.NDArray[np.uint64]:
    """A number for each text, of which sorting is ten times as fast as that of texts."""
    letters = np.ascontiguousarray(texts).view(np.uint32).reshape(texts.size, -1)
    keys = np.zeros(texts.size, dtype=np.uint64)
    for column in letters.T:
        keys = (keys ^ column) * _PRIME
    return keys
