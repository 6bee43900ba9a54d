"""Size, ellipticity and kurtosis of the stars of a CCD and of an exposure (METHOD.md 10)."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from gpuanom.backends.limits import SIGNAL_TO_NOISE
from gpuanom.cameras.focalplane import Position
from gpuanom.records import Doubles, FloatImage, Integers, Shapes, Turn
from gpuanom.set_at_once import set_at_once
from gpuanom.statistics.statistic import Statistic

BRIGHT = 20.0
"""Signal-to-noise ratio of a star that counts for the means: of fainter ones T scatters by more than `STAR_LIKE`."""
STAR_LIKE = 0.12
"""T of a star departs from the mode by less than this share."""
FWHM = 2.355
"""FWHM of a Gaussian in standard deviations."""
LEAST_FOR_PLANE = 10

_MEANS = (
    Statistic("fwhm", "pix", "Full width at half maximum of the stars."),
    Statistic("fwhm_error", "pix", "Error of fwhm."),
    Statistic("e1", "", "Ellipticity of the stars along x (positive) or y (negative)."),
    Statistic("e1_error", "", "Error of e1."),
    Statistic("e2", "", "Ellipticity of the stars along +45 (positive) or -45 degrees (negative)."),
    Statistic("e2_error", "", "Error of e2."),
    Statistic("kurtosis", "", "Kurtosis of the stars: 2 for a Gaussian, more for a bright core with wide wings."),
    Statistic("kurtosis_error", "", "Error of kurtosis."),
    Statistic("n_stars", "", "Number of stars that were measured."),
)

CCD_STATISTICS: tuple[Statistic, ...] = _MEANS
"""In the order of `ccd_statistics`."""

EXPOSURE_STATISTICS: tuple[Statistic, ...] = (
    *_MEANS,
    Statistic("e1_constant", "", "e1 at the centre of the focal plane, of a plane fitted to the stars' e1."),
    Statistic("e2_constant", "", "e2 at the centre of the focal plane, of a plane fitted to the stars' e2."),
    Statistic("e1_gradient_x", "", "Change of e1 along x, from the centre of the focal plane to the edge."),
    Statistic("e1_gradient_y", "", "Change of e1 along y, from the centre of the focal plane to the edge."),
    Statistic("e2_gradient_x", "", "Change of e2 along x, from the centre of the focal plane to the edge."),
    Statistic("e2_gradient_y", "", "Change of e2 along y, from the centre of the focal plane to the edge."),
    Statistic("e_constant_error", "", "Error of e1_constant and of e2_constant."),
    Statistic("e_gradient_error", "", "Error of each of the four gradients."),
)
"""In the order of `exposure_statistics`."""


@set_at_once
@dataclass(frozen=True, eq=False)
class Stars:
    """The star-like sources of one CCD, or of several CCDs of one size, in focal-plane axes.

    Attributes
    ----------
    table : ndarray, (6, n) float64
        A column for each star, with the rows x, y, fwhm, e1, e2 and kurtosis.
    shape : tuple of int
        (ny, nx) of each CCD in pixels.
    numbers : list of int, or None
        Number of stars of each CCD, which follow each other in the table; None where all are those of one CCD.
    x, y : ndarray, (n,) float64
        Position on the CCD as a share of its width and height, 0 to 1.
    fwhm, e1, e2, kurtosis : ndarray, (n,) float64
        Of each star: pixels, and no unit. Sizes and ellipticities are those of the star without
        the weight.
    """

    table: Doubles
    shape: tuple[int, int]
    numbers: list[int] | None = None

    x = property(lambda self: self.table[0])
    y = property(lambda self: self.table[1])
    fwhm = property(lambda self: self.table[2])
    e1 = property(lambda self: self.table[3])
    e2 = property(lambda self: self.table[4])
    kurtosis = property(lambda self: self.table[5])

    def of_ccds(self, chosen: Sequence[int]) -> Stars:
        """Return the stars of some of the CCDs, in that order.

        Parameters
        ----------
        chosen : sequence of int
            Indices of the CCDs.
        """
        numbers = np.array(_numbers([self]))
        if list(chosen) == list(range(len(numbers))):
            return self
        end, wanted = np.cumsum(numbers)[chosen], numbers[chosen]
        # The first star of each CCD in this table, less the place that it has in the new one.
        shift = end - np.cumsum(wanted)
        columns = np.repeat(shift, wanted) + np.arange(wanted.sum())
        return Stars(self.table[:, columns], self.shape, wanted.tolist())


def stars(shapes: Shapes, ccd: int, turn: Turn, shape: tuple[int, int]) -> Stars:
    """Choose the star-like sources of a CCD (METHOD.md 10).

    They are bright, no pixel near them is saturated or unusable, and their T is within 12% of the
    half-sample mode of the lower half of ln T.

    Parameters
    ----------
    shapes : Shapes
        Of a stack, on the host.
    ccd : int
        Index of the CCD in the stack.
    turn : Turn
        From the axes of the CCD to those of the focal plane.
    shape : tuple of int
        (ny, nx) of the CCD in pixels.

    Returns
    -------
    Stars
        Brightest first; empty where none is found.
    """
    return stars_of_ccds(shapes, [ccd], [turn], shape)


def stars_of_ccds(shapes: Shapes, ccds: Sequence[int], turns: Sequence[Turn | int], shape: tuple[int, int]) -> Stars:
    """Do what `stars` does for several CCDs of a stack at once, in a fraction of the time.

    Parameters
    ----------
    shapes : Shapes
        Of a stack, on the host.
    ccds : sequence of int
        Indices of the CCDs in the stack.
    turns : sequence of Turn
        Of each of these CCDs.
    shape : tuple of int
        (ny, nx) of each CCD in pixels.

    Returns
    -------
    Stars
        Those of all these CCDs, of each the brightest star first.
    """
    every = list(ccds) == list(range(len(shapes.width)))
    moments, centre, spoilt, widths = (
        values if every else values[list(ccds)]
        for values in (shapes.moments, shapes.centre, shapes.spoilt, shapes.width)
    )
    signal, size = moments[:, :, 1], moments[:, :, 2]
    usable = (signal >= SIGNAL_TO_NOISE) & (spoilt == 0)  # a NaN is not
    logs = np.log(np.sort(np.where(usable, size, np.nan), axis=1))  # a NaN is the last
    # Of an odd number of values the lower half has the one in the middle, too.
    modes = half_sample_modes(logs, (np.count_nonzero(usable, axis=1) + 1) // 2)
    # Python's powers and exponentials, since NumPy rounds those of some processors otherwise.
    typical = np.array(list(map(math.exp, modes.tolist())))[:, None]
    squares = np.array([width**2 for width in widths.tolist()])
    # Twice the square of the weight's width is the T at which nothing but the weight is seen.
    double = 2.0 * squares
    chosen = usable & (np.abs(size / typical - 1.0) < STAR_LIKE) & (signal >= BRIGHT)
    chosen &= size < (0.95 * 2.0 * squares)[:, None]
    counts = np.count_nonzero(chosen, axis=1)
    t, e1, e2, kurtosis = moments[chosen][:, 2:].T
    alone = 1.0 / (1.0 / t - np.repeat(1.0 / double, counts))
    # The weight makes every ellipticity smaller by the same share.
    share = np.repeat(_medians(alone / t, chosen), counts)
    y, x = centre[chosen].T
    x, y = (x + 0.5) / shape[1], (y + 0.5) / shape[0]
    if any(turns):
        of_star = np.repeat(np.array(turns, dtype=np.int64), counts)
        mirrored, quarter = (of_star & int(which) != 0 for which in (Turn.MIRRORED, Turn.QUARTER))
        y, e2 = np.where(mirrored, 1.0 - y, y), np.where(mirrored, -e2, e2)
        x, y = np.where(quarter, 1.0 - y, x), np.where(quarter, x, y)
        e1, e2 = np.where(quarter, -e1, e1), np.where(quarter, -e2, e2)
    table = np.array([x, y, FWHM * np.sqrt(alone / 2.0), share * e1, share * e2, kurtosis])
    return Stars(table, shape, counts.tolist())


def _medians(values: Doubles, chosen: npt.NDArray[np.bool_]) -> Doubles:
    """The median of the values that belong to each row of `chosen`, (n,); 1 for a row without any."""
    table: Doubles = np.full(chosen.shape, np.nan)
    table[chosen] = values
    table.sort(axis=1)  # a NaN is the last
    n, row = np.count_nonzero(chosen, axis=1), np.arange(len(chosen))
    middle = (table[row, np.maximum(n - 1, 0) // 2] + table[row, np.minimum(n // 2, table.shape[1] - 1)]) / 2.0
    return np.asarray(np.where(n > 0, middle, 1.0))


def half_sample_modes(rows: Doubles, sizes: Integers) -> Doubles:
    """Return the half-sample mode of the first numbers of each row: of the densest half, again and again.

    Parameters
    ----------
    rows : ndarray, (n, m) float64
        Each row is ascending as far as its numbers are used.
    sizes : ndarray, (n,) int64
        How many numbers of each row are used.

    Returns
    -------
    ndarray, (n,) float64
        The middle of what is left; of equally dense halves the lowest counts. NaN where no number is used.
    """
    from gpuanom.statistics.robust import densest  # imports Numba, which a night ranked again needs not

    found = np.empty(len(rows))
    densest(rows, sizes, found)
    return found


def means_without_outliers(values: Doubles, sizes: Sequence[int]) -> Doubles:
    """Return the mean of those values of each list that are within three robust standard deviations of their median.

    Parameters
    ----------
    values : ndarray, (sum of sizes,) float64
        One list after the other; finite.
    sizes : sequence of int
        Of the lists.

    Returns
    -------
    ndarray, (n, 2) float64
        The mean of each list and its error; NaN with fewer than three values.
    """
    from gpuanom.statistics.robust import robust_means  # imports Numba, which a night ranked again needs not

    found = np.empty((len(sizes), 2))
    robust_means(values, np.array(sizes, dtype=np.int64), found)
    return found


def ccd_statistics(found: Sequence[Stars]) -> FloatImage:
    """Return the statistics of the stars of several CCDs.

    Parameters
    ----------
    found : sequence of Stars
        Of a CCD, or of several, each.

    Returns
    -------
    ndarray, (n_ccd, len(CCD_STATISTICS)) float32
        NaN where there are fewer than three stars; the number of stars is always a number.
    """
    if not found:
        return np.empty((0, len(_MEANS)), dtype=np.float32)
    return _means(_joined(found), _numbers(found))


def _joined(found: Sequence[Stars]) -> Doubles:
    """The tables of stars side by side."""
    return found[0].table if len(found) == 1 else np.concatenate([stars_.table for stars_ in found], axis=1)


def _numbers(found: Sequence[Stars]) -> list[int]:
    """The number of stars of each CCD."""
    numbers = [[stars_.table.shape[1]] if stars_.numbers is None else stars_.numbers for stars_ in found]
    return list(chain.from_iterable(numbers))


def _means(table: Doubles, numbers: list[int]) -> FloatImage:
    """Return `ccd_statistics` of CCDs whose tables of stars lie side by side, from the number of stars of each CCD."""
    # fwhm of all CCDs, then e1 of all, e2 and kurtosis: (4, n_ccd, 2)
    means = means_without_outliers(table[2:].ravel(), 4 * numbers).reshape(4, len(numbers), 2)
    result = np.empty((len(numbers), len(_MEANS)), dtype=np.float32)
    result[:, :-1] = means.swapaxes(0, 1).reshape(len(numbers), -1)
    result[:, -1] = numbers
    return result


def exposure_statistics(found: Sequence[Stars], places: Sequence[Position]) -> FloatImage:
    """Return the statistics of an exposure's stars.

    Parameters
    ----------
    found : sequence of Stars
        Of the exposure's CCDs, of one or several each, in natural order of the CCDs' names.
    places : sequence of Position
        Where each of these CCDs lies, see `gpuanom.cameras.focalplane.places`.

    Returns
    -------
    ndarray, (len(EXPOSURE_STATISTICS),) float32
        NaN where there are too few stars: three for a mean, ten for the plane.
    """
    result = np.full(len(EXPOSURE_STATISTICS), np.nan, dtype=np.float32)
    result[len(_MEANS) - 1] = 0.0
    if not found:
        return result
    together = Stars(_joined(found), found[0].shape)
    result[: len(_MEANS)] = _means(together.table, _numbers([together]))[0]
    u, v = field_positions(found, places)
    planes = [fitted_plane(u, v, e) for e in (together.e1, together.e2)]
    if any(plane is None for plane in planes):
        return result
    (first, first_errors), (second, second_errors) = (plane for plane in planes if plane is not None)
    errors = np.sqrt(0.5 * (first_errors**2 + second_errors**2))
    result[len(_MEANS) :] = [
        first[0], second[0], first[1], first[2], second[1], second[2],
        errors[0], math.sqrt(0.5 * float(errors[1] ** 2 + errors[2] ** 2)),
    ]  # fmt: skip
    return result


def field_positions(found: Sequence[Stars], places: Sequence[Position]) -> tuple[Doubles, Doubles]:
    """Return where the stars lie in the focal plane: from its centre, in halves of its longer side.

    Parameters
    ----------
    found : sequence of Stars
        Of a CCD, or of several, each.
    places : sequence of Position
        Of each CCD.

    Returns
    -------
    u, v : ndarray, (n,) float64
        -1 to 1 along the longer side, along x and along y.
    """
    # The rows x and y, with a column for each CCD; with one for each star from here on.
    corner = np.array([(place.x, place.y) for place in places]).T
    shapes = [stars_.shape[::-1] for stars_ in found]
    size = np.repeat(np.array(shapes, dtype=np.float64), [len(_numbers([stars_])) for stars_ in found], axis=0).T
    first, last = (corner * size).min(axis=1), ((corner + 1.0) * size).max(axis=1)
    middle, half = 0.5 * (last + first), 0.5 * (last - first).max()
    of_star = np.repeat(np.arange(len(places)), _numbers(found))
    along = _joined(found)[:2]
    upside_down = np.array([place.upside_down for place in places])[of_star]
    along = np.where(upside_down, 1.0 - along, along)
    u, v = ((corner[:, of_star] + along) * size[:, of_star] - middle[:, None]) / half
    return u, v


def fitted_plane(u: Doubles, v: Doubles, e: Doubles) -> tuple[Doubles, Doubles] | None:
    """Fit e = a + b u + c v by least squares, three times, each time without what lies far off.

    Parameters
    ----------
    u, v, e : ndarray, (n,) float64
        Positions and values.

    Returns
    -------
    coefficients, errors : ndarray, (3,) float64
        a, b, c. None with fewer than ten values, or where the positions give no plane.
    """
    from gpuanom.statistics.robust import plane_sums  # imports Numba, which a night ranked again needs not

    fit, sums = np.zeros(3), np.empty(10)
    inverse: list[tuple[float, ...]] = []
    u, v, e = (np.ascontiguousarray(values, dtype=np.float64) for values in (u, v, e))
    for _ in range(3):
        plane_sums(u, v, e, fit, sums)
        n, one_u, uu, one_v, uv, vv, *right, _ = sums.tolist()
        if n < LEAST_FOR_PLANE:
            return None
        cofactors, determinant = _cofactors((n, one_u, one_v), (one_u, uu, uv), (one_v, uv, vv))
        if not determinant / n**3 > 1e-8:
            return None
        # The matrix is symmetric, and so are its cofactors.
        inverse = [tuple([cofactor / determinant for cofactor in row]) for row in cofactors]
        fit = np.array([math.fsum(map(operator.mul, row, right)) for row in inverse])
    plane_sums(u, v, e, fit, sums)
    return fit, float(sums[9]) * np.sqrt([inverse[0][0], inverse[1][1], inverse[2][2]])


_Row = tuple[float, float, float]


def _cofactors(first: _Row, second: _Row, third: _Row) -> tuple[tuple[_Row, _Row, _Row], float]:
    """The cofactors of a 3 x 3 matrix, and its determinant; arrays of so few numbers would take ten times as long."""
    (a, b, c), (d, e, f), (g, h, i) = first, second, third
    top = e * i - f * h, f * g - d * i, d * h - e * g
    middle = h * c - i * b, i * a - g * c, g * b - h * a
    bottom = b * f - c * e, c * d - a * f, a * e - b * d
    return (top, middle, bottom), a * top[0] + b * top[1] + c * top[2]
