"""The digits that tables print: scores are compared by these digits and by nothing else.

What differs beyond the printed digits is rounding, and may differ between backends. So whatever orders, ranks or
selects exposures by a score compares the values as `printed` gives them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

DIGITS = 7
"""Significant digits of the tables' numbers."""


def printed(value: float) -> float:
    """A number as the tables print it, rounded to `DIGITS` significant digits; NaN stays NaN."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else float(value)


def printed_values(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Numbers as the tables print them.

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
