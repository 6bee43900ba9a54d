"""The statistics that native loops make of patterns and shapes, CCD by CCD in plain NumPy: the slow truth."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from gpuanom.records import Turn

LEAST, LEAST_OF_SMALL = 24, 16


@cache
def followed(d, rows):
    """The columns of a line that moves by d columns over all rows, a power of 2: by halves."""
    if rows == 1:
        return [0]
    half = rows // 2
    return followed(d // 2, half) + [(d + 1) // 2 + x for x in followed(d // 2, half)]


def contrasts(plane, mean, d, height):
    """How far each line that moves by d columns stands out of those beside it, NaN where short, and the unit."""
    rows, columns = plane.shape
    least = min(LEAST, max(LEAST_OF_SMALL, max(plane.shape) // 2))
    sums, n = (np.zeros(columns + 2 * height, dtype=np.int64) for _ in range(2))
    for y, x in enumerate(followed(d, height)[:rows]):
        sums[height - x : height - x + columns] += plane[y]
        n[height - x : height - x + columns] += 1
    found, unit = np.full(columns + height, np.nan), np.zeros(columns + height)
    width = columns + height
    before, middle, after = slice(0, width - 6), slice(3, width - 3), slice(6, width)
    one, own, other = n[before], n[middle], n[after]
    known = (own >= least) & (2 * one >= own) & (2 * other >= own)
    beside = 0.5 * (sums[before] + sums[after]).astype(float)
    over = sums[middle].astype(float) - beside - mean * (own - 0.5 * (one + other))
    root = np.sqrt(own + 0.25 * (one + other))
    unit[middle] = np.where(known, root, 0.0)
    found[middle] = np.divide(over, root, out=np.full(width - 6, np.nan), where=known)
    return found, unit


def along_a_column(plane, d, height, column, excess):
    """Whether what stands out of a line that moves by d columns belongs to its columns, not to the line."""
    rows, columns = plane.shape
    x = column - height + d / max(height - 1, 1) * np.arange(rows)
    inside = (x > -0.5) & (x < columns - 0.5)
    of_row = np.where(inside, np.rint(x), -1).astype(np.int64)
    parts = []
    for c in np.unique(of_row[inside]):
        here = of_row == c
        over = 0.0 if here.all() else float(np.median(plane[here, c]) - np.median(plane[~here, c]))
        parts.append((int(here.sum()) * over, int(here.sum())))
    strongest, n_strongest = max(parts, key=lambda part: part[0])
    rest = sum(n for _, n in parts) - n_strongest
    return rest < 4 or (sum(part[0] for part in parts) - strongest) * (rest + n_strongest) < 0.5 * excess * rest


def best_line(plane, mean, deviation):
    """The highest line: its height, columns a row, first column; the largest parallel line, and the darkest near it."""
    height = 1
    while height < len(plane):
        height *= 2
    best, result = 0.0, (0.0, 0.0, 0, 0.0, 0.0)
    for d in range(max(1, height // 64), height):
        values, unit = contrasts(plane, mean, d, height)
        lines = np.where(np.isnan(values), -math.inf, values)
        for column in np.flatnonzero(lines > best) if d <= 8 else ():
            if along_a_column(plane, d, height, column, values[column] * unit[column]):
                lines[column] = -math.inf
        if lines.max() > best:
            best, column = float(lines.max()), int(lines.argmax())
            known = np.where(np.isnan(values), 0.0, values)
            far = np.abs(np.arange(len(values)) - column) > 5
            elsewhere, beside = np.abs(known[far]).max(initial=0.0), (-known[~far]).max(initial=0.0)
            result = (
                best / deviation, d / max(height - 1, 1), column - height, elsewhere / deviation, beside / deviation,
            )  # fmt: skip
    return result


def deviation_of(bins, mean):
    """The standard deviation, by squares that are added down each column one by one and then over the columns."""
    total = 0.0
    for column in bins.T:
        of_column = 0.0
        for value in column.tolist():
            of_column += (value - mean) * (value - mean)
        total += of_column
    return math.sqrt(total / bins.size)


def line(bins, side):
    """The line of a plane of bins that stands out most: height, x and y of both ends in bins, and positive share."""
    mean = float(np.mean(bins))
    deviation = deviation_of(bins, mean)
    if not deviation > 0.0 or max(bins.shape) < LEAST:
        return (math.nan,) * 6
    none = (0.0, *5 * (math.nan,))
    best, highest = none, 0.0
    for transposed in (False, True):
        for mirrored in (False, True):
            turned = bins.T if transposed else bins
            turned = turned[:, ::-1] if mirrored else turned
            height, slope, start, elsewhere, beside = best_line(turned, mean, deviation)
            if not height > highest:
                continue
            highest = height
            if elsewhere > max(0.5 * height, 4.0) or beside > 0.8 * height:
                best = none
                continue
            along = np.arange(len(turned))
            across = start + slope * along
            inside = (across > -0.5) & (across < turned.shape[1] - 0.5)
            along, across = along[inside], across[inside]
            values = turned[along, np.rint(across).astype(np.int64)] - mean
            segments = np.add.reduceat(values, np.arange(0, len(values), max(1, 32 // side)))
            if mirrored:
                across = turned.shape[1] - 1 - across
            x, y = (along, across) if transposed else (across, along)
            best = (height, *(float(z) for z in (x[0], y[0], x[-1], y[-1])), float(np.mean(segments > 0)))
    return best


def largest(power, added, grid):
    """The largest ratio of a power to its local level in each band, its period, and the angle of its stripes."""
    with np.errstate(divide="ignore"):
        share = np.where(added <= 1.0, np.log(2.0), (1.0 - 1.0 / (9.0 * added)) ** 3)
    result = np.full((len(power), 3, len(grid.bands)), np.nan)
    flat = power.reshape(len(power), -1)
    sorted_power = flat[:, grid.place]
    middle = np.partition(sorted_power[:, grid.rings], (29, 30), axis=-1)
    median = (middle[..., 29] + middle[..., 30]) / 2.0
    level = (median / share[:, None])[:, grid.group]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(level > 0.0, sorted_power / level, 0.0)
    row = np.arange(len(power))
    for band, members in enumerate(grid.bands):
        if not members.size:
            continue
        best = members[np.argmax(ratio[:, members], axis=1)]
        near = flat[row[:, None], grid.around[best]]
        weight = np.maximum(near - level[row, best][:, None], 0.0) * grid.weight[best]
        total = weight.sum(axis=1)
        total[total <= 0.0] = np.inf  # then the peak's own frequency stays
        kx = grid.kx[best] + (weight * (np.arange(9) % 3 - 1)).sum(axis=1) / total
        ky = grid.ky[best] + (weight * (np.arange(9) // 3 - 1)).sum(axis=1) / total
        result[:, 0, band] = ratio[row, best]
        result[:, 1, band] = grid.size * grid.pixel / np.hypot(kx, ky)
        # Stripes run across the wave.
        result[:, 2, band] = 90.0 - (-np.degrees(np.arctan2(ky, kx))) % 180.0
    result[(added <= 0.0) | ~(flat > 0.0).any(axis=1)] = np.nan
    return result


def jitter(sums, counts, width):
    """Variance of each profile around its running median, in units of what pixel noise of 1 sigma gives."""
    n_ccd, size = sums.shape
    present = 4 * counts >= width
    mean = np.where(present, sums * 2.0**-12 / np.maximum(counts, 1), np.nan)
    if size < 31:
        return np.full(n_ccd, np.nan)
    left = mean - running_median(mean)
    left *= np.sqrt(counts)
    result = np.full(n_ccd, np.nan)
    known = np.isfinite(left).any(axis=1)  # NumPy would warn of a CCD of which no row is left
    if known.any():
        left = left[known]
        limit = 4.0 * 1.4826 * np.nanmedian(np.abs(left), axis=1, keepdims=True)
        squares = np.nan_to_num(np.clip(left, -limit, limit) ** 2)
        # Squares of every 512th row are added one by one, and then these sums.
        total = sum_one_by_one([sum_one_by_one(squares[:, k::512].T) for k in range(512)])
        result[known] = total / np.count_nonzero(np.isfinite(left), axis=1)
    return result


def sum_one_by_one(numbers):
    """The sum of numbers, or of arrays, in their order."""
    total = 0.0
    for number in numbers:
        total = total + number
    return total


def running_median(mean):
    """Running median of profiles, taken at every eighth place and interpolated; NaN are left out."""
    n_ccd, size = mean.shape
    places = np.arange(0, size - 31 + 1, 8)
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(mean, 31, axis=1)[:, places], axis=-1)
    n = np.count_nonzero(np.isfinite(windows), axis=-1)  # NaN are sorted to the end
    low = np.take_along_axis(windows, np.maximum(n - 1, 0)[..., None] // 2, axis=-1)[..., 0]
    high = np.take_along_axis(windows, n[..., None] // 2 % 31, axis=-1)[..., 0]
    median = (low + high) / 2.0
    at = places + 31 // 2
    result = np.full(mean.shape, np.nan)
    for i in range(n_ccd):
        known = np.isfinite(median[i])
        if known.any():
            result[i] = np.interp(np.arange(size), at[known], median[i, known])
    return result


def robust_mean(values):
    """Mean of the values within three robust standard deviations of their median, and the mean's error."""
    if values.size:
        off = np.abs(values - np.median(values))
        limit = 3.0 * 1.4826 * float(np.median(off))
        values = values[off <= limit] if limit > 0.0 else values
    if values.size < 3:
        return math.nan, math.nan
    return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(values.size)


def within(values):
    """Which values are within three robust standard deviations of their median; all where that deviation is 0."""
    off = np.abs(values - np.median(values))
    limit = 3.0 * 1.4826 * float(np.median(off))
    return off <= limit if limit > 0.0 else np.ones(values.size, dtype=bool)


def plane(u, v, e):
    """The plane through e(u, v), fitted three times without what lies far off, and the errors of its three numbers."""
    kept = within(e)
    for _ in range(3):
        if np.count_nonzero(kept) < 10:
            return None
        terms = np.stack([np.ones(np.count_nonzero(kept)), u[kept], v[kept]])
        m = np.array([[float((a * b).sum()) for b in terms] for a in terms])
        if not np.linalg.det(m / terms.shape[1]) > 1e-8:
            return None
        rows = [np.cross(m[1], m[2]), np.cross(m[2], m[0]), np.cross(m[0], m[1])]
        inverse = np.stack(rows, axis=1) / float((m[0] * rows[0]).sum())
        right = [float((a * e[kept]).sum()) for a in terms]
        fit = np.array([math.fsum(row[k] * right[k] for k in range(3)) for row in inverse])
        off = e - (fit[0] + fit[1] * u + fit[2] * v)
        kept = within(off)
    scatter = float(off[kept].std(ddof=3)) if np.count_nonzero(kept) > 3 else math.nan
    return fit, scatter * np.sqrt(np.diag(inverse))


def turned_power(power, turn):
    """Return a spectrum in the axes of the focal plane, for a CCD that is turned against them as `Turn` says."""
    if not turn:
        return power
    n = len(power)
    back = -np.arange(n) % n
    whole = np.empty((n, n))
    whole[:, : n // 2 + 1] = power
    whole[:, n // 2 + 1 :] = power[back][:, n // 2 - 1 : 0 : -1]
    if turn & Turn.MIRRORED:
        whole = whole[back]
    if turn & Turn.QUARTER:
        # The wave (kx, ky) of the CCD is (-ky, kx) in the focal plane.
        whole = whole[back].T
    return np.ascontiguousarray(whole[:, : n // 2 + 1])
