"""Sums along all straight lines of planes of bins, by halves: the twin of kernels/contrasts.cu (METHOD.md 9.6).

The sum along a line of 2 h rows is the sum along its upper h rows plus the sum along its lower h rows.
A line that moves by d columns over all its rows moves by d // 2 columns within each half, and by the
remaining columns between the halves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuanom.backends.line_layout import LINE_PARALLEL
from gpuanom.native import helper, inlined

BLOCK = 32
"""Columns that are added at a time."""


@helper
def room(table: Any) -> Any:
    """Columns that the sums of lines take: those of their weights, in full blocks, and zeros that lower halves reach.

    Rows are added in blocks of 32 columns, which processors do without a rest; what is beyond the lines stays 0.
    """
    return (table.shape[2] + BLOCK - 1) // BLOCK * BLOCK + table.shape[1] // 2


@helper
def filled(flat: Any, first: Any, step_y: Any, step_x: Any, rows: Any, width: Any, both: Any) -> None:
    """Put a plane of bins, turned by the steps between its bins, to the right of as many empty columns as rows."""
    sums, height = both[0], both.shape[1]
    for y in range(height):
        # Lines that move by d columns begin at most d columns left of the plane: the sums of the plane before.
        start = (height - y) // BLOCK * BLOCK
        both[0, y, start:height] = 0
        both[1, y, start:height] = 0
        out = sums[y, height:width]
        if y < rows:
            at = first + y * step_y
            for x in range(len(out)):
                out[x] = flat[np.uint64(at + x * step_x)]
        else:
            out[:] = 0


@inlined
def _merge(flat: Any, upper: Any, lower: Any, target: Any, n: Any) -> None:
    """Add the sums of two halves: n blocks of columns from three places of `flat` on."""
    u, w, t = np.uint64(upper), np.uint64(lower), np.uint64(target)
    for x in range(np.uint64(n) * np.uint64(BLOCK)):
        flat[t + x] = flat[u + x] + flat[w + x]


@helper
def folded(flat: Any, height: Any, room: Any) -> Any:
    """Add halves until each row holds the sums along lines over all rows.

    `flat` is two planes of height x room, of which the first one is filled. Returns which of them holds the sums.
    """
    n_blocks = (room - height // 2) // BLOCK
    half, source, target = 1, 0, height * room
    while half < height:
        for strip in range(0, height, 2 * half):
            for d in range(2 * half):
                block = (height - d) // BLOCK  # the first one that such lines begin in
                at = block * BLOCK
                upper = source + (strip + d // 2) * room + at
                lower = upper + half * room + (d + 1) // 2
                _merge(flat, upper, lower, target + (strip + d) * room + at, n_blocks - block)
        half, source, target = 2 * half, target, source
    return 0 if source == 0 else 1


@helper
def contrast(line: Any, x: Any, mean: Any, excess: Any, root: Any) -> Any:
    """How far a line is above the mean of the lines three columns beside it, over the bins' deviation; 0 if short."""
    own, other = x + LINE_PARALLEL, x + 2 * LINE_PARALLEL
    return (line[own] - 0.5 * (line[x] + line[other]) - mean * excess[own]) / root[own]


@helper
def any_higher(line: Any, mean: Any, excess: Any, root: Any, best: Any) -> Any:
    """Whether one of parallel lines may be higher than `best`: without division, many lines at a time."""
    one, both = LINE_PARALLEL, 2 * LINE_PARALLEL
    before, after, middle = line[:-both], line[both:], line[one:-one]
    excess, root = excess[one:-one], root[one:-one]
    limit = best * (1.0 - 1e-9)  # rounding is far less
    n = 0
    for x in range(len(middle)):
        n += 1 if middle[x] - 0.5 * (before[x] + after[x]) - mean * excess[x] > limit * root[x] else 0
    return n > 0


@helper
def scatter(plane: Any, mean: Any, of_columns: Any) -> Any:
    """The standard deviation of the bins; squares are added down each column and then over the columns, as on a GPU."""
    of_columns[:] = 0.0
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            of_columns[x] += (plane[y, x] - mean) ** 2
    total = 0.0
    for x in range(len(of_columns)):
        total += of_columns[x]
    return np.sqrt(total / plane.size)
