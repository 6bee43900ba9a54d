"""The digits that tables print: scores are compared by these digits alone.

Beyond the printed digits, values differ between backends by rounding. Code that orders, ranks or
selects exposures by a score therefore compares the values that `printed` returns.
"""

from __future__ import annotations

import math
from typing import Any

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
    """
    given: npt.NDArray[Any] = np.asarray(values, dtype=np.float64)
    rounded = [printed(value) for value in given.ravel().tolist()]
    return np.array(rounded, dtype=np.float64).reshape(given.shape)
