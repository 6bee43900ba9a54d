"""How significant a KL divergence is: noise floor, z, p, and the preferred direction (METHOD.md 5b)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc, gammaincc, rel_entr

from gpuanom import sampling
from gpuanom.digits import printed_values
from gpuanom.records import Doubles, Integers
from gpuanom.scoring.reference import Reference

LARGE_REFERENCE = 100
"""A reference of at least so many histograms is taken as exact when a sparse histogram is simulated."""


def noise_factor(
    n: Integers, n_histograms: int, inverse_counts: float, contained: np.typing.NDArray[np.bool_]
) -> Doubles:
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
    return np.asarray(chdtrc(degrees, np.maximum(x, 0.0)))


def simulated_p_value(
    x: float,
    sparse: Sequence[int],
    dense: int,
    reference: Reference,
    *,
    contained: bool,
    seed: int,
    simulations: int,
    cache: dict[object, Doubles],
) -> float:
    """Tail probability of X by seeded multinomial simulation, for sparse histograms.

    Parameters
    ----------
    x : float
        The statistic, summed over all histograms.
    sparse : sequence of int
        Counts of the histograms too sparse for chi-squared; these are simulated.
    dense : int
        Number of the exposure's other histograms, whose part of X is drawn from chi-squared.
    reference : Reference
    contained : bool
        Whether the reference contains the histograms.
    seed : int
        Seed of the simulated histograms (`Settings.seed`).
    simulations : int
        Number of simulated histograms.
    cache : dict
        Null distributions that were already simulated against this reference; new ones are added. They depend on the
        counts alone, so exposures with equal counts share a distribution, in whatever order they come.

    Returns
    -------
    float
        (1 + number of simulated X at or above x) / (1 + simulations).
    """
    key = (tuple(sorted(sparse)), dense, contained)
    if key not in cache:
        # RandomState's streams are frozen by NumPy's promise; Generator's are not.
        draw = np.random.RandomState(sampling.stream(seed, f"{key}", "", "simulation"))
        null = np.zeros(simulations)
        for n in key[0]:
            null += _simulated_statistic(n, reference, contained, simulations, draw)
        if dense:
            null += draw.chisquare(dense * (reference.shares.size - 1), size=simulations)
        cache[key] = np.sort(null)
    null = cache[key]
    # A simulated value equal to x but for its last bit counts as "at or above".
    at_or_above = null.size - int(np.searchsorted(null, x * (1.0 - 1e-12), side="left"))
    return (1.0 + at_or_above) / (1.0 + simulations)


def _simulated_statistic(
    n: int, reference: Reference, contained: bool, simulations: int, draw: np.random.RandomState
) -> Doubles:
    """X of simulated histograms of n counts, each compared with a reference that is simulated together with it.

    Where the reference contains the histogram, its pooled counts are dealt out anew between the histogram and the
    other histograms: the true distribution need not be guessed, and a few sparse histograms say too little about it.
    Otherwise the histogram and the reference are both drawn from the mean with half a count in each bin. All other
    histograms of the reference are taken to be of equal size. A large reference is taken as exact, which takes a
    seventh of the time.
    """
    others = reference.n_histograms - contained
    bins = reference.shares.size
    if reference.n_histograms >= LARGE_REFERENCE:
        truth = reference.mean(contains=contained)
        drawn = draw.multinomial(n, truth / truth.sum(), size=simulations)
        return np.asarray(2.0 * n * rel_entr(drawn / n, truth).sum(axis=1))
    if contained:
        drawn = _dealt(reference.counts, n, simulations, draw)
        rest = reference.counts - drawn
        shares = rest * (others / max(1, int(reference.counts.sum()) - n))
        mean = (shares + drawn / n) / reference.n_histograms
    else:
        per_other = others / reference.inverse_counts
        truth = reference.shares + 0.5 * others / reference.counts.sum()
        truth = truth / truth.sum()
        drawn = draw.multinomial(n, truth, size=simulations)
        rest = draw.multinomial(round(others * per_other), truth, size=simulations)
        # The half count of METHOD.md 5, where a simulated reference has an empty bin.
        spread = np.where((rest == 0).any(axis=1), 0.5 / per_other, 0.0)[:, None]
        mean = (rest / per_other + spread) / (others + spread * bins)
    f = noise_factor(np.array([n]), reference.n_histograms, reference.inverse_counts, np.array([contained]))
    return np.asarray(2.0 * n * rel_entr(drawn / n, mean).sum(axis=1) / f)


def _dealt(pool: Integers, n: int, simulations: int, draw: np.random.RandomState) -> Integers:
    """Histograms of n counts dealt without replacement from pooled counts, (simulations, N)."""
    dealt = np.zeros((simulations, pool.size), dtype=np.int64)
    missing = np.full(simulations, n, dtype=np.int64)
    beyond = int(pool.sum())
    for j, available in enumerate(pool.tolist()):
        beyond -= available
        if available and beyond:
            unfilled = missing > 0
            dealt[unfilled, j] = draw.hypergeometric(available, beyond, missing[unfilled])
        elif available:
            dealt[:, j] = missing
        missing -= dealt[:, j]
    return dealt


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
        What the deviation is that of: 1 on average where counting noise alone acts.
    """

    alignment: Doubles
    z: Doubles
    p: Doubles
    deviation: Doubles
    score: Doubles


def local_alignment(
    cosine: Doubles,
    sine: Doubles,
    n: Integers,
    owner: Integers,
    contained: np.typing.NDArray[np.bool_],
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
    m = contained.size
    none = np.full(m, np.nan)
    mean, inverse, square = _harmonics(reference)
    of_exposure = np.bincount(owner, n, minlength=m)
    filled = n > 0
    exposure, k = owner[filled], n[filled].astype(np.float64)
    n_ccds = np.bincount(exposure, minlength=m).astype(np.float64)
    known = n_ccds > 0
    if inverse is None:
        return LocalAlignment(none, none, none, none, none)
    off = np.stack((cosine[filled] - k * mean[0], sine[filled] - k * mean[1]))
    in_reference = 2.0 * contained[exposure] * k / (of_exposure[exposure] * reference.n_histograms)
    f = 1.0 - in_reference + k * reference.inverse_counts / reference.n_histograms**2
    kept = f > 1e-9  # f is 0 for the only CCD of the reference's only exposure: the CCD cannot differ from it
    x = np.where(kept, np.einsum("ij,ik,kj->j", off, inverse, off) / (k * np.where(kept, f, 1.0)), 2.0)
    total = np.bincount(exposure, x, minlength=m)
    variance = np.bincount(exposure, np.maximum(4.0 + (square - 8.0) / k, 1e-9), minlength=m)
    degrees = 2.0 * n_ccds
    z, p, score, alignment = none.copy(), none.copy(), none.copy(), none.copy()
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
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
