"""Imports run in one direction, and the same word names a step everywhere (docs/architecture.md)."""

from __future__ import annotations

import ast
import importlib
import tomllib
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gpuanom"

# A package may import from its own row and from the rows above it, but two packages of the same row never import each
# other. The single files of the first row are shared by all parts, and may import each other.
SHARED = {
    *("errors", "version", "natural_order", "paths", "encoded", "sampling", "native", "nvtx", "files"),
    *("digits", "digits_loop"),
    *("compiling", "loops", "installing", "nvidia", "data", "workspace", "display"),
    *("set_at_once", "side_by_side", "system", "sorting"),
    "sums_and_medians",
}
ROWS = [
    SHARED,
    {"cameras"},
    {"setting_fields"},
    {"paper_settings"},
    {"settings"},
    {"records"},
    {"arguments"},
    {"store", "fits"},
    {"backends"},
    {"statistics"},
    {"measuring", "scoring"},
    {"tables"},
    {"review", "doctor"},
    {"autoencoder", "report", "simulate"},
    {"cluster"},
    {"nights"},
    {"api", "plots"},
    {"cli"},
    {"__init__", "__main__"},
]


def _modules():
    return sorted(PACKAGE.rglob("*.py"))


def _row(name):
    return next((i for i, names in enumerate(ROWS) if name in names), None)


def _top(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@cache
def _imported(path):
    """The dotted names that a file imports. Each file is parsed once: two of the tests look at each file by itself."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def _imports(path):
    """The modules of gpuanom that a file imports, as dotted names without the name of the package."""
    return [name.removeprefix("gpuanom.") for name in _imported(path) if name.startswith("gpuanom.")]


def test_every_package_is_installed():
    """An installation without -e has the packages of this list alone; tests of a checkout would not miss any."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())
    folders = {path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("__init__.py")}
    listed = set(project["tool"]["setuptools"]["packages"])
    assert listed == {".".join(folder.parts) for folder in folders} | {"gpuanom.kernels"}


def test_every_part_of_the_package_has_a_row():
    assert {_top(path) for path in _modules()} - {"kernels"} == set().union(*ROWS)


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    package = _top(path)
    for module in _imports(path):
        other = module.split(".")[0]
        if other == "kernels" or other == package:
            continue
        assert _row(other) is not None, f"{package} imports {module}, which has no row"
        if package in SHARED and other in SHARED:
            continue
        assert _row(other) < _row(package), f"{package} imports {module}, which does not lie above it"


FOLDERS = {
    "fits": ["headers", "decoding", "opening", "ccds", "exposures", "discover", "reader", "explain", "__init__"],
    "scoring": ["evenly_spread", "medians", "judged", "histograms", "evidence", "verdict", "__init__"],
}
"""The folders and modules of packages that have folders of their own: each imports from those before it."""


@pytest.mark.parametrize("package", FOLDERS)
def test_the_folders_of_a_package_import_one_way(package):
    folder, rows = PACKAGE / package, FOLDERS[package]
    parts = {path: path.relative_to(folder).parts[0].removesuffix(".py") for path in folder.rglob("*.py")}
    assert set(parts.values()) == set(rows)
    for path, mine in parts.items():
        for module in _imports(path):
            if module.startswith(f"{package}."):
                other = module.split(".")[1]
                assert rows.index(other) <= rows.index(mine), f"{path} imports {module}"


@pytest.mark.parametrize("path", _modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_what_must_not_meet_does_not(path):
    name = str(path.relative_to(PACKAGE))
    modules = set(_imports(path))
    for folder, other in (("backends/cpu", "backends.gpu"), ("backends/gpu", "backends.cpu")):
        if name.startswith(folder):
            assert not any(module.startswith(other) for module in modules), f"{name} imports {other}"
    if name.startswith("cli/") and name not in ("cli/__init__.py",):
        commands = {f"cli.{p.stem}" for p in (PACKAGE / "cli").glob("*.py")} - SHARED_BY_COMMANDS
        mine = f"cli.{path.stem}"
        others = {m for m in modules if ".".join(m.split(".")[:2]) in commands - {mine}}
        assert not others, f"a command imports another command: {others}"


SHARED_BY_COMMANDS = {
    "cli.__init__",
    "cli.figures",
    "cli.given_path",
    "cli.options",
    "cli.screen",
    "cli.signals",
    "cli.streams",
    "cli.summary",
}


@pytest.mark.parametrize(
    ("packages", "owner"),
    [
        ({"cupy", "cupyx", "kvikio"}, "backends/gpu"),
        ({"dask", "distributed", "dask_cuda"}, "cluster"),
        ({"torch", "safetensors"}, "autoencoder"),
    ],
)
def test_one_part_alone_imports_what_may_not_be_there(packages, owner):
    for path in _modules():
        imported = {name.partition(".")[0] for name in _imported(path)}
        name = str(path.relative_to(PACKAGE))
        assert not imported & packages or name.startswith(f"{owner}/"), path


OTHER = {"takes_encoded", "working", "sharing", "lanes", "group_size", "too_many", "room", "to_device", "to_host"}
OTHER |= {"device_name", "share_memory", "limit_memory"}
"""Members of the protocol that are no steps."""


def test_the_cpu_backend_has_a_file_a_step():
    from gpuanom.backends.cpu import CpuBackend
    from gpuanom.backends.protocol import Backend

    steps = {name for name in vars(Backend) if not name.startswith("_") and name not in OTHER}
    folder = PACKAGE / "backends" / "cpu"
    parts = {"__init__", "pixels", "polynomial", "moments", "isophote", "pattern_rows", "residual", "spectrum"}
    parts |= {"contrasts"}
    files = {path.stem for path in folder.glob("*.py")} - parts
    # The file cpu/orientation.py holds both steps for orientations.
    assert steps - {"gradient_orientation"} == files
    for name in steps:
        assert callable(getattr(CpuBackend, name))


def test_every_file_has_its_line_in_the_docs():
    """Steps and commands have a line for all of them, since one word names each; simulate lists its own files."""
    from gpuanom.cli import _NAMES

    docs = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    own = (PACKAGE / "simulate" / "__init__.py").read_text()
    told = {f"cli/{name}.py" for name in _NAMES}
    told |= {f"simulate/{path.name}" for path in (PACKAGE / "simulate").glob("*.py") if f"`{path.stem}`" in own}
    told |= {f"backends/{of}/{path.name}" for of in ("cpu", "gpu") for path in (PACKAGE / "backends" / of).glob("*.py")}
    paths = {str(path.relative_to(PACKAGE)) for path in _modules() if not path.stem.startswith("__")}
    # By its path, or, in the section of its package, by its path there: some packages have files of one name.
    sections = [section.partition("\n") for section in docs.split("\n### ")]
    missing = set()
    for path in paths - told:
        package = path.split("/")[0] if "/" in path else ""
        title = f"`gpuanom/{package}/`" if package else "`gpuanom/` itself"
        of_package = "".join(text for heading, _, text in sections if title in heading)
        if f"`{path}`" not in docs and f"`{path.removeprefix(f'{package}/')}`" not in of_package:
            missing.add(path)
    assert not missing


def test_files_are_short_enough_to_read_at_once():
    for path in _modules():
        assert len(path.read_text().splitlines()) <= 400, path


def test_a_public_name_that_is_also_a_module_is_that_module():
    """Otherwise `import gpuanom.measure` would give a function under the name of a module."""
    import gpuanom

    modules = {_top(path) for path in _modules()}
    for name in modules & set(gpuanom.__all__):
        assert getattr(gpuanom, name) is importlib.import_module(f"gpuanom.{name}")


def test_locks_are_taken_plainly():
    """`with` on a condition is a function of Python: an interrupt at its end would leave the lock taken for ever."""
    for path in _modules():
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        conditions = [call for call in calls if ast.unparse(call.func).split(".")[-1] == "Condition"]
        assert all(call.args for call in conditions), f"{path}: a condition without a lock that `with` can take"
