"""Training: Adam at 1e-3 in batches of 128; the epoch with the lowest validation loss is kept (METHOD.md 7)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from gpuanom.autoencoder.model import Weights
from gpuanom.autoencoder.network import Autoencoder
from gpuanom.errors import GpuanomError, InputError

RATE = 1e-3
BATCH = 128
THREADS = 2
"""Threads of a CPU by default: more gain little in such small batches, and the weights depend on their number."""
_VALIDATED_AT_ONCE = 512

Told = Callable[[int, float, float], None]


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
    told: Told = lambda _epoch, _training, _validation: None,
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
    told : callable, optional
        Takes epoch, training loss and validation loss after each epoch.

    Returns
    -------
    Trained

    Raises
    ------
    InputError
        When there are no stamps to train with, or none to validate with.
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
        optimizer = torch.optim.Adam(network.parameters(), RATE, fused=True)
        order = torch.Generator().manual_seed(seed)
        best, weights = 0, network.weights()
        losses: tuple[list[float], list[float]] = ([], [])
        interrupted = False
        try:
            for epoch in range(1, epochs + 1):
                training = _epoch(network, optimizer, train_stamps, order)
                loss = validated(network, validation_stamps)
                if loss < min((v for v in losses[1] if v == v), default=float("inf")):
                    best, weights = epoch, network.weights()
                losses[0].append(training)
                losses[1].append(loss)
                told(epoch, training, loss)
        except KeyboardInterrupt:
            if not losses[1]:
                raise
            interrupted = True
    if not best:
        raise GpuanomError("the training's losses are not finite: no model was kept (fewer odd stamps, another --seed)")
    # An interrupt may come after the training loss of an epoch is noted, and before its validation loss is.
    n = min(len(part) for part in losses)
    return Trained(weights, best, losses[0][:n], losses[1][:n], interrupted)


def _epoch(network: Autoencoder, optimizer: torch.optim.Optimizer, stamps: Tensor, order: torch.Generator) -> float:
    """Train with all stamps once, in a new order; return the mean of their losses before each step."""
    order_of_stamps = torch.randperm(len(stamps), generator=order).to(stamps.device)
    total = torch.zeros((), dtype=torch.float64, device=stamps.device)
    for first in range(0, len(stamps), BATCH):
        batch = stamps[order_of_stamps[first : first + BATCH]]
        optimizer.zero_grad(set_to_none=True)
        loss = functional.mse_loss(network(batch), batch)
        torch.autograd.backward(loss)
        optimizer.step()
        total += loss.detach() * len(batch)
    return float(total) / len(stamps)


def validated(network: Autoencoder, stamps: Tensor) -> float:
    """The mean squared error of the reconstructions of stamps.

    Parameters
    ----------
    network : Autoencoder
    stamps : Tensor, (n, stamp_size^2) float32

    Returns
    -------
    float
    """
    total = 0.0
    with torch.inference_mode():
        for first in range(0, len(stamps), _VALIDATED_AT_ONCE):
            batch = stamps[first : first + _VALIDATED_AT_ONCE]
            total += float(functional.mse_loss(network(batch), batch)) * len(batch)
    return total / len(stamps)


@contextmanager
def _repeatable(seed: int, threads: int, device: torch.device) -> Iterator[None]:
    """Let PyTorch give equal weights for equal seeds, and restore its state afterwards."""
    old_threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic)
            torch.set_num_threads(old_threads)
