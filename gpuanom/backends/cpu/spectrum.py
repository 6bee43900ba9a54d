"""Sums of the spectra of square parts of 128 x 128: a native Fourier transform, a part of the step `patterns`.

Two real parts are transformed together, one as the real and one as the imaginary part of complex numbers: the mean of
the powers at k and at -k is then half of the sum of both parts' powers. A transform along the first axis runs at the
width of the processor's vectors, all columns side by side; the second axis becomes the first by a transposition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from gpuanom.backends.pattern_layout import PART, hann, unit_circle
from gpuanom.native import doubles, helper, native
from gpuanom.records import Doubles

ROW = 136
"""Numbers between the beginnings of two rows: 128 would have columns share few places of the cache."""

_numbers = types.Array(types.float64, 1, "C", readonly=True)
_plane = types.Array(types.int16, 2, "C", readonly=True)
_places = types.Array(types.int32, 2, "C", readonly=True)


def power(plane: npt.NDArray[np.int16], places: npt.NDArray[np.int32], scale: float) -> Doubles:
    """Sum of the powers of parts of a plane under a Hann window.

    Parameters
    ----------
    plane : ndarray, (rows, columns) int16
    places : ndarray, (n, 2) int32
        First row and column of each part.
    scale : float
        What the numbers of the plane are multiplied by.

    Returns
    -------
    ndarray, (128, 65) float64
        Frequencies along y in the order of an FFT, and those along x from 0 to the highest.
    """
    total = np.zeros(PART * ROW)
    add_powers(plane, places, hann(), unit_circle(), total)
    order = _order()
    # The rows of the last result are frequencies along x.
    both = total.reshape(PART, ROW)[:, :PART].T[np.ix_(order, order)]
    mirrored = -np.arange(PART) % PART
    return np.asarray((both + both[np.ix_(mirrored, mirrored)])[:, : PART // 2 + 1] * (scale * scale / 2.0))


def _order() -> npt.NDArray[np.int64]:
    """Where each frequency lies after three steps of radix 4 and one of radix 2 that leave the order to the end."""
    k = np.arange(PART)
    return 32 * (k % 4) + 8 * (k // 4 % 4) + 2 * (k // 16 % 4) + k // 64


@helper
def _four(re: Any, im: Any, at: Any, apart: Any, angle: Any, turns: Any) -> None:
    """A step of radix 4 on four rows, `apart` numbers from each other; the turn of the second is angle/128."""
    n = np.uint64(128)
    c1, s1 = turns[angle], turns[n + angle]
    c2, s2 = turns[np.uint64(2) * angle], turns[n + np.uint64(2) * angle]
    c3, s3 = turns[np.uint64(3) * angle], turns[n + np.uint64(3) * angle]
    for x in range(128):
        i = at + np.uint64(x)
        j = i + apart
        k = j + apart
        m = k + apart
        # a +- c and b +- d
        pr, pi = re[i] + re[k], im[i] + im[k]
        qr, qi = re[i] - re[k], im[i] - im[k]
        ur, ui = re[j] + re[m], im[j] + im[m]
        vr, vi = re[j] - re[m], im[j] - im[m]
        re[i] = pr + ur
        im[i] = pi + ui
        # (qr + i qi) - i (vr + i vi), and + i, turned back.
        xr, xi = qr + vi, qi - vr
        yr, yi = pr - ur, pi - ui
        zr, zi = qr - vi, qi + vr
        re[j] = xr * c1 + xi * s1
        im[j] = xi * c1 - xr * s1
        re[k] = yr * c2 + yi * s2
        im[k] = yi * c2 - yr * s2
        re[m] = zr * c3 + zi * s3
        im[m] = zi * c3 - zr * s3


@helper
def _two(re: Any, im: Any, at: Any) -> None:
    """The last step, of radix 2, on two neighbouring rows."""
    for x in range(128):
        i = at + np.uint64(x)
        j = i + np.uint64(136)
        pr, pi = re[i], im[i]
        qr, qi = re[j], im[j]
        re[i] = pr + qr
        im[i] = pi + qi
        re[j] = pr - qr
        im[j] = pi - qi


@helper
def _transform(re: Any, im: Any, turns: Any) -> None:
    """Along the first axis, in place."""
    row = np.uint64(136)
    for y in range(32):
        _four(re, im, np.uint64(y) * row, np.uint64(32 * 136), np.uint64(y), turns)
    for first in range(0, 128, 32):
        for y in range(8):
            _four(re, im, np.uint64(first + y) * row, np.uint64(8 * 136), np.uint64(4 * y), turns)
    for first in range(0, 128, 8):
        for y in range(2):
            _four(re, im, np.uint64(first + y) * row, np.uint64(2 * 136), np.uint64(16 * y), turns)
    for first in range(0, 128, 2):
        _two(re, im, np.uint64(first) * row)


@helper
def _transpose(source: Any, target: Any) -> None:
    for y0 in range(0, 128, 8):
        for x0 in range(0, 128, 8):
            for y in range(8):
                for x in range(8):
                    i = np.uint64(136) * np.uint64(y0 + y) + np.uint64(x0 + x)
                    target[np.uint64(136) * np.uint64(x0 + x) + np.uint64(y0 + y)] = source[i]


@native(types.void(_plane, _places, _numbers, _numbers, types.float64[::1]))
def add_powers(plane: Any, places: Any, window: Any, turns: Any, total: Any) -> None:
    """Add the powers of pairs of parts, in the order in which the transform leaves them, transposed.

    Parameters
    ----------
    plane : ndarray, (rows, columns) int16
    places : ndarray, (n, 2) int32
        First row and column of each part.
    window : ndarray, (128,) float64
        What a part is multiplied by along each axis.
    turns : ndarray, (256,) float64
        See `unit_circle`.
    total : ndarray, (128 x 136,) float64
        In and out.
    """
    size = 128 * 136
    re, im, re2, im2 = doubles(size), doubles(size), doubles(size), doubles(size)
    n = len(places)
    for pair in range((n + 1) // 2):
        one, other = 2 * pair, min(2 * pair + 1, n - 1)
        for y in range(128):
            first = plane[places[one, 0] + y, places[one, 1] : places[one, 1] + 128]
            second = plane[places[other, 0] + y, places[other, 1] : places[other, 1] + 128]
            a = window[y]
            b = a if other > one else 0.0
            for x in range(128):
                i = np.uint64(136 * y + x)
                re[i] = np.float64(first[x]) * (a * window[x])
                im[i] = np.float64(second[x]) * (b * window[x])
        _transform(re, im, turns)
        _transpose(re, re2)
        _transpose(im, im2)
        _transform(re2, im2, turns)
        for y in range(128):
            for x in range(128):
                i = np.uint64(136 * y + x)
                total[i] += re2[i] * re2[i] + im2[i] * im2[i]
