"""The file of a model: what is written can be read; other content is refused in one line, and nothing is executed."""

from __future__ import annotations

import json
import os
import pickle
import re
import sys

import numpy as np
import pytest
import torch

import gpuanom
from gpuanom import installing
from gpuanom.autoencoder.model import Model, load, read, save, shapes, write
from gpuanom.cli import main
from gpuanom.errors import GpuanomError, InputError, OutputError
from tests.autoencoder import made


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.pt"


@pytest.mark.parametrize("size", [16, 64])
def test_what_is_written_is_read(path, size):
    model = made.model(size=size, seed=3, nights=["ünight"])
    save(model, path)
    again = load(path)
    assert again.about == json.loads(json.dumps(model.about))
    assert again.fingerprint == model.fingerprint
    for name, shape in shapes(size):
        assert again.weights[name].shape == shape
        assert np.array_equal(again.weights[name], model.weights[name])
    assert [p.name for p in path.parent.iterdir()] == ["model.pt"]


def test_layers_are_those_of_the_paper():
    weights = [shape for name, shape in shapes(64) if name.endswith("weight")]
    assert weights == [(128, 4096), (64, 128), (32, 64), (32, 32), (64, 32), (128, 64), (4096, 128)]


def test_fingerprint_is_of_the_weights():
    model = made.model()
    assert model.fingerprint == Model(model.weights, {**model.about, "nights": ["elsewhere"]}).fingerprint
    other = {name: value.copy() for name, value in model.weights.items()}
    other["layers.6.bias"][7] += 1e-3
    assert model.fingerprint != Model(other, model.about).fingerprint


class Evil:
    """An object that runs code when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def _header(text, data=b""):
    text = text.encode()
    return len(text).to_bytes(8, "little") + text + data


HOSTILE = {
    "empty": b"",
    "short": b"\x01\x02",
    "noise": bytes(range(256)) * 40,
    "text": b"# a model, honestly\n" * 30,
    "header too long": (2**62).to_bytes(8, "little") + b"{}" * 200,
    "header beyond the file": (1000).to_bytes(8, "little") + b"{}",
    "header not JSON": _header("{" * 50),
    "header deep": _header('{"a":' * 20_000),
    "header a list": _header("[1, 2]"),
    "no metadata": _header("{}"),
    "metadata not ours": _header('{"__metadata__": {"format": "pt"}}'),
    "metadata no mapping": _header('{"__metadata__": {"gpuanom": "[]"}}'),
    "metadata deep": _header(json.dumps({"__metadata__": {"gpuanom": "[" * 100_000}})),
    "another kind": _header(json.dumps({"__metadata__": {"gpuanom": '{"kind": "cake", "format": 1}'}})),
    "offsets beyond": _header(
        json.dumps(
            {
                "__metadata__": {"gpuanom": "{}"},
                "layers.0.weight": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 2**62]},
            }
        )
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_one_line(path, name):
    path.write_bytes(HOSTILE[name])
    with pytest.raises(InputError, match=r"not a model of gpuanom, or damaged: .*\(models are made by gpuanom train\)"):
        load(path)


def test_nothing_of_a_pickled_model_is_executed(path, tmp_path):

    for i, make in enumerate((pickle.dumps, lambda evil: torch.save(evil, path) or path.read_bytes())):
        path.write_bytes(make(Evil(tmp_path / f"executed{i}")))
        with pytest.raises(InputError, match="not a model"):
            load(path)
    assert not list(tmp_path.glob("executed*"))


@pytest.mark.parametrize("cut", [7, 100, 5000, -1])
def test_truncated_model(path, cut):
    save(made.model(size=16), path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="damaged"):
        load(path)


def _changed(**changes):
    model = made.model(size=16)
    return {**model.weights, **changes}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (_changed(**{"layers.0.weight": np.zeros((128, 255), np.float32)}), "'layers.0.weight' has shape"),
        (_changed(extra=np.zeros(3, np.float32)), "'extra' has shape"),
        (_changed(**{"layers.6.bias": np.full(256, np.nan, np.float32)}), "finite"),
        (_changed(**{"layers.6.bias": np.zeros(256, np.float64)}), "float32"),
        ({"layers.0.weight": np.zeros((128, 256), np.float32)}, "has shape None"),
    ],
)
def test_weights_that_are_none_of_ours(path, tensors, message):
    write(path, tensors, made.model(size=16).about)
    with pytest.raises(InputError, match=message):
        load(path)


@pytest.mark.parametrize("size", [0, 15, 66, 64.0, "64", None, True])
def test_stamp_sizes_that_make_no_sense(path, size):
    write(path, made.model(size=16).weights, {**made.model(size=16).about, "stamp_size": size})
    with pytest.raises(InputError, match="stamps are of size"):
        load(path)


def test_another_normalisation(path):
    save(made.model(normalisation="total flux"), path)
    with pytest.raises(InputError, match="normalised by 'total flux', ours by 'central pixel'"):
        load(path)


def test_larger_than_any_model(path):
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match="larger than 64 MiB"):
        read(path)


def test_paths_that_cannot_be_read_or_written(tmp_path, capsys):
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            load(path)
    with pytest.raises(OutputError, match="cannot be written"):
        save(made.model(size=16), tmp_path / "nowhere" / "model.pt")
    with pytest.raises(SystemExit) as ended:
        main(["score", str(tmp_path), "-o", str(tmp_path / "out"), "--model", str(tmp_path / "none.pt")])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    remedy = "check the path and its permissions; models are made by gpuanom train"
    assert line == f"gpuanom: {tmp_path / 'none.pt'}: cannot be read: No such file or directory ({remedy})"


def test_stamps_of_another_size_are_refused(path):
    model = made.model(size=16)
    with pytest.raises(InputError, match=r"stamps of 16 x 16 pixels, these are of 64 x 64 \(score with stamp_size"):
        model.require_stamps(gpuanom.Settings(), str(path))
    assert model.differs(made.QUICK.replace(stamp_size=16)) == ""
    assert "threshold 4.0 and not 30.0" in model.differs(made.QUICK.replace(stamp_size=16, threshold=30.0))


@pytest.mark.parametrize(("module", "name"), [("torch", "PyTorch"), ("safetensors", "safetensors")])
def test_without_its_libraries_one_line_names_the_remedy(path, tmp_path, monkeypatch, capsys, module, name):
    save(made.model(size=16), path)
    for loaded in [m for m in list(sys.modules) if m.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, module, None)
    line = f"the autoencoder needs {name}, which is not installed ({installing.install_torch()})"
    with pytest.raises(GpuanomError, match=re.escape(line)):
        gpuanom.autoencoder.require()
    for command in (["train", str(tmp_path), "-o", str(path)], ["score", "-o", str(tmp_path), "--model", str(path)]):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 2
        assert capsys.readouterr().err.splitlines()[-1] == f"gpuanom: {line}"
