"""A classifier that learns from labelled exposures which are anomalous (the last idea of section 5 of the paper).

It is a logistic regression on the latent features of an exposure (mean and scatter over its stamps) and on columns of
the tables. It is cross-validated by exposure: the probability printed for a labelled exposure comes from a fit that did
not use its label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, special

from gpuanom.autoencoder.model import FORMAT, read, write
from gpuanom.backends.protocol import Backend
from gpuanom.errors import InputError, OutputError
from gpuanom.records import KINDS, Doubles, ExposureKey, Integers
from gpuanom.review import analysts, labels
from gpuanom.review.labels import Label
from gpuanom.settings import Settings
from gpuanom.store.recorded_settings import require_alike
from gpuanom.store.store import NAME, Store
from gpuanom.tables import build as tables
from gpuanom.tables.classified import COLUMNS, FEATURES, Classifier, features_of, medians, standard
from gpuanom.version import __version__

FOLDS = 5
MIN_LABELS = 5
"""The smallest number of anomalous, and of normal, exposures that can be cross-validated."""
PENALTY = 0.1
"""Half of this times the sum of the squared weights (of standardised features) is added to the mean loss, because there
are often more features than labels."""

SCORES = (
    *(f"{kind}_{what}" for kind in KINDS for what in ("kl", "z", "deviation")),
    "isophote_local_z",
    "autoencoder_mse",
    "autoencoder_deviation",
)
"""Columns of the tables whose ROC is drawn beside that of the classifier."""


@dataclass(frozen=True, eq=False)
class Sample:
    """The exposures of nights with their features.

    Attributes
    ----------
    keys : list of (str, str)
        Camera and id.
    bands : list of str
    features : ndarray, (n, n_features) float64
        In the order of `FEATURES`; NaN where a feature is missing.
    scores : dict of str to ndarray, (n,) float64
        The columns of `SCORES`.
    model : str
        Fingerprint of the autoencoder that made the latent features.
    """

    keys: list[ExposureKey]
    bands: list[str]
    features: Doubles
    scores: dict[str, Doubles]
    model: str


def sample(nights: Sequence[Path], backend: Backend) -> Sample:
    """The exposures of nights that were scored with the same model.

    Parameters
    ----------
    nights : sequence of Path
        Folders that `gpuanom.score` made.
    backend : Backend
        Where tables are computed.

    Raises
    ------
    OutputError
        When a folder holds no night, or one that was not scored with a model; when models or settings differ; or when
        two nights hold the same exposure.
    """
    parts: list[Sample] = []
    recorded, origin = None, ""
    for night in nights:
        with Store(night / NAME, Settings(), read_only=True) as store:
            night_settings, _ = store.recorded_settings()
            require_alike(night, night_settings, origin, recorded)
            recorded, origin = night_settings, str(night)
            part = _sample(store, backend)
        if not part.model:
            raise OutputError(f"{night}: was scored without an autoencoder (gpuanom score -o {night} --model MODEL)")
        if parts and part.model != parts[0].model:
            raise OutputError(f"{night}: was scored with another model than {nights[0]} (score one of them again)")
        parts.append(part)
    twice = {key for i, part in enumerate(parts) for key in part.keys if any(key in p.keys for p in parts[:i])}
    if twice:
        raise OutputError(f"exposure {min(twice)[1]} is in two of the nights")
    return Sample(
        keys=[key for part in parts for key in part.keys],
        bands=[band for part in parts for band in part.bands],
        features=np.concatenate([part.features for part in parts]),
        scores={name: np.concatenate([part.scores[name] for part in parts]) for name in SCORES},
        model=parts[0].model,
    )


def _sample(store: Store, backend: Backend) -> Sample:
    model = store.model()
    settings, references = tables.as_scored_last(store)
    exposures = tables.build(store, settings, backend, references).exposures
    # Exposures that failed have no number of sources, not even 0.
    exposures = exposures[~np.ma.getmaskarray(exposures["n_sources"])]
    keys = [(str(row["camera"]), str(row["exposure"])) for row in exposures]
    bands = [str(band) for band in exposures["band"]]
    if not model:
        return Sample(keys, bands, np.zeros((len(keys), len(FEATURES))), {}, "")
    columns = {name: _plain(exposures[name]) for name in {*SCORES, *COLUMNS}}
    datasets = [(camera, band) for (camera, _), band in zip(keys, bands, strict=True)]
    features = np.full((len(keys), len(FEATURES)), np.nan)
    for name in sorted(set(datasets)):
        members = np.array([i for i, d in enumerate(datasets) if d == name])
        reconstructed = store.reconstructed(*name)
        latent = [reconstructed.get(keys[i][1]) for i in members.tolist()]
        features[members] = features_of({c: values[members] for c, values in columns.items()}, latent)
    return Sample(keys, bands, features, {name: columns[name] for name in SCORES}, model)


def _plain(column: Any) -> Doubles:
    return np.asarray(np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan))


def grades(given_labels: Iterable[Label], keys: Sequence[ExposureKey]) -> tuple[Integers, list[Label]]:
    """Turn labels into the truth that a classifier learns.

    Parameters
    ----------
    given_labels : iterable of Label
        Labels of all analysts.
    keys : sequence of (str, str)
        Camera and id of the exposures.

    Returns
    -------
    truth : ndarray, (n,) int64
        1 for exposures that are labelled prominent in either kind, 0 for normal ones, -1 for dubious and unlabelled.
    strangers : list of Label
        Labels that belong to none of the exposures.
    """
    matched, strangers = matching(given_labels, keys)
    by_key: dict[ExposureKey, set[str]] = {}
    for (camera, exposure, _), grade in analysts.consensus(matched).items():
        by_key.setdefault((camera, exposure), set()).add(grade)
    values = [by_key.get(key, set()) for key in keys]
    return np.array([1 if "prominent" in v else 0 if v == {"normal"} else -1 for v in values]), strangers


def matching(given_labels: Iterable[Label], keys: Sequence[ExposureKey]) -> tuple[list[Label], list[Label]]:
    """The latest label of each exposure, kind and analyst, and the labels that belong to none of the exposures.

    Parameters
    ----------
    given_labels : iterable of Label
    keys : sequence of (str, str)
        Camera and id of the exposures.
    """
    # Cameras are filled in first: a label without a camera may be an earlier one of the same analyst.
    matched, strangers = labels.placed(given_labels, keys)
    return labels.merged(matched), labels.merged(strangers)


def fit(exposures: Sample, truth: Integers) -> Classifier:
    """Fit a classifier to the labelled exposures of a sample.

    Parameters
    ----------
    exposures : Sample
    truth : ndarray, (n,) int64
        See `grades`.

    Raises
    ------
    InputError
        When fewer than `MIN_LABELS` exposures are anomalous, or normal.
    """
    require_enough(truth)
    return fit_regression(exposures.features, truth, exposures.model)


def require_enough(truth: Integers) -> None:
    """Refuse to train with fewer than `MIN_LABELS` anomalous or normal exposures."""
    n = [int(np.count_nonzero(truth == value)) for value in (1, 0)]
    if min(n) < MIN_LABELS:
        raise InputError(
            f"{n[0]} prominent and {n[1]} normal exposures are labelled: too few to train with",
            remedy=f"label at least {MIN_LABELS} of each: gpuanom report, gpuanom label",
        )


def fit_regression(features: Doubles, truth: Integers, model: str) -> Classifier:
    """Fit the logistic regression of a classifier to the exposures whose truth is known.

    Parameters
    ----------
    features : ndarray, (n, n_features) float64
    truth : ndarray, (n,) int64
        1 for an anomalous exposure, 0 for a normal one, -1 where that is not known.
    model : str
        Fingerprint of the autoencoder behind the features.
    """
    known = truth >= 0
    x, y = features[known], truth[known].astype(np.float64)
    middle = medians(x)
    spread = np.nan_to_num(np.nanstd(np.where(np.isfinite(x), x, middle), axis=0))
    scale = np.where(spread > 0, spread, 1.0)
    x = standard(x, middle, scale)
    # Anomalous and normal exposures get the same total weight, however many there are.
    weight = np.where(y > 0, 0.5 / y.sum(), 0.5 / (1 - y).sum())

    def loss(w: Doubles) -> tuple[float, Doubles]:
        s = x @ w[:-1] + w[-1]
        error = weight * (special.expit(s) - y)
        value = weight @ (np.logaddexp(0.0, s) - y * s) + 0.5 * PENALTY * w[:-1] @ w[:-1]
        return float(value), np.append(x.T @ error + PENALTY * w[:-1], error.sum())

    found = optimize.minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B")
    return Classifier(middle, scale, found.x[:-1], float(found.x[-1]), model)


def save(classifier: Classifier, path: Path, about: Mapping[str, Any]) -> None:
    """Write a classifier, whole or not at all.

    Parameters
    ----------
    classifier : Classifier
    path : Path
    about : mapping
        Metadata that the file also holds, as values for JSON.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    names = ("middle", "scale", "weights")
    tensors = {name: np.ascontiguousarray(getattr(classifier, name), dtype=np.float64) for name in names}
    metadata = {
        "kind": "classifier",
        "format": FORMAT,
        "gpuanom": __version__,
        "features": list(FEATURES),
        "model": classifier.model,
        **about,
    }
    write(path, {**tensors, "bias": np.array([classifier.bias])}, metadata)


def load(path: str | Path) -> Classifier:
    """Read a classifier; no code in the file is run.

    Raises
    ------
    InputError
        When the file cannot be read, or holds no classifier.
    """
    tensors, about = read(path)
    n = len(FEATURES)
    wanted = {"middle": (n,), "scale": (n,), "weights": (n,), "bias": (1,)}
    finite = all(t.dtype == np.float64 and np.isfinite(t).all() for t in tensors.values())
    if (
        about.get("kind") != "classifier"
        or about.get("features") != list(FEATURES)
        or {name: t.shape for name, t in tensors.items()} != wanted
        or not finite
    ):
        raise InputError("not a classifier of this version of gpuanom", file=path, remedy="gpuanom train --supervised")
    bias, model = float(tensors["bias"][0]), str(about.get("model", ""))
    return Classifier(tensors["middle"], tensors["scale"], tensors["weights"], bias, model)
