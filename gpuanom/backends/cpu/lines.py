"""The straight line that stands out most of planes of bins: the twin of kernels/lines.cu (METHOD.md 9.6)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from gpuanom.backends.cpu.contrasts import any_higher, contrast, filled, folded, room, scatter
from gpuanom.backends.line_layout import (
    LINE_ALONE,
    LINE_EDGE,
    LINE_LEAST_REST,
    LINE_NEAR,
    LINE_NOISE,
    LINE_NUMBERS,
    LINE_PARALLEL,
    LINE_REST,
    LINE_SEGMENT,
    LINE_STEEP,
    has_lines,
    weights,
)
from gpuanom.native import helper, native
from gpuanom.records import Doubles, LineBins
from gpuanom.sums_and_medians import median


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
    return median(inside) - median(outside)


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

    The column is -1 where no line is higher. The extremes are the largest contrast more than `LINE_NEAR` columns away,
    and the depth of the darkest line that is nearer.
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
            if any_higher(line, mean, excess, root, best):
                for x in range(len(line) - 2 * LINE_PARALLEL):
                    value = contrast(line, x, mean, excess, root)
                    if not (value > best or (value == best and steep and at > LINE_STEEP)):
                        continue
                    own = x + LINE_PARALLEL
                    at_x, over = first + own, value * root[own]
                    if not steep or not _along_a_column(plane, transposed, mirrored, height, d, at_x, over):
                        best, at, column = value, d, at_x
    elsewhere = darkest = 0.0
    if column >= 0:
        first = height - at
        line, excess, root = sums[at, first:width], weights[0, at, first:], weights[1, at, first:]
        for x in range(len(line) - 2 * LINE_PARALLEL):
            value = contrast(line, x, mean, excess, root)
            if abs(first + x + LINE_PARALLEL - column) > LINE_NEAR:
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
        filled(flat, first, 1 if across else columns, -step if mirrored else step, columns if across else rows,
                table.shape[2], both)  # fmt: skip
        lines = both[folded(both.ravel(), both.shape[1], both.shape[2])]
        best, d, column, elsewhere, beside = _highest(lines, plane, across, mirrored, mean, table, least)
        height, elsewhere, beside = best / deviation, elsewhere / deviation, beside / deviation
        if not height > highest:
            continue
        highest, least = height, best
        found[0], found[1:] = 0.0, np.nan
        if not (elsewhere > max(alone * height, noise) or beside > edge * height):
            found[0] = height
            _followed(lines, plane, across, mirrored, d, column, mean, segment, found)


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
        np.zeros((2, upright.shape[1], room(upright))),
        np.zeros((2, transposed.shape[1], room(transposed))),
    )
    flat, of_columns = np.empty(rows * columns), np.empty(columns)
    for i in range(n):
        found[i] = np.nan
        plane, total = planes[i].ravel(), 0
        for j in range(flat.size):  # NumPy's own sum would have the compiled loop import scipy.linalg
            total += plane[j]
        mean = float(total) / flat.size
        deviation = scatter(planes[i], mean, of_columns)
        for j in range(flat.size):
            flat[j] = plane[j]
        if not deviation > 0.0:
            continue
        found[i, 0] = 0.0
        _best_line(planes[i], flat, buffers, (upright, transposed), mean, deviation, segment, alone, noise, edge,
                   found[i])  # fmt: skip
