"""Imports run one way, and one word names a step."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gpuanom"

# A module may import from its own layer and from those above it in this list.
LAYERS = [
    {
        "errors",
        "version",
        "maskclasses",
        "naming",
        "columns",
        "ranges",
        "findings",
        "native",
        "ecsv",
        "files",
        "compiling",
        "codecache",
        "installing",
        "nvidia",
    },
    {"labels", "focalplane", "data", "digits", "system"},
    {"cameras", "camera_rules"},
    {"settings"},
    {"encoded"},
    {"records"},
    {"sampling", "backend", "readahead", "reference", "comparison", "simulate", "schema", "gradientfilter"},
    {"recorded", "located"},
    {"held"},
    {"copying"},
    {"cpu", "gpu", "fits", "stamps", "reconstructions"},
    {"significance"},  # the backends take no part in the scoring
    {"arguments", "images"},
    {"measuring", "ranking", "comparable", "selftest"},
    {"store"},
    {"rows"},
    {"tables", "nights"},
    {"plan", "works", "arrivals", "alerts", "leftout"},
    {"autoencoder"},
    {"cluster"},
    {"pipeline", "api"},
    {"scored", "looking", "mosaic"},
    {"watch"},
    {"export", "evaluate", "plots"},
    {"report"},
    {"cli"},
    {"__init__", "__main__"},
]
# Chosen at run time: select() imports a backend only when it is asked for, so that CuPy is never needed for the other.
LAZY = {("backend", "cpu"), ("backend", "gpu")}


def _modules():
    return sorted(PACKAGE.rglob("*.py"))


def _layer(name):
    return next((i for i, names in enumerate(LAYERS) if name in names), None)


def _top(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "gpuanom" else [node.module]
            )
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "gpuanom" and len(parts) > 1:
                yield parts[1]


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    own = _top(path)
    assert _layer(own) is not None, f"{own} has no layer"
    for other in _imports(path):
        if (own, other) in LAZY:
            continue
        assert _layer(other) is not None, f"{own} imports {other}, which has no layer"
        assert _layer(other) <= _layer(own), f"{own} imports {other}, which lies below it"
        assert {own, other} != {"cpu", "gpu"}


@pytest.mark.parametrize(
    ("packages", "owner"),
    [
        ({"cupy", "cupyx"}, "gpu"),
        ({"dask", "distributed", "dask_cuda"}, "cluster"),
        ({"torch", "safetensors"}, "autoencoder"),
    ],
)
def test_one_part_alone_imports_what_may_not_be_there(packages, owner):
    for path in _modules():
        imported = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
        assert not imported & packages or _top(path) == owner, path


OTHER = {"takes_encoded", "working", "sharing", "lanes", "group_size", "too_many", "to_device", "to_host"}
"""Of the protocol, but no steps."""


def test_the_cpu_backend_has_a_file_a_step():
    from gpuanom.backend import Backend
    from gpuanom.cpu import CpuBackend

    steps = {name for name in vars(Backend) if not name.startswith("_") and name not in OTHER}
    files = {path.stem for path in (PACKAGE / "cpu").glob("*.py")} - {"__init__", "polynomial", "moments", "isophote"}
    # Both orientations live in cpu/orientation.py.
    assert steps - {"gradient_orientation"} == files
    for name in steps:
        assert callable(getattr(CpuBackend, name))


def test_files_are_short_enough_to_read_at_once():
    for path in _modules():
        assert len(path.read_text().splitlines()) <= 400, path


def test_no_public_name_is_also_a_module():
    """`import gpuanom.measure` would give a function under the name of a module."""
    import gpuanom

    modules = {_top(path) for path in _modules()}
    assert not modules & set(gpuanom.__all__)
