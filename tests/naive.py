"""The method in plain float64 loops, written from METHOD.md: the truth to which the package's steps are compared.

Nothing here imports the package. Arguments are plain numbers and arrays, and the defaults are the numbers of METHOD.md.
Sums go through `math.fsum`, which rounds once, so that any difference comes from the rounding of the backend. Each step
takes a bool array `bad` of its own (METHOD.md 6); usable pixels are finite and not bad.
"""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction

import numpy as np

from tests.remembered import by_place, remembered

NO_ANGLE = math.nan


# Section 6: usable pixels


def usable_pixels(image, bad=None):
    """True where a pixel is finite and not bad."""
    usable = np.isfinite(image)
    return usable if bad is None else usable & ~bad


# Section 6: random points


def key(*texts):
    """Two little-endian words of the BLAKE2b-128 hash of the texts, each preceded by its length."""
    message = b"".join(len(t.encode()).to_bytes(4, "little") + t.encode() for t in texts)
    digest = hashlib.blake2b(message, digest_size=16).digest()
    return [int.from_bytes(digest[i : i + 8], "little") for i in (0, 8)]


def points(seed, exposure, ccd, purpose, n, ny, nx, margin=0):
    """(y, x) of n points, (n, 2): the upper and lower halves of the words of NumPy's Philox4x64, times the spans."""
    words = np.random.Philox(key=np.array(key(str(seed), exposure, ccd, purpose), np.uint64)).random_raw(n).tolist()
    spans = [side + 1 - 2 * margin if margin else side for side in (ny, nx)]
    drawn = [[margin + (half * s >> 32) for half, s in zip(divmod(w, 2**32), spans, strict=True)] for w in words]
    return np.array(drawn, np.int64).reshape(n, 2)


# Section 1: background of a CCD


def background_value(coefficients, y, x, ny, nx):
    """The polynomial at a pixel, or at arrays of pixels, in the one order of operations that fixes every bit of v."""
    c0, c1, c2, c3, c4, c5 = (float(c) for c in coefficients)
    X = 2.0 * x / (nx - 1) - 1.0
    Y = 2.0 * y / (ny - 1) - 1.0
    return (c0 + Y * (c2 + c5 * Y)) + X * ((c1 + c4 * Y) + c3 * X)


def background_image(coefficients, ny, nx):
    """The polynomial at every pixel, float64."""
    y, x = np.arange(ny, dtype=np.float64)[:, None], np.arange(nx, dtype=np.float64)[None, :]
    return background_value(coefficients, y, x, ny, nx)


def subtracted(image, coefficients):
    """v = float64(I) - b at every pixel."""
    return image.astype(np.float64) - background_image(coefficients, *image.shape)


def first_usable(image, bad, points, wanted):
    """The first usable points among the drawn points, in draw order, as (y, x)."""
    usable = usable_pixels(image, bad)
    taken = []
    for y, x in points:
        if len(taken) == wanted:
            break
        if usable[y, x]:
            taken.append((int(y), int(x)))
    return taken


def median(values):
    """The middle value, or the mean of the two in the middle."""
    ordered = sorted(values)
    n = len(ordered)
    if n == 0:
        return math.nan
    return ordered[n // 2] if n % 2 else 0.5 * (ordered[n // 2 - 1] + ordered[n // 2])


def least_squares(rows, values):
    """Solve the normal equations by elimination with pivots; None when they are singular."""
    n = len(rows[0])
    a = [[math.fsum(r[i] * r[j] for r in rows) for j in range(n)] for i in range(n)]
    b = [math.fsum(r[i] * v for r, v in zip(rows, values, strict=True)) for i in range(n)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda k: abs(a[k][i]))
        if abs(a[pivot][i]) < 1e-12 * len(rows):
            return None
        a[i], a[pivot] = a[pivot], a[i]
        b[i], b[pivot] = b[pivot], b[i]
        for k in range(i + 1, n):
            factor = a[k][i] / a[i][i]
            b[k] -= factor * b[i]
            for j in range(i, n):
                a[k][j] -= factor * a[i][j]
    solution = [0.0] * n
    for i in reversed(range(n)):
        solution[i] = (b[i] - math.fsum(a[i][j] * solution[j] for j in range(i + 1, n))) / a[i][i]
    return solution


@remembered
def fit_background(
    image,
    bad,
    fit_points,
    sigma_points,
    *,
    n_fit=1000,
    n_sigma=10_000,
    clip_fraction=0.1,
    minimum_points=100,
):
    """Section 1: coefficients of 1, X, Y, X^2, XY, Y^2, sigma, and whether the CCD is usable."""
    ny, nx = image.shape
    unusable = [math.nan] * 6, math.nan, False
    taken = first_usable(image, bad, fit_points, n_fit)
    if len(taken) < minimum_points:
        return unusable
    values = [float(image[p]) for p in taken]
    by_value = sorted(range(len(taken)), key=lambda i: (values[i], i))
    clipped = math.floor(Fraction(str(clip_fraction)) * len(taken))
    kept = by_value[clipped : len(taken) - clipped]
    # Fitted to differences from a typical value, which is then added, so that a high sky costs no digits.
    level = values[kept[len(kept) // 2]]
    rows = []
    for i in kept:
        y, x = taken[i]
        X, Y = 2.0 * x / (nx - 1) - 1.0, 2.0 * y / (ny - 1) - 1.0
        rows.append((1.0, X, Y, X * X, X * Y, Y * Y))
    coefficients = least_squares(rows, [values[i] - level for i in kept])
    if coefficients is None:
        return unusable
    coefficients[0] += level
    sigma, usable = noise(image, bad, sigma_points, coefficients, n_sigma=n_sigma, minimum_points=minimum_points)
    return (coefficients, sigma, True) if usable else unusable


def noise(image, bad, sigma_points, coefficients, *, n_sigma=10_000, minimum_points=100):
    """Section 1.4: sigma from the residuals at further points, and whether it makes the CCD usable."""
    ny, nx = image.shape
    taken = first_usable(image, bad, sigma_points, n_sigma)
    if len(taken) < minimum_points:
        return math.nan, False
    residuals = [float(image[y, x]) - background_value(coefficients, y, x, ny, nx) for y, x in taken]
    centre = median(residuals)
    sigma = 1.4826 * median([abs(r - centre) for r in residuals])
    typical = median([abs(float(image[p])) for p in taken])
    return sigma, math.isfinite(sigma) and sigma > 2.0**-22 * typical


# Section 2: sources of a CCD


@remembered
def find_sources(image, bad, coefficients, sigma, *, threshold=4.0, stamp_size=64, above_threshold=2.0, above_pixels=6):
    """Section 2: (y, x, n_above) of every source, in (y, x) order."""
    ny, nx = image.shape
    half = stamp_size // 2
    usable = usable_pixels(image, bad)
    v = np.where(usable, subtracted(np.where(usable, image, 0), coefficients), -math.inf)
    sources = []
    for y, x in np.argwhere(v > threshold * sigma):
        if y - half < 0 or y + half > ny or x - half < 0 or x + half > nx:
            continue  # its stamp, rows y-32 ... y+31, leaves the CCD
        if not brightest(v, int(y), int(x), half):
            continue
        n_above = int(np.sum(v[y - half : y + half, x - half : x + half] > above_threshold * sigma))
        if n_above > above_pixels:
            sources.append((int(y), int(x), n_above))
    return sources


def brightest(v, y, x, half):
    """Whether (y, x) is the brightest of its stamp, or the first of the brightest. Bad pixels are -inf in v."""
    stamp = v[y - half : y + half, x - half : x + half]
    if stamp.max() > v[y, x]:
        return False
    for i, j in np.argwhere(stamp >= v[y, x]):
        other = int(i) + y - half, int(j) + x - half
        if other < (y, x):
            return False
    return True


# Sections 3 and 3b: moments and orientation of a source


@remembered
def moments(image, bad, coefficients, y, x, *, stamp_size=64, moment_fraction=0.02):
    """Section 3: (Q20, Q02, Q11) over the usable pixels of the stamp above I0, and sums of the terms' magnitudes."""
    above = _pixels_above(image, bad, coefficients, y, x, stamp_size, moment_fraction, 0.0)
    return _sums(above)


@remembered
def isophote_moments(
    image, bad, coefficients, sigma, y, x, *, stamp_size=64, moment_fraction=0.02, isophote_threshold=2.0
):
    """Section 3b: the same for pixels 4-connected to the centre above max(I0, 2 sigma), and their number."""
    lowest = isophote_threshold * sigma
    above = _pixels_above(image, bad, coefficients, y, x, stamp_size, moment_fraction, lowest)
    connected = {}
    todo = [(0, 0)]
    while todo:
        j, i = todo.pop()
        if (j, i) in connected or (j, i) not in above:
            continue
        connected[j, i] = above[j, i]
        todo += [(j - 1, i), (j + 1, i), (j, i - 1), (j, i + 1)]
    sums, magnitudes = _sums(connected)
    return sums, magnitudes, len(connected)


def _pixels_above(image, bad, coefficients, y, x, stamp_size, moment_fraction, lowest):
    """{(row offset, column offset): v} of the usable pixels of the stamp above max(I0, lowest)."""
    ny, nx = image.shape
    half = stamp_size // 2
    usable = usable_pixels(image, bad)
    centre = float(image[y, x]) - background_value(coefficients, y, x, ny, nx)
    limit = max(moment_fraction * centre, lowest)
    rows, columns = np.arange(y - half, y + half)[:, None], np.arange(x - half, x + half)[None, :]
    pixels = np.where(usable, image, 0)[rows, columns].astype(np.float64)
    values = pixels - background_value(coefficients, rows, columns, ny, nx)
    above = {}
    for j, i in np.argwhere(usable[rows, columns] & (values > limit)).tolist():
        above[j - half, i - half] = float(values[j, i])
    return above


def _sums(above):
    q20 = [v * i * i for (j, i), v in above.items()]
    q02 = [v * j * j for (j, i), v in above.items()]
    q11 = [v * i * j for (j, i), v in above.items()]
    sums = tuple(math.fsum(q) for q in (q20, q02, q11))
    magnitudes = tuple(math.fsum(abs(t) for t in q) for q in (q20, q02, q11))
    return sums, magnitudes


def orientation(q20, q02, q11):
    """Section 3: the angle of the long axis from the x-axis, in (-pi/2, pi/2], NaN where there is none."""
    total = q20 + q02
    if not all(math.isfinite(q) for q in (q20, q02, q11)) or total == 0:
        return NO_ANGLE
    e1, e2 = (q20 - q02) / total, 2 * q11 / total
    if (e1 == 0 and e2 == 0) or not (math.isfinite(e1) and math.isfinite(e2)):
        return NO_ANGLE
    theta = math.atan2(e2, e1) / 2
    return math.pi / 2 if theta <= -math.pi / 2 else theta


# Section 4: background gradients of a CCD


def smooth(image, *, smooth_size=10):
    """Section 4.1: mean over rows y-5 ... y+4, columns alike, float64; NaN where the window leaves the CCD."""
    ny, nx = image.shape
    half = smooth_size // 2
    smoothed = np.full((ny, nx), math.nan)
    if ny < smooth_size or nx < smooth_size:
        return smoothed
    rows, columns = ny - smooth_size + 1, nx - smooth_size + 1
    total = np.zeros((rows, columns))
    with np.errstate(invalid="ignore"):
        for j in range(smooth_size):
            for i in range(smooth_size):
                total += image[j : j + rows, i : i + columns].astype(np.float64)
    smoothed[half : half + rows, half : half + columns] = total / smooth_size**2
    return smoothed


def binned(smoothed, binning):
    """Means of the finite pixels in cells of binning x binning pixels, without incomplete cells at the far edges."""
    ny, nx = smoothed.shape
    cells = []
    for y in range(0, ny, binning):
        for x in range(0, nx, binning):
            cell = [float(v) for v in smoothed[y : y + binning, x : x + binning].ravel() if np.isfinite(v)]
            cells.append(sum(cell) / len(cell) if cell else math.nan)
    return np.reshape(cells, (-(-ny // binning), -(-nx // binning)))


def gradient(smoothed, y, x, *, reach=5):
    """Section 4.2, eqs. 6 and 7: (Dx, Dy) of the smoothed image at a point."""
    near = smoothed[y - reach : y + reach + 1, x - reach : x + reach + 1].tolist()  # much faster than the array
    at, dx, dy = reach, [], []
    for d in range(1, reach + 1):
        for k in range(-reach, reach + 1):
            dx.append((near[at + k][at + d] - near[at - k][at - d]) / d)
            dy.append((near[at + d][at + k] - near[at - d][at - k]) / d)
    return 0.5 * math.fsum(dx), 0.5 * math.fsum(dy)


def gradients(image, bad, points, *, wanted=10_000, smooth_size=10, reach=5, coefficients=None):
    """Section 4: [(y, x, Dx, Dy)] at the usable points in draw order; of the polynomial, if coefficients are given."""
    ny, nx = image.shape
    half = smooth_size // 2 + reach
    usable = usable_pixels(image, bad)
    known = by_place("gradients", image, bad, smooth_size, reach, coefficients)
    smoothed, taken = None, []
    for y, x in np.asarray(points).tolist():
        if len(taken) == wanted:
            break
        inside = half <= y <= ny - half and half <= x <= nx - half
        if inside and usable[y - half : y + half, x - half : x + half].all():
            if (y, x) not in known:
                if smoothed is None:
                    pixels = image if coefficients is None else background_image(coefficients, ny, nx)
                    smoothed = smooth(np.where(usable, pixels, 0), smooth_size=smooth_size)
                known[y, x] = gradient(smoothed, y, x, reach=reach)
            taken.append((y, x, *known[y, x]))
    return taken


def gradient_orientation(dx, dy):
    """Eq. 8: arctan(Dy/Dx) as an orientation in (-pi/2, pi/2], NaN where both are 0."""
    if dx == 0:
        return NO_ANGLE if dy == 0 else math.pi / 2
    theta = math.atan(dy / dx)
    return math.pi / 2 if theta <= -math.pi / 2 else theta


# Section 5: histograms, reference, score


def turned(theta, quarter, mirrored):
    """From CCD to focal-plane axes: first mirrored, then turned by a quarter, back in (-pi/2, pi/2]."""
    if mirrored:
        theta = -theta
    if quarter:
        theta += math.pi / 2
    while theta > math.pi / 2:
        theta -= math.pi
    while theta <= -math.pi / 2:
        theta += math.pi
    return theta


def histogram(thetas, bins=18):
    """Counts in `bins` right-closed bins over (-pi/2, pi/2]; NaN entries are left out."""
    counts = [0] * bins
    for theta in thetas:
        if not math.isnan(theta):
            counts[max(math.ceil(bins * (theta / math.pi + 0.5)) - 1, 0)] += 1
    return counts


def kl(counts, reference):
    """Eq. 1: sum of P ln(P / Pbar), natural logarithm; NaN for an empty histogram."""
    n = sum(counts)
    if n == 0:
        return math.nan
    terms = []
    for c, r in zip(counts, reference, strict=True):
        if c > 0:
            p = c / n
            terms.append(p * math.log(p / r) if r > 0 else math.inf)
    return math.fsum(terms)


def reference(histograms):
    """What a reference stores: M, S_j, C_j and H, over the histograms with counts."""
    full = [h for h in histograms if sum(h) > 0]
    bins = len(histograms[0])
    S = [math.fsum(h[j] / sum(h) for h in full) for j in range(bins)]
    C = [sum(h[j] for h in full) for j in range(bins)]
    H = math.fsum(1 / sum(h) for h in full)
    return len(full), S, C, H


def mean_histogram(M, S, C, *, contained):
    """Pbar, and whether half a count was spread (for a histogram that the reference does not contain)."""
    N, total = len(S), sum(C)
    if not contained and any(s == 0 for s in S):
        share = 0.5 * M / total
        return [(s + share) / (M + N * share) for s in S], True
    return [s / M for s in S], False


# Section 5b: noise floor, z, p, alignment, deviation, robust reference, ranks


def noise_factor(n, M, H, *, contained):
    """f, which adds the noise of the reference to the floor."""
    return (1 - 2 / M if contained else 1) + n / M**2 * H


def floor(n, bins, f):
    """The expected KL when nothing is wrong."""
    return f * (bins - 1) / (2 * n)


def statistic(n, score, f):
    """X, about chi-squared with bins - 1 degrees when nothing is wrong."""
    return 2 * n * score / f


def z_score(X, degrees):
    """The distance of X from its mean, in standard deviations of X."""
    return (X - degrees) / math.sqrt(2 * degrees)


def chi2_tail(X, degrees):
    """P(chi-squared > X), by the finite sums for whole degrees of freedom."""
    if X <= 0:
        return 1.0
    h = X / 2
    if degrees % 2 == 0:
        return min(1.0, math.fsum(math.exp(k * math.log(h) - h - math.lgamma(k + 1)) for k in range(degrees // 2)))
    terms = [math.exp((k - 0.5) * math.log(h) - h - math.lgamma(k + 0.5)) for k in range(1, (degrees - 1) // 2 + 1)]
    return min(1.0, math.erfc(math.sqrt(h)) + math.fsum(terms))


def alignment(thetas):
    """The preferred direction: R, its angle in (-pi/2, pi/2], and the Rayleigh statistic 2 n R^2."""
    n = len(thetas)
    cosine = math.fsum(math.cos(2 * t) for t in thetas) / n
    sine = math.fsum(math.sin(2 * t) for t in thetas) / n
    R = math.hypot(cosine, sine)
    angle = math.atan2(sine, cosine) / 2
    return R, math.pi / 2 if angle <= -math.pi / 2 else angle, 2 * n * R * R


def deviations(scores):
    """(ln score - median) / (1.4826 MAD) of the scores of a dataset; None where the score or the MAD is 0."""
    logs = [math.log(s) for s in scores if s is not None and s > 0]
    centre = median(logs)
    scale = 1.4826 * median([abs(v - centre) for v in logs])
    return [(math.log(s) - centre) / scale if s is not None and s > 0 and scale > 0 else None for s in scores]


def ranks(scores, names):
    """1 for the highest score; ties by exposure id; None where there is no score."""
    order = sorted((i for i, s in enumerate(scores) if s is not None), key=lambda i: (-scores[i], names[i]))
    ranked = [None] * len(scores)
    for place, i in enumerate(order, start=1):
        ranked[i] = place
    return ranked


def exposure_scores(exposures, members):
    """Scores of exposures, each a list of the histograms of its CCDs, against the reference made of those in `members`.

    For a source score the list has one histogram. The score is None where an exposure has no counts at all.
    """
    M, S, C, _ = reference([h for i in sorted(members) for h in exposures[i]])
    scores = []
    for i, ccds in enumerate(exposures):
        mean, _ = mean_histogram(M, S, C, contained=i in members)
        divergences = [kl(h, mean) for h in ccds if sum(h) > 0]
        scores.append(math.fsum(divergences) / len(divergences) if divergences else None)
    return scores


def robust_members(exposures, names, rounds, *, fraction=0.1, minimum=3):
    """The exposures that stay in the reference after some rounds, each of which starts from all scored exposures."""
    everyone = {i for i, ccds in enumerate(exposures) if any(sum(h) > 0 for h in ccds)}
    members = set(everyone)
    for _ in range(rounds):
        places = ranks(exposure_scores(exposures, members), names)
        # The fraction is used as written: in floating point 0.1 * 70 is above 7, and its ceiling would be 8.
        out = min(math.ceil(Fraction(str(fraction)) * len(everyone)), max(len(everyone) - minimum, 0))
        members = {i for i in everyone if places[i] > out}
    return members
