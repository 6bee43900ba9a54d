"""Which lines of bins there are, how many bins each of them crosses, and when one is a trail (METHOD.md 9.6).

The same for both backends. A plane of bins is looked at in four orientations, so that every direction is within 45
degrees of a column of one of them: as it is, mirrored from left to right, and both of these of the transposed plane.
Rows are filled up with empty ones to a *height* that is a power of 2. Line d moves by d columns from the first of these
rows to the last one; d is from 0 to height - 1. To the left of the plane lie as many empty columns as there are rows:
where a line begins there, it enters the plane further down.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from gpuanom.records import Doubles

LINE_PARALLEL = 3
"""A line is compared with the two lines that lie this number of columns to either side of it."""
LINE_NEAR = 5
"""Lines up to so many columns away are beside a line; others are elsewhere."""
LINE_STEEP = 8
"""Lines that move by at most so many columns may owe what stands out of them to one column alone."""
LINE_REST, LINE_LEAST_REST = 0.5, 4
"""Outside of the column in which a steep line is strongest, a trail has so many bins, which are above the rest of their
columns by at least this part of what the line is above those beside it."""
LINE_ALONE, LINE_NOISE = 0.5, 4.0
"""A trail has no parallels: beside a line of stripes or waves are others of this part of its height, or more than so
many standard deviations where noise alone reaches that part."""
LINE_EDGE = 0.8
"""Beside a trail are lines of half its height that seem dark, since the trail is in what is compared with them. At a
step, such as that between two amplifiers, the dark side is as strong as the bright one."""
LINE_SEGMENT = 32
"""Length of a segment of a line, pixels."""
LINE_NUMBERS = 6
"""Numbers that describe a line: see `gpuanom.backends.protocol.Backend.lines`."""
LEAST, LEAST_OF_SMALL = 24, 16
"""Bins that a line crosses at least: half of the longer side of a small plane of bins, but so many at least, since a
trail crosses the corners of CCDs, too."""


def has_lines(rows: int, columns: int) -> bool:
    """Whether a plane of so many rows and columns of bins is large enough for lines."""
    return max(rows, columns) >= LEAST


def height_of(rows: int) -> int:
    """The least power of 2 that is at least the number of rows."""
    return 1 << (rows - 1).bit_length()


@lru_cache(maxsize=16)
def weights(rows: int, columns: int) -> Doubles:
    """Return what the contrast of a line depends on besides the sums: how many bins it and those beside it cross.

    Parameters
    ----------
    rows, columns : int
        Of a plane of bins, as it is or transposed.

    Returns
    -------
    ndarray, (2, height, columns + height) float64
        For line d that begins at column x - height: first the number of its bins less the mean number of bins of the
        two lines beside it; then the standard deviation of its contrast over that of a bin. They are 0 and infinite
        where the line crosses too few bins, or where a line beside it crosses fewer than half as many.
    """
    least = min(LEAST, max(LEAST_OF_SMALL, max(rows, columns) // 2))
    height = height_of(rows)
    width = columns + height
    counts: Doubles = np.zeros((height, width))
    counts[:rows, height:] = 1.0
    half = 1
    while half < height:
        strips = counts.reshape(-1, 2 * half, width)
        merged = np.empty(strips.shape)
        for d in range(2 * half):
            moved = (d + 1) // 2
            merged[:, d] = strips[:, d // 2]
            merged[:, d, : width - moved] += strips[:, half + d // 2, moved:]
        counts, half = merged.reshape(height, width), 2 * half
    beside = LINE_PARALLEL
    found = np.zeros((2, height, width))
    found[1] = np.inf
    n, before, after = counts[:, beside:-beside], counts[:, : -2 * beside], counts[:, 2 * beside :]
    enough = (n >= least) & (2 * before >= n) & (2 * after >= n)
    found[0, :, beside:-beside] = np.where(enough, n - 0.5 * (before + after), 0.0)
    found[1, :, beside:-beside] = np.where(enough, np.sqrt(n + 0.25 * (before + after)), np.inf)
    found.setflags(write=False)
    return found
