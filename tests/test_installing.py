"""Hints name commands that work here, for an installation from an index, a clone, a file or version control."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from gpuanom import autoencoder, installing, nvidia
from gpuanom.cli.figures import figure_class
from gpuanom.cluster.choice import ClusterChoice, require_dask
from gpuanom.errors import GpuanomError
from gpuanom.report.pictures import require_pillow
from gpuanom.simulate.stamps import galsim_module
from gpuanom.tables import select
from gpuanom.tables.writing import require_formats

ROOT = Path(__file__).parent.parent


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """An installation that is no checkout, with the note that pip left about its origin."""
    monkeypatch.setattr(installing, "__file__", str(tmp_path / "site-packages" / "gpuanom" / "installing.py"))
    monkeypatch.setattr(installing, "_pip", lambda: "pip")

    def noted(origin):
        class Distribution:
            def read_text(self, name):
                assert name == "direct_url.json"
                return None if origin is None else json.dumps(origin)

        monkeypatch.setattr(metadata, "distribution", lambda _name: Distribution())

    return noted


@pytest.mark.parametrize(
    ("package", "needing"),
    [
        ("pyarrow", lambda: require_formats(["parquet"])),
        ("pyarrow", lambda: select._parquet_file(Path("exposures.parquet"))),
        ("galsim", galsim_module),
        ("PIL", require_pillow),
        ("matplotlib", figure_class),
        ("distributed", lambda: require_dask(ClusterChoice(workers=1))),
        ("torch", autoencoder.require),
    ],
)
@pytest.mark.parametrize("body", ["import {}.lib", "raise ValueError('numpy.dtype size changed')"])
def test_what_is_installed_but_cannot_be_loaded_is_told_in_a_line(package, needing, body, monkeypatch, tmp_path):
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text(body.format(package))
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(GpuanomError) as caught:
        needing()
    said = "numpy.dtype size changed" if "ValueError" in body else f"No module named '{package}.lib'"
    assert f"cannot be loaded: {said} (" in str(caught.value)


def test_from_an_index(installed):
    installed(None)
    assert installing.install("report") == "pip install 'gpuanom[report]'"
    assert installing.install("report", "cluster") == "pip install 'gpuanom[report,cluster]'"


def test_from_a_clone(installed, tmp_path):
    clone = tmp_path / "my clone"
    clone.mkdir()
    installed({"url": clone.as_uri(), "dir_info": {}})
    assert installing.install("report") == f"pip install '{clone}[report]'"
    clone.rmdir()
    assert installing.install("report") == "pip install '.[report]' in a clone of gpuanom"


def test_from_version_control(installed):
    installed({"url": "https://example.org/g.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}})
    assert installing.install("report") == "pip install 'gpuanom[report] @ git+https://example.org/g.git@abc'"


def test_from_a_checkout_that_runs_where_it_is(monkeypatch):
    monkeypatch.setattr(installing, "_pip", lambda: "pip")
    assert installing.install("report") == f"pip install -e '{ROOT}[report]'"


def test_an_odd_note_counts_as_none(installed, monkeypatch):
    installed([])
    assert installing.install("report") == "pip install 'gpuanom[report]'"


def test_pip_is_named_in_full_where_the_word_would_find_another(monkeypatch, tmp_path):
    monkeypatch.setattr(installing.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(installing.shutil, "which", lambda _: "/usr/bin/pip")
    assert installing.package("nvtx") == f"{tmp_path / 'python'} -m pip install nvtx"
    monkeypatch.setattr(installing.shutil, "which", lambda _: str(tmp_path / "pip"))
    assert installing.package("nvtx") == "pip install nvtx"


@pytest.mark.parametrize("cuda", [0, 12040, 13000])
def test_pytorch_brings_cuda_only_where_there_is_a_driver(installed, monkeypatch, cuda):
    installed(None)
    monkeypatch.setattr(nvidia, "driver_cuda", lambda: cuda)
    cpu = "pip install torch --index-url https://download.pytorch.org/whl/cpu, then "
    assert installing.install_torch() == ("" if cuda else cpu) + "pip install 'gpuanom[autoencoder]'"
    build = "torch" if cuda else "torch --index-url https://download.pytorch.org/whl/cpu"
    assert installing.reinstall("torch") == f"pip install --force-reinstall {build}"


@pytest.mark.parametrize(("cuda", "extra"), [(0, "cuda12"), (11080, "cuda12"), (12090, "cuda12"), (13020, "cuda13")])
def test_the_extra_is_that_of_the_drivers_cuda(cuda, extra):
    assert nvidia.extra(cuda) == extra


def test_no_other_part_of_the_package_makes_up_such_a_command():
    for path in (ROOT / "gpuanom").rglob("*.py"):
        if path.name != "installing.py":
            assert not re.search(r"pip (un)?install", path.read_text()), path


def test_documents_name_what_works_in_a_clone_wherever_they_name_an_index():
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for line in path.read_text().splitlines():
            if "pip install 'gpuanom[" in line:
                assert "pip install '.[" in line, (path.name, line)


def test_an_installation_has_every_folder_and_every_file_of_the_package():
    """A folder that pyproject.toml forgets exists in a checkout, but is missing from an installation."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {p.parent for p in (ROOT / "gpuanom").rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert names | {"gpuanom.kernels"} == set(tool["packages"])
    others = [p for p in (ROOT / "gpuanom").rglob("*.*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert others
    for path in others:
        folder = ".".join(path.parent.relative_to(ROOT).parts)
        assert any(path.match(pattern) for pattern in tool["package-data"].get(folder, [])), path
