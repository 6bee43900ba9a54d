"""Shapes of stars and maxima in plain float64 loops, straight from METHOD.md 10 and 11; see naive.py."""

from __future__ import annotations

import math

import naive
import numpy as np

from tests.remembered import remembered


def weighted_moments(v, cy, cx, width):
    """Q00, (Q10, Q01), (Q20, Q02, Q11) and sum(w v r^4) about (cy, cx); v is NaN where a pixel is unusable.

    Pixels whole widths away add nothing: the square goes to the first whole pixel beyond four widths.
    """
    reach = int(4 * width) + 1
    row, column = math.floor(cy + 0.5), math.floor(cx + 0.5)
    terms = []
    for i in range(row - reach, row + reach + 1):
        for j in range(column - reach, column + reach + 1):
            if (i, j) in v:
                y, x = i - cy, j - cx
                w = math.exp(-(x * x + y * y) / (2 * width**2)) * v[i, j]
                r2 = x * x + y * y
                terms.append((w, w * x, w * y, w * x * x, w * y * y, w * x * y, w * r2 * r2))
    return [math.fsum(column) for column in zip(*terms, strict=True)] if terms else [0.0] * 7


def stamp_of(image, bad, coefficients, y, x, half):
    """{(row, column): v} of the stamp's usable pixels, counted from the central pixel."""
    usable = naive.usable_pixels(image, bad)
    return {
        (i, j): float(image[y + i, x + j]) - naive.background_value(coefficients, y + i, x + j, *image.shape)
        for i in range(-half, half)
        for j in range(-half, half)
        if usable[y + i, x + j]
    }


def shape(v, half, sigma, width, start=(0.0, 0.0)):
    """(y, x), (Q00, signal to noise, T, e1, e2, kurtosis) about the iterated centroid; None where that is lost."""
    y, x = start
    for _ in range(8):
        q00, q10, q01, q20, q02, q11, q4 = weighted_moments(v, y, x, width)
        if not (q00 > 0 and q20 + q02 > 0):
            return None
        t = (q20 + q02) / q00
        if abs(q10 / q00) < 0.01 and abs(q01 / q00) < 0.01:
            noise = sigma * math.sqrt(math.pi) * width
            return (y, x), (
                q00, q00 / noise, t, (q20 - q02) / (q20 + q02), 2 * q11 / (q20 + q02), q00 * q4 / (q20 + q02) ** 2,
            )  # fmt: skip
        share = max(0.25, 1 - t / (2 * width**2))
        y += max(-width, min(width, q01 / q00 / share))
        x += max(-width, min(width, q10 / q00 / share))
        if abs(y) > half // 2 or abs(x) > half // 2:
            return None
    return None


def half_sample_mode(values):
    """The middle of the densest half, of the densest half of that, and so on."""
    ordered = sorted(values)
    while len(ordered) > 3:
        n = (len(ordered) + 1) // 2
        spans = [ordered[i + n - 1] - ordered[i] for i in range(len(ordered) - n + 1)]
        first = spans.index(min(spans))
        ordered = ordered[first : first + n]
    if len(ordered) == 3:
        lower, upper = ordered[1] - ordered[0], ordered[2] - ordered[1]
        if lower == upper:
            return ordered[1]
        ordered = ordered[:2] if lower < upper else ordered[1:]
    return sum(ordered) / len(ordered)


def is_spoilt(image, bad, saturation, y, x, half, centre, width):
    """Whether a pixel within two widths of the centroid is saturated or unusable, as far as the stamp goes."""
    usable = naive.usable_pixels(image, bad)
    reach = int(2 * width) + 1
    row, column = math.floor(centre[0] + 0.5), math.floor(centre[1] + 0.5)
    return any(
        not usable[y + i, x + j] or image[y + i, x + j] >= saturation
        for i in range(max(-half, row - reach), min(half - 1, row + reach) + 1)
        for j in range(max(-half, column - reach), min(half - 1, column + reach) + 1)
    )


@remembered
def shapes(image, bad, coefficients, sigma, sources, *, saturation=math.nan, stamp_size=64, most=400, for_width=100):
    """Section 10: the weight's width, and (y, x, six moments, spoilt) of each source, brightest first.

    `sources` are (y, x, value, isophotal pixels).
    """
    half = stamp_size // 2
    real = [s for s in sources if s[3] >= 5 and not image[s[0], s[1]] >= saturation]
    real = sorted(real, key=lambda s: (-s[2], s[0], s[1]))[:most]
    stamps = [stamp_of(image, bad, coefficients, y, x, half) for y, x, _, _ in real]
    starts = [(0.0, 0.0)] * len(real)

    def measured(n, width):
        found = []
        for k in range(n):
            one = shape(stamps[k], half, sigma, width, starts[k])
            starts[k] = (0.0, 0.0) if one is None else one[0]
            found.append(one)
        return found

    width = 4.0
    for attempt in range(6):
        found = measured(min(for_width, len(real)), width)
        sizes = [
            one[1][2]
            for one, (y, x, _, _) in zip(found, real, strict=False)
            if one and one[1][1] >= 8 and not is_spoilt(image, bad, saturation, y, x, half, one[0], width)
        ]
        if not sizes:
            return math.nan, []
        t = math.exp(half_sample_mode([math.log(s) for s in sorted(sizes)[: (len(sizes) + 1) // 2]]))
        inverse = 1 / t - 1 / (2 * width**2)
        new = math.sqrt(0.5 / inverse) if inverse > 0 else math.inf
        new = max(0.7, min(new, 7.5, 1.5 * width))
        if abs(new - width) < 0.04 * width or attempt == 5:
            break
        width = new
    found = measured(len(real), width)
    return width, [
        (one[0][0] + y, one[0][1] + x, *one[1], is_spoilt(image, bad, saturation, y, x, half, one[0], width))
        if one
        else None
        for one, (y, x, _, _) in zip(found, real, strict=True)
    ]


@remembered
def maxima(image, bad, coefficients, sigma, *, saturation=math.nan, tile=32, a_tile=4, most=1024):
    """Section 11: the brightest pixels of their 7 x 7 squares above 8 sigma, (y, x) in order.

    Of a tile the first four count, of a CCD the brightest 1024; tiles that the CCD cuts off have none.
    """
    ny, nx = image.shape
    usable = naive.usable_pixels(image, bad)
    v = np.where(usable, naive.subtracted(np.where(usable, image, 0), coefficients), -math.inf)
    found, of_tile = [], {}
    for y, x in np.argwhere(v > 8 * sigma).tolist():
        place = y // tile, x // tile
        if not (3 <= y < ny - 3 and 3 <= x < nx - 3 and place[0] < ny // tile and place[1] < nx // tile):
            continue
        square = v[y - 3 : y + 4, x - 3 : x + 4]
        # Of equal pixels the first in (y, x) order is the brightest: the first of the largest must be the middle one.
        if image[y, x] >= saturation or np.argmax(square) != square.size // 2:
            continue
        of_tile[place] = of_tile.get(place, 0) + 1
        if of_tile[place] <= a_tile:
            found.append((y, x))
    return sorted(sorted(found, key=lambda p: (-v[p], p))[:most])


def pairs(positions, *, quarter=False, mirrored=False):
    """The histogram of all ordered differences: 144 x 256 bins of 2 x 2 pixels, from dy = -32 and dx = -256 on."""
    counts = np.zeros((144, 256), int)
    for a in positions:
        for b in positions:
            if a == b:
                continue
            dy, dx = b[0] - a[0], b[1] - a[1]
            dy = -dy if mirrored else dy
            dy, dx = (dx, -dy) if quarter else (dy, dx)
            if -32 <= dy < 256 and -256 <= dx < 256:
                counts[(dy + 32) // 2, (dx + 256) // 2] += 1
    return counts
