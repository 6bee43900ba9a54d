"""The background polynomial, evaluated in one order everywhere, so that v has the same bits in every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from gpuanom.records import Doubles, Integers


def scaled(pixel: npt.NDArray[Any], size: int) -> Doubles:
    """Pixel coordinates scaled to -1 ... 1 over an axis of `size` pixels (METHOD.md 1.3)."""
    return np.asarray(2.0 * np.asarray(pixel, dtype=np.float64) / (size - 1) - 1.0)


def evaluate(c: Doubles, Y: Doubles, X: Doubles) -> Doubles:
    """b = (c0 + Y (c2 + c5 Y)) + X ((c1 + c4 Y) + c3 X), broadcast over scaled coordinates Y and X.

    The order of operations is part of the contract: it decides ties and thresholds to the last bit.
    """
    return np.asarray((c[0] + Y * (c[2] + c[5] * Y)) + X * ((c[1] + c[4] * Y) + c[3] * X))


class Windows:
    """`evaluate` over square windows of a CCD of ny x nx pixels, to the bit; what depends on y or x alone is kept."""

    def __init__(self, c: Doubles, ny: int, nx: int, size: int) -> None:
        Y, X = scaled(np.arange(ny), ny), scaled(np.arange(nx), nx)
        self._offset = sliding_window_view(c[0] + Y * (c[2] + c[5] * Y), size)
        self._slope_y = sliding_window_view(c[1] + c[4] * Y, size)
        self._slope_x = sliding_window_view(c[3] * X, size)
        self._x = sliding_window_view(X, size)

    def fill(self, y: Integers, x: Integers, out: Doubles) -> None:
        """Fill `out`, (n, size, size), with the windows whose first pixels are given.

        The outer sum (c1 + c4 Y) 1 + 1 (c3 X) comes from a matrix product, four times as quickly as from broadcasting.
        Its products are exact and their sum is rounded once, whatever its order, with or without fused multiply-add.
        """
        n, size, _ = out.shape
        rows, columns = np.ones((n, size, 2)), np.ones((n, 2, size))
        rows[:, :, 0], columns[:, 1] = self._slope_y[y], self._slope_x[x]
        np.matmul(rows, columns, out=out)
        out *= self._x[x][:, None, :]
        out += self._offset[y][:, :, None]


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
