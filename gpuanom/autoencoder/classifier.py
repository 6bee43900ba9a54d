"""Exposures that people labelled, used to tell anomalous from normal ones (the closing idea of the paper's section 5).

Logistic regression on an exposure's latent features (mean and scatter over its stamps) and on what the tables say of
it, cross-validated by exposure: what is printed of a labelled exposure comes from a fit that had not seen it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

from gpuanom import sampling
from gpuanom.autoencoder.model import FORMAT, N_LATENT, read, write
from gpuanom.backends.protocol import Backend
from gpuanom.errors import InputError, OutputError
from gpuanom.records import KINDS, Doubles, ExposureKey
from gpuanom.review import labels
from gpuanom.review.labels import Label
from gpuanom.settings import Settings, difference
from gpuanom.store.reconstructions import Reconstructed
from gpuanom.store.store import NAME, Store
from gpuanom.tables import build as tables
from gpuanom.version import __version__

FOLDS = 5
MIN_LABELS = 5
"""Fewer anomalous or normal exposures than this cannot be cross-validated."""
PENALTY = 0.1
"""Half of it times the squared weights of standardised features is added to the mean loss: there are more features than
some labels can bear."""

SCORES = (
    *(f"{kind}_{what}" for kind in KINDS for what in ("kl", "z", "deviation")),
    "isophote_local_z",
    "autoencoder_mse",
    "autoencoder_deviation",
)
"""Columns whose ROC is drawn beside the classifier's."""
_LOCAL = ("source_local", "isophote_local")
_SIGNED = (
    *(f"{kind}_deviation" for kind in (*KINDS, *_LOCAL, "autoencoder")),
    *(f"{kind}_z" for kind in (*KINDS, *_LOCAL)),
)
_SHARES = tuple(f"{kind}_alignment" for kind in KINDS)
FEATURES = (
    *(f"latent_mean_{i}" for i in range(N_LATENT)),
    *(f"latent_std_{i}" for i in range(N_LATENT)),
    *_SIGNED,
    *_SHARES,
    "log_n_sources",
)

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Sample:
    """The exposures of some nights, as a classifier sees them.

    Attributes
    ----------
    keys : list of (str, str)
        Camera and id.
    bands : list of str
    features : ndarray, (n, n_features) float64
        In the order of `FEATURES`; NaN where there is none.
    scores : dict of str to ndarray, (n,) float64
        The columns of `SCORES`.
    model : str
        Fingerprint of the autoencoder behind the latent features.
    """

    keys: list[ExposureKey]
    bands: list[str]
    features: Doubles
    scores: dict[str, Doubles]
    model: str


@dataclass(frozen=True, eq=False)
class Classifier:
    """A fitted classifier.

    Attributes
    ----------
    middle, scale : ndarray, (n_features,) float64
        Each feature is standardised by them; missing ones are then 0.
    weights : ndarray, (n_features,) float64
    bias : float
    model : str
        Fingerprint of the autoencoder that its latent features come from.
    """

    middle: Doubles
    scale: Doubles
    weights: Doubles
    bias: float
    model: str

    def probabilities(self, features: Doubles) -> Doubles:
        """The probability that each of some exposures is anomalous, (n,), as far as it goes by its labels."""
        return np.asarray(special.expit(_standard(features, self.middle, self.scale) @ self.weights + self.bias))


def sample(nights: Sequence[Path], backend: Backend) -> Sample:
    """The exposures of nights that were scored with one model.

    Parameters
    ----------
    nights : sequence of Path
    backend : Backend

    Raises
    ------
    OutputError
        When a folder holds no night, or none that was scored with a model, or models or settings differ.
    """
    parts: list[Sample] = []
    recorded, origin = None, ""
    for night in nights:
        with Store(night / NAME, Settings(), read_only=True) as store:
            theirs, _ = store.recorded_settings()
            if recorded is not None and (differs := difference(recorded, theirs)):
                raise OutputError(f"{night}: was measured with other settings than {origin}: {differs}")
            recorded, origin = theirs, str(night)
            part = _sample(store, backend)
        if not part.model:
            raise OutputError(f"{night}: holds nothing of an autoencoder (gpuanom score -o {night} --model MODEL)")
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
    exposures = exposures[~np.ma.getmaskarray(exposures["n_sources"])]  # what failed has none, not even 0
    keys = [(str(row["camera"]), str(row["exposure"])) for row in exposures]
    bands = [str(band) for band in exposures["band"]]
    if not model:
        return Sample(keys, bands, np.zeros((len(keys), len(FEATURES))), {}, "")
    columns = {name: _plain(exposures[name]) for name in {*SCORES, *_SIGNED, *_SHARES, "n_sources"}}
    datasets = [(camera, band) for (camera, _), band in zip(keys, bands, strict=True)]
    held = {name: store.reconstructed(*name) for name in sorted(set(datasets))}
    latent = np.stack([_latent(held[d].get(key[1])) for d, key in zip(datasets, keys, strict=True)])
    signed = np.arcsinh(np.stack([columns[name] for name in _SIGNED], axis=1))
    shares = np.stack([columns[name] for name in _SHARES], axis=1)
    sources = np.log1p(columns["n_sources"])[:, None]
    # Bands differ in seeing and depth: what is compared is how an exposure differs from its dataset's typical one.
    for name in held:
        mine = np.array([d == name for d in datasets])
        for part in (latent, shares, sources):
            part[mine] -= _median(part[mine])
    features = np.concatenate([latent, signed, shares, sources], axis=1)
    return Sample(keys, bands, features, {name: columns[name] for name in SCORES}, model)


def _latent(its: Reconstructed | None) -> Doubles:
    """Mean and scatter of an exposure's latent features, (2 n_latent,); NaN where there are no stamps."""
    n = 0 if its is None else int(its.n_stamps.sum())
    if its is None or not n:
        return np.full(2 * N_LATENT, np.nan)
    mean, squares = its.latent.sum(axis=0) / n
    return np.concatenate([mean, np.sqrt(np.maximum(squares - mean**2, 0.0))])


def _plain(column: Any) -> Doubles:
    return np.asarray(np.ma.filled(np.ma.asarray(column, dtype=np.float64), np.nan))


def _median(values: Doubles) -> Doubles:
    """The median of each column's finite values; 0 where there is none."""
    known = np.isfinite(values).any(axis=0)
    middle = np.zeros(values.shape[1])
    middle[known] = np.nanmedian(np.where(np.isfinite(values[:, known]), values[:, known], np.nan), axis=0)
    return middle


def grades(said: Iterable[Label], keys: Sequence[ExposureKey]) -> tuple[npt.NDArray[np.int64], list[Label]]:
    """What people say of exposures: 1 prominent of either kind, 0 normal, -1 dubious or nothing.

    Returns
    -------
    ndarray, (n,) int64
    list of Label
        Labels of none of the exposures.
    """
    ours, strangers = labels.placed(labels.merged(said), keys)
    by_key: dict[ExposureKey, set[str]] = {}
    for (camera, exposure, _), grade in labels.consensus(ours).items():
        by_key.setdefault((camera, exposure), set()).add(grade)
    values = [by_key.get(key, set()) for key in keys]
    return np.array([1 if "prominent" in v else 0 if v == {"normal"} else -1 for v in values]), strangers


def fit(some: Sample, truth: npt.NDArray[np.int64]) -> Classifier:
    """Fit a classifier to the labelled exposures of a sample.

    Parameters
    ----------
    some : Sample
    truth : ndarray, (n,) int64
        See `grades`.

    Raises
    ------
    InputError
        When fewer than 5 are anomalous, or normal.
    """
    _enough(truth)
    return _fit(some.features, truth, some.model)


def _enough(truth: npt.NDArray[np.int64]) -> None:
    n = [int(np.count_nonzero(truth == value)) for value in (1, 0)]
    if min(n) < MIN_LABELS:
        raise InputError(
            f"{n[0]} prominent and {n[1]} normal exposures are labelled: too few to train with",
            remedy=f"label at least {MIN_LABELS} of each: gpuanom report, gpuanom label",
        )


def _fit(features: Doubles, truth: npt.NDArray[np.int64], model: str) -> Classifier:
    known = truth >= 0
    x, y = features[known], truth[known].astype(np.float64)
    middle = _median(x)
    spread = np.nan_to_num(np.nanstd(np.where(np.isfinite(x), x, middle), axis=0))
    scale = np.where(spread > 0, spread, 1.0)
    x = _standard(x, middle, scale)
    # As if there were as many anomalous as normal ones.
    weight = np.where(y > 0, 0.5 / y.sum(), 0.5 / (1 - y).sum())

    def loss(w: Doubles) -> tuple[float, Doubles]:
        s = x @ w[:-1] + w[-1]
        error = weight * (special.expit(s) - y)
        value = weight @ (np.logaddexp(0.0, s) - y * s) + 0.5 * PENALTY * w[:-1] @ w[:-1]
        return float(value), np.append(x.T @ error + PENALTY * w[:-1], error.sum())

    found = optimize.minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B")
    return Classifier(middle, scale, found.x[:-1], float(found.x[-1]), model)


def _standard(features: Doubles, middle: Doubles, scale: Doubles) -> Doubles:
    """Standardised features: 0 where there is none, and none so large that it decides alone."""
    return np.asarray(np.nan_to_num(np.clip((features - middle) / scale, -10.0, 10.0), nan=0.0))


def cross_validated(some: Sample, truth: npt.NDArray[np.int64], seed: int = 1) -> Doubles:
    """The probability of each labelled exposure from a fit to the others' folds, (n,); NaN for those without a label.

    Folds hold equal shares of anomalous and normal exposures; which exposure is in which depends on its id alone.
    """
    _enough(truth)
    words = np.array([int(sampling.stream(seed, key[1], key[0], "split").random_raw()) for key in some.keys])
    fold = np.full(truth.size, -1)
    for value in (0, 1):
        mine = np.flatnonzero(truth == value)
        fold[mine[np.argsort(words[mine], kind="stable")]] = np.arange(mine.size) % FOLDS
    found = np.full(truth.size, np.nan)
    for k in range(FOLDS):
        held_out = fold == k
        fitted = _fit(some.features, np.where(held_out, -1, truth), some.model)
        found[held_out] = fitted.probabilities(some.features[held_out])
    return found


def roc(score: Doubles, truth: npt.NDArray[np.int64]) -> tuple[Doubles, Doubles, float]:
    """The receiver operating characteristic of a score over labelled exposures; no score is the lowest.

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
    ends = np.append(np.flatnonzero(np.diff(value[order]) != 0), order.size - 1)
    true = np.append(0.0, np.cumsum(y[order])[ends] / max(y.sum(), 1))
    false = np.append(0.0, np.cumsum(1 - y[order])[ends] / max((1 - y).sum(), 1))
    return false, true, float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))


def save(classifier: Classifier, path: Path, about: Mapping[str, Any]) -> None:
    """Write a classifier with what should be known of it, complete or not at all.

    Raises
    ------
    OutputError
    """
    names = ("middle", "scale", "weights")
    tensors = {name: np.ascontiguousarray(getattr(classifier, name), dtype=np.float64) for name in names}
    told = {
        "kind": "classifier",
        "format": FORMAT,
        "gpuanom": __version__,
        "features": list(FEATURES),
        "model": classifier.model,
        **about,
    }
    write(path, {**tensors, "bias": np.array([classifier.bias])}, told)


def load(path: str | Path) -> Classifier:
    """Read a classifier; nothing in the file is executed.

    Raises
    ------
    InputError
        When it cannot be read, or is none.
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
