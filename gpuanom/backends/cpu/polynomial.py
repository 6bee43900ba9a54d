"""The background polynomial, evaluated in one order everywhere, so that v has the same bits in every step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gpuanom.records import Doubles, Singles


def scaled(pixel: npt.NDArray[Any], size: int) -> Doubles:
    """Pixel coordinates scaled to -1 ... 1 over an axis of `size` pixels (METHOD.md 1.3)."""
    return np.asarray(2.0 * np.asarray(pixel, dtype=np.float64) / (size - 1) - 1.0)


def evaluate(c: Doubles, Y: Doubles, X: Doubles) -> Doubles:
    """b = (c0 + Y (c2 + c5 Y)) + X ((c1 + c4 Y) + c3 X), broadcast over scaled coordinates Y and X.

    The order of operations is part of the contract: it decides ties and thresholds to the last bit.
    """
    return np.asarray((c[0] + Y * (c[2] + c[5] * Y)) + X * ((c[1] + c[4] * Y) + c[3] * X))


class Terms(NamedTuple):
    """The terms of `evaluate` that depend on y or x alone: b = offset[y] + x[x] (slope[y] + bend[x]), to the bit."""

    offset: Doubles
    slope: Doubles
    x: Doubles
    bend: Doubles


def terms(c: Doubles, ny: int, nx: int) -> Terms:
    """The terms of `evaluate` over the rows and columns of a CCD of ny x nx pixels."""
    Y, X = scaled(np.arange(ny), ny), scaled(np.arange(nx), nx)
    return Terms(c[0] + Y * (c[2] + c[5] * Y), c[1] + c[4] * Y, X, c[3] * X)


def slope(c: Doubles, Y: Doubles, X: Doubles, ny: int, nx: int) -> tuple[Doubles, Doubles]:
    """(db/dx, db/dy) per pixel at scaled coordinates Y and X."""
    along_x = ((c[1] + c[4] * Y) + 2.0 * c[3] * X) * (2.0 / (nx - 1))
    along_y = ((c[2] + c[4] * X) + 2.0 * c[5] * Y) * (2.0 / (ny - 1))
    return np.asarray(along_x), np.asarray(along_y)


def tile_bounds(c: Doubles, ny: int, nx: int, tile: int) -> tuple[Doubles, Doubles]:
    """Lower and upper bounds of `evaluate` over each full tile, (ny // tile, nx // tile) each.

    From a tile's middle to its edge, h in scaled units, a quadratic changes by at most |slope| h along each axis and
    |c3| hx^2 + |c5| hy^2 + |c4| hx hy beyond that. Rounding is covered by 1e-12 of the sum of the coefficients'
    magnitudes, some 4000 units in the last place.
    """
    Y = scaled(np.arange(ny // tile) * tile + 0.5 * (tile - 1), ny)[:, None]
    X = scaled(np.arange(nx // tile) * tile + 0.5 * (tile - 1), nx)[None, :]
    hy, hx = (tile - 1) / (ny - 1), (tile - 1) / (nx - 1)
    middle = evaluate(c, Y, X)
    spread = hx * np.abs((c[1] + c[4] * Y) + 2.0 * c[3] * X) + hy * np.abs((c[2] + c[4] * X) + 2.0 * c[5] * Y)
    spread += abs(c[3]) * hx**2 + abs(c[5]) * hy**2 + abs(c[4]) * hx * hy + 1e-12 * float(np.abs(c).sum())
    return np.asarray(middle - spread), np.asarray(middle + spread)


def single_bounds(bounds: Doubles) -> Singles:
    """The least float32 that are not below some numbers: a pixel reaches such a number where it reaches that float32.

    Loops compare twice as many float32 at a time.
    """
    with np.errstate(over="ignore", under="ignore"):
        single = bounds.astype(np.float32)
        below = single < bounds
        single[below] = np.nextafter(single[below], np.float32(np.inf))
    return single
