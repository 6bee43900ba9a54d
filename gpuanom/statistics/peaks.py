"""Peaks of spectra over their local level (METHOD.md 9.2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from gpuanom.records import Doubles, Flags

Whole = npt.NDArray[np.int64]

RING = 60
"""The local level is the median over so many frequencies that are about as high."""
GROUP = 20
"""Frequencies, sorted by height, that share a local level: that of the ring in whose middle they are."""
NEAR_AXIS = 1
"""Frequencies at most so many bins from an axis are compared with each other only."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The frequencies of a spectrum that are looked at, in the order in which they are compared.

    Attributes
    ----------
    size : int
        Number of frequencies along y.
    pixel : float
        Side of what was transformed, pixels.
    place : ndarray, (n,) int64
        Indices of the frequencies in the flattened spectrum.
    rings : ndarray, (n_groups, RING) int64
        For each group of frequencies the indices, among those of `place`, that give the local level.
    group : ndarray, (n,) int64
        The group of each frequency.
    bands : tuple of ndarray
        For each band the indices, among those of `place`, of its frequencies.
    band : ndarray, (n,) int64
        The band of each frequency; -1 for none.
    around : ndarray, (n, 9) int64
        Indices in the flattened spectrum of the 3 x 3 frequencies around each one.
    kx, ky : ndarray, (n,) float64
        Frequencies in bins.
    weight : ndarray, (n, 9) float64
        1, or 0 for the frequency 0 and beyond the highest ones.
    """

    size: int
    pixel: float
    place: npt.NDArray[np.int64]
    rings: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    bands: tuple[npt.NDArray[np.int64], ...]
    band: npt.NDArray[np.int64]
    around: npt.NDArray[np.int64]
    kx: Doubles
    ky: Doubles
    weight: Doubles


@lru_cache(maxsize=64)
def grid(size: int, pixel: float, edges: tuple[float, ...], *, axes_apart: bool) -> Grid:
    """Return the frequencies whose periods lie between the first and the last edge, and those around them.

    Parameters
    ----------
    size : int
        Number of frequencies along y of a spectrum of shape (size, size // 2 + 1).
    pixel : float
        Side of what was transformed, pixels.
    edges : tuple of float
        Edges of the bands of period, pixels, descending.
    axes_apart : bool
        Whether frequencies near the axes are compared with each other only: rows or columns that jitter have power
        along a whole axis.

    Returns
    -------
    Grid
        A frequency is taken once: k, not also -k.
    """
    ky = np.broadcast_to(np.fft.fftfreq(size, 1.0 / size).astype(np.int64)[:, None], (size, size // 2 + 1))
    kx = np.broadcast_to(np.arange(size // 2 + 1), ky.shape)
    height = np.hypot(kx, ky)
    highest = min(size * pixel / edges[-1] + 4.0, size / 2.0 * 1.5)
    allowed = (height > 0.0) & (height <= highest) & ((kx > 0) | (ky > 0)) & (kx < size // 2) & (ky > -(size // 2))
    place, rings, group = _rings(_classes(kx, ky, allowed) if axes_apart else [allowed], height)
    x, y = kx.ravel()[place], ky.ravel()[place]
    period = size * pixel / np.hypot(x, y)
    bands = tuple(np.flatnonzero((period < high) & (period >= low)) for high, low in pairwise(edges))
    band = np.full(place.size, -1)
    for k, members in enumerate(bands):
        band[members] = k
    around, weight = _around(x, y, size)
    return Grid(
        size, pixel, place, rings, group, bands, band, around, x.astype(np.float64), y.astype(np.float64), weight,
    )  # fmt: skip


def _classes(kx: Whole, ky: Whole, allowed: Flags) -> list[Flags]:
    """The frequencies off the axes, and for each axis those on it and those beside it, in a class each."""
    # Through the window a quarter of an axis's power is one frequency beside it, so that those are a class apart.
    near_x, near_y = np.abs(ky), kx
    classes = [allowed & (near_x > NEAR_AXIS) & (near_y > NEAR_AXIS)]
    for distance in range(NEAR_AXIS + 1):
        classes.append(allowed & (near_x == distance) & (near_y > NEAR_AXIS))
        classes.append(allowed & (near_y == distance) & (near_x > NEAR_AXIS))
    return classes


def _rings(classes: list[Flags], height: Doubles) -> tuple[Whole, Whole, Whole]:
    """`place`, `rings` and `group` of a `Grid`: the frequencies of each class, sorted by height, and their groups."""
    places, rings, groups = [], [], []
    n, n_groups = 0, 0
    for chosen in classes:
        flat = np.flatnonzero(chosen)
        flat = flat[np.argsort(height.ravel()[flat], kind="stable")]
        of_group = np.arange(flat.size) // GROUP
        first = np.clip(GROUP * np.arange(-(-flat.size // GROUP)) - (RING - GROUP) // 2, 0, max(flat.size - RING, 0))
        # Of fewer frequencies than a ring holds some are counted twice.
        ring = np.arange(RING) * min(flat.size, RING) // RING
        rings.append(n + first[:, None] + ring)
        places.append(flat)
        groups.append(n_groups + of_group)
        n, n_groups = n + int(flat.size), n_groups + len(first)
    return np.concatenate(places), np.concatenate(rings), np.concatenate(groups)


def _around(x: Whole, y: Whole, size: int) -> tuple[Whole, Doubles]:
    """`around` and `weight` of a `Grid`: the 3 x 3 frequencies around each one."""
    step_y, step_x = (step.ravel() for step in np.meshgrid((-1, 0, 1), (-1, 0, 1), indexing="ij"))
    near_x, near_y = x[:, None] + step_x, y[:, None] + step_y
    mirrored = near_x < 0
    weight = ((near_x != 0) | (near_y != 0)) & (np.abs(near_x) < size // 2) & (np.abs(near_y) < size // 2)
    around_y, around_x = np.where(mirrored, -near_y, near_y) % size, np.minimum(np.abs(near_x), size // 2)
    return around_y * (size // 2 + 1) + around_x, weight.astype(np.float64)


def median_share(k: Doubles) -> Doubles:
    """Return the ratio of median to mean of a Gamma distribution of shape k, as k added periodograms have it."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(k <= 1.0, np.log(2.0), (1.0 - 1.0 / (9.0 * k)) ** 3))


def largest(power: Doubles, added: Doubles, grid: Grid) -> Doubles:
    """Return the largest ratio of a power to its local level in each band, with its period and the angle of stripes.

    Parameters
    ----------
    power : ndarray, (n, size, size // 2 + 1) float64
        Several spectra.
    added : ndarray, (n,) float64
        How many independent periodograms were added; 0 where nothing was measured.
    grid : Grid

    Returns
    -------
    ndarray, (n, 3, n_bands) float64
        Ratios, periods in pixels, and angles of the stripes in degrees in (-90, 90], from the x axis towards y. NaN
        where nothing was measured.
    """
    from gpuanom.statistics.peaks_loop import highest_powers  # imports Numba, which a night ranked again needs not

    found = np.empty((len(power), 3, len(grid.bands)))
    share = np.where(added > 0.0, median_share(added), np.nan)
    highest_powers(
        power.reshape(len(power), -1), share, grid.place, grid.rings, grid.group, grid.band, grid.around, grid.weight,
        grid.kx, grid.ky, found,
    )  # fmt: skip
    kx, ky = found[:, 1].copy(), found[:, 2].copy()
    found[:, 1] = grid.size * grid.pixel / np.hypot(kx, ky)
    # Stripes run across the wave.
    found[:, 2] = 90.0 - (-np.degrees(np.arctan2(ky, kx))) % 180.0
    return found
