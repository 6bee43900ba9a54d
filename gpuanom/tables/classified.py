"""What a classifier that learnt from labels says of the exposures of a night: one more statistic of the verdict.

The classifier is a logistic regression on an exposure's latent features and on columns of the tables. A night keeps
the classifier itself, so that the answers are a function of what is stored, whichever command opens the night.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from gpuanom.digits import printed_values
from gpuanom.errors import OutputError
from gpuanom.records import KINDS, Doubles
from gpuanom.store.reconstructions import N_LATENT, Reconstructed

PROBABILITY, LOGIT = "classifier_probability", "classifier_logit"
"""The column of the tables, and the number that the verdict is made of: a probability near 1 says little more."""

_LOCAL = ("source_local", "isophote_local")
SIGNED = (
    *(f"{kind}_deviation" for kind in (*KINDS, *_LOCAL, "autoencoder")),
    *(f"{kind}_z" for kind in (*KINDS, *_LOCAL)),
)
SHARES = tuple(f"{kind}_alignment" for kind in KINDS)
COLUMNS = (*SIGNED, *SHARES, "n_sources")
"""Columns of the table of exposures that features are made of."""

FEATURES = (
    *(f"latent_mean_{i}" for i in range(N_LATENT)),
    *(f"latent_std_{i}" for i in range(N_LATENT)),
    *SIGNED,
    *SHARES,
    "log_n_sources",
)


@dataclass(frozen=True, eq=False)
class Classifier:
    """A fitted classifier.

    Attributes
    ----------
    middle, scale : ndarray, (n_features,) float64
        Each feature is standardised with them; missing features are then 0.
    weights : ndarray, (n_features,) float64
    bias : float
    model : str
        Fingerprint of the autoencoder that made the latent features.
    """

    middle: Doubles
    scale: Doubles
    weights: Doubles
    bias: float
    model: str

    def logits(self, features: Doubles) -> Doubles:
        """Return ln(p / (1 - p)) of the probability p of each exposure to be anomalous, judged by the labels.

        Parameters
        ----------
        features : ndarray, (n, n_features) float64
            In the order of `FEATURES`.

        Returns
        -------
        ndarray, (n,) float64
            An exposure's value does not depend on the other exposures.
        """
        return np.asarray(np.sum(standard(features, self.middle, self.scale) * self.weights, axis=1) + self.bias)

    def probabilities(self, features: Doubles) -> Doubles:
        """Return the probability of each exposure to be anomalous, judged by the labels.

        Parameters
        ----------
        features : ndarray, (n, n_features) float64
            In the order of `FEATURES`.

        Returns
        -------
        ndarray, (n,) float64
        """
        from scipy.special import expit

        return np.asarray(expit(self.logits(features)))

    @property
    def text(self) -> str:
        """The classifier as JSON, as a night keeps it."""
        arrays = {name: getattr(self, name).tolist() for name in ("middle", "scale", "weights")}
        return json.dumps({"features": FEATURES, **arrays, "bias": self.bias, "model": self.model})

    @property
    def fingerprint(self) -> str:
        """A hash of the classifier."""
        return hashlib.blake2b(self.text.encode(), digest_size=16).hexdigest()

    @classmethod
    def from_text(cls, text: str, origin: str) -> Self:
        """Read what `text` gave.

        Parameters
        ----------
        text : str
        origin : str
            What messages call the text.

        Raises
        ------
        OutputError
            When the text is damaged, or the classifier is of a version with other features.
        """
        try:
            values = json.loads(text)
            if values["features"] != list(FEATURES):
                raise ValueError("other features than those of this version")
            arrays = [np.array(values[name], dtype=np.float64) for name in ("middle", "scale", "weights")]
            if any(a.shape != (len(FEATURES),) or not np.isfinite(a).all() for a in arrays):
                raise ValueError("numbers are missing")
            return cls(arrays[0], arrays[1], arrays[2], float(values["bias"]), str(values["model"]))
        except (ValueError, KeyError, TypeError) as error:
            why = " ".join(str(error).split())[:120]
            remedy = "score the night again with --model and a classifier of this version"
            raise OutputError(f"{origin}: the classifier that it keeps cannot be used: {why} ({remedy})") from None


def standard(features: Doubles, middle: Doubles, scale: Doubles) -> Doubles:
    """Standardise features; missing ones become 0, and values are limited to 10 so that none decides alone.

    Parameters
    ----------
    features : ndarray, (n, n_features) float64
    middle, scale : ndarray, (n_features,) float64
    """
    return np.asarray(np.nan_to_num(np.clip((features - middle) / scale, -10.0, 10.0), nan=0.0))


def features_of(columns: Mapping[str, Doubles], latent: Sequence[Reconstructed | None]) -> Doubles:
    """Return the features of the exposures of one dataset.

    Bands differ in seeing and depth: features are differences from the median of the dataset.

    Parameters
    ----------
    columns : mapping of str to ndarray, (n,) float64
        The values of `COLUMNS`, as the tables print them; NaN where one is missing.
    latent : sequence of Reconstructed or None
        The results of the autoencoder for each exposure.

    Returns
    -------
    ndarray, (n, n_features) float64
        In the order of `FEATURES`; NaN where a feature is missing.
    """
    parts = [
        np.stack([_latent(measured) for measured in latent]),
        np.arcsinh(np.stack([columns[name] for name in SIGNED], axis=1)),
        np.stack([columns[name] for name in SHARES], axis=1),
        np.log1p(columns["n_sources"])[:, None],
    ]
    for i in (0, 2, 3):
        parts[i] = parts[i] - medians(parts[i])
    return np.concatenate(parts, axis=1)


def add(columns: dict[str, Any], latent: Mapping[str, Reconstructed], classifier: Classifier) -> None:
    """Add what a classifier says to the columns of a dataset's exposures; of one without stamps it says nothing.

    Parameters
    ----------
    columns : dict
    latent : mapping of str to Reconstructed
        By exposure.
    classifier : Classifier
    """
    if not columns["exposure"]:
        return
    numbers = {name: printed_values(columns[name]) for name in COLUMNS}
    of_exposures = [latent.get(exposure) for exposure in columns["exposure"]]
    known = np.array([measured is not None and bool(measured.n_stamps.any()) for measured in of_exposures])
    # By printed digits: in their last bits the backends may differ.
    logits = printed_values(np.where(known, classifier.logits(features_of(numbers, of_exposures)), np.nan))
    from scipy.special import expit

    columns[LOGIT], columns[PROBABILITY] = logits, expit(logits)


def medians(values: Doubles) -> Doubles:
    """Return the median of the finite values of each column; 0 where a column has none.

    Parameters
    ----------
    values : ndarray, (n, m) float64
    """
    known = np.isfinite(values).any(axis=0)
    middle = np.zeros(values.shape[1])
    middle[known] = np.nanmedian(np.where(np.isfinite(values[:, known]), values[:, known], np.nan), axis=0)
    return middle


def _latent(measured: Reconstructed | None) -> Doubles:
    """Mean and scatter of an exposure's latent features, (2 n_latent,); NaN where there are no stamps."""
    n = 0 if measured is None else int(measured.n_stamps.sum())
    if measured is None or not n:
        return np.full(2 * N_LATENT, np.nan)
    mean, squares = measured.latent.sum(axis=0) / n
    return np.concatenate([mean, np.sqrt(np.maximum(squares - mean**2, 0.0))])
