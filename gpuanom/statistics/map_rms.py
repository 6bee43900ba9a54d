"""The rms of maps of which cells may be empty: a native loop (METHOD.md 9.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import native
from gpuanom.sums_and_medians import pairwise_sum


@native(types.void(types.float64[:, ::1], types.float64[::1]))
def rms_of_each(values: Any, found: Any) -> None:
    """Find the root mean square of each map about its mean.

    Parameters
    ----------
    values : ndarray, (n_ccd, n_cells) float64
        NaN for an empty cell.
    found : ndarray, (n_ccd,) float64
        Out; NaN where all cells are empty. Sums are added as NumPy adds them.
    """
    known = np.empty(values.shape[1])
    for i in range(len(values)):
        n = 0
        for k in range(values.shape[1]):
            if np.isfinite(values[i, k]):
                known[n] = values[i, k]
                n += 1
        found[i] = np.nan
        if n > 0:
            mean = pairwise_sum(known[:n]) / n
            for k in range(n):
                known[k] = (known[k] - mean) * (known[k] - mean)
            found[i] = np.sqrt(pairwise_sum(known[:n]) / n)
