"""A training goes on from its checkpoint with the weights of an uninterrupted one; another training's is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gpuanom.autoencoder import checkpoint
from gpuanom.autoencoder.checkpoint import Checkpoint, Progress, checkpoint_of
from gpuanom.autoencoder.epochs import Epochs
from gpuanom.autoencoder.model import load, read, save, write
from gpuanom.autoencoder.network import Autoencoder
from gpuanom.autoencoder.training import train
from gpuanom.errors import InputError
from tests.autoencoder import made

SIZE = 16
EPOCHS = 7
ABOUT = {"stamp_size": SIZE, "seed": 3, "threads": 1}


class Killed(BaseException):
    """In place of a signal that ends the process."""


@pytest.fixture(autouse=True)
def _after_every_epoch(monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)


@pytest.fixture(scope="module")
def stamps():
    return torch.tensor(made.star_stamps(300, size=SIZE)), torch.arange(300) % 5 == 0


@pytest.fixture(scope="module")
def whole(stamps):
    return trained(stamps, None)


def trained(stamps, path, *, killed=0, said=None, **about):
    def told(epoch, _training, _validation):
        if epoch == killed:
            raise Killed

    say = (lambda _line: None) if said is None else said.append
    kept = None if path is None else Checkpoint(path, {**ABOUT, **about}, EPOCHS, say)
    return train(*stamps, SIZE, epochs=EPOCHS, seed=3, threads=1, on_epoch=told, checkpoint=kept)


def kill(stamps, path, epoch):
    """Kill a training in the middle of an epoch: the last checkpoint is that of the epoch before."""
    with pytest.raises(Killed):
        trained(stamps, path, killed=epoch)


@pytest.mark.parametrize("epochs", [(1,), (2,), (3, 6), (7,)])
def test_a_killed_training_gives_the_weights_of_an_uninterrupted_one(stamps, whole, tmp_path, epochs):
    path, said = tmp_path / "m.pt.checkpoint", []
    for epoch in epochs:
        kill(stamps, path, epoch)
        assert path.exists() == (epoch > 1)
    found = trained(stamps, path, said=said)
    assert len(said) == (epochs[-1] > 1)
    assert all(f"going on after epoch {epochs[-1] - 1}" in line for line in said)
    assert (found.training, found.validation, found.best) == (whole.training, whole.validation, whole.best)
    for name, value in whole.weights.items():
        assert np.array_equal(value, found.weights[name])
    # The checkpoint of the last epoch gives the model without another epoch.
    again = trained(stamps, path)
    assert all(np.array_equal(value, again.weights[name]) for name, value in whole.weights.items())


def test_the_best_epoch_may_lie_before_the_checkpoint(stamps, tmp_path, monkeypatch):
    epoch, losses = Epochs.__call__, iter([3.0, 1.0, 2.0, 2.5, 2.4, 2.3, 2.2])
    monkeypatch.setattr(Epochs, "__call__", lambda self, order: (epoch(self, order)[0], next(losses)))
    kill(stamps, tmp_path / "c", 4)
    losses = iter([2.5, 2.4, 2.3, 2.2])
    found = trained(stamps, tmp_path / "c")
    losses = iter([3.0, 1.0])
    second = train(*stamps, SIZE, epochs=2, seed=3, threads=1)
    assert found.best == 2
    assert all(np.array_equal(value, found.weights[name]) for name, value in second.weights.items())


def test_a_recorded_epoch_goes_on_in_its_own_memory(stamps, whole, tmp_path):
    kill(stamps, tmp_path / "c", 5)

    def record(work):
        work()
        return work

    with torch.random.fork_rng():
        torch.manual_seed(99)
        torch.set_num_threads(1)
        network = Autoencoder(SIZE, torch.device("cpu"))
        run = Epochs(network, stamps[0][~stamps[1]], stamps[0][stamps[1]])
        run.record(record, print)
        before = [tensor.data_ptr() for part in run.state()[:3] for tensor in part]
        order = torch.Generator()
        reached = Checkpoint(tmp_path / "c", ABOUT, EPOCHS, print).begin(*stamps, run, order)
        assert before == [tensor.data_ptr() for part in run.state()[:3] for tensor in part]
        n = int((~stamps[1]).sum())
        losses = [run(torch.randperm(n, generator=order)) for _ in range(EPOCHS - 4)]
    assert [*reached.validation, *(loss for _, loss in losses)] == whole.validation


def test_a_checkpoint_of_another_training_is_refused(stamps, tmp_path):
    path = tmp_path / "c"
    kill(stamps, path, 5)
    before = path.read_bytes()
    remedy = r"\(repeat the command that began it, remove the file to begin anew, or choose another --output\)"
    with pytest.raises(InputError, match=rf"c: belongs to another training: seed 3 and not 4 {remedy}"):
        trained(stamps, path, seed=4)
    with pytest.raises(InputError, match=rf"has gone on to epoch 4, and 3 epochs are wanted {remedy}"):
        Checkpoint(path, ABOUT, 3, print)
    other = stamps[0].clone()
    other[0, 0] += 1
    for differing in ((other, stamps[1]), (stamps[0], ~stamps[1])):
        with pytest.raises(InputError, match=rf"other stamps .*{remedy}"):
            trained(differing, path)
    assert path.read_bytes() == before


def test_what_is_no_checkpoint_or_is_damaged_is_refused(stamps, tmp_path):
    save(made.model(size=SIZE), tmp_path / "model")
    with pytest.raises(InputError, match="is no checkpoint"):
        trained(stamps, tmp_path / "model")
    kill(stamps, tmp_path / "c", 3)
    (tmp_path / "cut").write_bytes((tmp_path / "c").read_bytes()[:-9])
    with pytest.raises(InputError, match="damaged"):
        trained(stamps, tmp_path / "cut")
    for name in ("order", "losses", "step", "best.layers.0.bias"):
        arrays, told = read(tmp_path / "c")
        arrays[name] = arrays[name].ravel()[:0]
        write(tmp_path / "odd", arrays, told)
        with pytest.raises(InputError, match="is damaged"):
            trained(stamps, tmp_path / "odd")
    with pytest.raises(InputError, match="not a model of gpuanom"):
        load(tmp_path / "c")


def test_a_checkpoint_that_cannot_be_written_costs_no_training(stamps, whole, tmp_path):
    said = []
    found = trained(stamps, tmp_path / "none" / "c", said=said)
    assert len(said) == 1
    assert said[0].startswith("no checkpoint, a training that is killed begins anew: ")
    assert found.validation == whole.validation


def test_checkpoints_are_a_minute_apart(stamps, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY", 60.0)
    trained(stamps, tmp_path / "c")
    assert not (tmp_path / "c").exists()
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    kept = Checkpoint(tmp_path / "c", ABOUT, EPOCHS, print)
    network = Autoencoder(SIZE, torch.device("cpu"))
    run, order = Epochs(network, stamps[0], stamps[0]), torch.Generator()
    run(torch.arange(300))
    for seconds, wanted in ((159.0, False), (161.0, True), (162.0, False), (222.0, True)):
        now[0] = seconds
        (tmp_path / "c").unlink(missing_ok=True)
        kept.keep(Progress(1, network.copy(), [1.0], [1.0]), run, order)
        assert (tmp_path / "c").exists() == wanted


def test_a_pipe_has_no_checkpoint_beside_it(tmp_path):
    assert checkpoint_of(tmp_path / "a.pt") == tmp_path / "a.pt.checkpoint"
    assert checkpoint_of(tmp_path / "..") is None
