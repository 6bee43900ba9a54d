"""The highest powers of spectra over their local level: a native loop (METHOD.md 9.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.native import helper, native
from gpuanom.sorting import LANES, empty_columns, sort_columns
from gpuanom.sums_and_medians import pairwise_sum


@helper
def _ring_medians(ordered: Any, rings: Any, columns: Any, median: Any) -> None:
    """Find the median power of each ring, LANES rings at a time; `columns` is from `empty_columns`."""
    n_groups, ring = rings.shape
    columns[ring:] = np.inf
    for first in range(0, n_groups, LANES):
        n = min(LANES, n_groups - first)
        for lane in range(n):
            members = rings[first + lane]
            for k in range(ring):
                columns[k, lane] = ordered[np.uint64(members[k])]
        sort_columns(columns)
        for lane in range(n):
            median[first + lane] = (columns[ring // 2 - 1, lane] + columns[ring // 2, lane]) / 2.0


_whole = types.Array(types.int64, 1, "C", readonly=True)
_wholes = types.Array(types.int64, 2, "C", readonly=True)
_number = types.Array(types.float64, 1, "C", readonly=True)
_numbers = types.Array(types.float64, 2, "C", readonly=True)


@native(
    types.void(
        types.float64[:, ::1], types.float64[::1], _whole, _wholes, _whole, _whole, _wholes, _numbers, _number, _number,
        types.float64[:, :, ::1],
    )
)  # fmt: skip
def highest_powers(power: Any, share: Any, place: Any, rings: Any, group: Any, band: Any, around: Any, weight: Any,
                   kx: Any, ky: Any, found: Any) -> None:  # fmt: skip
    """Find the largest ratio of a power to its local level in each band, and the frequency of the peak.

    Parameters
    ----------
    power : ndarray, (n, size * (size // 2 + 1)) float64
        Several spectra, without NaN.
    share : ndarray, (n,) float64
        The ratio of median to mean of each spectrum's powers; NaN where nothing was measured.
    place, rings, group, around, weight, kx, ky : ndarray
        See `gpuanom.statistics.peaks.Grid`.
    band : ndarray, (len(place),) int64
        The band of each frequency; -1 for none.
    found : ndarray, (n, 3, n_bands) float64
        Out: ratio, and frequency along x and along y in bins; NaN where nothing was measured, or in an empty band.
    """
    columns, median, ordered = empty_columns(rings.shape[1]), np.empty(len(rings)), np.empty(len(place))
    ratios, best = np.empty(found.shape[2]), np.empty(found.shape[2], np.int64)
    part, part_x, part_y = np.empty(9), np.empty(9), np.empty(9)
    for i in range(len(power)):
        found[i] = np.nan
        above = False
        for j in range(power.shape[1]):
            if power[i, j] > 0.0:
                above = True
                break
        if not above or np.isnan(share[i]):
            continue
        for f in range(len(place)):
            ordered[f] = power[i, np.uint64(place[f])]
        _ring_medians(ordered, rings, columns, median)
        for g in range(len(median)):
            median[g] /= share[i]
        ratios[:], best[:] = -1.0, -1
        for f in range(len(place)):
            if band[f] >= 0:
                level = median[group[f]]
                ratio = ordered[f] / level if level > 0.0 else 0.0
                if ratio > ratios[band[f]]:
                    ratios[band[f]], best[band[f]] = ratio, f
        for b in range(len(best)):
            f = best[b]
            if f < 0:
                continue
            level = median[group[f]]
            for k in range(9):
                part[k] = max(power[i, around[f, k]] - level, 0.0) * weight[f, k]
                part_x[k], part_y[k] = part[k] * (k % 3 - 1), part[k] * (k // 3 - 1)
            total = pairwise_sum(part)
            total = total if total > 0.0 else np.inf  # then the peak's own frequency stays
            found[i, 0, b] = ratios[b]
            found[i, 1, b] = kx[f] + pairwise_sum(part_x) / total
            found[i, 2, b] = ky[f] + pairwise_sum(part_y) / total
