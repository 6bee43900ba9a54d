"""Where the parts and cells of a CCD lie that patterns are measured in, the same for both backends (METHOD.md 9)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

PART = 128
"""Side of the square parts whose spectra are added, in pixels or in means over `CELL` x `CELL` pixels."""
CELL = 4
"""Side of the cells that are masked as a whole and averaged for the coarse spectrum, in pixels."""
MOST_PARTS = 128
"""The spectrum of pixels is taken of at most this number of parts of a CCD."""
MAP_SIDE = 32
"""Side of a cell of the map, in pixels, or a multiple of this number where the map would have too many cells."""
MOST_MAP_CELLS = 2048
LEAST_BIN = 8
"""Side of the bins in which straight lines are looked for, in pixels, or 2, 4, ... times as much. With bins of 16
pixels the bright trails of a CCD of 256 x 256 pixels are not found: too few bins lie on a line."""
MOST_BINS = 8192
PROFILE_WINDOW = 31
"""Rows (columns) of the running median of a profile."""
PROFILE_EVERY = 8
"""The running median is taken at every eighth row or column, and interpolated between these."""
PROFILE_CLIP = 4.0
"""Jitter is clipped at so many of its robust standard deviations."""
STEP_STRIDE = 16
"""The step filter is taken at every so many rows and columns."""
STEP_REACH = 48
"""The step filter is the difference between the means of so many rows (columns) after and before a place."""


def map_side(ny: int, nx: int) -> int:
    """Side of the cells of a CCD's map, in pixels: the least multiple of 32 that gives at most 2048.

    Parameters
    ----------
    ny, nx : int
        Rows and columns of the CCD.

    Returns
    -------
    int
        The last row and column of cells may be cut off by the CCD's edge.
    """
    side = MAP_SIDE
    while (-(-ny // side)) * (-(-nx // side)) > MOST_MAP_CELLS:
        side += MAP_SIDE
    return side


def map_shape(ny: int, nx: int) -> tuple[int, int]:
    """Rows and columns of the map of a CCD of ny x nx pixels."""
    side = map_side(ny, nx)
    return -(-ny // side), -(-nx // side)


def bin_side(ny: int, nx: int) -> int:
    """Side of the bins in which lines are looked for: the least of 8, 16, 32, ... pixels that gives at most 8192 bins.

    Parameters
    ----------
    ny, nx : int
        Rows and columns of the CCD.

    Returns
    -------
    int
        The last row and column of bins may be cut off by the CCD's edge.
    """
    side = LEAST_BIN
    while (-(-ny // side)) * (-(-nx // side)) > MOST_BINS:
        side *= 2
    return side


def bin_shape(ny: int, nx: int) -> tuple[int, int]:
    """Rows and columns of the bins of a CCD of ny x nx pixels."""
    side = bin_side(ny, nx)
    return -(-ny // side), -(-nx // side)


def step_places(size: int) -> npt.NDArray[np.int64]:
    """Return the rows or columns of an axis of `size` pixels at which steps are taken."""
    return np.arange(STEP_REACH, size - STEP_REACH + 1, STEP_STRIDE)


@lru_cache(maxsize=32)
def fine_parts(ny: int, nx: int) -> npt.NDArray[np.int32]:
    """First pixels (y, x) of the parts of the spectrum of pixels, (n, 2), in (y, x) order; none on a smaller CCD.

    The CCD is filled with parts side by side, evenly spaced from edge to edge; of more than `MOST_PARTS` an evenly
    spaced selection is taken.
    """
    return _selected(_places(ny, ny // PART), _places(nx, nx // PART))


@lru_cache(maxsize=32)
def coarse_parts(ny: int, nx: int) -> npt.NDArray[np.int32]:
    """First cells (y, x) of the parts of the coarse spectrum, (n, 2), in (y, x) order; none on a smaller CCD.

    Parts overlap by half or slightly more, so that the last ones end where the whole cells of the CCD end.
    """
    rows, columns = ny // CELL, nx // CELL
    return _selected(_places(rows, _overlapping(rows)), _places(columns, _overlapping(columns)))


@lru_cache(maxsize=1)
def hann() -> npt.NDArray[np.float64]:
    """The Hann window of a part along one axis, periodic: made up of a constant and one frequency."""
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(PART) / PART)
    window.setflags(write=False)
    return window


@lru_cache(maxsize=1)
def unit_circle() -> npt.NDArray[np.float64]:
    """Cosines of 0, 1, ..., 127 of 128 parts of a turn, then the sines: the factors of a part's Fourier transform."""
    angle = 2.0 * np.pi * np.arange(PART) / PART
    both = np.concatenate([np.cos(angle), np.sin(angle)])
    both.setflags(write=False)
    return both


def _overlapping(cells: int) -> int:
    """How many parts that overlap by half cover an axis; 0 where not even one fits."""
    return 0 if cells < PART else 1 - (PART - cells) // (PART // 2)


def _places(size: int, n: int) -> list[int]:
    """Where n parts along an axis begin, evenly spaced from edge to edge."""
    return [(i * (size - PART)) // max(n - 1, 1) for i in range(n)]


def _selected(rows: list[int], columns: list[int]) -> npt.NDArray[np.int32]:
    places = np.array([(y, x) for y in rows for x in columns], dtype=np.int32).reshape(-1, 2)
    n = min(len(places), MOST_PARTS)
    chosen = places[[i * len(places) // n for i in range(n)]] if n else places
    chosen.setflags(write=False)
    return chosen
