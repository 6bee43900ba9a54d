"""What of a statistic follows from the number of sources, the sky and the seeing: a robust regression (METHOD.md 13).

Arrays have one row for each statistic. Sums run in the order of the exposures and call no BLAS function, so that the
same measurements give the same coefficients everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gpuanom.records import Doubles, Flags
from gpuanom.scoring.evenly_spread import evenly_spread
from gpuanom.scoring.medians import MAD, median
from gpuanom.side_by_side import side_by_side

MOST_FITTED = 2048
"""Coefficients are fitted to at most so many exposures, evenly spread: they are then right to 2% of the scatter."""

_HUBER, _TUKEY = 1.345, 4.685
"""The usual bounds of Huber's and Tukey's weights: 95% efficient where the scatter is Gaussian."""

_ROUNDS = 6
_LEAST_LOGARITHM = 1.5
"""ln |residual| is taken as at most so far below its median: what is nearly 0 by chance tells little of the scatter."""

_SPREAD_ERROR, _FEW = 0.9, 10.0
"""The error of a slope of ln |residual| times the root of the number n of exposures, where nothing follows from the
conditions, is 0.9 (1 + 10 / n): 1.2 was found with 30, 0.9 with 150 and with 1000 exposures of Gaussian noise."""

_SIGNIFICANT = 3.0
"""A slope of ln |residual| below so many errors counts as 0, and one above in part: of the 200 slopes of a dataset
chance makes some larger than two errors."""

_MOST_SPREAD = 1.0
"""Conditions change a scatter by at most e to this power."""


class Covariates(NamedTuple):
    """The conditions that statistics are regressed on, with the centres and scatters that make them comparable.

    Attributes
    ----------
    centre, scatter : ndarray, (k,) float64
        Median, and 1.4826 times the median absolute deviation, of each condition over the dataset.
    clip : float
        Conditions further than so many scatters from their median count as this far.
    """

    centre: Doubles
    scatter: Doubles
    clip: float

    def scaled(self, conditions: Doubles) -> Doubles:
        """Return conditions, (k, n) float64, in units of their scatter and clipped; a missing one is the median."""
        away = (conditions - self.centre[:, None]) / self.scatter[:, None]
        return np.clip(np.where(np.isfinite(away), away, 0.0), -self.clip, self.clip)


def fit(values: Doubles, covariates: Doubles, used: Flags) -> Doubles:
    """Fit each row by a constant and its covariates, robustly.

    Huber's weights find the fit that half of the exposures cannot pull far; Tukey's weights then leave out what is
    far from it.

    Parameters
    ----------
    values : ndarray, (n_rows, n) float64
        NaN where a statistic was not measured.
    covariates : ndarray, (k, n) float64
        See `Covariates.scaled`.
    used : ndarray, (n_rows, k) bool
        Which covariates each row is regressed on.

    Returns
    -------
    ndarray, (n_rows, k + 1) float64
        The constant and the coefficients, 0 for covariates that are not used; NaN for a row without values.
    """
    taken = evenly_spread(values.shape[1], MOST_FITTED)
    y, x = values[:, taken], covariates[:, taken]

    robustly = bool(used.any())

    def of_rows(first: int) -> Doubles:
        at = slice(first, first + _ROWS)
        return _fitted(y[at], x, used[at], robustly=robustly)

    parts = side_by_side(of_rows, range(0, len(y), _ROWS), many=y.size >= _MANY)
    return np.concatenate(parts) if parts else np.zeros((0, len(covariates) + 1))


_ROWS, _MANY = 50, 100_000
"""Rows that a thread fits together, and from how many numbers on threads are worth while."""


def _fitted(y: Doubles, x: Doubles, used: Flags, *, robustly: bool) -> Doubles:
    """The coefficients of some rows, see `fit`; the medians alone where no row is regressed on anything."""
    known = np.isfinite(y)
    coefficients = np.zeros((len(y), len(x) + 1))
    coefficients[:, 0] = median(np.where(known, y, np.nan))
    if not robustly:
        return coefficients
    y = np.where(known, y, 0.0)
    for bound, tukey in ((_HUBER, False), (_TUKEY, True)):
        for _ in range(_ROUNDS):
            residual = y - predicted(coefficients, x)
            size = np.where(known, np.abs(residual), np.nan)
            spread = MAD * median(size)
            with np.errstate(invalid="ignore", divide="ignore"):
                away = size / (bound * spread[:, None])
                weight = np.square(np.maximum(1.0 - np.square(away), 0.0)) if tukey else 1.0 / np.maximum(away, 1.0)
            # A row without any scatter is fitted already.
            weight = np.where(known & np.isfinite(weight), weight, 0.0)
            coefficients = coefficients + _least_squares(residual, x, weight, used)
    return coefficients


def fit_spread(residual: Doubles, covariates: Doubles, used: Flags) -> Doubles:
    """Fit how the scatter of each row follows from its covariates: ln |residual| is regressed on them.

    Few stars give a CCD's size a larger error, and faint stars that nothing masks make a crowded sky rougher: the same
    departure is common under one condition and rare under another. A slope b with the error s counts as
    b max(0, 1 - (3 s / b)^2), so that chance alone hardly makes a scatter follow from anything.

    Parameters
    ----------
    residual : ndarray, (n_rows, n) float64
        What `fit` leaves; NaN where a statistic was not measured.
    covariates : ndarray, (k, n) float64
        See `Covariates.scaled`.
    used : ndarray, (n_rows, k) bool
        Which covariates each row is regressed on.

    Returns
    -------
    ndarray, (n_rows, k + 1) float64
        0 and the slopes, 0 for covariates that are not used.
    """
    if not len(covariates) or not used.any():
        return np.zeros((len(residual), len(covariates) + 1))
    size = np.abs(residual)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.where(size > 0.0, np.log(size), np.nan)
    least = median(logarithm) - _LEAST_LOGARITHM
    logarithm = np.where(np.isnan(residual), np.nan, np.fmax(logarithm, least[:, None]))
    slopes = np.nan_to_num(fit(logarithm, covariates, used))
    slopes[:, 0] = 0.0
    n = np.maximum(np.count_nonzero(np.isfinite(logarithm), axis=1), 1)
    error = _SIGNIFICANT * (_SPREAD_ERROR * (1.0 + _FEW / n) / np.sqrt(n))[:, None]
    with np.errstate(divide="ignore"):
        return np.asarray(slopes * np.maximum(1.0 - np.square(error / slopes), 0.0))


def usual_spread(slopes: Doubles, covariates: Doubles) -> Doubles:
    """Return the scatter that is expected under each exposure's conditions, relative to the median ones.

    Parameters
    ----------
    slopes : ndarray, (n_rows, k + 1) float64
        See `fit_spread`.
    covariates : ndarray, (k, n) float64
        See `Covariates.scaled`.

    Returns
    -------
    ndarray, (n_rows, n) float64
        From 1/e to e.
    """
    return np.asarray(np.exp(np.clip(predicted(slopes, covariates), -_MOST_SPREAD, _MOST_SPREAD)))


def predicted(coefficients: Doubles, covariates: Doubles) -> Doubles:
    """Return what a fit expects, (n_rows, n) float64.

    Parameters
    ----------
    coefficients : ndarray, (n_rows, k + 1) float64
        See `fit`.
    covariates : ndarray, (k, n) float64
        See `Covariates.scaled`.

    Returns
    -------
    ndarray, (n_rows, n) float64
    """
    result = np.repeat(coefficients[:, :1], covariates.shape[1], axis=1)
    for j, covariate in enumerate(covariates):
        result += coefficients[:, j + 1, None] * covariate
    return result


def _least_squares(y: Doubles, x: Doubles, weight: Doubles, used: Flags) -> Doubles:
    """The weighted least-squares coefficients of each row, (n_rows, k + 1); 0 where they are not determined."""
    columns = [np.ones(x.shape[1]), *x]
    m = len(columns)
    active = np.concatenate([np.ones((len(y), 1), dtype=bool), used], axis=1)
    matrix, right = np.zeros((len(y), m, m)), np.zeros((len(y), m))
    for i in range(m):
        weighted = weight * columns[i]
        right[:, i] = np.add.reduce(weighted * y, axis=1) * active[:, i]
        for j in range(i + 1):
            both = active[:, i] & active[:, j]
            matrix[:, i, j] = matrix[:, j, i] = np.add.reduce(weighted * columns[j], axis=1) * both
    total = np.maximum(matrix[:, 0, 0], 1e-300)
    for i in range(m):
        # A covariate that is not used, or that does not vary among the weighted exposures, gets the coefficient 0.
        matrix[:, i, i] = np.where(active[:, i], matrix[:, i, i] + 1e-9 * total, 1.0)
    return _solved(matrix, right)


def _solved(matrix: Doubles, right: Doubles) -> Doubles:
    """The solutions of positive definite systems, (n_rows, m), by elimination without LAPACK."""
    matrix, right = matrix.copy(), right.copy()
    m = right.shape[1]
    for i in range(m):
        for j in range(i + 1, m):
            factor = matrix[:, j, i] / matrix[:, i, i]
            matrix[:, j] -= factor[:, None] * matrix[:, i]
            right[:, j] -= factor * right[:, i]
    solution = np.zeros_like(right)
    for i in reversed(range(m)):
        rest = right[:, i].copy()
        for j in range(i + 1, m):
            rest -= matrix[:, i, j] * solution[:, j]
        solution[:, i] = rest / matrix[:, i, i]
    return solution
