"""The four kinds of histograms, and the types of arrays."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = Any
FloatImage: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

KINDS: tuple[str, ...] = ("source", "isophote", "background", "flat_background")
"""The four histograms in the order of every array of histograms; also the prefixes of the tables' columns."""

SOURCE, ISOPHOTE, BACKGROUND, FLAT_BACKGROUND = range(4)
"""Indices of the histograms in arrays of histograms."""
