"""The digits that tables print: scores are compared by these digits alone.

Beyond the printed digits, values differ between backends by rounding. Code that orders, ranks or
selects exposures by a score therefore compares the values that `printed` returns.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

DIGITS = 7
"""Number of significant digits in the tables."""


def printed(value: float) -> float:
    """Return a number as the tables print it, rounded to `DIGITS` significant digits; NaN stays NaN."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else float(value)


def printed_values(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return an array of numbers as the tables print them.

    Parameters
    ----------
    values : array_like of float, any shape

    Returns
    -------
    ndarray of float64, of the same shape
        The same numbers as `printed` gives, to the last bit.
    """
    given = np.asarray(values, dtype=np.float64)
    flat = np.ravel(given)
    if flat.size >= _MANY:
        return _rounded_natively(flat, _ALL).reshape(given.shape)
    rounded = np.empty(flat.size)
    for start in range(0, flat.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        rounded[part] = _rounded(flat[part])
    return rounded.reshape(given.shape)


def printed_rows(values: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the numbers of some rows, in this order, as the tables print them.

    Parameters
    ----------
    values : ndarray, (m,) float64
    rows : ndarray, (n,) int64

    Returns
    -------
    ndarray, (n,) float64
    """
    return _rounded_natively(values, rows) if rows.size >= _MANY else printed_values(np.take(values, rows))


_ALL = np.zeros(0, dtype=np.int64)
_MANY = 100_000
"""From so many values on, to load the compiled loop takes less time than the loop saves."""
_CHUNK = 8192
"""So many values stay in the cache of a core."""
POWERS = 10.0 ** np.arange(23)
"""The powers of ten that a float64 holds exactly."""
_UNDECIDED = 1e-6
"""A scaled value of up to 8 digits is wrong by at most 1e-8: further than this from a half, its rounding is certain."""


def _rounded_natively(values: npt.NDArray[np.float64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Round the values of some rows, or all values, in a compiled loop: it takes less than half of the time."""
    from gpuanom.digits_loop import round_digits

    rounded = np.empty(rows.size or values.size)
    left = np.empty(rounded.size, dtype=np.int64)
    bounds, scales = _scales()
    n_left = round_digits(
        values, values.view(np.int64), rows, bounds, scales, POWERS, DIGITS, _UNDECIDED, rounded, left
    )
    for i in left[:n_left].tolist():
        rounded[i] = printed(float(values[rows[i] if rows.size else i]))
    return rounded


@functools.cache
def _scales() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """`bounds` and `scales` of `gpuanom.digits_loop.round_digits`."""
    bounds, scales = np.full(2048, np.inf), np.full((2048, 2), np.nan)
    for exponent in range(1, 2047):
        least = math.ldexp(1.0, exponent - 1023)
        decade = math.floor(math.log10(least))
        if 0 <= DIGITS - 1 - decade < POWERS.size:
            scales[exponent, 0] = POWERS[DIGITS - 1 - decade]
        if float(f"1e{decade + 1}") < 2.0 * least and 0 <= DIGITS - 2 - decade < POWERS.size:
            scales[exponent, 1] = POWERS[DIGITS - 2 - decade]
        bounds[exponent] = float(f"1e{decade + 1}")
    return bounds, scales.ravel()


def _rounded(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Round values: scaled by an exact power of ten, rounded, and divided by the power, which rounds correctly.

    The digits and the power are both exact, so that the quotient is the float64 nearest to the decimal number, which
    is what reading the printed digits gives. Values close to a half, and those too large or too small for an exact
    power, are printed and read.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        size = np.abs(values)
        exponent = DIGITS - 1 - np.floor(np.log10(size))
        plain = np.abs(exponent) < POWERS.size
        k = np.where(plain, exponent, 0.0).astype(np.int64)
        power = POWERS[np.abs(k)]
        scaled = np.where(k < 0, values / power, values * power)
        digits = np.rint(scaled)
        result = np.where(k < 0, digits * power, digits / power)
        # Beside a power of ten, the logarithm may be that of the next decade.
        count = np.abs(digits)
        plain &= (count >= 10 ** (DIGITS - 1)) & (count < 10**DIGITS)
        plain &= np.abs(np.abs(scaled - digits) - 0.5) > _UNDECIDED
    for i in np.flatnonzero(~plain & (values != 0.0) & np.isfinite(values)).tolist():
        result[i] = printed(float(values[i]))
    exact = (values == 0.0) | ~np.isfinite(values)
    result[exact] = values[exact]
    return np.asarray(result, dtype=np.float64)
