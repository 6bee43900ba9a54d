"""Training: Adam at 1e-3 in batches of 128; the epoch with the lowest validation loss is kept (METHOD.md 7)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpuanom.autoencoder.checkpoint import Checkpoint, Progress
from gpuanom.autoencoder.epochs import Epochs, cuda_graph
from gpuanom.autoencoder.model import Weights
from gpuanom.autoencoder.network import Autoencoder
from gpuanom.errors import GpuanomError, InputError

THREADS = 2
"""Threads of a CPU by default: more gain little in such small batches, and the weights depend on their number."""

OnEpoch = Callable[[int, float, float], None]


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of a training.

    Attributes
    ----------
    weights : dict of str to ndarray, float32
        The weights after the epoch with the lowest validation loss.
    best : int
        The number of that epoch, from 1.
    training, validation : list of float
        The mean squared errors of every epoch that was finished.
    interrupted : bool
        Whether the user ended it early.
    """

    weights: Weights
    best: int
    training: list[float]
    validation: list[float]
    interrupted: bool


def train(
    stamps: Tensor,
    validation: Tensor,
    stamp_size: int,
    *,
    epochs: int = 500,
    seed: int = 1,
    threads: int = THREADS,
    on_epoch: OnEpoch = lambda _epoch, _training, _validation: None,
    say: Callable[[str], None] = lambda _line: None,
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Train an autoencoder; a KeyboardInterrupt ends the training early, with the best weights so far.

    Parameters
    ----------
    stamps : Tensor, (n, stamp_size^2) float32
        On the device where the autoencoder is trained.
    validation : Tensor, (n,) bool
        Which stamps validate the autoencoder and do not train it.
    stamp_size : int
        Side of a stamp in pixels.
    epochs : int, optional
        Passes over all stamps.
    seed : int, optional
        Seed of the first weights and of the order of the stamps. Equal seeds and threads give equal weights on one
        machine.
    threads : int, optional
        Threads of PyTorch on a CPU.
    on_epoch : callable, optional
        Takes epoch, training loss and validation loss after each epoch.
    say : callable, optional
        Takes a line that a user should see: a GPU that trains more slowly than it could.
    checkpoint : Checkpoint, optional
        Where the training is kept from time to time, and goes on from. The caller removes it once the model is kept.

    Raises
    ------
    InputError
        When there are no stamps to train with, or none to validate with, or when the checkpoint is of other stamps.
    GpuanomError
        When the losses are not finite from the first epoch on.
    KeyboardInterrupt
        Before the first epoch is done.
    """
    train_stamps, validation_stamps = stamps[(~validation).to(stamps.device)], stamps[validation.to(stamps.device)]
    if not len(train_stamps) or not len(validation_stamps):
        raise InputError(f"{len(train_stamps)} stamps to train and {len(validation_stamps)} to validate with: too few")
    with _repeatable(seed, threads, stamps.device):
        network = Autoencoder(stamp_size, stamps.device)
        run = Epochs(network, train_stamps, validation_stamps)
        if stamps.device.type == "cuda":
            run.record(cuda_graph, say)
        order = torch.Generator().manual_seed(seed)
        before = checkpoint.begin(stamps, validation, run, order) if checkpoint else None
        best, kept = (before.best, before.kept) if before else (0, network.copy())
        losses = (before.training, before.validation) if before else ([], [])
        interrupted = False
        if best:
            on_epoch(best, losses[0][best - 1], losses[1][best - 1])
        try:
            for epoch in range(len(losses[1]) + 1, epochs + 1):
                training, loss = run(torch.randperm(len(train_stamps), generator=order))
                if loss < min((v for v in losses[1] if v == v), default=float("inf")):
                    best, kept = epoch, network.copy()
                losses[0].append(training)
                losses[1].append(loss)
                on_epoch(epoch, training, loss)
                if checkpoint:
                    checkpoint.keep(Progress(best, kept, *losses), run, order)
        except KeyboardInterrupt:
            if not losses[1]:
                raise
            interrupted = True
    if not best:
        raise GpuanomError("the training's losses are not finite: no model was kept (fewer odd stamps, another --seed)")
    # An interrupt may come after the training loss of an epoch is noted, and before its validation loss is.
    n = min(len(part) for part in losses)
    return Trained(network.weights(kept), best, losses[0][:n], losses[1][:n], interrupted)


@contextmanager
def _repeatable(seed: int, threads: int, device: torch.device) -> Iterator[None]:
    """Let PyTorch give equal weights for equal seeds on this device, and restore its state afterwards."""
    old_threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    on_gpu = device.type == "cuda"
    chosen: AbstractContextManager[Any] = torch.cuda.device(device) if on_gpu else nullcontext()
    with torch.random.fork_rng([device] if on_gpu else []), chosen, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*capturable=True")  # said of the steps before a graph is recorded
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic)
            torch.set_num_threads(old_threads)
