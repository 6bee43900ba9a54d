"""One epoch of a training; a GPU records the first epoch, and replays it for all others.

An epoch of small batches is about a thousand kernels of a few microseconds each. To launch these kernels one by one
from Python takes ten times as long as the kernels run. A CUDA graph holds all launches of an epoch, and one call of the
driver repeats them. The graph uses the same memory each time, so the order of the stamps and the losses are written
into tensors that are made once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from gpuanom.autoencoder.network import Autoencoder

RATE = 1e-3
BATCH = 128
_VALIDATED_AT_ONCE = 512

Work = Callable[[], None]
"""A function that works on tensors which keep their memory; it has no arguments and returns nothing."""
Record = Callable[[Work], Work]
"""A function that records work and returns another one that does the work once; recording may do the work, too."""


class Epochs:
    """A network in training: each call trains it with all stamps once, and validates it.

    Parameters
    ----------
    network : Autoencoder
    stamps, validation : Tensor, (n, stamp_size^2) float32
        Stamps to train and to validate with, on the device of the network.
    """

    def __init__(self, network: Autoencoder, stamps: Tensor, validation: Tensor) -> None:
        self._network, self._stamps, self._held_out = network, stamps, validation
        on_gpu = stamps.device.type == "cuda"
        # "capturable" is what a CUDA graph asks for, and what a CPU does not know.
        self._optimizer = torch.optim.Adam(network.parameters(), RATE, fused=True, capturable=on_gpu)
        self._order = torch.zeros(len(stamps), dtype=torch.int64, device=stamps.device)
        self._training = torch.zeros((), dtype=torch.float64, device=stamps.device)
        self._validation = torch.zeros((), dtype=torch.float64, device=stamps.device)
        self._work: Work = self._epoch

    def __call__(self, order: Tensor) -> tuple[float, float]:
        """Train with all stamps once, and validate.

        Parameters
        ----------
        order : Tensor, (n,) int64
            The numbers of the stamps in the order in which they train.

        Returns
        -------
        training : float
            The mean squared error of all stamps, each before the step of its batch.
        validation : float
            The mean squared error of the stamps that validate, after the epoch.
        """
        self._order.copy_(order)
        self._work()
        # Here alone the host waits for the device, once an epoch.
        training, validation = torch.stack((self._training, self._validation)).tolist()
        return training / len(self._stamps), validation / len(self._held_out)

    def record(self, record: Record, say: Callable[[str], None]) -> None:
        """Record an epoch, so that every call replays it; to be called before the first call.

        Recording does the work once, so the network gets its first weights back afterwards.

        Parameters
        ----------
        record : callable
            Such as `cuda_graph`.
        say : callable
            Takes a line for the user when an epoch cannot be recorded; each call then works step by step.
        """
        first = self._network.copy()
        self._order.copy_(torch.arange(len(self._order)))
        try:
            self._work = record(self._epoch)
        except Exception as error:  # PyTorch and the driver raise several kinds
            lines = str(error).strip().splitlines() or [type(error).__name__]
            say(f"training step by step, several times slower: no CUDA graph could be made: {lines[0][:160]}")
            self._optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for parameter, value in zip(self._network.parameters(), first, strict=True):
                parameter.copy_(value)
            # Adam's moments and its count of steps all begin at 0.
            for state in self._optimizer.state.values():
                for value in state.values():
                    value.zero_()

    def state(self) -> tuple[list[Tensor], list[Tensor], list[Tensor], float]:
        """What the next epoch begins with: the weights, Adam's two moments of each, and Adam's number of steps."""
        parameters = self._network.parameters()
        states = [self._optimizer.state[parameter] for parameter in parameters]
        mean, square = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
        return parameters, mean, square, float(states[0]["step"])

    def restore(self, weights: list[Tensor], mean: list[Tensor], square: list[Tensor], step: float) -> None:
        """Begin the next epoch with what `state` gave; after `record`, if that is called.

        Parameters
        ----------
        weights, mean, square : list of Tensor
        step : float
        """
        with torch.no_grad():
            parameters = self._network.parameters()
            for parameter, *given in zip(parameters, weights, mean, square, strict=True):
                # A graph works on the tensors that are there; without a graph, Adam makes them in its first step.
                state = self._optimizer.state[parameter]
                for name, value in zip(("exp_avg", "exp_avg_sq"), given[1:], strict=True):
                    state.setdefault(name, torch.zeros_like(parameter)).copy_(value)
                state.setdefault("step", torch.zeros((), dtype=torch.float32, device=parameter.device)).fill_(step)
                parameter.copy_(given[0])

    def _epoch(self) -> None:
        self._training.zero_()
        for first in range(0, len(self._stamps), BATCH):
            self._step(self._order[first : first + BATCH])
        self._validation.zero_()
        with torch.no_grad():
            for first in range(0, len(self._held_out), _VALIDATED_AT_ONCE):
                batch = self._held_out[first : first + _VALIDATED_AT_ONCE]
                loss = functional.mse_loss(self._network(batch), batch)
                self._validation += loss.double() * len(batch)

    def _step(self, chosen: Tensor) -> None:
        batch = self._stamps[chosen]
        self._optimizer.zero_grad(set_to_none=True)
        loss = functional.mse_loss(self._network(batch), batch)
        torch.autograd.backward(loss)
        self._optimizer.step()
        self._training += loss.detach() * len(batch)


def cuda_graph(work: Work) -> Work:
    """Record work in a CUDA graph.

    Parameters
    ----------
    work : callable
        Done once before it is recorded: libraries prepare themselves in their first calls, and a graph must not hold
        these preparations.

    Returns
    -------
    callable
        Replays the graph in the current stream.

    Raises
    ------
    RuntimeError
        When the work cannot be recorded, such as for lack of memory.
    """
    cuda: Any = torch.cuda
    before = cuda.current_stream()
    try:
        side = cuda.Stream()
        side.wait_stream(before)
        with cuda.stream(side):
            work()
        before.wait_stream(side)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            work()
    finally:
        cuda.set_stream(before)  # PyTorch stays in its own stream where recording fails
    replay: Work = graph.replay
    return replay
