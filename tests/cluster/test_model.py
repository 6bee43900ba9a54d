"""Stamps through a model on workers: the same tables, and one line when the workers cannot use the model."""

from __future__ import annotations

import pytest

import gpuanom
from gpuanom.autoencoder.model import save
from gpuanom.cluster.job import ModelFile
from gpuanom.errors import ClusterError, InputError
from tests import nights
from tests.autoencoder import made
from tests.cluster.conftest import QUICK


@pytest.fixture
def model(tmp_path):
    save(made.model(seed=3), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_workers_put_stamps_through_a_model(night, undisturbed, model, tmp_path, farm):
    options = {"settings": QUICK, "device": "cpu"}
    gpuanom.score(night, tmp_path / "alone", model=model, threads=1, **options)
    alone = nights.tables(tmp_path / "alone")
    assert b"autoencoder_mse" in alone["exposures.ecsv"]
    gpuanom.score(night, tmp_path / "out", model=model, scheduler=farm.file, **options)
    assert nights.tables(tmp_path / "out") == alone
    # For exposures that are measured already, only the stamps are read again.
    gpuanom.score(night, tmp_path / "later", scheduler=farm.file, **options)
    assert nights.tables(tmp_path / "later") == undisturbed
    gpuanom.score(night, tmp_path / "later", model=model, scheduler=farm.file, **options)
    assert nights.tables(tmp_path / "later") == alone


def test_a_model_that_changes_under_way_is_refused(model, tmp_path):
    file = ModelFile.of(model, made.model(seed=3).fingerprint, stamps_only=False)
    assert file.scorer().fingerprint == file.fingerprint
    save(made.model(seed=4), model)
    with pytest.raises(InputError, match="another model"):
        file.scorer()


def test_a_model_that_no_worker_sees_ends_the_run(night, model, tmp_path, farm, monkeypatch):
    monkeypatch.setattr(ModelFile, "sized_file", property(lambda self: (self.path + b".gone", self.size)))
    with pytest.raises(ClusterError, match=r"model\.pt\.gone"):
        gpuanom.score(night, tmp_path / "out", settings=QUICK, device="cpu", model=model, scheduler=farm.file)
