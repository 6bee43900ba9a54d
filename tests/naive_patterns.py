"""The step `patterns` once more, pixel by pixel and cell by cell, as METHOD.md 9 says it; slow, and float64."""

from __future__ import annotations

import math

import naive
import numpy as np

from tests.remembered import remembered

STEP = 2.0**-12


def rounded(c, sigma):
    """Coefficients in whole steps of 2^-12 sigma, and one step, in the image's unit."""
    step = float(np.float32(sigma)) * STEP
    return [float(round(value / step)) * step for value in c], step


def residuals(image, bad, c, sigma):
    """v in whole steps, clipped to -3.5 ... 8 sigma (less two steps); NaN where a pixel is bad."""
    c, step = rounded(c, sigma)
    y, x = np.indices(image.shape)
    with np.errstate(invalid="ignore"):
        v = (image.astype(float) - naive.background_value(c, y, x, *image.shape)) * (1.0 / step)
        steps = np.rint(np.clip(v, -14336.0, 32766.0))
    usable = np.isfinite(image) if bad is None else np.isfinite(image) & ~bad
    return np.where(usable, steps, np.nan)


def hidden_cells(v):
    """Which cells of 4 x 4 pixels belong to sources."""
    ny, nx = v.shape
    rows, columns = -(-ny // 4), -(-nx // 4)
    hot, glowing = np.zeros((rows, columns), bool), np.zeros((rows, columns), bool)
    for j in range(rows):
        for i in range(columns):
            cell = v[4 * j : 4 * j + 4, 4 * i : 4 * i + 4]
            hot[j, i] = np.count_nonzero(cell > 4 * 4096) >= 2
            glowing[j, i] = np.nansum(cell) > 16 * 3 * 4096
    result = np.zeros((rows, columns), bool)
    for j in range(rows):
        for i in range(columns):
            near = slice(max(j - 1, 0), j + 2), slice(max(i - 1, 0), i + 2)
            far = slice(max(j - 2, 0), j + 3), slice(max(i - 2, 0), i + 3)
            result[j, i] = hot[near].any() or glowing[far].any()
    return result


def masked(v):
    """Residuals in steps, at most 3.5 sigma, and NaN where they are masked."""
    hidden = np.repeat(np.repeat(hidden_cells(v), 4, axis=0), 4, axis=1)[: v.shape[0], : v.shape[1]]
    left = np.where(hidden | (v > 4 * 4096), np.nan, v)
    return np.fmin(left, 14336) + 0 * left


def parts(ny, nx, n_rows, n_columns):
    """First pixels of parts of 128 x 128, spread evenly from edge to edge, and every so-manieth if there are many."""
    if not (n_rows and n_columns):
        return []
    rows = [i * (ny - 128) // max(n_rows - 1, 1) for i in range(n_rows)]
    columns = [i * (nx - 128) // max(n_columns - 1, 1) for i in range(n_columns)]
    every = [(y, x) for y in rows for x in columns]
    n = min(len(every), 128)
    return [every[i * len(every) // n] for i in range(n)]


def power(plane, places):
    """Sum of the powers of parts of a plane, in sigma^2."""
    total = np.zeros((128, 65))
    hann = np.array([0.5 - 0.5 * math.cos(2 * math.pi * i / 128) for i in range(128)])
    for y, x in places:
        transform = np.fft.rfft2(plane[y : y + 128, x : x + 128] * STEP * hann[:, None] * hann)
        total += abs(transform) ** 2
    return total


@remembered
def measured(image, bad, c, sigma, saturation=float("nan"), most_cells=2048):
    """Everything that the step measures of one CCD, but for the line."""
    ny, nx = image.shape
    v = residuals(image, bad, c, sigma)
    r = masked(v)
    good, usable, zero = np.isfinite(r), np.isfinite(v), np.nan_to_num(r)
    side = 32
    while -(-ny // side) * -(-nx // side) > most_cells:
        side += 32
    cells = [[(slice(y, y + side), slice(x, x + side)) for x in range(0, nx, side)] for y in range(0, ny, side)]
    found = {
        name: [[plane[cell].sum() for cell in row] for row in cells]
        for name, plane in (("map_sum", zero), ("map_count", good), ("map_usable", usable))
    }
    for axis, name in ((1, "row"), (0, "column")):
        found[f"{name}_sum"], found[f"{name}_count"] = zero.sum(axis=axis), good.sum(axis=axis)
    side = 8
    while -(-ny // side) * -(-nx // side) > 8192:
        side *= 2
    found["bin_sum"] = np.zeros((-(-ny // side), -(-nx // side)))
    for y in range(0, ny, 4):
        for x in range(0, nx, 4):
            level = np.nansum(v[y : y + 4, x : x + 4])
            found["bin_sum"][y // side, x // side] += min(max(level, -16 * 4096), 16 * 4096)
    side = 8
    while -(-ny // side) * -(-nx // side) > 8192:
        side *= 2
    found["faint_bin_sum"] = [
        [zero[y : y + side, x : x + side].sum() for x in range(0, nx, side)] for y in range(0, ny, side)
    ]
    fine = parts(ny, nx, ny // 128, nx // 128)
    rows, columns = ny // 4, nx // 4
    means = np.floor((zero[: 4 * rows, : 4 * columns].reshape(rows, 4, columns, 4).sum(axis=(1, 3)) + 8) / 16)
    halves = [math.ceil((n - 128) / 64) + 1 if n >= 128 else 0 for n in (rows, columns)]
    coarse = parts(rows, columns, *halves)
    found["fine_power"], found["n_fine"] = power(zero, fine), len(fine)
    found["coarse_power"], found["n_coarse"] = power(means, coarse), len(coarse)
    found["crosstalk_sum"] = found["crosstalk_count"] = found["crosstalk_masked"] = 0
    c, step = rounded(c, sigma)
    for y, x in np.argwhere((v >= 32766) | (np.isfinite(image) & ~usable)):
        above = (float(image[y, x]) - naive.background_value(c, int(y), int(x), ny, nx)) * (1 / step)
        if not (above >= 32765.5 and above > 0.1 * saturation * (1 / step)):
            continue
        if good[y, nx - 1 - x]:
            found["crosstalk_sum"] += r[y, nx - 1 - x]
            found["crosstalk_count"] += 1
        elif usable[y, nx - 1 - x] and abs(nx - 1 - 2 * x) >= 64:
            found["crosstalk_masked"] += 1
    return found
