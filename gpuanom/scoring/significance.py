"""What a KL divergence is worth: noise floor, z, p, preferred direction (METHOD.md 5b), of small arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc, gammaincc, rel_entr

from gpuanom import sampling
from gpuanom.digits import printed_values
from gpuanom.records import Doubles, Integers
from gpuanom.scoring.reference import Reference

LARGE_REFERENCE = 100
"""From so many histograms on a reference's own noise no longer matters to a sparse histogram."""


def noise_factor(
    n: Integers, n_histograms: int, inverse_counts: float, contained: np.typing.NDArray[np.bool_]
) -> Doubles:
    """f: how much the reference's own noise changes the expected KL.

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
    """The KL that counting noise alone gives: f (N - 1) / (2 n)."""
    return np.asarray(f * (bins - 1) / (2.0 * n))


def statistic(n: Integers, kl: Doubles, f: Doubles) -> Doubles:
    """X = 2 n KL / f, about chi-squared with N - 1 degrees when nothing is wrong."""
    return np.asarray(2.0 * n * kl / f)


def z_score(x: Doubles, degrees: Doubles | int) -> Doubles:
    """z = (X - k) / sqrt(2 k) for k degrees."""
    return np.asarray((x - degrees) / np.sqrt(2.0 * np.asarray(degrees)))


def p_value(x: Doubles, degrees: Doubles | int) -> Doubles:
    """Tail probability of chi-squared with k degrees."""
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
        Histograms beside them, whose share of X is drawn from chi-squared.
    reference : Reference
    contained : bool
        Whether the reference contains the histograms.
    seed, simulations : int
    cache : dict
        Null distributions already simulated against this reference: they depend on the counts alone, so exposures
        with equal counts share one, whatever their order.

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
    # Ties must count as "at or above" whatever the last bit of x.
    at_or_above = null.size - int(np.searchsorted(null, x * (1.0 - 1e-12), side="left"))
    return (1.0 + at_or_above) / (1.0 + simulations)


def _simulated_statistic(
    n: int, reference: Reference, contained: bool, simulations: int, draw: np.random.RandomState
) -> Doubles:
    """X of simulated histograms of n counts, each against a reference that is drawn with it.

    Where the reference contains the histogram, its pooled counts are dealt out anew between the histogram and the
    others: that needs no guess at the true distribution, of which few sparse histograms know too little. Otherwise
    both are drawn from the mean with half a count in each bin. The others count as histograms of equal size. A large
    reference is taken as the truth, which costs a seventh.
    """
    others = reference.n_histograms - contained
    bins = reference.shares.size
    if reference.n_histograms >= LARGE_REFERENCE:
        truth = reference.mean(contains=contained)
        own = draw.multinomial(n, truth / truth.sum(), size=simulations)
        return np.asarray(2.0 * n * rel_entr(own / n, truth).sum(axis=1))
    if contained:
        own = _dealt(reference.counts, n, simulations, draw)
        rest = reference.counts - own
        shares = rest * (others / max(1, int(reference.counts.sum()) - n))
        mean = (shares + own / n) / reference.n_histograms
    else:
        per_other = others / reference.inverse_counts
        truth = reference.shares + 0.5 * others / reference.counts.sum()
        truth = truth / truth.sum()
        own = draw.multinomial(n, truth, size=simulations)
        rest = draw.multinomial(round(others * per_other), truth, size=simulations)
        # The half count of METHOD.md 5, where a simulated reference has an empty bin.
        spread = np.where((rest == 0).any(axis=1), 0.5 / per_other, 0.0)[:, None]
        mean = (rest / per_other + spread) / (others + spread * bins)
    f = noise_factor(np.array([n]), reference.n_histograms, reference.inverse_counts, np.array([contained]))
    return np.asarray(2.0 * n * rel_entr(own / n, mean).sum(axis=1) / f)


def _dealt(pool: Integers, n: int, simulations: int, draw: np.random.RandomState) -> Integers:
    """Histograms of n counts dealt without replacement from pooled counts, (simulations, N)."""
    dealt = np.zeros((simulations, pool.size), dtype=np.int64)
    missing = np.full(simulations, n, dtype=np.int64)
    beyond = int(pool.sum())
    for j, available in enumerate(pool.tolist()):
        beyond -= available
        if available and beyond:
            some = missing > 0
            dealt[some, j] = draw.hypergeometric(available, beyond, missing[some])
        elif available:
            dealt[:, j] = missing
        missing -= dealt[:, j]
    return dealt


def direction(cosine: Doubles, sine: Doubles, n: Doubles | Integers) -> tuple[Doubles, Doubles]:
    """Preferred direction of orientations from their sums of cos 2 theta and sin 2 theta.

    Returns
    -------
    angle : ndarray
        Degrees in (-90, 90], NaN where n is 0 or the orientations cancel.
    alignment : ndarray
        R, 0 (isotropic) to 1 (all aligned), NaN where n is 0.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        alignment = np.where(n > 0, np.minimum(np.hypot(cosine, sine) / n, 1.0), np.nan)
    angle = np.degrees(0.5 * np.arctan2(sine, cosine))
    angle = np.where(angle <= -90.0, 90.0, angle)
    return np.where(alignment > 0, angle, np.nan), alignment


class LocalAlignment(NamedTuple):
    """How aligned the orientations of each CCD are, whatever their directions; arrays of (n_exposures,) float64.

    Attributes
    ----------
    alignment : ndarray
        Of a typical CCD, 0 to 1: the root of the mean square R over CCDs by their counts, its noise taken off.
    z, p : ndarray
        Above what the reference's orientations give by counting noise alone, and the probability of that.
    deviation : ndarray
        From the dataset's exposures, as of a KL.
    """

    alignment: Doubles
    z: Doubles
    p: Doubles
    deviation: Doubles


def local_alignment(
    cosine: Doubles,
    sine: Doubles,
    n: Integers,
    owner: Integers,
    contained: np.typing.NDArray[np.bool_],
    reference: Reference,
) -> LocalAlignment:
    """Alignment CCD by CCD: what a pattern that cancels over the focal plane leaves (METHOD.md 5b, Rayleigh's test).

    Each CCD's sum of exp(2 i theta) is compared with what so many orientations of the reference would give; the sum
    over CCDs of its square, in units of its covariance, has 2 degrees a CCD. Mean and covariance come from the
    reference's histogram, orientations being spread evenly within a bin. For few counts the square is narrower than
    chi-squared, so p is the tail of the gamma distribution of its mean and variance.

    Parameters
    ----------
    cosine, sine : ndarray, (n_ccd,) float64
        Sums of cos 2 theta and sin 2 theta.
    n : ndarray, (n_ccd,) int64
        Orientations of each CCD; those without any are left out.
    owner : ndarray, (n_ccd,) int64
        Index of each CCD's exposure, ascending.
    contained : ndarray, (n_exposures,) bool
        Whether the reference contains the exposure.
    reference : Reference
        Of histograms, one an exposure.

    Returns
    -------
    LocalAlignment
        NaN for exposures without orientations, and where the reference's orientations have no spread.
    """
    m = contained.size
    none = np.full(m, np.nan)
    mean, inverse, square = _harmonics(reference)
    of_exposure = np.bincount(owner, n, minlength=m)
    some = n > 0
    whose, k = owner[some], n[some].astype(np.float64)
    n_ccds = np.bincount(whose, minlength=m).astype(np.float64)
    known = n_ccds > 0
    if inverse is None:
        return LocalAlignment(none, none, none, none)
    off = np.stack((cosine[some] - k * mean[0], sine[some] - k * mean[1]))
    own = 2.0 * contained[whose] * k / (of_exposure[whose] * reference.n_histograms)
    f = 1.0 - own + k * reference.inverse_counts / reference.n_histograms**2
    kept = f > 1e-9  # 0 for the only CCD of the reference's only exposure, which cannot differ from it
    x = np.where(kept, np.einsum("ij,ik,kj->j", off, inverse, off) / (k * np.where(kept, f, 1.0)), 2.0)
    total = np.bincount(whose, x, minlength=m)
    variance = np.bincount(whose, np.maximum(4.0 + (square - 8.0) / k, 1e-9), minlength=m)
    degrees = 2.0 * n_ccds
    z, p, score, alignment = none.copy(), none.copy(), none.copy(), none.copy()
    z[known] = (total - degrees)[known] / np.sqrt(variance[known])
    shape, scale = degrees[known] ** 2 / variance[known], variance[known] / degrees[known]
    p[known] = gammaincc(shape, total[known] / scale)
    score[known] = total[known] / degrees[known]
    # R^2 of n orientations is 1/n for nothing: (sum of n R^2 - CCDs) / (n - CCDs) is that of the distribution.
    power = np.bincount(whose, (cosine[some] ** 2 + sine[some] ** 2) / k, minlength=m)
    several = of_exposure > n_ccds
    alignment[several] = np.sqrt(np.clip((power - n_ccds)[several] / (of_exposure - n_ccds)[several], 0.0, 1.0))
    return LocalAlignment(alignment, z, p, deviation(score))


def _harmonics(reference: Reference) -> tuple[Doubles, Doubles | None, float]:
    """Harmonics of the reference's orientations.

    Of (cos 2 theta, sin 2 theta): mean, inverse covariance (None where it has none), and the mean square of the squared
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


def deviation(score: Doubles) -> Doubles:
    """(ln score - median) / (1.4826 MAD) over a dataset; NaN where the score is 0 or missing, or the MAD is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.where(score > 0, np.log(score), np.nan)
    known = np.isfinite(logarithm)
    # Scores that are printed alike do not differ: whether there is any spread does not hang on their last bits.
    if not known.any() or not _spread(np.log(printed_values(score[known]))) > 0:
        return np.full(score.shape, np.nan)
    middle, spread = np.median(logarithm[known]), _spread(logarithm[known])
    if not spread > 0:
        return np.full(score.shape, np.nan)
    return np.asarray((logarithm - middle) / spread)


def _spread(values: Doubles) -> float:
    """1.4826 times the median absolute deviation from the median."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
