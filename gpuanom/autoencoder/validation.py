"""How well a classifier does on exposures that it was not trained with: cross-validation and ROC."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gpuanom import sampling
from gpuanom.autoencoder.classifier import FOLDS, Sample, fit_regression, require_enough
from gpuanom.records import Doubles


def cross_validated(exposures: Sample, truth: npt.NDArray[np.int64], seed: int = 1) -> Doubles:
    """The probability of each labelled exposure, from a fit to the folds that do not hold it.

    All folds hold the same share of anomalous exposures. The fold of an exposure depends on its id and the seed.

    Parameters
    ----------
    exposures : Sample
    truth : ndarray, (n,) int64
        See `grades`.
    seed : int, optional

    Returns
    -------
    ndarray, (n,) float64
        NaN for exposures without a label.

    Raises
    ------
    InputError
        When fewer than `MIN_LABELS` exposures are anomalous, or normal.
    """
    require_enough(truth)
    words = np.array([int(sampling.stream(seed, key[1], key[0], "split").random_raw()) for key in exposures.keys])
    fold = np.full(truth.size, -1)
    for value in (0, 1):
        members = np.flatnonzero(truth == value)
        fold[members[np.argsort(words[members], kind="stable")]] = np.arange(members.size) % FOLDS
    found = np.full(truth.size, np.nan)
    for k in range(FOLDS):
        held_out = fold == k
        fitted = fit_regression(exposures.features, np.where(held_out, -1, truth), exposures.model)
        found[held_out] = fitted.probabilities(exposures.features[held_out])
    return found


def roc(score: Doubles, truth: npt.NDArray[np.int64]) -> tuple[Doubles, Doubles, float]:
    """The receiver operating characteristic of a score over labelled exposures.

    Parameters
    ----------
    score : ndarray, (n,) float64
        A missing score (NaN) counts as the lowest.
    truth : ndarray, (n,) int64
        See `grades`.

    Returns
    -------
    false, true : ndarray
        Rates of false and true positives, from (0, 0) to (1, 1).
    area : float
        Probability that an anomalous exposure scores higher than a normal one, ties counted half.
    """
    known = truth >= 0
    value, y = np.nan_to_num(score[known], nan=-np.inf, posinf=np.inf, neginf=-np.inf), truth[known]
    order = np.argsort(-value, kind="stable")
    ordered = value[order]
    # Not their differences: of two missing scores, -inf both, that is NaN, and their tie would not be seen.
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), order.size - 1)
    true = np.append(0.0, np.cumsum(y[order])[ends] / max(y.sum(), 1))
    false = np.append(0.0, np.cumsum(1 - y[order])[ends] / max((1 - y).sum(), 1))
    return false, true, float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))
