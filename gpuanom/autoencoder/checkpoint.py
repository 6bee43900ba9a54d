"""A killed training goes on from its checkpoint, and gives the model of an uninterrupted one, byte for byte.

The checkpoint is a safetensors file beside the model's: the weights, Adam's moments, the state of the generator that
orders the stamps, the best weights so far, and the losses. The file also says which training it belongs to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpuanom.autoencoder.epochs import Epochs
from gpuanom.autoencoder.model import read, shapes, write
from gpuanom.errors import GpuanomError, InputError

EVERY = 60.0
"""Seconds between two checkpoints; a file takes 17 MB for stamps of 64 x 64 pixels."""
_KIND = "checkpoint"
_FORMAT = 1
_PARTS = ("weights", "mean", "square", "best")
"""The tensors that are kept of each layer: as it is trained, Adam's two moments, and as it was after the best epoch."""


def checkpoint_of(output: Path) -> Path | None:
    """The checkpoint beside the file of a model; None where the output is no file, such as a pipe.

    Parameters
    ----------
    output : Path
    """
    if output.exists() and not output.is_file():
        return None
    return output.with_name(f"{output.name}.checkpoint")


@dataclass(eq=False)
class Progress:
    """What a training has reached after an epoch.

    Attributes
    ----------
    best : int
        The number of the epoch with the lowest validation loss, from 1; 0 where no loss was finite.
    kept : list of Tensor
        Weights and biases after that epoch.
    training, validation : list of float
        The losses of every epoch.
    """

    best: int
    kept: list[Tensor]
    training: list[float]
    validation: list[float]


class Checkpoint:
    """The file from which a training goes on.

    Parameters
    ----------
    path : Path
    about : mapping
        What decides the result of the training beside its stamps, by the name that messages give; texts and numbers.
    epochs : int
        Passes over all stamps that are wanted.
    say : callable
        Takes a line that a user should see.

    Raises
    ------
    InputError
        When the file cannot be read, is damaged, or belongs to another training.
    """

    def __init__(self, path: Path, about: Mapping[str, Any], epochs: int, say: Callable[[str], None]) -> None:
        self.path, self._about, self._say = path, dict(about), say
        self._digest = ""
        self._last = time.monotonic()
        self._works = True
        self._held: tuple[dict[str, Any], dict[str, Any]] | None = None
        if path.exists():
            arrays, metadata = read(path)
            if metadata.get("kind") != _KIND or metadata.get("format") != _FORMAT:
                raise self._refused("is no checkpoint of this version of gpuanom")
            held = metadata.get("training")
            before: dict[str, Any] = held if isinstance(held, dict) else {}
            differs = [f"{n} {before.get(n)} and not {about[n]}" for n in about if before.get(n) != about[n]]
            if differs:
                raise self._refused(f"belongs to another training: {', '.join(differs)[:300]}")
            n_done = len(np.atleast_1d(arrays.get("losses", ())))
            if n_done > epochs:
                raise self._refused(f"has gone on to epoch {n_done}, and {epochs} epochs are wanted")
            self._held = arrays, metadata

    def _refused(self, why: str) -> InputError:
        remedy = "repeat the command that began it, remove the file to begin anew, or choose another --output"
        return InputError(why, file=self.path, remedy=remedy)

    def begin(self, stamps: Tensor, validation: Tensor, epochs: Epochs, order: torch.Generator) -> Progress | None:
        """Put a training where the checkpoint left it.

        Parameters
        ----------
        stamps : Tensor, (n, stamp_size^2) float32
        validation : Tensor, (n,) bool
        epochs : Epochs
            Gets weights and moments.
        order : Generator
            Gets its state.

        Returns
        -------
        Progress or None
            None where there is no checkpoint.

        Raises
        ------
        InputError
            When the checkpoint belongs to other stamps, or is damaged.
        """
        digest = blake2b(digest_size=16)
        for tensor in (stamps, validation):
            digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
        self._digest = digest.hexdigest()
        if self._held is None:
            return None
        arrays, metadata = self._held
        self._held = None
        if metadata.get("stamps") != self._digest:
            raise self._refused("belongs to a training with other stamps (have files of the nights changed?)")
        wanted = shapes(int(self._about["stamp_size"]))
        try:
            if any(arrays[f"{part}.{name}"].shape != shape for part in _PARTS for name, shape in wanted):
                raise ValueError
            # Copied, so that the tensors lie in memory as PyTorch's own do: some sums depend on the alignment.
            parts = [[torch.tensor(arrays[f"{part}.{name}"]) for name, _ in wanted] for part in _PARTS]
            epochs.restore(parts[0], parts[1], parts[2], float(arrays["step"]))
            order.set_state(torch.tensor(arrays["order"]))
            training, validation_losses = (arrays["losses"][:, column].tolist() for column in (0, 1))
            best = int(metadata["best"])
            if not 0 <= best <= len(training):
                raise ValueError
        except (KeyError, ValueError, TypeError, IndexError, RuntimeError):
            raise self._refused("is damaged") from None
        self._say(f"going on after epoch {len(training)}, where {self.path} was written")
        return Progress(best, [value.to(stamps.device) for value in parts[3]], training, validation_losses)

    def keep(self, progress: Progress, epochs: Epochs, order: torch.Generator) -> None:
        """Write the checkpoint after an epoch, if the last one is old enough.

        Where the file cannot be written, a line says so once, and the training goes on.

        Parameters
        ----------
        progress : Progress
        epochs : Epochs
        order : Generator
        """
        if not self._works or time.monotonic() - self._last < EVERY:
            return
        weights, mean, square, step = epochs.state()
        names = [name for name, _ in shapes(int(self._about["stamp_size"]))]
        arrays = {
            f"{part}.{name}": np.ascontiguousarray(tensor.detach().cpu().numpy())
            for part, tensors in zip(_PARTS, (weights, mean, square, progress.kept), strict=True)
            for name, tensor in zip(names, tensors, strict=True)
        }
        arrays["step"] = np.array(step)
        arrays["order"] = order.get_state().numpy()
        arrays["losses"] = np.array([progress.training, progress.validation], dtype=np.float64).T.copy()
        metadata = {
            "kind": _KIND,
            "format": _FORMAT,
            "training": self._about,
            "stamps": self._digest,
            "best": progress.best,
        }
        try:
            write(self.path, arrays, metadata, durable=True)
        except GpuanomError as error:
            self._works = False
            self._say(f"no checkpoint, a training that is killed begins anew: {error}")
        self._last = time.monotonic()
