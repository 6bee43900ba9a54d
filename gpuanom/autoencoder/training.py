"""Training: Adam at 1e-3 in batches of 128, the epoch with the lowest validation loss is kept (METHOD.md 7)."""

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
"""Threads of a CPU by default: more gain little in batches so small, and weights depend on how many they are."""
_VALIDATED_AT_ONCE = 512

Told = Callable[[int, float, float], None]


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training leaves.

    Attributes
    ----------
    weights : dict of str to ndarray, float32
        Of the epoch with the lowest validation loss.
    best : int
        That epoch, from 1.
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
    """Train an autoencoder. KeyboardInterrupt ends it early, with the best so far.

    Parameters
    ----------
    stamps : Tensor, (n, stamp_size^2) float32
        On the device where it is to be trained.
    validation : Tensor, (n,) bool
        Which are for validation.
    stamp_size : int
    epochs : int, optional
    seed : int, optional
        Of the first weights and of the order of stamps. Equal seeds and threads give equal weights on one machine.
    threads : int, optional
        Of a CPU.
    told : callable, optional
        Takes epoch, training loss and validation loss after each epoch.

    Raises
    ------
    InputError
        When there are no stamps to train or to validate with.
    GpuanomError
        When the losses are not finite from the first epoch on.
    KeyboardInterrupt
        Before the first epoch is done.
    """
    mine, held_out = stamps[(~validation).to(stamps.device)], stamps[validation.to(stamps.device)]
    if not len(mine) or not len(held_out):
        raise InputError(f"{len(mine)} stamps to train and {len(held_out)} to validate with: too few")
    with _repeatable(seed, threads, stamps.device):
        network = Autoencoder(stamp_size, stamps.device)
        optimizer = torch.optim.Adam(network.parameters(), RATE, fused=True)
        order = torch.Generator().manual_seed(seed)
        best, weights = 0, network.weights()
        losses: tuple[list[float], list[float]] = ([], [])
        interrupted = False
        try:
            for epoch in range(1, epochs + 1):
                training = _epoch(network, optimizer, mine, order)
                loss = validated(network, held_out)
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
    # An interrupt may come between the two.
    n = min(len(part) for part in losses)
    return Trained(weights, best, losses[0][:n], losses[1][:n], interrupted)


def _epoch(network: Autoencoder, optimizer: torch.optim.Optimizer, stamps: Tensor, order: torch.Generator) -> float:
    """One pass over all stamps in a new order; the mean of their losses as they came."""
    places = torch.randperm(len(stamps), generator=order).to(stamps.device)
    total = torch.zeros((), dtype=torch.float64, device=stamps.device)
    for first in range(0, len(stamps), BATCH):
        batch = stamps[places[first : first + BATCH]]
        optimizer.zero_grad(set_to_none=True)
        loss = functional.mse_loss(network(batch), batch)
        torch.autograd.backward(loss)
        optimizer.step()
        total += loss.detach() * len(batch)
    return float(total) / len(stamps)


def validated(network: Autoencoder, stamps: Tensor) -> float:
    """The mean squared error of stamps."""
    total = 0.0
    with torch.inference_mode():
        for first in range(0, len(stamps), _VALIDATED_AT_ONCE):
            some = stamps[first : first + _VALIDATED_AT_ONCE]
            total += float(functional.mse_loss(network(some), some)) * len(some)
    return total / len(stamps)


@contextmanager
def _repeatable(seed: int, threads: int, device: torch.device) -> Iterator[None]:
    """PyTorch so that equal seeds give equal weights; left as it was found."""
    before, was = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(was)
            torch.set_num_threads(before)
