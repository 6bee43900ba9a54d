"""Fit a model to measured nights: draw stamps, read them again, and train with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuanom.autoencoder.checkpoint import Checkpoint
from gpuanom.autoencoder.drawn_stamps import MIN_STAMPS, Drawn, candidates, draw
from gpuanom.autoencoder.epochs import BATCH, RATE
from gpuanom.autoencoder.model import FORMAT, NORMALISATION, Model, stamp_settings
from gpuanom.autoencoder.network import layers_of, reconstruct
from gpuanom.autoencoder.read_stamps import read_stamps
from gpuanom.autoencoder.tensors import device_type, require_shared
from gpuanom.autoencoder.training import THREADS, OnEpoch, Trained, train
from gpuanom.backends.protocol import Backend
from gpuanom.errors import InputError, SettingsError, printable
from gpuanom.paths import path_text
from gpuanom.records import DatasetKey, Exposure, ExposureKey, Failure, FloatImage, Measurement
from gpuanom.settings import Settings
from gpuanom.version import __version__

N_EXAMPLES = 8
_COMPARED = 2048


@dataclass
class FitCallbacks:
    """Callbacks that a fit calls on its way; each may be replaced.

    Attributes
    ----------
    say : callable
        Takes a line that a user should see.
    plan : callable
        Takes the number of exposures whose stamps are read.
    done : callable
        Takes an exposure, and its measurement or the failure.
    epoch : callable
        Takes epoch, training loss and validation loss.
    debug : callable
        Takes the traceback of an unexpected error.
    """

    say: Callable[[str], None] = lambda _line: None
    plan: Callable[[int], None] = lambda _n: None
    done: Callable[[Exposure, Measurement | Failure], None] = lambda _e, _m: None
    epoch: OnEpoch = field(default=lambda _e, _t, _v: None)
    debug: Callable[[str], None] = lambda _text: None


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model, its losses, and examples of its reconstructions.

    Attributes
    ----------
    model : Model
    trained : Trained
        Losses of every epoch.
    stamps, reconstructions : ndarray, (m, size, size) float32
        Validation stamps from the best reconstructed to the worst, and their reconstructions.
    errors : list of float
        The mean squared errors of these reconstructions.
    """

    model: Model
    trained: Trained
    stamps: FloatImage
    reconstructions: FloatImage
    errors: list[float]


def fit(
    nights: Sequence[str | Path],
    backends: Sequence[Backend],
    *,
    stamps: int = 10_000,
    epochs: int = 500,
    validation: float = 0.2,
    seed: int = 1,
    threads: int | None = None,
    callbacks: FitCallbacks | None = None,
    checkpoint: Path | None = None,
) -> Fit:
    """Train an autoencoder on the stamps of measured nights (METHOD.md 7).

    Parameters
    ----------
    nights : sequence of str or Path
        Folders that `gpuanom.score` made, and whose FITS files are still in their places.
    backends : sequence of Backend
        Where stamps are read; the first one's device trains the model.
    stamps : int, optional
        Number of stamps.
    epochs : int, optional
        Passes over all stamps.
    validation : float, optional
        Share of the exposures whose stamps validate the model and do not train it.
    seed : int, optional
        Seed of the choice of stamps and of the first weights.
    threads : int, optional
        Threads that read stamps and, on a CPU, train; by default as many as `gpuanom.score` has, and 2 that train.
    callbacks : FitCallbacks, optional
        Callbacks.
    checkpoint : Path, optional
        A file that keeps the training from time to time, and from which the training goes on. The caller removes the
        file once the model is kept.

    Raises
    ------
    OutputError
        When a folder holds no night, or nights were measured with different settings.
    InputError
        When there are too few stamps, or none can be read, or when the checkpoint belongs to another training.
    SettingsError
        When an argument is impossible.
    KeyboardInterrupt
        When it comes before the first epoch is done; later the best model so far is returned.
    """
    callbacks = callbacks or FitCallbacks()
    _require_possible(stamps, epochs, threads, validation)
    for backend in backends:
        require_shared(backend)
    exposures, settings = candidates([Path(night) for night in nights], callbacks.say)
    n_threads = threads or THREADS
    decisive = {
        "gpuanom": __version__,
        "torch": version("torch"),
        "stamp_size": settings.stamp_size,
        **{f"the setting {n}": value for n, value in stamp_settings(settings.measurement()).items()},
        "stamps": stamps,
        "validation": validation,
        "seed": seed,
        "threads": n_threads,
        "device": device_type(backends[0]),
    }
    begun = None if checkpoint is None else Checkpoint(checkpoint, decisive, epochs, callbacks.say)
    drawn = draw(exposures, stamps, validation, seed)
    read, held_out, failed = _read(drawn, stamps, settings, backends, threads, callbacks)
    trained = train(
        read, held_out, settings.stamp_size, epochs=epochs, seed=seed, threads=n_threads,
        on_epoch=callbacks.epoch, say=callbacks.say, checkpoint=begun,
    )  # fmt: skip
    kept = [d for d in drawn if d.candidate.key not in failed]
    about = {
        "kind": "autoencoder",
        "format": FORMAT,
        "gpuanom": __version__,
        "torch": version("torch"),
        "stamp_size": settings.stamp_size,
        "normalisation": NORMALISATION,
        "settings": stamp_settings(settings.measurement()),
        "seed": seed,
        "threads": n_threads,
        "device": read.device.type,
        "rate": RATE,
        "batch": BATCH,
        "stamps": len(read),
        "validation_stamps": int(held_out.sum()),
        "epochs": len(trained.validation),
        "interrupted": trained.interrupted,
        "best_epoch": trained.best,
        "training_loss": trained.training[trained.best - 1],
        "validation_loss": trained.validation[trained.best - 1],
        "nights": [printable(path_text(night)) for night in nights],
        "datasets": _datasets(kept),
    }
    model = Model(trained.weights, about)
    return Fit(model, trained, *_examples(model, read[held_out.to(read.device)], settings))


def _require_possible(stamps: int, epochs: int, threads: int | None, validation: float) -> None:
    for name, value, low in (("stamps", stamps, MIN_STAMPS), ("epochs", epochs, 1), ("threads", threads or 1, 1)):
        if value < low:
            raise SettingsError(f"{name} is {value} but must be a whole number from {low}")
    if not 0 < validation < 1:
        raise SettingsError(f"validation is {validation} but must be between 0 and 1")


def _read(
    drawn: Sequence[Drawn],
    n_wanted: int,
    settings: Settings,
    backends: Sequence[Backend],
    threads: int | None,
    callbacks: FitCallbacks,
) -> tuple[Tensor, Tensor, set[ExposureKey]]:
    """The drawn stamps, which of them are held out for validation, and the exposures that could not be read."""
    n = sum(len(i) for d in drawn for i in d.chosen.values())
    if n < n_wanted:
        callbacks.say(f"{n} stamps are all there are ({n_wanted} were asked for)")
    callbacks.plan(len(drawn))
    failed: set[ExposureKey] = set()

    def done(exposure: Exposure, result: Measurement | Failure) -> None:
        if isinstance(result, Failure):
            failed.add(exposure.key)
        callbacks.done(exposure, result)

    read, held_out, n_left_out = read_stamps(drawn, settings, backends, threads, done, callbacks.debug)
    if n_left_out:
        why = "not finite, or with pixels much darker than their source is bright"
        callbacks.say(f"{n_left_out} stamps left out: {why}")
    if len(read) < MIN_STAMPS:
        raise InputError(f"{len(read)} stamps could be read: too few to train with", remedy=f"{MIN_STAMPS} at least")
    return read, held_out, failed


def _datasets(drawn: Sequence[Drawn]) -> list[dict[str, Any]]:
    """The numbers of exposures and stamps of each camera and band that the model was trained on."""
    found: dict[DatasetKey, dict[str, Any]] = {}
    for d in drawn:
        e = d.candidate.exposure
        entry = found.setdefault(
            (e.camera, e.band),
            {"camera": e.camera, "band": e.band, "exposures": 0, "validation_exposures": 0, "stamps": 0},
        )
        entry["exposures"] += 1
        entry["validation_exposures"] += d.validation
        entry["stamps"] += sum(len(i) for i in d.chosen.values())
    return [found[name] for name in sorted(found)]


def _examples(model: Model, stamps: Tensor, settings: Settings) -> tuple[FloatImage, FloatImage, list[float]]:
    """Examples of validation stamps, evenly from the best reconstructed to the worst, and their reconstructions."""
    compared = stamps[:_COMPARED].double()
    with torch.inference_mode():
        reconstructed, _ = reconstruct(layers_of(model.weights, model.stamp_size, compared.device), compared)
        errors = torch.square(reconstructed - compared).mean(dim=1).cpu().numpy()
    order = np.argsort(errors, kind="stable")
    chosen = order[np.linspace(0, order.size - 1, min(N_EXAMPLES, order.size)).round().astype(np.int64)]
    shape = (-1, settings.stamp_size, settings.stamp_size)
    before, after = (t.cpu().numpy()[chosen].astype(np.float32).reshape(shape) for t in (compared, reconstructed))
    return before, after, errors[chosen].tolist()
