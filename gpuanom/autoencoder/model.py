"""A trained autoencoder as a safetensors file: weights, normalisation, provenance. Loading it runs no code."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.autoencoder import require
from gpuanom.errors import InputError, printable
from gpuanom.files import MODEL, whole_file
from gpuanom.settings import Settings
from gpuanom.store.reconstructions import N_LATENT

HIDDEN = (128, 64, N_LATENT, 32, 64, 128)
"""Units between the first and the last layer."""
LATENT = 2
"""The layer, from 0, whose output is the latent features: the last layer of the encoder."""
NORMALISATION = "central pixel"
"""How stamps are scaled (METHOD.md 7)."""
FORMAT = 1
STAMP_SETTINGS = (
    "seed",
    "background_points",
    "clip_fraction",
    "sigma_points",
    "minimum_points",
    "draws",
    "threshold",
    "stamp_size",
    "above_threshold",
    "above_pixels",
    "mask",
    "mask_background",
    "mask_sources",
)
"""The settings that decide which sources have stamps, and what their pixels are."""

MOST_BYTES = 64 * 2**20
"""The largest file that is read; a model of 64 x 64 stamps takes 4.3 MB."""
MOST_HEADER = 2**20
_KEY = "gpuanom"

Weights = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Model:
    """A trained autoencoder.

    Attributes
    ----------
    weights : dict of str to ndarray, float32
        Weights and biases, by the names of `shapes`.
    about : mapping
        How the model was made: stamp_size, normalisation, settings, seed, epochs, losses, origin of the stamps,
        versions.
    """

    weights: Weights
    about: Mapping[str, Any]

    @property
    def stamp_size(self) -> int:
        """Side of the model's stamps, in pixels."""
        return int(self.about["stamp_size"])

    @property
    def cameras(self) -> set[str]:
        """The cameras of the exposures that the model was trained on; empty where its file does not say."""
        datasets = self.about.get("datasets")
        entries = datasets if isinstance(datasets, list) else []
        return {printable(str(entry["camera"])) for entry in entries if isinstance(entry, dict) and "camera" in entry}

    @property
    def fingerprint(self) -> str:
        """A hash of weights, stamp size and normalisation: equal for models that give equal errors."""
        digest = hashlib.blake2b(f"{self.stamp_size} {NORMALISATION}".encode(), digest_size=16)
        for name, _ in shapes(self.stamp_size):
            digest.update(np.ascontiguousarray(self.weights[name], dtype="<f4").tobytes())
        return digest.hexdigest()

    def differs(self, settings: Settings) -> str:
        """How the settings of the training stamps differ from given settings, in words; empty if they do not."""
        trained, wanted_settings = self.about.get("settings", {}), stamp_settings(settings.measurement())
        odd = [n for n in STAMP_SETTINGS if n != "seed" and n in trained and trained[n] != wanted_settings[n]]
        return ", ".join(f"{name} {trained[name]} and not {wanted_settings[name]}" for name in odd)

    def require_stamps(self, settings: Settings, origin: str) -> None:
        """Check that the model can reconstruct the stamps of given settings.

        Parameters
        ----------
        settings : Settings
        origin : str
            The model's file, for the message.

        Raises
        ------
        InputError
            When the stamps have another size.
        """
        if self.stamp_size != settings.stamp_size:
            raise InputError(
                f"was trained on stamps of {self.stamp_size} x {self.stamp_size} pixels, these are of"
                f" {settings.stamp_size} x {settings.stamp_size}",
                file=origin,
                remedy=f"score with stamp_size = {self.stamp_size}, or train a model on this night",
            )


def stamp_settings(measurement: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the stamps, among all settings of the measurement, as values for JSON."""
    chosen: dict[str, Any] = json.loads(json.dumps({name: measurement[name] for name in STAMP_SETTINGS}))
    return chosen


def shapes(stamp_size: int) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a model's weights, layer by layer: its weight, then its bias."""
    sizes = (stamp_size**2, *HIDDEN, stamp_size**2)
    found: list[tuple[str, tuple[int, ...]]] = []
    for i, (a, b) in enumerate(pairwise(sizes)):
        found += [(f"layers.{i}.weight", (b, a)), (f"layers.{i}.bias", (b,))]
    return found


def save(model: Model, path: Path) -> None:
    """Write a model, whole or not at all.

    Parameters
    ----------
    model : Model
    path : Path

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    write(path, model.weights, model.about)


def write(
    path: Path, tensors: Mapping[str, npt.NDArray[Any]], about: Mapping[str, Any], *, durable: bool = False
) -> None:
    """Write arrays and metadata as safetensors, whole or not at all.

    Parameters
    ----------
    path : Path
    tensors : mapping of str to ndarray
    about : mapping
        Metadata, as values for JSON.
    durable : bool, optional
        Whether the file is on the disk when the function returns, since the machine may lose its power.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    require()
    from safetensors.numpy import save as as_bytes

    with whole_file(path, same=MODEL) as partial, partial.open("wb") as file:
        file.write(as_bytes(dict(tensors), {_KEY: json.dumps(about, sort_keys=True)}))
        if durable:
            file.flush()
            os.fsync(file.fileno())


def load(path: str | Path) -> Model:
    """Read a model; no code in the file is run, and everything in the file is checked.

    Raises
    ------
    InputError
        When the file cannot be read, is no model, is damaged, or holds weights of wrong shapes or that are not finite.
    """
    tensors, about = read(path)
    if about.get("kind") != "autoencoder" or about.get("format") != FORMAT:
        raise _not_ours(path, f"it holds a {about.get('kind')!r} of format {about.get('format')!r}")
    size, normalisation = about.get("stamp_size"), about.get("normalisation")
    if normalisation != NORMALISATION:
        raise InputError(
            f"its stamps are normalised by {normalisation!r}, ours by '{NORMALISATION}'",
            file=path,
            remedy="train a model with this version: gpuanom train",
        )
    if type(size) is not int or size % 2 or not 16 <= size <= 64 or not isinstance(about.get("settings", {}), dict):
        raise _not_ours(path, f"its stamps are of size {size!r}")
    wanted = dict(shapes(size))
    found = {name: array.shape for name, array in tensors.items()}
    if found != wanted:
        odd = next(n for n in {**wanted, **found} if found.get(n) != wanted.get(n))
        raise _not_ours(path, f"'{odd}' has shape {found.get(odd)} and not {wanted.get(odd)}")
    for name, array in tensors.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise _not_ours(path, f"'{name}' must hold finite float32 numbers")
    return Model({name: tensors[name] for name in wanted}, about)


def read(path: str | Path) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read the arrays and the metadata of a file that `write` wrote.

    Raises
    ------
    InputError
        When the file cannot be read, or is none that `write` wrote.
    """
    require()
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror or error}",
            file=path,
            remedy="check the path and its permissions; models are made by gpuanom train",
        ) from None
    # Checked before the library reads it: a hostile header must not make it allocate memory, and users get the reason.
    length = int.from_bytes(data[:8], "little")
    if len(data) > MOST_BYTES:
        raise _not_ours(path, f"it is larger than {MOST_BYTES >> 20} MiB")
    if len(data) < 8 or length > min(MOST_HEADER, len(data) - 8):
        raise _not_ours(path, "its header is longer than the file" if length <= MOST_HEADER else "no such header")
    try:
        header = json.loads(data[8 : 8 + length])
        about = json.loads(header["__metadata__"][_KEY])
        tensors = from_bytes(data)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        kind = "" if isinstance(error, SafetensorError) else f"{type(error).__name__}: "
        raise _not_ours(path, f"{kind}{printable(str(error))[:200]}") from None
    if not isinstance(about, dict):
        raise _not_ours(path, "it says nothing of itself")
    return tensors, about


def _not_ours(path: str | Path, why: str) -> InputError:
    return InputError(
        f"not a model of gpuanom, or damaged: {why}", file=path, remedy="models are made by gpuanom train"
    )
