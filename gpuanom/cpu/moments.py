"""The stamp check and the moments of each source, the NumPy twin of kernels/moments.cu (METHOD.md 2, 3, 3b).

With a candidate's stamp at hand, one visit tells whether it is the brightest, how many pixels are above the count's
threshold, its moments, and, as 64-bit row masks, which pixels may belong to its isophote; the isophotes are then grown
for all sources together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.cpu import polynomial
from gpuanom.records import Doubles, FloatImage, Integers, Unfit
from gpuanom.settings import Settings

STAMPS_AT_ONCE = 12
"""Stamps worked on together: their float64 values and one scratch array stay within a core's cache."""

ISOPHOTES_AT_ONCE = 100
"""Isophotes summed together: some thousand pixels, so that every array is small enough to be used again."""

RowMasks = npt.NDArray[np.uint64]

UNFIT = -np.finfo(np.float64).max
"""Stands for v where a pixel is unusable: below every threshold, and finite, so that a weight of 0 removes it."""


@dataclass(frozen=True, eq=False)
class Checked:
    """The candidates that are sources; the fields of `gpuanom.records.Sources` for one CCD."""

    y: Integers
    x: Integers
    value: Doubles
    n_above: Integers
    moments: Doubles
    isophote_moments: Doubles
    n_isophote: Integers


def none() -> Checked:
    """No sources."""
    i, f = np.zeros(0, dtype=np.int64), np.zeros((0, 3))
    return Checked(i, i, f[:, 0], i, f, f, i)


def join(parts: list[Checked]) -> Checked:
    """All parts, one after the other."""
    return Checked(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Checked)))


def check(
    image: FloatImage,
    bad: npt.NDArray[np.uint8] | None,
    has_unfit: bool,
    c: Doubles,
    sigma: float,
    y: Integers,
    x: Integers,
    settings: Settings,
) -> Checked:
    """Sort out the candidates that are sources and sum their moments.

    Parameters
    ----------
    image : ndarray, (ny, nx) float32
    bad : ndarray, (ny, nx) uint8, or None
    has_unfit : bool
        Whether the CCD has any pixel that is bad for sources or not finite.
    c : ndarray, (6,) float64
        Background coefficients.
    sigma : float
    y, x : ndarray, (n,) int64
        Candidates whose stamps lie on the CCD.
    settings : Settings

    Returns
    -------
    Checked
        In the order of the candidates.
    """
    n, size = y.size, settings.stamp_size
    if not n:
        return none()
    visited = _Visited(
        brightest=np.zeros(n, dtype=bool),
        value=np.zeros(n),
        n_above=np.zeros(n, dtype=np.int64),
        moments=np.zeros((n, 3)),
        allowed=np.zeros((n, size), dtype=np.uint64),
    )
    v, sky = _scratch((2, min(n, STAMPS_AT_ONCE), size, size))
    stamps = _Stamps(image, bad, has_unfit, c, size)
    for start in range(0, n, STAMPS_AT_ONCE):
        some = slice(start, min(start + STAMPS_AT_ONCE, n))
        m = some.stop - start
        stamps.fill(y[some], x[some], v[:m], sky[:m])
        _visit(v[:m], sigma, settings, visited, some)
    kept = visited.brightest & (visited.n_above > settings.above_pixels)
    y, x = y[kept], x[kept]
    isophote = _connected(visited.allowed[kept], size // 2)
    return Checked(
        y=y,
        x=x,
        value=visited.value[kept],
        n_above=visited.n_above[kept],
        moments=visited.moments[kept],
        isophote_moments=_isophote_moments(image, c, y, x, isophote),
        n_isophote=np.bitwise_count(isophote).sum(axis=1, dtype=np.int64),
    )


def _scratch(shape: tuple[int, ...]) -> Doubles:
    """An array that begins with a cache line: no vector that a loop reads or writes then straddles two of them."""
    n = math.prod(shape)
    memory = np.empty(n + 7)
    start = -(memory.ctypes.data // memory.itemsize) % 8
    return memory[start : start + n].reshape(shape)


def row_items(image: npt.NDArray[Any], length: int) -> npt.NDArray[np.void]:
    """Every run of `length` pixels, those from (y, x) on at index y nx + x, as one item of so many bytes.

    Whole rows of small windows are gathered from it, which is twice as quick as pixel by pixel or slice by slice.
    """
    flat = np.ascontiguousarray(image).reshape(-1)
    return np.ndarray((flat.size - length + 1,), f"V{length * flat.itemsize}", flat, strides=(flat.itemsize,))


def stamp_values(
    image: FloatImage,
    bad: npt.NDArray[np.uint8] | None,
    has_unfit: bool,
    c: Doubles,
    y: Integers,
    x: Integers,
    v: Doubles,
    sky: Doubles,
) -> None:
    """Fill v, (n, size, size) float64, over the stamps of the given pixels; `UNFIT` where a pixel is unusable.

    `sky` is scratch of the same shape: memory used again is much quicker than memory that the system must first map.
    """
    _Stamps(image, bad, has_unfit, c, v.shape[1]).fill(y, x, v, sky)


class _Stamps:
    """The stamps of one CCD."""

    def __init__(
        self, image: FloatImage, bad: npt.NDArray[np.uint8] | None, has_unfit: bool, c: Doubles, size: int
    ) -> None:
        ny, self._width = image.shape
        self._rows = row_items(image, size)
        self._row_starts = np.arange(size) * self._width
        self._sky = polynomial.Windows(c, ny, self._width, size)
        self._flags = None if bad is None else row_items(bad, size)
        self._has_unfit = has_unfit

    def fill(self, y: Integers, x: Integers, v: Doubles, sky: Doubles) -> None:
        """See `stamp_values`."""
        y, x = y - v.shape[1] // 2, x - v.shape[1] // 2
        items = (y * self._width + x)[:, None] + self._row_starts
        self._sky.fill(y, x, sky)
        v[...] = self._rows[items].view(np.float32).reshape(v.shape)
        v -= sky
        if self._has_unfit:
            unfit = ~np.isfinite(v)
            if self._flags is not None:
                unfit |= (self._flags[items].view(np.uint8).reshape(v.shape) & Unfit.SOURCES) != 0
            v[unfit] = UNFIT


@dataclass(frozen=True, eq=False)
class _Visited:
    """What the visits to the candidates' stamps tell; `allowed` are the row masks of pixels above the isophote."""

    brightest: npt.NDArray[np.bool_]
    value: Doubles
    n_above: Integers
    moments: Doubles
    allowed: RowMasks


def _visit(v: Doubles, sigma: float, settings: Settings, visited: _Visited, some: slice) -> None:
    """Fill in what some stamps tell; v is used up."""
    n, size, _ = v.shape
    centre = size // 2 * (size + 1)
    flat = v.reshape(n, -1)
    value = flat[:, centre].copy()
    # argmax gives the first of equal values, which is the rule for ties.
    visited.brightest[some] = flat.argmax(axis=1) == centre
    visited.value[some] = value
    above = _row_masks(flat > settings.above_threshold * sigma, size)
    visited.n_above[some] = np.bitwise_count(above).sum(axis=1, dtype=np.int64)
    if settings.isophote_threshold != settings.above_threshold:
        above = _row_masks(flat > settings.isophote_threshold * sigma, size)
    over = np.empty(flat.shape, dtype=bool)
    # One call a stamp: twice as quick as a column of thresholds, broadcast.
    for pixels, chosen, least in zip(flat, over, (settings.moment_fraction * value).tolist(), strict=True):
        np.greater(pixels, least, out=chosen)
    visited.allowed[some] = above & _row_masks(over, size)
    # Multiplying by the choice is seven times quicker than np.where.
    flat *= over
    visited.moments[some] = _moments(v)


def _moments(weights: Doubles) -> Doubles:
    """Q20, Q02, Q11 of stamps of weights, (n, size, size) to (n, 3).

    One small matrix product a stamp, always of the same shape: its order of summation cannot depend on the batch.
    """
    powers = _powers(weights.shape[1])
    # Each column's sums of 1, y and y^2, times the powers of x that go with them: x^2, then x y, then y^2.
    in_x = (powers @ weights) * powers[::-1]
    return np.asarray(np.add.reduce(in_x, axis=2)[:, [0, 2, 1]])


@lru_cache(maxsize=8)
def _powers(size: int) -> Doubles:
    """1, x and x^2 over a stamp's columns, (3, size)."""
    across = np.arange(-(size // 2), size // 2, dtype=np.float64)
    return np.stack([np.ones_like(across), across, across**2])


def _row_masks(chosen: npt.NDArray[np.bool_], size: int) -> RowMasks:
    """Stamps of booleans, (n, size x size), as one 64-bit word a row, (n, size): bit i is column i."""
    n = len(chosen)
    if size == 64:
        return np.packbits(chosen, bitorder="little").view("<u8").reshape(n, size)
    packed = np.packbits(chosen.reshape(n, size, size), axis=2, bitorder="little")
    padded = np.zeros((n, size, 8), dtype=np.uint8)
    padded[:, :, : packed.shape[2]] = packed
    return padded.view("<u8")[:, :, 0]


def _connected(allowed: RowMasks, half: int) -> RowMasks:
    """The pixels 4-connected to each stamp's centre through allowed ones.

    Most isophotes are small: they are grown in the middle rows first, and in all rows only where they reach the edge.
    """
    reach = max(1, half // 4)
    middle = slice(half - reach, half + reach)
    grown = np.zeros_like(allowed)
    grown[:, middle] = _grown(np.ascontiguousarray(allowed[:, middle]), reach, half)
    large = np.flatnonzero(grown[:, middle.start] | grown[:, middle.stop - 1])
    if large.size:
        grown[large] = _grown(allowed[large], half, half)
    return grown


def _grown(allowed: RowMasks, row: int, column: int) -> RowMasks:
    """The pixels 4-connected to (row, column) through allowed ones: grown until nothing changes."""
    one = np.uint64(1)
    grown = np.zeros_like(allowed)
    grown[:, row] = allowed[:, row] & (one << np.uint64(column))
    active = np.arange(len(allowed))
    while active.size:
        old, may = grown[active], allowed[active]
        new = old | (old << one) | (old >> one)
        new[:, 1:] |= old[:, :-1]
        new[:, :-1] |= old[:, 1:]
        new &= may
        # A set bit climbs its run of allowed bits by the carry of one addition.
        new |= may & ~(may + new)
        grown[active] = new
        active = active[(new != old).any(axis=1)]
    return grown


def _isophote_moments(image: FloatImage, c: Doubles, y: Integers, x: Integers, isophote: RowMasks) -> Doubles:
    """Q20, Q02, Q11 of v over the isophotes, (n, 3); their pixels are few, so v is evaluated there anew."""
    ny, nx = image.shape
    n, size = isophote.shape
    half = size // 2
    result = np.empty((n, 3))
    for start in range(0, n, ISOPHOTES_AT_ONCE):
        rows = isophote[start : start + ISOPHOTES_AT_ONCE]
        filled = np.flatnonzero(rows)
        bits = np.unpackbits(rows.reshape(-1)[filled].view(np.uint8), bitorder="little").view(np.bool_)
        bit = np.flatnonzero(bits)
        row, column = filled[bit >> 6], bit & 63
        stamp = row // size
        dy, dx = row - stamp * size - half, column - half
        at_y, at_x = y[start + stamp] + dy, x[start + stamp] + dx
        v = image[at_y, at_x] - polynomial.evaluate(c, polynomial.scaled(at_y, ny), polynomial.scaled(at_x, nx))
        for i, term in enumerate((dx * dx, dy * dy, dx * dy)):
            result[start : start + len(rows), i] = np.bincount(stamp, v * term, minlength=len(rows))
    return result
