"""`gpuanom train` from the command line: the files that it writes, its messages, and what it refuses."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.table import Table

import gpuanom
from gpuanom.autoencoder import checkpoint
from gpuanom.autoencoder.epochs import Epochs
from gpuanom.autoencoder.model import load
from gpuanom.cli import main
from tests import nights
from tests.autoencoder import made


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    folder = tmp_path_factory.mktemp("command")
    nights.night(folder / "in", exposures=20, bands=("g", "r"))
    gpuanom.score(folder / "in", folder / "out", settings=made.QUICK, device="cpu")
    return folder / "out"


class Killed(BaseException):
    """In place of a signal that ends the process."""


def train(*arguments, code=0):
    with pytest.raises(SystemExit) as ended:
        main(["train", *map(str, arguments)])
    assert ended.value.code == code


def few(output, *more):
    return ("-o", output, "--stamps", 100, "--epochs", 4, "--threads", 1, "--device", "cpu", *more)


@pytest.fixture(scope="module")
def trained(night, tmp_path_factory):
    """The folder of a trained autoencoder, `my.pt`, and what the command said."""
    folder, said = tmp_path_factory.mktemp("trained"), io.StringIO()
    with contextlib.redirect_stderr(said):
        train(night, *few(folder / "my.pt"))
    return folder, said.getvalue()


def test_what_it_writes_and_says(night, trained):
    folder, told = trained
    assert "reading stamps of 20 exposures" in told
    assert "epoch 4 of 4: loss 0." in told
    assert sorted(p.name for p in folder.iterdir()) == [
        "my.losses.ecsv",
        "my.losses.png",
        "my.pt",
        "my.reconstructions.png",
    ]
    assert (folder / "my.losses.png").read_bytes().startswith(b"\x89PNG")
    model, losses = load(folder / "my.pt"), Table.read(folder / "my.losses.ecsv")
    about = model.about
    assert list(losses["epoch"]) == [1, 2, 3, 4]
    best = losses[about["best_epoch"] - 1]
    assert (best["training_loss"], best["validation_loss"]) == (about["training_loss"], about["validation_loss"])
    assert best["validation_loss"] == min(losses["validation_loss"])
    assert about["settings"]["stamp_size"] == about["stamp_size"] == 64
    assert about["nights"] == [str(night)]
    assert about["stamps"] == sum(d["stamps"] for d in about["datasets"]) == 100
    assert [(d["camera"], d["band"], d["exposures"]) for d in about["datasets"]] == [
        ("TESTCAM", "g", 10),
        ("TESTCAM", "r", 10),
    ]
    assert 0 < about["validation_stamps"] < 50
    assert (about["seed"], about["threads"], about["interrupted"]) == (1, 1, False)


def test_the_same_command_makes_the_same_file(night, trained, tmp_path):
    folder, _ = trained
    train(night, *few(tmp_path / "two.pt", "-q"))
    assert (folder / "my.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()
    train(night, *few(tmp_path / "three.pt", "-q", "--seed", 2))
    assert load(tmp_path / "three.pt").fingerprint != load(tmp_path / "two.pt").fingerprint


def test_what_it_made_scores_the_night(night, trained):
    folder, _ = trained
    with pytest.raises(SystemExit) as ended:
        main(["score", "-o", str(night), "--model", str(folder / "my.pt"), "--device", "cpu", "-q"])
    assert ended.value.code == 0
    exposures = Table.read(night / "exposures.ecsv")
    # The loss lies between that of a perfect reconstruction and that of none, which is the mean square of a star, about
    # 0.01.
    assert np.all((exposures["autoencoder_mse"] > 0) & (exposures["autoencoder_mse"] < 0.1))


def test_fewer_stamps_than_asked_for_are_said(night, tmp_path, capsys):
    train(night, *few(tmp_path / "my.pt", "--stamps", 5000, "--epochs", 1))
    assert "stamps are all there are (5000 were asked for)" in capsys.readouterr().err


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.proof), signal.SIGTERM])
def test_a_signal_keeps_the_best_so_far(night, tmp_path, number):
    command = [sys.executable, "-m", "gpuanom", "train", night, *few(tmp_path / "my.pt", "--epochs", 1_000_000)]
    with subprocess.Popen([str(c) for c in command], stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr:
                if line.startswith("epoch 1 of"):
                    break
            time.sleep(0.1)
            os.kill(process.pid, number)
            told = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode == 0, told
    assert "interrupted after" in told
    assert load(tmp_path / "my.pt").about["interrupted"] is True


def test_a_signal_before_the_first_epoch_has_its_own_exit_code(night, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gpuanom.autoencoder.fitting.fit", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    train(night, *few(tmp_path / "my.pt"), code=143)
    assert "interrupted before the first epoch was done: no model was made" in capsys.readouterr().err


@pytest.mark.parametrize("how", [(), ("--supervised",)])
def test_a_model_that_is_there_is_replaced_when_asked_only(night, trained, tmp_path, capsys, how):
    path = tmp_path / "my.pt"
    path.write_bytes((trained[0] / "my.pt").read_bytes())
    train(night, *few(path, "--seed", 2, *how), code=2)
    assert f"{path}: is there already (--overwrite replaces it" in _error(capsys)
    assert path.read_bytes() == (trained[0] / "my.pt").read_bytes()
    if not how:
        train(night, *few(path, "--epochs", 1, "--overwrite"))
        assert load(path).about["epochs"] == 1
        path.write_bytes(b"")  # as mktemp leaves it
        train(night, *few(path, "--epochs", 1))
        assert load(path).about["epochs"] == 1


def _error(capsys):
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gpuanom: ")]
    return line


def test_bad_input_is_one_line(night, tmp_path, capsys):
    train(tmp_path / "none", *few(tmp_path / "my.pt"), code=2)
    assert "there is no such store" in _error(capsys)
    train(night, *few(tmp_path / "nowhere" / "my.pt"), code=2)
    assert "cannot be written: No such file or directory" in _error(capsys)
    nights.night(tmp_path / "in", exposures=2, ccds=1)
    gpuanom.score(tmp_path / "in", tmp_path / "small", settings=made.QUICK, device="cpu")
    train(tmp_path / "small", *few(tmp_path / "my.pt"), code=2)
    assert "sources are too few to train with (score more exposures; 100 at least)" in _error(capsys)
    train(night, *few(tmp_path / "my.pt", "--labels", "labels.csv"), code=2)
    assert "--labels is for --supervised" in capsys.readouterr().err
    assert not (tmp_path / "my.pt").exists()


def test_a_file_that_is_gone_costs_no_other(night, tmp_path, capsys):
    path = night.parent / "in" / "exposure_003.fits"
    path.rename(tmp_path / "away.fits")
    try:
        train(night, *few(tmp_path / "my.pt", "--stamps", 110, "--epochs", 1), code=1)
    finally:
        (tmp_path / "away.fits").rename(path)
    assert f"failed exposure 3 TESTCAM r: {path}: " in capsys.readouterr().err
    about = load(tmp_path / "my.pt").about
    assert sum(d["exposures"] for d in about["datasets"]) == 19
    assert sum(d["stamps"] for d in about["datasets"]) == about["stamps"]


def test_a_training_that_ends_early_goes_on(night, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    epoch, n_done = Epochs.__call__, [0]

    def ends_early(self, order):
        n_done[0] += 1
        if n_done[0] in (3, 5):
            raise [Killed, KeyboardInterrupt][n_done[0] == 5]
        return epoch(self, order)

    monkeypatch.setattr(Epochs, "__call__", ends_early)
    output, kept = tmp_path / "my.pt", tmp_path / "my.pt.checkpoint"
    with pytest.raises(Killed):
        main(["train", str(night), *map(str, few(output))])
    assert sorted(tmp_path.iterdir()) == [kept]
    train(night, *few(output, "--seed", "2"), code=2)
    assert f"{kept}: belongs to another training: seed 1 and not 2" in capsys.readouterr().err
    train(night, *few(output))  # interrupted in the fourth epoch: the best of three is the model
    told = capsys.readouterr().err
    assert "going on after epoch 2" in told
    assert f"the same command with --overwrite goes on from {kept}" in told
    assert load(output).about["epochs"] == 3
    train(night, *few(output, "--overwrite"))
    assert output.read_bytes() == (trained[0] / "my.pt").read_bytes()
    assert not kept.exists()
