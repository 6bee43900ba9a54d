"""The sum of CCDs' spectra in the axes of the focal plane: a native loop (METHOD.md 9.2)."""

from __future__ import annotations

from typing import Any

from numba import types

from gpuanom.native import native
from gpuanom.records import Turn

_MIRRORED, _QUARTER = int(Turn.MIRRORED), int(Turn.QUARTER)
_powers = types.Array(types.float64, 3, "C", readonly=True)


@native(types.int64(_powers, types.int64[::1], types.int64[::1], types.float64[:, ::1]))
def add_powers(powers: Any, chosen: Any, turns: Any, total: Any) -> Any:
    """Add the spectra of some CCDs of a stack, one after the other.

    Parameters
    ----------
    powers : ndarray, (n_ccd, n, n // 2 + 1) float64
    chosen, turns : ndarray, (n_chosen,) int64
        The CCDs in the order in which they are added, and how each is turned against the focal plane
        (`gpuanom.records.Turn`).
    total : ndarray, (n, n // 2 + 1) float64
        The spectra are added to these numbers.

    Returns
    -------
    int
        Of how many of the chosen CCDs any power is not 0.
    """
    n, width = total.shape
    n_found = 0
    for i in range(len(chosen)):
        power, turn = powers[chosen[i]], turns[i]
        any_found = False
        for y in range(n):
            for x in range(width):
                value = power[y, x]
                any_found |= value != 0.0
                if turn != 0:
                    row, column = y, x
                    if turn & _QUARTER:  # the wave (kx, ky) of the CCD is (-ky, kx) in the focal plane
                        row, column = (n - x) % n, y
                    if turn & _MIRRORED:
                        row = (n - row) % n
                    if column >= width:
                        row, column = (n - row) % n, n - column
                    value = power[row, column]
                total[y, x] += value
        n_found += 1 if any_found else 0
    return n_found
