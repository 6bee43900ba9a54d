"""Stripes: the largest peak of a CCD's or an exposure's spectrum in each of 12 bands of period (METHOD.md 9.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from gpuanom.backends.pattern_layout import CELL, PART, map_side
from gpuanom.records import Doubles, FloatImage, Integers, Patterns, Turn
from gpuanom.statistics import peaks
from gpuanom.statistics.background_map import maps
from gpuanom.statistics.statistic import Statistic

EDGES = (500.0, 260.0, 150.0, 90.0, 55.0, 35.0, 22.0, 14.0, 9.0, 6.0, 4.2, 3.0, 2.2)
"""Edges of the bands of period, pixels. The first two bands are seen in the maps, four in means over 4 x 4 pixels."""
BANDS = len(EDGES) - 1
OF_MAPS = 2
"""The first bands, those that are seen in the maps."""
OVERLAP = 0.6
"""Parts that overlap by half count as this share of as many independent ones."""


def _statistics(of: str) -> tuple[Statistic, ...]:
    """The names of three numbers for each band: all powers, then all periods, then all angles."""
    between = [f"between {high:g} and {low:g} pixels" for high, low in pairwise(EDGES)]
    return (
        *(
            Statistic(f"stripe_power_{k}", "", f"Largest power {of} at periods {band}, over the level around it.")
            for k, band in enumerate(between)
        ),
        *(
            Statistic(f"stripe_period_{k}", "pix", f"Period of the largest power {of} {band}.")
            for k, band in enumerate(between)
        ),
        *(
            Statistic(f"stripe_angle_{k}", "deg", f"Angle of the stripes that have the largest power {of} {band}.")
            for k, band in enumerate(between)
        ),
    )


CCD_STATISTICS = _statistics("of the CCD's spectrum")
EXPOSURE_STATISTICS = _statistics("of the spectra of all CCDs together")


@dataclass(frozen=True, eq=False)
class StackSpectra:
    """The spectra of CCDs whose maps have the same number of cells, each array with the CCDs along its first axis.

    Attributes
    ----------
    fine, coarse : ndarray, (n_ccd, 128, 65) float64
        See `gpuanom.records.Patterns`.
    n_fine, n_coarse : ndarray, (n_ccd,) int
        Numbers of parts that were added.
    map_power : ndarray, (n_ccd, n, n // 2 + 1) float64
        Squared magnitudes of the Fourier transform of the map; all 0 where there is no map.
    map_side : int
        Side of a cell of the maps, pixels.
    """

    fine: Doubles
    n_fine: Integers
    coarse: Doubles
    n_coarse: Integers
    map_power: Doubles
    map_side: int


def spectra(
    patterns: Patterns, of_maps: FloatImage | None = None, chosen: slice | Sequence[int] = slice(None)
) -> StackSpectra:
    """Return the spectra of CCDs of a stack, without a copy where they are all.

    Parameters
    ----------
    patterns : Patterns
        On the host.
    of_maps : ndarray, (n_ccd, my, mx) float32, optional
        `gpuanom.statistics.background_map.maps` of the patterns, where these are at hand.
    chosen : slice or sequence of int, optional
        The indices of the CCDs; by default all.

    Returns
    -------
    StackSpectra
    """
    of_maps = maps(patterns) if of_maps is None else of_maps
    return StackSpectra(
        patterns.fine_power[chosen], patterns.n_fine[chosen], patterns.coarse_power[chosen], patterns.n_coarse[chosen],
        map_powers(of_maps[chosen]), map_side(*patterns.shape),
    )  # fmt: skip


def ccd_statistics(stack: StackSpectra, turns: Sequence[int] | None = None) -> FloatImage:
    """Return the peaks of each CCD's spectra.

    Parameters
    ----------
    stack : StackSpectra
    turns : sequence of int, optional
        `Turn` of each CCD, to have angles in the axes of the focal plane; by default they are in those of the CCD.

    Returns
    -------
    ndarray, (n_ccd, 36) float32
        In the order of `CCD_STATISTICS`; NaN where a band was not measured.
    """
    n_ccd, size, _ = stack.map_power.shape
    n_fine, n_coarse = (np.asarray(n, dtype=np.float64) for n in (stack.n_fine, OVERLAP * stack.n_coarse))
    n_long = np.ones(n_ccd)  # a spectrum without any power has no peaks, whatever is said to have been added
    result = _peaks(stack.fine, n_fine, stack.coarse, n_coarse, stack.map_power, n_long, size, stack.map_side)
    for turn in () if turns is None else set(turns):
        alike = np.flatnonzero(np.asarray(turns) == turn)
        result[alike, 2] = turned_angle(result[alike, 2], turn)
    return result.reshape(n_ccd, -1).astype(np.float32)


def exposure_statistics(runs: Sequence[tuple[StackSpectra, Sequence[int]]], turns: Sequence[int]) -> FloatImage:
    """Return the peaks of the sum of the spectra of an exposure's CCDs.

    Parameters
    ----------
    runs : sequence of (StackSpectra, sequence of int)
        The measured CCDs in the order of the exposure's CCDs, in which powers are added. CCDs that follow each other
        and were measured in one stack are one entry: the spectra of the stack, and the indices of the CCDs.
    turns : sequence of int
        `Turn` of each CCD; spectra are turned to the axes of the focal plane before they are added.

    Returns
    -------
    ndarray, (36,) float32
        In the order of `EXPOSURE_STATISTICS`; NaN where a band was not measured. Maps whose cells are not as large as
        those of the first CCD are left out of the longest two bands.
    """
    if not runs:
        return np.full(3 * BANDS, np.nan, np.float32)
    from gpuanom.statistics.added_powers import add_powers  # imports Numba, which a night ranked again needs not

    first = runs[0][0]
    size, side = first.map_power.shape[1], first.map_side
    fine, coarse, long = (np.zeros(power.shape[1:]) for power in (first.fine, first.coarse, first.map_power))
    counts, n_parts = np.zeros(3), 0.0
    every_turn, end = np.array(turns, dtype=np.int64), 0
    for stack, places in runs:
        chosen = np.array(places, dtype=np.int64)
        turns_of, end = every_turn[end : end + len(places)], end + len(places)
        add_powers(stack.fine, chosen, turns_of, fine)
        add_powers(stack.coarse, chosen, turns_of, coarse)
        if (stack.map_power.shape[1], stack.map_side) == (size, side):
            counts[2] += add_powers(stack.map_power, chosen, turns_of, long)
        counts[0] += int(stack.n_fine[chosen].sum())
        for n_coarse in stack.n_coarse[chosen].tolist():
            n_parts += OVERLAP * n_coarse
    counts[1] = n_parts
    k = counts[:, None]
    return _peaks(fine[None], k[0], coarse[None], k[1], long[None], k[2], size, side).ravel().astype(np.float32)


def _peaks(
    fine: Doubles, n_fine: Doubles, coarse: Doubles, n_coarse: Doubles, long: Doubles, n_long: Doubles, size: int,
    side: int,
) -> Doubles:  # fmt: skip
    """Peaks of several spectra in all bands, (n, 3, 12): powers over their local level, periods, angles of stripes."""
    parts = (
        peaks.largest(long, n_long, peaks.grid(size, float(side), EDGES[:3], axes_apart=False)),
        peaks.largest(coarse, n_coarse, peaks.grid(PART, float(CELL), EDGES[2:7], axes_apart=True)),
        peaks.largest(fine, n_fine, peaks.grid(PART, 1.0, EDGES[6:], axes_apart=True)),
    )
    return np.concatenate(parts, axis=2)


def map_powers(values: FloatImage) -> Doubles:
    """Return the power of each CCD's map, less its mean, under a Hann window, at the frequencies of a larger square.

    Parameters
    ----------
    values : ndarray, (n_ccd, my, mx) float32
        In sigma; NaN where there is no value.

    Returns
    -------
    ndarray, (n_ccd, n, n // 2 + 1) float64
        n is the least power of 2 that is at least 64, my and mx, so that turned maps have the same frequencies. 0 for
        a map with fewer than 8 cells along an axis, or with values in less than half of its cells.
    """
    n_ccd, my, mx = values.shape
    size = 64
    while size < max(my, mx):
        size *= 2
    if min(my, mx) < 8:
        return np.zeros((n_ccd, size, size // 2 + 1))
    from gpuanom.statistics.map_cells import windowed  # imports Numba, which a night ranked again needs not

    filled = np.empty(values.shape)
    cells = np.ascontiguousarray(values, dtype=np.float32).reshape(n_ccd, my * mx)
    windowed(cells, _window(my, mx), filled.reshape(n_ccd, my * mx))
    transform = np.fft.rfft2(filled, s=(size, size), axes=(1, 2))
    return np.asarray(transform.real**2 + transform.imag**2)


@lru_cache(maxsize=8)
def _window(my: int, mx: int) -> Doubles:
    """A Hann window over the cells of a map, row after row."""
    return (_hann(my)[:, None] * _hann(mx)).ravel()


def _hann(n: int) -> Doubles:
    """A Hann window over n cells, from edge to edge."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * (np.arange(n) + 0.5) / n)


def turned_angle(angle: Doubles, turn: int) -> Doubles:
    """Return angles in degrees in the axes of the focal plane, in (-90, 90]."""
    turned = -angle if turn & Turn.MIRRORED else np.asarray(angle)
    turned = turned + 90.0 if turn & Turn.QUARTER else turned
    return 90.0 - (90.0 - turned) % 180.0
