"""The stamp check and the moments of each source, the twin of kernels/moments.cu (METHOD.md 2, 3, 3b).

One visit to a candidate's stamp tells whether it is the brightest, how many pixels are above the count's threshold, and
its moments: column by column, so that every sum has one order and yet runs at the width of the processor's vectors.
The stamp is then still in the cache for the isophote.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import types

from gpuanom.backends.cpu.isophote import connected_moments
from gpuanom.backends.cpu.pixels import DOUBLES, IMAGE, MASK, NO_MASK, PIXELS, fill_row
from gpuanom.backends.cpu.polynomial import Terms
from gpuanom.native import doubles, helper, native, prefetch_row
from gpuanom.records import Doubles, FloatImage, Integers
from gpuanom.settings import Settings


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
    if len(parts) == 1:
        return parts[0]
    return Checked(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Checked)))


def check_candidates(
    image: FloatImage,
    bad: npt.NDArray[np.uint8] | None,
    terms: Terms,
    sigma: float,
    candidates: Integers,
    settings: Settings,
) -> Checked:
    """Sort out the candidates that are sources and sum their moments.

    Parameters
    ----------
    image : ndarray, (ny, nx) float32
    bad : ndarray, (ny, nx) uint8, or None
    terms : Terms
        Of the background's polynomial.
    sigma : float
    candidates : ndarray, (n,) int64
        y nx + x of candidates whose stamps lie on the CCD.
    settings : Settings

    Returns
    -------
    Checked
        In the order of the candidates.
    """
    whole, real = np.empty((4, candidates.size), dtype=np.int64), np.empty((7, candidates.size))
    n = check_stamps(
        image, NO_MASK if bad is None else bad, *terms, candidates, settings.stamp_size, settings.above_pixels,
        settings.above_threshold * sigma, settings.isophote_threshold * sigma, settings.moment_fraction, whole, real,
    )  # fmt: skip
    y, x, n_above, n_isophote = whole[:, :n]
    return Checked(y, x, real[0, :n], n_above, real[1:4, :n].T, real[4:, :n].T, n_isophote)


@helper
def _outshone(row: Any, centre: Any, rows_before: Any) -> Any:
    """Whether a row holds a pixel brighter than the stamp's centre, of equal ones an earlier one.

    The centre's own row is 0 rows before it, later rows have negative numbers.
    """
    size = len(row)
    n = 0
    for j in range(size):
        n += row[j] > centre
    if rows_before >= 0:
        for j in range(size if rows_before > 0 else size // 2):
            n += row[j] == centre
    return n > 0


@helper
def _add_row(row: Any, above: Any, least: Any, dy: Any, columns: Any) -> Any:
    """Add a row to the columns' sums of v, v dy and v dy^2 over pixels above `least`; the number of those above."""
    of_1, of_dy, of_dy2 = columns[0], columns[1], columns[2]
    dy2 = dy * dy
    n = 0
    for j in range(len(row)):
        n += row[j] > above
        weight = row[j] if row[j] > least else 0.0
        of_1[j] += weight
        of_dy[j] += weight * dy
        of_dy2[j] += weight * dy2
    return n


@native(
    types.int64(
        IMAGE, MASK, DOUBLES, DOUBLES, DOUBLES, DOUBLES, PIXELS, types.int64, types.int64, types.float64,
        types.float64, types.float64, types.int64[:, ::1], types.float64[:, ::1],
    )
)  # fmt: skip
def check_stamps(
    image: Any,
    bad: Any,
    offset: Any,
    slope: Any,
    across: Any,
    bend: Any,
    candidates: Any,
    size: Any,
    above_pixels: Any,
    above: Any,
    isophote: Any,
    moment_fraction: Any,
    whole: Any,
    real: Any,
) -> Any:
    """See `check_candidates`. The loop fills `whole` with y, x, n_above, n_isophote, and `real` with value and moments.

    Returns
    -------
    int
        The number of sources.
    """
    nx = image.shape[1]
    half = size // 2
    v, columns = doubles(size * size).reshape(size, size), doubles(3 * size).reshape(3, size)
    sums = np.empty(3)
    allowed, grown = np.empty(size, dtype=np.uint64), np.empty(size, dtype=np.uint64)
    n = 0
    for k in range(len(candidates)):
        y0, x0 = candidates[k] // nx - half, candidates[k] % nx - half
        after = candidates[min(k + 1, len(candidates) - 1)]
        y1, x1 = after // nx - half, after % nx - half
        fill_row(image, bad, offset, slope, across, bend, y0 + half, x0, v[half])
        centre = v[half, half]
        least = moment_fraction * centre
        columns[:] = 0.0
        outshone = False
        n_above = 0
        for i in range(size):
            row = v[i]
            prefetch_row(image, y1 + i, x1, size)
            if len(bad):
                prefetch_row(bad, y1 + i, x1, size)
            fill_row(image, bad, offset, slope, across, bend, y0 + i, x0, row)
            outshone = _outshone(row, centre, half - i)
            if outshone:
                break
            n_above += _add_row(row, above, least, np.float64(i - half), columns)
        if outshone or n_above <= above_pixels:
            continue
        q20 = q02 = q11 = 0.0
        for j in range(size):
            dx = np.float64(j - half)
            q20 += columns[0, j] * (dx * dx)
            q02 += columns[2, j]
            q11 += columns[1, j] * dx
        whole[0, n], whole[1, n], whole[2, n] = y0 + half, x0 + half, n_above
        whole[3, n] = connected_moments(v, max(least, isophote), allowed, grown, sums)
        real[0, n], real[1, n], real[2, n], real[3, n] = centre, q20, q02, q11
        real[4, n], real[5, n], real[6, n] = sums[0], sums[1], sums[2]
        n += 1
    return n
