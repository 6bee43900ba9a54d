"""Training: the loss falls, the best epoch is kept, equal seeds give equal weights, and an interrupt loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gpuanom.autoencoder.epochs import Epochs
from gpuanom.autoencoder.network import layers_of, reconstruct
from gpuanom.autoencoder.training import train
from gpuanom.errors import GpuanomError, InputError
from tests.autoencoder import made

SIZE = 32


@pytest.fixture(scope="module")
def stamps():
    return torch.tensor(made.star_stamps(400, size=SIZE)), torch.arange(400) % 5 == 0


def errors(weights, stamps):
    made_, _ = made.reconstructed(weights, stamps)
    return np.square(made_ - np.asarray(stamps, np.float64)).mean(axis=1)


def test_loss_falls_and_the_best_epoch_is_kept(stamps):
    told = []
    found = train(*stamps, SIZE, threads=1, epochs=30, on_epoch=lambda *losses: told.append(losses))
    assert [t[0] for t in told] == list(range(1, 31))
    assert found.training == [t[1] for t in told]
    assert found.validation == [t[2] for t in told]
    # The loss falls from the loss of zeros to that of an average star; the measured factor was 5.
    assert found.validation[-1] < 0.4 * found.validation[0]
    assert found.training[-1] < 0.4 * found.training[0]
    assert found.best == 1 + int(np.argmin(found.validation))
    # float32 sums over 1024 pixels of 80 stamps.
    held_out = errors(found.weights, stamps[0][stamps[1]].numpy()).mean()
    assert held_out == pytest.approx(found.validation[found.best - 1], rel=1e-5)


def test_double_images_reconstruct_worse(stamps):
    found = train(*stamps, SIZE, threads=1, epochs=30)
    normal = errors(found.weights, made.star_stamps(60, seed=7, size=SIZE))
    double = errors(found.weights, made.star_stamps(60, seed=8, size=SIZE, double=8.0))
    # The mean error was 20 times larger when measured; every anomalous stamp has a larger error than every normal
    # stamp.
    assert double.mean() > 5 * normal.mean()
    assert double.min() > normal.max()


def test_equal_seeds_give_equal_weights_and_leave_torch_as_it_was(stamps):
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    first, again, other = (train(*stamps, SIZE, threads=2, epochs=3, seed=seed) for seed in (1, 1, 2))
    for name, value in first.weights.items():
        assert np.array_equal(value, again.weights[name])
    assert first.validation == again.validation
    assert any(not np.array_equal(value, other.weights[name]) for name, value in first.weights.items())
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


def interrupting(at):
    def told(epoch, _training, _validation):
        if epoch == at:
            raise KeyboardInterrupt

    return told


def test_an_interrupt_keeps_the_best_so_far(stamps):
    found = train(*stamps, SIZE, threads=1, epochs=1000, on_epoch=interrupting(4))
    whole = train(*stamps, SIZE, threads=1, epochs=4)
    assert found.interrupted
    assert not whole.interrupted
    assert found.validation == whole.validation
    for name, value in whole.weights.items():
        assert np.array_equal(value, found.weights[name])


def test_an_interrupt_before_the_first_epoch_is_one(stamps, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Epochs, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(*stamps, SIZE, threads=1, epochs=2)


def test_the_kept_epoch_is_not_the_last_one(stamps, monkeypatch):
    losses = iter([3.0, 1.0, float("nan"), 2.0])
    epoch = Epochs.__call__
    monkeypatch.setattr(Epochs, "__call__", lambda self, order: (epoch(self, order)[0], next(losses)))
    found = train(*stamps, SIZE, threads=1, epochs=4)
    assert found.best == 2
    losses = iter([3.0, 1.0])
    second = train(*stamps, SIZE, threads=1, epochs=2)
    for name, value in second.weights.items():
        assert np.array_equal(value, found.weights[name])


def test_losses_that_are_not_finite_are_an_error(stamps):
    spoilt = stamps[0].clone()
    spoilt[3, 5] = float("nan")
    with pytest.raises(GpuanomError, match="not finite"):
        train(spoilt, stamps[1], SIZE, threads=1, epochs=2)


@pytest.mark.parametrize("validation", [True, False])
def test_nothing_to_train_or_to_validate_with(stamps, validation):
    with pytest.raises(InputError, match="too few"):
        train(stamps[0], torch.full((400,), validation), SIZE, threads=1, epochs=1)


def test_the_network_is_the_method_in_numpy():
    model, stars = made.model(size=SIZE, seed=5), made.star_stamps(9, size=SIZE)
    layers = layers_of(model.weights, SIZE, torch.device("cpu"))
    got, latent = reconstruct(layers, torch.tensor(stars).double())
    expected, features = made.reconstructed(model.weights, stars)
    # float64 products of 1024 terms in another order.
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=1e-12)
    np.testing.assert_allclose(latent.numpy(), features, rtol=0, atol=1e-12)
    assert latent.shape == (9, 32)
