"""The stamp check and the moments of each source, the NumPy twin of kernels/moments.cu (METHOD.md 2, 3, 3b).

With a candidate's stamp at hand, one visit tells whether it is the brightest, how many pixels are above the count's
threshold, its moments, and, as 64-bit row masks, which pixels belong to its isophote.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from gpuanom.cpu import polynomial
from gpuanom.records import Doubles, FloatImage, Integers, Unfit
from gpuanom.settings import Settings

STAMPS_AT_ONCE = 24
"""Stamps worked on together: with their float64 values and one scratch array they stay within a core's cache."""

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
    parts = [none()]
    for start in range(0, y.size, STAMPS_AT_ONCE):
        some = slice(start, start + STAMPS_AT_ONCE)
        parts.append(_check_some(image, bad, has_unfit, c, sigma, y[some], x[some], settings))
    return join(parts)


def stamp_values(
    image: FloatImage,
    bad: npt.NDArray[np.uint8] | None,
    has_unfit: bool,
    c: Doubles,
    y: Integers,
    x: Integers,
    size: int,
) -> Doubles:
    """v over the stamps of the given pixels, (n, size, size) float64; `UNFIT` where a pixel is unusable."""
    ny, nx = image.shape
    half = size // 2
    corner = (y - half, x - half)
    raw = np.lib.stride_tricks.sliding_window_view(image, (size, size))[corner]
    across = np.arange(-half, half)
    Y = polynomial.scaled(y[:, None] + across, ny)[:, :, None]
    X = polynomial.scaled(x[:, None] + across, nx)[:, None, :]
    # The operations of polynomial.evaluate in its order, in place.
    v: Doubles = np.add(c[1] + c[4] * Y, c[3] * X)
    v *= X
    v += c[0] + Y * (c[2] + c[5] * Y)
    np.subtract(raw, v, out=v)
    if has_unfit:
        unfit = ~np.isfinite(raw)
        if bad is not None:
            unfit |= (np.lib.stride_tricks.sliding_window_view(bad, (size, size))[corner] & Unfit.SOURCES) != 0
        v[unfit] = UNFIT
    return v


def _check_some(
    image: FloatImage,
    bad: npt.NDArray[np.uint8] | None,
    has_unfit: bool,
    c: Doubles,
    sigma: float,
    y: Integers,
    x: Integers,
    settings: Settings,
) -> Checked:
    size = settings.stamp_size
    half = size // 2
    v = stamp_values(image, bad, has_unfit, c, y, x, size)
    above = _row_masks(v > settings.above_threshold * sigma)
    n_above = np.bitwise_count(above).sum(axis=1, dtype=np.int64)
    # argmax gives the first of equal values, which is the rule for ties.
    brightest = v.reshape(y.size, -1).argmax(axis=1) == half * size + half
    value = v[:, half, half].copy()
    over = v > (settings.moment_fraction * value)[:, None, None]
    if settings.isophote_threshold != settings.above_threshold:
        above = _row_masks(v > settings.isophote_threshold * sigma)
    isophote = _connected(above & _row_masks(over), half)
    isophote_moments = _isophote_moments(v, isophote, half)
    # Multiplying by the choice is seven times quicker than np.where.
    v *= over
    checked = Checked(
        y=y,
        x=x,
        value=value,
        n_above=n_above,
        moments=_moments(v, half),
        isophote_moments=isophote_moments,
        n_isophote=np.bitwise_count(isophote).sum(axis=1, dtype=np.int64),
    )
    # Few candidates fail here: dropping them last costs less than copying the others' stamps.
    kept = brightest & (n_above > settings.above_pixels)
    return Checked(*(getattr(checked, f.name)[kept] for f in fields(Checked)))


def _moments(weights: Doubles, half: int) -> Doubles:
    """Q20, Q02, Q11 of stamps of weights, (n, size, size) to (n, 3).

    One small matrix product a stamp, always of the same shape: its order of summation cannot depend on the batch.
    """
    across = np.arange(-half, half, dtype=np.float64)
    powers = np.stack([np.ones_like(across), across, across**2], axis=1)
    rows = weights @ powers
    return np.stack(
        [rows[:, :, 2].sum(axis=1), (rows[:, :, 0] * across**2).sum(axis=1), (rows[:, :, 1] * across).sum(axis=1)],
        axis=1,
    )


def _row_masks(chosen: npt.NDArray[np.bool_]) -> RowMasks:
    """Stamps of booleans, (n, size, size), as one 64-bit word a row, (n, size): bit i is column i."""
    n, size, _ = chosen.shape
    packed = np.packbits(chosen, axis=2, bitorder="little")
    if packed.shape[2] < 8:
        packed = np.concatenate([packed, np.zeros((n, size, 8 - packed.shape[2]), dtype=np.uint8)], axis=2)
    return np.ascontiguousarray(packed).view("<u8")[:, :, 0]


def _connected(allowed: RowMasks, half: int) -> RowMasks:
    """The pixels 4-connected to each stamp's centre through allowed ones: grown row by row until nothing changes."""
    one = np.uint64(1)
    grown = np.zeros_like(allowed)
    grown[:, half] = allowed[:, half] & (one << np.uint64(half))
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


def _isophote_moments(v: Doubles, isophote: RowMasks, half: int) -> Doubles:
    """Q20, Q02, Q11 of v over the isophotes, (n, 3)."""
    n, size, _ = v.shape
    bits = np.unpackbits(np.ascontiguousarray(isophote).view(np.uint8).reshape(n, size, 8), axis=2, bitorder="little")
    where = np.flatnonzero(bits[:, :, :size].view(np.bool_))
    row = where // size
    stamp = row // size
    dy, dx = (row - stamp * size - half).astype(np.float64), (where - row * size - half).astype(np.float64)
    weight = v.reshape(-1)[where]
    return np.stack([np.bincount(stamp, weight * term, minlength=n) for term in (dx * dx, dy * dy, dx * dy)], axis=1)
