"""Columns of texts, most of which come many times: a million CCDs have 61 names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gpuanom.records.kinds import Integers

Texts: TypeAlias = npt.NDArray[np.str_]

_PRIME = np.uint64(0x100000001B3)


@dataclass(frozen=True, eq=False)
class CodedTexts:
    """A long column of texts as the different texts, and the place of each row's text among them.

    A cause in words for each of a million CCDs is 300 MB as an array of NumPy, and a few MB like this.

    Attributes
    ----------
    different : ndarray, (m,) str
        Each text once, as wide as the column is as an array: at least as wide as the longest text.
    codes : ndarray, (n,) int64
    """

    different: Texts
    codes: Integers

    @classmethod
    def of(cls, texts: Texts) -> CodedTexts:
        """Return the texts of an array."""
        return cls(*coded(texts))

    @classmethod
    def joined(cls, parts: Sequence[CodedTexts | Texts]) -> CodedTexts:
        """Return the texts of several columns, one column after the other.

        Parameters
        ----------
        parts : sequence of CodedTexts or arrays of str
        """
        several = [part if isinstance(part, CodedTexts) else cls.of(part) for part in parts]
        different, places = coded(np.concatenate([part.different for part in several]))
        ends = np.cumsum([0, *(part.different.size for part in several)])
        codes = [np.take(places[ends[k] :], part.codes) for k, part in enumerate(several)]
        return cls(different, np.concatenate(codes))

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.codes.size

    @property
    def width(self) -> int:
        """The letters that each text has room for in `array`."""
        return self.different.dtype.itemsize // 4

    def array(self) -> Texts:
        """The texts as an array of NumPy, (n,) str."""
        return np.take(self.different, self.codes)

    def take(self, rows: Integers | slice) -> CodedTexts:
        """Return the texts of these rows, in this order."""
        return replace(self, codes=self.codes[rows] if isinstance(rows, slice) else np.take(self.codes, rows))


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
    if texts.size >= MANY and texts.itemsize:
        return _coded_natively(texts)
    keys = _keys(texts)
    _, first, codes = np.unique(keys, return_index=True, return_inverse=True)
    different = texts[first]
    if not np.array_equal(different[codes], texts):  # two texts have the same key
        different, first, codes = np.unique(texts, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty(order.size, dtype=np.int64)
    place[order] = np.arange(order.size)
    return different[order], place[codes]


def texts_of(different: Texts, codes: Integers) -> Texts:
    """Return the text of each row from its place among different texts, as wide as the longest that comes.

    Parameters
    ----------
    different : ndarray, (m,) str
    codes : ndarray, (n,) int64

    Returns
    -------
    ndarray, (n,) str
    """
    comes = np.bincount(codes, minlength=different.size) > 0
    longest = np.strings.str_len(different[comes]).max(initial=1)
    return np.take(different.astype(f"U{longest}"), codes)


def none_but(texts: Mapping[int, str], n: int) -> Texts:
    """Return n empty texts, except for a few rows.

    Parameters
    ----------
    texts : mapping of int to str
        The texts by row.
    n : int
    """
    longest = max(map(len, texts.values()), default=1)
    result = np.zeros(n, dtype=f"U{max(longest, 1)}")
    result[list(texts)] = list(texts.values())
    return result


MANY = 100_000
"""From so many texts on, to load the compiled loop takes less time than the loop saves."""


def _coded_natively(texts: Texts) -> tuple[Texts, Integers]:
    """Return what `coded` returns, from a compiled loop: it takes a fifth of the time."""
    from gpuanom.records.texts_loop import number_texts

    table = np.full(2 << texts.size.bit_length(), -1, dtype=np.int64)
    codes, first = np.empty(texts.size, dtype=np.int64), np.empty(texts.size, dtype=np.int64)
    n_different = number_texts(_letters(texts), table, codes, first)
    return texts[first[:n_different]], codes


def _letters(texts: Texts) -> npt.NDArray[np.uint32]:
    """The letters of each text, (n, length of the longest) uint32."""
    return np.ascontiguousarray(texts).view(np.uint32).reshape(texts.size, -1)


def _keys(texts: Texts) -> npt.NDArray[np.uint64]:
    """A number for each text, of which sorting is ten times as fast as that of texts."""
    keys = np.zeros(texts.size, dtype=np.uint64)
    for column in _letters(texts).T:
        keys = (keys ^ column) * _PRIME
    return keys
