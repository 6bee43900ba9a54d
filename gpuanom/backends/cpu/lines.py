"""Sums along all straight lines of planes of bins, by halves: the twin of kernels/lines.cu (METHOD.md 9.6).

The sum along a line of 2 h rows is the sum along its upper h rows plus the sum along its lower h rows.
A line that moves by d columns over all its rows moves by d // 2 columns within each half, and by the
remaining columns between the halves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.backends.line_layout import (
    LINE_ALONE,
    LINE_EDGE,
    LINE_LEAST_REST,
    LINE_NOISE,
    LINE_NUMBERS,
    LINE_REST,
    LINE_SEGMENT,
    LINE_STEEP,
    has_lines,
    weights,
)
from gpuanom.native import helper, inlined, native
from gpuanom.records import Doubles, LineBins

BLOCK = 32
"""Columns that are added at a time."""


def lines(bins: LineBins) -> Doubles:
    """See `gpuanom.backends.protocol.Backend.lines`."""
    planes = np.stack([bins.bin_sum, bins.faint_bin_sum])
    _, n_ccd, rows, columns = planes.shape
    found = np.full((2, n_ccd, LINE_NUMBERS), np.nan)
    if has_lines(rows, columns):
        segment = max(1, LINE_SEGMENT // bins.side)
        best_lines(
            planes.reshape(-1, rows, columns), weights(rows, columns), weights(columns, rows), segment, LINE_ALONE,
            LINE_NOISE, LINE_EDGE, found.reshape(-1, LINE_NUMBERS),
        )  # fmt: skip
    return found


@helper
def _room(table: Any) -> Any:
    """Columns that the sums of lines take: those of their weights, in full blocks, and zeros that lower halves reach.

    Rows are added in blocks of 32 columns, which processors do without a rest; what is beyond the lines stays 0.
    """
    return (table.shape[2] + BLOCK - 1) // BLOCK * BLOCK + table.shape[1] // 2


@helper
def _filled(flat: Any, first: Any, step_y: Any, step_x: Any, rows: Any, width: Any, both: Any) -> None:
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
def _folded(flat: Any, height: Any, room: Any) -> Any:
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
def _contrast(line: Any, x: Any, mean: Any, excess: Any, root: Any) -> Any:
    """How far a line is above the mean of the lines three columns beside it, over the bins' deviation; 0 if short."""
    return (line[x + 3] - 0.5 * (line[x] + line[x + 6]) - mean * excess[x + 3]) / root[x + 3]


@helper
def _any_higher(line: Any, mean: Any, excess: Any, root: Any, best: Any) -> Any:
    """Whether one of parallel lines may be higher than `best`: without division, many lines at a time."""
    before, after, middle, excess, root = line[:-6], line[6:], line[3:-3], excess[3:-3], root[3:-3]
    limit = best * (1.0 - 1e-9)  # rounding is far less
    n = 0
    for x in range(len(middle)):
        n += 1 if middle[x] - 0.5 * (before[x] + after[x]) - mean * excess[x] > limit * root[x] else 0
    return n > 0


@helper
def _over_its_column(plane: Any, transposed: Any, c: Any, begin: Any, end: Any) -> Any:
    """How far the bins of a column between two rows are above its other bins, by medians: stars lie on lines, too."""
    rows = plane.shape[1] if transposed else plane.shape[0]
    if end - begin == rows:
        return 0.0
    inside, outside = np.empty(end - begin), np.empty(rows - (end - begin))
    for y in range(rows):
        value = float(plane[c, y] if transposed else plane[y, c])
        if begin <= y < end:
            inside[y - begin] = value
        else:
            outside[y if y < begin else y - (end - begin)] = value
    return _median(inside) - _median(outside)


@helper
def _median(values: Any) -> Any:
    """The median; the values are sorted in place."""
    values.sort()
    half = len(values) // 2
    return values[half] if len(values) % 2 else 0.5 * (values[half - 1] + values[half])


@helper
def _along_a_column(plane: Any, transposed: Any, mirrored: Any, height: Any, d: Any, column: Any, excess: Any) -> Any:
    """Whether a line owes what stands out of it, `excess` in all, to columns of bins: these are then bad ones.

    A trail is bright in each of the columns that it crosses, where it crosses them. A bad column may be bright along a
    part of its length, and may have bad neighbours: so bins on the line are compared with the others of their column.
    """
    rows, columns = (plane.shape[1], plane.shape[0]) if transposed else plane.shape
    slope, start = d / max(height - 1, 1), column - height
    total, strongest, n, n_strongest = 0.0, -np.inf, 0, 0
    current, begin = -1, 0
    for y in range(rows + 1):
        x = start + slope * y
        c = int(np.rint(x)) if y < rows and -0.5 < x < columns - 0.5 else -1
        if c == current:
            continue
        if current >= 0:
            length = y - begin
            at = columns - 1 - current if mirrored else current
            over = length * _over_its_column(plane, transposed, at, begin, y)
            total, n = total + over, n + length
            if over > strongest:
                strongest, n_strongest = over, length
        current, begin = c, y
    rest = n - n_strongest
    return rest < LINE_LEAST_REST or (total - strongest) * n < LINE_REST * excess * rest


@helper
def _highest(sums: Any, plane: Any, transposed: Any, mirrored: Any, mean: Any, weights: Any, least: Any) -> Any:
    """The highest of all lines above `least`, its d and its column, and the extremes of the lines parallel to it.

    Lines along bad columns are passed over, so that they do not hide a trail.

    Its column is -1 where no line is higher. The extremes are the largest contrast more than 5 columns away, and the
    depth of the darkest line nearer to it.
    """
    height, width = sums.shape[0], weights.shape[2]
    best, at, column = least, 0, -1
    # Steep lines come last: only those that are higher than all others need be compared with their columns, which takes
    # much longer than their sums. Of lines that are equally high the steepest counts.
    for part in range(2):
        steep = part == 1
        begin, end = (1, LINE_STEEP + 1) if steep else (LINE_STEEP + 1, height)
        for d in range(max(begin, height // 64), min(end, height)):
            first = height - d  # lines that begin further left do not cross the plane
            line, excess, root = sums[d, first:width], weights[0, d, first:], weights[1, d, first:]
            if _any_higher(line, mean, excess, root, best):
                for x in range(len(line) - 6):
                    value = _contrast(line, x, mean, excess, root)
                    if not (value > best or (value == best and steep and at > LINE_STEEP)):
                        continue
                    at_x, over = first + x + 3, value * root[x + 3]
                    if not steep or not _along_a_column(plane, transposed, mirrored, height, d, at_x, over):
                        best, at, column = value, d, at_x
    elsewhere = darkest = 0.0
    if column >= 0:
        first = height - at
        line, excess, root = sums[at, first:width], weights[0, at, first:], weights[1, at, first:]
        for x in range(len(line) - 6):
            value = _contrast(line, x, mean, excess, root)
            if abs(first + x + 3 - column) > 5:
                elsewhere = max(elsewhere, abs(value))
            else:
                darkest = max(darkest, -value)
    return best, at, column, elsewhere, darkest


@helper
def _followed(sums: Any, plane: Any, transposed: Any, mirrored: Any, d: Any, column: Any, mean: Any, segment: Any,
              line: Any) -> None:  # fmt: skip
    """Where a line enters and leaves the plane, in bins, and the share of its segments that are positive."""
    height = sums.shape[0]
    rows, columns = (plane.shape[1], plane.shape[0]) if transposed else plane.shape
    slope, start = d / max(height - 1, 1), column - height
    n, n_positive, n_segments, total = 0, 0, 0, 0.0
    first_y = first_x = last_y = last_x = 0.0
    for y in range(rows):
        x = start + slope * y
        if not -0.5 < x < columns - 0.5:
            continue
        c = int(np.rint(x))
        c = columns - 1 - c if mirrored else c
        total += (plane[c, y] if transposed else plane[y, c]) - mean
        last_y, last_x = float(y), columns - 1 - x if mirrored else x
        if n == 0:
            first_y, first_x = last_y, last_x
        n += 1
        if n % segment == 0:
            n_segments, n_positive, total = n_segments + 1, n_positive + (total > 0.0), 0.0
    if n % segment:
        n_segments, n_positive = n_segments + 1, n_positive + (total > 0.0)
    if transposed:
        line[1], line[2], line[3], line[4] = first_y, first_x, last_y, last_x
    else:
        line[1], line[2], line[3], line[4] = first_x, first_y, last_x, last_y
    line[5] = n_positive / n_segments


@helper
def _best_line(plane: Any, flat: Any, buffers: Any, tables: Any, mean: Any, deviation: Any, segment: Any, alone: Any,
               noise: Any, edge: Any, found: Any) -> None:  # fmt: skip
    """Find the highest of the lines of one plane, whose bins are also in `flat`: see `best_lines`."""
    rows, columns = plane.shape
    highest = least = 0.0
    for orientation in range(4):
        across, mirrored = orientation >= 2, orientation % 2 == 1
        both, table = (buffers[1], tables[1]) if across else (buffers[0], tables[0])
        first = (rows - 1) * columns if mirrored and across else columns - 1 if mirrored else 0
        step = columns if across else 1
        _filled(flat, first, 1 if across else columns, -step if mirrored else step, columns if across else rows,
                table.shape[2], both)  # fmt: skip
        lines = both[_folded(both.ravel(), both.shape[1], both.shape[2])]
        best, d, column, elsewhere, beside = _highest(lines, plane, across, mirrored, mean, table, least)
        height, elsewhere, beside = best / deviation, elsewhere / deviation, beside / deviation
        if not height > highest:
            continue
        highest, least = height, best
        found[0], found[1:] = 0.0, np.nan
        if not (elsewhere > max(alone * height, noise) or beside > edge * height):
            found[0] = height
            _followed(lines, plane, across, mirrored, d, column, mean, segment, found)


@helper
def _deviation(plane: Any, mean: Any, of_columns: Any) -> Any:
    """The standard deviation of the bins; squares are added down each column and then over the columns, as on a GPU."""
    of_columns[:] = 0.0
    for y in range(plane.shape[0]):
        for x in range(plane.shape[1]):
            of_columns[x] += (plane[y, x] - mean) ** 2
    total = 0.0
    for x in range(len(of_columns)):
        total += of_columns[x]
    return np.sqrt(total / plane.size)


_plane64 = types.int64[:, :, ::1]
_tables = types.Array(types.float64, 3, "C", readonly=True)


@native(
    types.void(
        _plane64, _tables, _tables, types.int64, types.float64, types.float64, types.float64, types.float64[:, ::1]
    )
)
def best_lines(planes: Any, upright: Any, transposed: Any, segment: Any, alone: Any, noise: Any, edge: Any,
               found: Any) -> None:  # fmt: skip
    """Find the highest of the lines of each plane, in any direction that is not within a degree of the axes.

    Bad columns and rows are no lines, although lines that are a degree or more from the axes run along them for a part
    of their length.

    Parameters
    ----------
    planes : ndarray, (n, rows, columns) int64
        Sums of the bins of each CCD, whose sums are less than 2^53.
    upright, transposed : ndarray
        `weights` of planes of (rows, columns) and of (columns, rows).
    segment : int
        Bins of a segment.
    alone, noise, edge : float
        See `gpuanom.backends.line_layout`: no line is a trail that has parallels of more than `alone` of its height
        and `noise`, or a darker one beside it of more than `edge` of its height.
    found : ndarray, (n, 6) float64
        Out: height in standard deviations, x and y of its first and of its last bin, in bins from the first one's
        middle, and the share of segments that are positive; 0 and NaN without a line; all NaN where all bins are alike.
    """
    n, rows, columns = planes.shape
    buffers = (
        np.zeros((2, upright.shape[1], _room(upright))),
        np.zeros((2, transposed.shape[1], _room(transposed))),
    )
    flat, of_columns = np.empty(rows * columns), np.empty(columns)
    for i in range(n):
        found[i] = np.nan
        plane, total = planes[i].ravel(), 0
        for j in range(flat.size):  # NumPy's own sum would have the compiled loop import scipy.linalg
            total += plane[j]
        mean = float(total) / flat.size
        deviation = _deviation(planes[i], mean, of_columns)
        for j in range(flat.size):
            flat[j] = plane[j]
        if not deviation > 0.0:
            continue
        found[i, 0] = 0.0
        _best_line(planes[i], flat, buffers, (upright, transposed), mean, deviation, segment, alone, noise, edge,
                   found[i])  # fmt: skip
