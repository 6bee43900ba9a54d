"""How significant a KL divergence is: noise floor, z, p, and the preferred direction (METHOD.md 5b)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gpuanom.digits import printed_values
from gpuanom.records import Doubles, Flags, Integers
from gpuanom.scoring.histograms.reference import Reference
from gpuanom.scoring.medians import MAD


def noise_factor(n: Integers, n_histograms: int, inverse_counts: float, contained: Flags) -> Doubles:
    """Return f, the factor by which the reference's own noise changes the expected KL (METHOD.md 5b).

    Parameters
    ----------
    n : ndarray, (m,) int64
        Counts of each histogram, above 0.
    n_histograms : int
        M, histograms in the reference.
    inverse_counts : float
        H, the sum of 1/n over the reference.
    contained : ndarray, (m,) bool
        Whether the reference contains the histogram.

    Returns
    -------
    ndarray, (m,) float64
        1 - 2/M + (n/M^2) H where contained, else 1 + (n/M^2) H.
    """
    return np.asarray(1.0 - 2.0 * contained / n_histograms + n * (inverse_counts / n_histograms**2))


def floor(n: Integers, f: Doubles, bins: int) -> Doubles:
    """Return the KL that counting noise alone gives, f (N - 1) / (2 n) (METHOD.md 5b).

    Parameters
    ----------
    n : ndarray, (m,) int64
        Counts of each histogram, above 0.
    f : ndarray, (m,) float64
        See `noise_factor`.
    bins : int
        N.

    Returns
    -------
    ndarray, (m,) float64
    """
    return np.asarray(f * (bins - 1) / (2.0 * n))


def statistic(n: Integers, kl: Doubles, f: Doubles) -> Doubles:
    """Return X = 2 n KL / f, which follows chi-squared with about N - 1 degrees of freedom when nothing is wrong.

    Parameters
    ----------
    n : ndarray, (m,) int64
        Counts of each histogram, above 0.
    kl : ndarray, (m,) float64
        KL divergence of each histogram from its reference.
    f : ndarray, (m,) float64
        See `noise_factor`.

    Returns
    -------
    ndarray, (m,) float64
    """
    return np.asarray(2.0 * n * kl / f)


def z_score(x: Doubles, degrees: Doubles | int) -> Doubles:
    """Return z = (X - k) / sqrt(2 k), the excess of X in standard deviations of chi-squared.

    Parameters
    ----------
    x : ndarray, (m,) float64
        See `statistic`.
    degrees : ndarray, (m,) float64, or int
        k, the degrees of freedom.

    Returns
    -------
    ndarray, (m,) float64
    """
    return np.asarray((x - degrees) / np.sqrt(2.0 * np.asarray(degrees)))


def p_value(x: Doubles, degrees: Doubles | int) -> Doubles:
    """Return the tail probability of chi-squared.

    Parameters
    ----------
    x : ndarray, (m,) float64
        See `statistic`.
    degrees : ndarray, (m,) float64, or int
        The degrees of freedom.

    Returns
    -------
    ndarray, (m,) float64
        From 0 to 1.
    """
    from scipy.special import chdtrc  # takes half a second to import: other threads read the store meanwhile

    return np.asarray(chdtrc(degrees, np.maximum(x, 0.0)))


def direction(cosine: Doubles, sine: Doubles, n: Doubles | Integers) -> tuple[Doubles, Doubles]:
    """Return the preferred direction of orientations and how strongly they are aligned (METHOD.md 5b).

    Parameters
    ----------
    cosine, sine : ndarray, (m,) float64
        Sums of cos 2 theta and of sin 2 theta over the orientations theta.
    n : ndarray, (m,)
        Number of orientations in each sum.

    Returns
    -------
    angle : ndarray, (m,) float64
        Degrees in (-90, 90], NaN where n is 0 or the orientations cancel.
    alignment : ndarray, (m,) float64
        R, 0 (isotropic) to 1 (all aligned), NaN where n is 0.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        alignment = np.where(n > 0, np.minimum(np.hypot(cosine, sine) / n, 1.0), np.nan)
    angle = np.degrees(0.5 * np.arctan2(sine, cosine))
    angle = np.where(angle <= -90.0, 90.0, angle)
    return np.where(alignment > 0, angle, np.nan), alignment


class LocalAlignment(NamedTuple):
    """How aligned the orientations within single CCDs are, in whatever direction; arrays of (n_exposures,) float64.

    Attributes
    ----------
    alignment : ndarray
        Alignment of a typical CCD, 0 to 1: the root mean square of R over the CCDs, weighted by their counts and
        corrected for counting noise.
    z, p : ndarray
        Excess over what counting noise gives for the reference's orientations, in standard deviations, and the
        probability of such an excess.
    deviation : ndarray
        Deviation from the dataset's exposures, see `deviation`.
    score : ndarray
        The statistic whose deviation this is; 1 on average where counting noise alone acts.
    """

    alignment: Doubles
    z: Doubles
    p: Doubles
    deviation: Doubles
    score: Doubles

    @classmethod
    def none(cls, n_exposures: int) -> LocalAlignment:
        """Return that of exposures without any."""
        return cls(*(np.full(n_exposures, np.nan) for _ in cls._fields))


def local_alignment(
    cosine: Doubles,
    sine: Doubles,
    n: Integers,
    owner: Integers,
    contained: Flags,
    reference: Reference,
) -> LocalAlignment:
    """Measure the alignment within single CCDs, also of patterns that cancel over the focal plane (METHOD.md 5b).

    This is Rayleigh's test for each CCD. The CCD's sum of exp(2 i theta) is compared with the sum that as many
    orientations of the reference would give. The squared difference in units of its covariance, summed over the CCDs,
    has 2 degrees of freedom for each CCD. Mean and covariance come from the reference's histogram, with orientations
    spread evenly within each bin. For few counts the distribution is narrower than chi-squared, so p is the tail of
    the gamma distribution that has the same mean and variance.

    Parameters
    ----------
    cosine, sine : ndarray, (n_ccd,) float64
        Sums of cos 2 theta and sin 2 theta.
    n : ndarray, (n_ccd,) int64
        Number of orientations of each CCD; CCDs without any are left out.
    owner : ndarray, (n_ccd,) int64
        Index of each CCD's exposure, ascending.
    contained : ndarray, (n_exposures,) bool
        Whether the reference contains the exposure.
    reference : Reference
        A reference of histograms of whole exposures.

    Returns
    -------
    LocalAlignment
        NaN for exposures without orientations, and where the reference's orientations have no spread.
    """
    from scipy.special import gammaincc

    m = contained.size
    mean, inverse, square = _harmonics(reference)
    of_exposure = np.bincount(owner, n, minlength=m)
    filled = n > 0
    exposure, k = owner[filled], n[filled].astype(np.float64)
    n_ccds = np.bincount(exposure, minlength=m).astype(np.float64)
    known = n_ccds > 0
    if inverse is None:
        return LocalAlignment.none(m)
    off = np.stack((cosine[filled] - k * mean[0], sine[filled] - k * mean[1]))
    in_reference = 2.0 * contained[exposure] * k / (of_exposure[exposure] * reference.n_histograms)
    f = 1.0 - in_reference + k * reference.inverse_counts / reference.n_histograms**2
    kept = f > 1e-9  # f is 0 for the only CCD of the reference's only exposure: the CCD cannot differ from it
    x = np.where(kept, np.einsum("ij,ik,kj->j", off, inverse, off) / (k * np.where(kept, f, 1.0)), 2.0)
    total = np.bincount(exposure, x, minlength=m)
    variance = np.bincount(exposure, np.maximum(4.0 + (square - 8.0) / k, 1e-9), minlength=m)
    degrees = 2.0 * n_ccds
    z, p, score, alignment = (np.full(m, np.nan) for _ in range(4))
    z[known] = (total - degrees)[known] / np.sqrt(variance[known])
    shape, scale = degrees[known] ** 2 / variance[known], variance[known] / degrees[known]
    p[known] = gammaincc(shape, total[known] / scale)
    score[known] = total[known] / degrees[known]
    # Without any alignment R^2 of n orientations is 1/n on average: (sum of n R^2 - CCDs) / (n - CCDs) corrects that.
    power = np.bincount(exposure, (cosine[filled] ** 2 + sine[filled] ** 2) / k, minlength=m)
    several = of_exposure > n_ccds
    alignment[several] = np.sqrt(np.clip((power - n_ccds)[several] / (of_exposure - n_ccds)[several], 0.0, 1.0))
    return LocalAlignment(alignment, z, p, deviation(score), score)


def _harmonics(reference: Reference) -> tuple[Doubles, Doubles | None, float]:
    """The distribution of (cos 2 theta, sin 2 theta) over the reference's orientations theta.

    Returns its mean, its inverse covariance (None where the covariance is singular), and the mean square of the squared
    distance from the mean in units of that covariance.
    """
    share = reference.shares / reference.n_histograms
    bins = share.size
    theta = np.pi * ((np.arange(bins) + 0.5) / bins - 0.5)
    # Means over a bin of exp(2 i theta) and exp(4 i theta).
    second = share * np.exp(2j * theta) * np.sinc(1.0 / bins)
    fourth = share * np.exp(4j * theta) * np.sinc(2.0 / bins)
    mean = np.array([second.sum().real, second.sum().imag])
    h = fourth.sum()
    moments = 0.5 * np.array([[1.0 + h.real, h.imag], [h.imag, 1.0 - h.real]])
    covariance = moments - np.outer(mean, mean)
    if np.linalg.det(covariance) < 1e-6:
        return mean, None, 4.0
    inverse = np.asarray(np.linalg.inv(covariance), dtype=np.float64)
    off = np.stack((np.cos(2 * theta), np.sin(2 * theta))) - mean[:, None]
    q = np.einsum("ij,ik,kj->j", off, inverse, off)
    return mean, inverse, float((share * q**2).sum())


class Usual(NamedTuple):
    """What the logarithm of a score usually is: the median of a dataset, and 1.4826 MAD; NaN where there is no MAD."""

    middle: float
    spread: float

    @classmethod
    def of(cls, score: Doubles) -> Usual:
        """Return what is usual for the scores of a dataset, (n,) float64; those that are 0 or missing do not count."""
        logarithm = _logarithm(score)
        known = np.isfinite(logarithm)
        # Scores that are printed alike count as equal: whether there is any spread must not depend on their last bits.
        if known.any() and _spread(np.log(printed_values(score[known]))) > 0:
            middle, spread = float(np.median(logarithm[known])), _spread(logarithm[known])
            if spread > 0:
                return cls(middle, spread)
        return cls(math.nan, math.nan)


def deviation(score: Doubles, usual: Usual | None = None) -> Doubles:
    """Return (ln score - median) / (1.4826 MAD) of a dataset; NaN where the score is 0 or missing, or the MAD is 0.

    Parameters
    ----------
    score : ndarray, (n,) float64
    usual : Usual, optional
        Median and MAD of other exposures; by default those of these scores.
    """
    middle, spread = usual or Usual.of(score)
    return np.asarray((_logarithm(score) - middle) / spread)


def _logarithm(score: Doubles) -> Doubles:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(score > 0, np.log(score), np.nan)


def _spread(values: Doubles) -> float:
    """1.4826 times the median absolute deviation from the median."""
    return MAD * float(np.median(np.abs(values - np.median(values))))
