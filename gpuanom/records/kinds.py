"""The kinds of histograms, and the types of arrays."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = Any
FloatImage: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

KINDS: tuple[str, ...] = ("source", "isophote", "background", "flat_background")
"""The four histograms, in the order in which every array of histograms holds them; the tables' column prefixes."""

SOURCE, ISOPHOTE, BACKGROUND, FLAT_BACKGROUND = range(4)
