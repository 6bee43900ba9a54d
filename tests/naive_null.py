"""The null of METHOD.md 12 and 13, one statistic and one exposure at a time: the slow truth.

Nothing here imports the package. Which statistics there are, and how each enters, is told by the records that a caller
gives; datasets have every CCD in every exposure, no trails, and no exposure times.
"""

from __future__ import annotations

import math

import numpy as np

LEAST_FOR_PATTERN, LEAST_CCDS, FEW_SOURCES = 20, 3, 10


def spread(values):
    """1.4826 times the median absolute deviation from the median."""
    return 1.4826 * np.nanmedian(np.abs(values - np.nanmedian(values)))


def entering(values, statistic):
    """A statistic as it enters: float32, and as its logarithm where it is positive by nature."""
    values = np.asarray(values, np.float32).astype(float)
    return np.log(np.maximum(values, statistic.floor) + statistic.offset) if statistic.logarithm else values


# Regression


def weighted_fit(y, terms, weight):
    """Coefficients of least squares."""
    return np.linalg.solve((terms * weight) @ terms.T, (terms * weight) @ y)


def robust_fit(y, terms):
    """Six steps with Huber's weights, then six with Tukey's."""
    known = np.isfinite(y)
    fit = np.zeros(len(terms))
    fit[0] = np.nanmedian(y)
    for bound, tukey in ((1.345, False), (4.685, True)):
        for _ in range(6):
            left = np.where(known, y - fit @ terms, 0.0)
            away = np.abs(left) / (bound * 1.4826 * np.median(np.abs(left[known])))
            weight = np.maximum(1 - away**2, 0) ** 2 if tukey else 1 / np.maximum(away, 1)
            fit = fit + weighted_fit(left, terms, np.where(known, weight, 0.0))
    return fit


def scatter_by_conditions(left, terms):
    """By what factor the scatter under the conditions of each exposure differs from that under median ones."""
    logarithm = np.log(np.abs(left))
    logarithm = np.where(np.isnan(left), np.nan, np.fmax(logarithm, np.nanmedian(logarithm) - 1.5))
    n = np.count_nonzero(np.isfinite(logarithm))
    slopes = robust_fit(logarithm, terms)[1:]
    error = 3 * 0.9 * (1 + 10 / n) / math.sqrt(n)
    return np.exp(np.clip((slopes * np.maximum(1 - (error / slopes) ** 2, 0)) @ terms[1:], -1, 1))


def scatter_of_side(sizes):
    """The scatter of the residuals of one sign, without those beyond five scatters."""
    scale = 1.4826 * np.median(sizes)
    for _ in range(2):
        scale = 1.4826 * np.median(sizes[sizes <= 5 * scale])
    return scale


# Tails


def weibull(values, start, upper, least):
    """Scale and shape of the tail through the 50% and the upper quantile; the shape is averaged with 1.2."""
    half, high = (np.quantile(values, share) - start for share in (0.5, upper))
    shape = math.log(-math.log(1 - upper) / math.log(2)) / math.log(high / half)
    shape = math.exp((len(values) * math.log(shape) + 100 * math.log(1.2)) / (len(values) + 100))
    shape = min(max(shape, 0.5), 2.0)
    return max(high, least) / (-math.log(1 - upper)) ** (1 / shape), shape


def unlikely(distance, least=0.0):
    """L of each distance, by the tail through the distances themselves."""
    ordered = np.sort(distance[np.isfinite(distance)])
    n = rest = len(ordered)
    start = np.quantile(ordered, 0.02)
    beyond = np.maximum(ordered - start, 0)
    for _ in range(3):
        scale, shape = weibull(ordered[:rest], start, 0.75, least)
        evidence, outliers = (beyond / scale) ** shape, 0
        for k in range(1, n + 1):
            if evidence[n - k] > 4 + math.log(n / k):
                outliers = k
            elif evidence[n - k] < 4:
                break
        rest = n - outliers
    scale, shape = weibull(ordered[:rest], start, 0.9, least)
    return (np.maximum(distance - start, 0) / scale) ** shape


def corrected(largest):
    """L of the largest of several, whose number their own 75% quantile tells."""
    number = math.log(0.75) / math.log1p(-math.exp(-np.quantile(largest[np.isfinite(largest)], 0.75)))
    return -np.log(-np.expm1(max(number, 0.5) * np.log1p(-np.exp(-largest))))


def calibrated(evidence):
    """Of what exceeds 2 three quarters count."""
    return np.where(evidence > 2, 2 + 0.75 * (evidence - 2), evidence)


# CCDs


def less_normal(values, follow=False):
    """Values, (n_exposures, n_ccd), less what is normal for each CCD."""
    enough = np.count_nonzero(np.isfinite(values), axis=0) >= LEAST_FOR_PATTERN
    normal = np.where(enough, np.nanmedian(values, axis=0), np.nan)
    if follow:  # the level of each exposure is taken off before the median is
        normal = np.median(values - np.median(values - normal, axis=1)[:, None], axis=0)
    return values - normal


def field(values, variance, x, y):
    """Constant and gradient of one exposure's vectors about their weighted centre, and the errors of these."""
    weight = 1 / variance
    terms = np.array([np.ones(len(x)), x - np.average(x, weights=weight), y - np.average(y, weights=weight)])
    return weighted_fit(values, terms, weight), np.sqrt(np.diag(np.linalg.inv((terms * weight) @ terms.T)))


def furthest(cosine, sine, variance):
    """How far each CCD's vector is from the median of its exposure's, as the logarithm of its errors."""
    away = (v - np.median(v, axis=1, keepdims=True) for v in (cosine, sine))
    away = np.hypot(*away) / np.sqrt(variance)
    # The vector of a CCD may be the median itself; then it counts as near as the nearest other one.
    nearest = np.nanmin(np.where(away > 0, away, np.nan), axis=1, keepdims=True)
    return np.log(np.where(away > 0, away, nearest))


def of_ccds(exposures, ccds, x, y, statistics, kinds):
    """Statistics of the exposures made of those of the CCDs, (n_exposures, n_ccd); and how far each CCD is off."""
    left = {}
    for s in statistics:
        if s.name in ccds:
            left[s.name] = less_normal(entering(ccds[s.name], s), follow=s.name == "n_sources")
    vectors = {k: less_normal(v) for k, v in ccds.items() if k.endswith(("_cos", "_sin")) or k in ("e1", "e2")}
    made = dict(exposures)
    for kind in kinds:
        variance = ccds[f"{kind}_variance"]
        for part in ("cos", "sin"):
            fits = [field(*of_one, x, y) for of_one in zip(vectors[f"{kind}_{part}"], variance, strict=True)]
            columns = (f"{kind}_vector_{part}", f"{kind}_gradient_{part}_x", f"{kind}_gradient_{part}_y")
            for k, column in enumerate(columns):
                made[column], made[f"{column}_error"] = (np.array([f[which][k] for f in fits]) for which in (0, 1))
        left[f"{kind}_off"] = furthest(vectors[f"{kind}_cos"], vectors[f"{kind}_sin"], variance)
    error = ccds["e1_error"]
    left["ellipticity_off"] = furthest(vectors["e1"], vectors["e2"], error**2)
    off = {}
    for s in statistics:
        values = left[s.name]
        middle = np.nanmedian(values, axis=1)
        off[s.name] = values - middle[:, None]
        if s.name in ("fwhm", "kurtosis"):
            error = ccds[f"{s.name}_error"]
            off[s.name] = off[s.name] / np.maximum(error / np.median(error, axis=1)[:, None], 1)
        off[s.name] = np.abs(off[s.name]) if s.two_sided else off[s.name]
        made[f"{s.name}_typical_ccd"], made[f"{s.name}_worst_ccd"] = middle, np.nanmax(off[s.name], axis=1)
    return made, off


# The whole chain


def distance(statistic, exposures, conditions):
    """How far each exposure is from what is expected of it, in robust standard deviations."""
    n, parts = len(exposures["n_sources"]), []
    for column, error_column in zip(statistic.columns, statistic.errors, strict=True):
        value = entering(exposures[column], statistic)
        if statistic.needs_sources:
            value = np.where(exposures["n_sources"] < FEW_SOURCES, np.nan, value)
        error = np.asarray(exposures.get(error_column, np.full(n, np.nan)), float)
        error = error / exposures[column] if statistic.logarithm else error
        terms = np.array([np.ones(n), *(v for name, v in conditions.items() if name != statistic.covariate)])
        left = value - robust_fit(value, terms) @ terms
        by_conditions = scatter_by_conditions(left, terms)
        left, error = left / by_conditions, error / by_conditions
        usual = np.nanmedian(error**2) if np.isfinite(error).any() else np.nan
        above = below = spread(left)
        if statistic.two_sided:
            above, below = scatter_of_side(left[left > 0]), scatter_of_side(-left[left < 0])
        known = np.count_nonzero(np.isfinite(value))
        factor = math.sqrt(known / (known - len(terms) + 1))
        least = math.exp(-0.5 * np.median(value)) if statistic.name == "n_sources" else math.sqrt(np.nan_to_num(usual))
        above, below = max(above * factor, least), max(below * factor, least)
        excess = np.nan_to_num(np.maximum(error**2 - usual, 0))
        parts.append((left / above, left / np.sqrt(np.where(left < 0, below, above) ** 2 + excess)))
    if len(parts) == 1:
        return np.abs(parts[0][1]) if statistic.two_sided else parts[0][1]
    correlation = np.eye(len(parts))
    for a in range(len(parts)):
        for b in range(a):
            plus, minus = (spread(parts[a][0] + sign * parts[b][0]) ** 2 for sign in (1, -1))
            correlation[a, b] = correlation[b, a] = (plus - minus) / (plus + minus)
    while np.linalg.eigvalsh(correlation)[0] < 0.05:
        correlation = 0.9 * correlation + 0.1 * np.eye(len(parts))
    z = np.array([part[1] for part in parts])
    return np.sqrt(np.einsum("in,ij,jn->n", z, np.linalg.inv(correlation), z))


def evidence(exposures, ccds, x, y, statistics, statistics_of_ccds, kinds):
    """L of each statistic by name, of exposures, of CCDs, (n_exposures, n_ccd), and of the second-worst CCDs."""
    made, off = of_ccds(exposures, ccds, x, y, statistics_of_ccds, kinds)
    conditions = {}
    for name in ("n_sources", "sky", "fwhm")[: len(made["n_sources"]) // 15]:
        value = np.log(np.asarray(made[name], np.float32).astype(float))
        conditions[name] = np.clip((value - np.median(value)) / spread(value), -5, 5)
    of_statistics, lists = {}, {}
    for s in statistics:
        if all(column in made for column in s.columns):
            of_statistics[s.name] = unlikely(distance(s, made, conditions), least=1.0)
            lists.setdefault(s.list, []).append(of_statistics[s.name])
    of_lists = [corrected(np.fmax.reduce(several)) for several in lists.values()]
    of_exposures = calibrated(corrected(np.fmax.reduce(of_lists)))
    largest = np.fmax.reduce([unlikely(values.ravel()) for values in off.values()])
    every_ccd = corrected(largest).reshape(-1, len(x))
    return of_statistics, of_exposures, every_ccd, calibrated(unlikely(np.sort(every_ccd, axis=1)[:, -2]))
