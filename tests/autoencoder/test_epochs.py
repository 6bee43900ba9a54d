"""An epoch on tensors that stay in their places: the same bytes as a plain loop, and as when the epoch is replayed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from gpuanom.autoencoder import training
from gpuanom.autoencoder.epochs import Epochs
from gpuanom.autoencoder.model import HIDDEN
from gpuanom.autoencoder.network import Autoencoder
from tests.autoencoder import made

SIZE = 16
EPOCHS = 3


@pytest.fixture(scope="module")
def stamps():
    """300 to train with, which are two whole batches and a smaller one; 60 to validate with."""
    return torch.tensor(made.star_stamps(360, size=SIZE)), torch.arange(360) % 6 == 0


def plain(stamps, validation, epochs=EPOCHS, seed=1):
    """The training as METHOD.md 7 says, as simply as possible: weights of the best epoch, and losses."""
    torch.manual_seed(seed)
    sizes = (SIZE**2, *HIDDEN, SIZE**2)
    linear = [torch.nn.Linear(a, b) for a, b in pairwise(sizes)]
    parts = [part for layer in linear for part in (layer, torch.nn.ReLU())][:-1]
    network = torch.nn.Sequential(*parts)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)
    order = torch.Generator().manual_seed(seed)
    train, held_out = stamps[~validation], stamps[validation]
    losses, kept = [], []
    for _ in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(train), generator=order).split(128):
            optimizer.zero_grad()
            loss = functional.mse_loss(network(train[chosen]), train[chosen])
            loss.backward()
            optimizer.step()
            total += float(loss.detach() * len(chosen))
        with torch.inference_mode():
            losses.append((total / len(train), float(functional.mse_loss(network(held_out), held_out))))
        kept.append([parameter.detach().clone().numpy() for parameter in network.parameters()])
    return kept[int(np.argmin([loss for _, loss in losses]))], losses


class Recording(TorchDispatchMode):
    """Notes every operation of PyTorch with its tensors."""

    def __init__(self):
        super().__init__()
        self.done = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        self.done.append((function, arguments, options or {}, result))
        return result


def stand_in(work):
    """What a CUDA graph does, on a CPU: the operations of one run of the work, done again in the same memory.

    Python runs once only. Whatever the work reads from anywhere but its tensors is the same in each replay.
    """
    work()  # as before a graph is recorded
    with Recording() as recording:
        work()

    def replay():
        with torch.no_grad():
            for function, arguments, options, result in recording.done:
                again = function(*arguments, **options)
                for old, new in zip(tree_flatten(result)[0], tree_flatten(again)[0], strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)

    return replay


@pytest.fixture(scope="module")
def expected(stamps):
    """The training of a CPU."""
    return training.train(*stamps, SIZE, epochs=EPOCHS, threads=1)


def trained(stamps, monkeypatch, record, say=pytest.fail):
    """A training on the CPU by the way of a GPU."""
    init = Epochs.__init__

    def recorded(self, *arguments):
        init(self, *arguments)
        self.record(record, say)

    with monkeypatch.context() as patch:
        patch.setattr(Epochs, "__init__", recorded)
        return training.train(*stamps, SIZE, epochs=EPOCHS, threads=1)


def test_the_weights_are_those_of_a_plain_loop(stamps, expected):
    """To the bit: the same operations on the same numbers in the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        weights, losses = plain(*stamps)
    finally:
        torch.set_num_threads(threads)
    assert expected.validation == [loss for _, loss in losses]
    assert expected.training == [loss for loss, _ in losses]
    for got, plainly in zip(expected.weights.values(), weights, strict=True):
        assert np.array_equal(got, plainly)


def test_a_replayed_epoch_gives_the_same_weights(stamps, expected, monkeypatch):
    """To the bit, since the replayed operations are the same; on a GPU too the order of sums is that of the kernels."""
    found = trained(stamps, monkeypatch, stand_in)
    assert found.training == expected.training
    assert found.validation == expected.validation
    assert found.best == expected.best
    for name, value in expected.weights.items():
        assert np.array_equal(found.weights[name], value)


def test_an_epoch_that_cannot_be_recorded_is_trained_step_by_step(stamps, expected, monkeypatch):
    def refused(work):
        work()  # the first steps have been made when recording fails
        raise RuntimeError("operation not permitted when stream is capturing\nsecond line")

    said = []
    found = trained(stamps, monkeypatch, refused, said.append)
    (line,) = said
    assert line.endswith("no CUDA graph could be made: operation not permitted when stream is capturing")
    assert found.validation == expected.validation
    for name, value in expected.weights.items():
        assert np.array_equal(found.weights[name], value)


def test_an_epoch_asks_the_device_for_no_number(stamps):
    """The host would wait for each number, and a graph cannot hold the wait."""
    run = Epochs(Autoencoder(SIZE, torch.device("cpu")), stamps[0][:200], stamps[0][200:])
    with Recording() as recording:
        run._epoch()
    names = {str(function) for function, *_ in recording.done}
    assert "aten._fused_adam_.default" in names
    assert "aten._local_scalar_dense.default" not in names
