"""The background polynomial, evaluated in one order everywhere, so that v has the same bits in every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.records import Doubles


def scaled(pixel: npt.NDArray[Any], size: int) -> Doubles:
    """Pixel coordinates scaled to -1 ... 1 over an axis of `size` pixels (METHOD.md 1.3)."""
    return np.asarray(2.0 * np.asarray(pixel, dtype=np.float64) / (size - 1) - 1.0)


def evaluate(c: Doubles, Y: Doubles, X: Doubles) -> Doubles:
    """b = (c0 + Y (c2 + c5 Y)) + X ((c1 + c4 Y) + c3 X), broadcast over scaled coordinates Y and X.

    The order of operations is part of the contract: it decides ties and thresholds to the last bit.
    """
    return np.asarray((c[0] + Y * (c[2] + c[5] * Y)) + X * ((c[1] + c[4] * Y) + c[3] * X))


def slope(c: Doubles, Y: Doubles, X: Doubles, ny: int, nx: int) -> tuple[Doubles, Doubles]:
    """(db/dx, db/dy) per pixel at scaled coordinates Y and X."""
    along_x = ((c[1] + c[4] * Y) + 2.0 * c[3] * X) * (2.0 / (nx - 1))
    along_y = ((c[2] + c[4] * X) + 2.0 * c[5] * Y) * (2.0 / (ny - 1))
    return np.asarray(along_x), np.asarray(along_y)


def tile_bounds(c: Doubles, ny: int, nx: int, tile: int) -> tuple[Doubles, Doubles]:
    """Lower and upper bounds of `evaluate` over each full tile, (ny // tile, nx // tile) each.

    A quadratic departs from the plane through a tile's corners by at most |c3| hx^2 + |c5| hy^2, h being half the
    tile's side in scaled units; the cross term is largest at a corner. Rounding is covered by 1e-12 of the sum of
    the coefficients' magnitudes, some 4000 units in the last place.
    """
    corner_y = np.arange(ny // tile)[:, None] * tile + np.array([0, tile - 1])
    corner_x = np.arange(nx // tile)[:, None] * tile + np.array([0, tile - 1])
    corners = evaluate(c, scaled(corner_y, ny)[:, None, :, None], scaled(corner_x, nx)[None, :, None, :])
    half_y, half_x = (tile - 1) / (ny - 1), (tile - 1) / (nx - 1)
    slack = abs(c[3]) * half_x**2 + abs(c[5]) * half_y**2 + 1e-12 * float(np.abs(c).sum())
    return corners.min(axis=(2, 3)) - slack, corners.max(axis=(2, 3)) + slack
