"""Numbers and rows of a table as text: native loops, for the millions of values of a survey's tables."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from gpuanom.native import native

WIDTH = 24
"""Letters of the longest float64, -2.2250738585072014e-308, and of more than the longest int64."""

_DIGITS = 7
_LEAST = 10.0 ** (_DIGITS - 1)
_MINUS, _POINT, _ZERO, _QUOTE, _E, _PLUS = (np.uint8(ord(letter)) for letter in '-.0"e+')
_BLANK, _NEW_LINE = np.uint8(ord(" ")), np.uint8(ord("\n"))

_flags = types.Array(types.boolean, 1, "C", readonly=True)
_letters = types.Array(types.uint8, 1, "C", readonly=True)
_doubles = types.Array(types.float64, 1, "C", readonly=True)
_whole = types.Array(types.int64, 1, "C", readonly=True)
_places = types.Array(types.int64, 2, "C", readonly=True)


@native(types.int64(_doubles, _flags, _doubles, types.uint8[:, ::1], types.int64[::1], types.int64[::1]))
def write_floats(values: Any, missing: Any, powers: Any, texts: Any, lengths: Any, left: Any) -> Any:
    """Write numbers of at most seven digits as Python's `repr` does, and list the others.

    A number is such a one if a whole number of seven digits, times or divided by an exact power of ten, is rounded to
    just this number. The quotient of two exact numbers is rounded correctly, so that it is what reading the digits
    gives; and no other number of at most 15 digits is read as the same float64, so that these are the digits of `repr`.

    Parameters
    ----------
    values : ndarray, (n,) float64
    missing : ndarray, (n,) bool
        Where there is no value: two quotation marks are written.
    powers : ndarray, (m,) float64
        1, 10, 100 ...: the powers of ten that are exact.
    texts : ndarray, (n, `WIDTH`) uint8
        Out: the letters of each number.
    lengths : ndarray, (n,) int64
        Out: how many letters each number has.
    left : ndarray, (n,) int64
        Out: the indices of the numbers that are left.

    Returns
    -------
    int
        How many are left.
    """
    n_left, exponent, most_powers = 0, 0, len(powers)
    for i in range(len(values)):
        value, size, at = values[i], abs(values[i]), 0
        if missing[i]:
            texts[i, 0] = texts[i, 1] = _QUOTE
            lengths[i] = 2
            continue
        if math.copysign(1.0, value) < 0.0:
            texts[i, 0] = _MINUS
            at = 1
        if size == 0.0:
            texts[i, at], texts[i, at + 1], texts[i, at + 2] = _ZERO, _POINT, _ZERO
            lengths[i] = at + 3
            continue
        power, scaled, found = powers[0], 0.0, False
        if size < np.inf:
            # The numbers of a column have about the same size: the power of ten is looked for from the last one on.
            for _ in range(2 * most_powers):
                power = powers[abs(exponent)]
                scaled = size / power if exponent < 0 else size * power
                # Beside a power of ten the scaled number may be rounded to the next decade.
                if scaled < _LEAST - 0.5:
                    exponent += 1
                elif scaled >= 10.0 * _LEAST - 0.5:
                    exponent -= 1
                else:
                    found = True
                    break
                if abs(exponent) == most_powers:
                    break
        if abs(exponent) == most_powers:
            exponent = 0
        digits = np.rint(scaled)
        if not found or (digits * power if exponent < 0 else digits / power) != size:
            left[n_left] = i
            n_left += 1
            continue
        number, n_digits, divisor = np.int64(digits), _DIGITS, np.int64(_LEAST)
        while number % 10 == 0:
            number, divisor, n_digits = number // 10, divisor // 10, n_digits - 1
        decade = _DIGITS - 1 - exponent
        with_exponent = decade < -4 or decade >= 16
        # The point comes after so many digits; zeros come before them where the number is below 1.
        point = 1 if with_exponent else decade + 1
        if point <= 0:
            texts[i, at], texts[i, at + 1] = _ZERO, _POINT
            at += 2
            for _ in range(-point):
                texts[i, at] = _ZERO
                at += 1
        for k in range(max(n_digits, point)):
            if k == point and k > 0:
                texts[i, at] = _POINT
                at += 1
            texts[i, at] = _ZERO
            if k < n_digits:
                texts[i, at] = _ZERO + np.uint8(number // divisor % 10)
                divisor = max(divisor // 10, np.int64(1))
            at += 1
        if n_digits <= point and not with_exponent:
            texts[i, at], texts[i, at + 1] = _POINT, _ZERO
            at += 2
        if with_exponent:
            texts[i, at], texts[i, at + 1] = _E, _MINUS if decade < 0 else _PLUS
            texts[i, at + 2] = _ZERO + np.uint8(abs(decade) // 10)
            texts[i, at + 3] = _ZERO + np.uint8(abs(decade) % 10)
            at += 4
        lengths[i] = at
    return n_left


@native(types.void(_whole, _flags, types.uint8[:, ::1], types.int64[::1]))
def write_whole_numbers(values: Any, missing: Any, texts: Any, lengths: Any) -> None:
    """Write whole numbers.

    Parameters
    ----------
    values : ndarray, (n,) int64
    missing : ndarray, (n,) bool
        Where there is no value: two quotation marks are written.
    texts : ndarray, (n, `WIDTH`) uint8
        Out: the letters of each number.
    lengths : ndarray, (n,) int64
        Out: how many letters each number has.
    """
    ten = np.uint64(10)
    for i in range(len(values)):
        if missing[i]:
            texts[i, 0] = texts[i, 1] = _QUOTE
            lengths[i] = 2
            continue
        # As an unsigned number: the smallest int64 has no int64 without its sign.
        rest = np.uint64(-values[i]) if values[i] < 0 else np.uint64(values[i])
        n, more = 1, rest // ten
        while more:
            n, more = n + 1, more // ten
        if values[i] < 0:
            texts[i, 0] = _MINUS
            n += 1
        lengths[i] = n
        while True:
            n -= 1
            texts[i, n] = _ZERO + np.uint8(rest % ten)
            rest //= ten
            if not rest:
                break


@native(types.void(_letters, _places, _places, types.uint8[::1]))
def join_rows(letters: Any, starts: Any, lengths: Any, rows: Any) -> None:
    """Put the texts of columns together to lines, a blank between two texts.

    Parameters
    ----------
    letters : ndarray, (m,) uint8
        The letters of all texts.
    starts, lengths : ndarray, (n_columns, n) int64
        Where each text begins, and how many letters it has.
    rows : ndarray, (sum of lengths + n_columns n,) uint8
        Out.
    """
    at, n_columns = 0, starts.shape[0]
    for i in range(starts.shape[1]):
        for column in range(n_columns):
            start = starts[column, i]
            for k in range(lengths[column, i]):
                rows[at] = letters[start + k]
                at += 1
            rows[at] = _BLANK
            at += 1
        rows[at - 1] = _NEW_LINE
