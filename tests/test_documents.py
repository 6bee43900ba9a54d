"""Every file of the project and every name of the package that the documents mention exists."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

import gpuanom

ROOT = Path(__file__).parent.parent
FOLDERS = "gpuanom|kernels|tests|profiling|docs"
INSTALLED = {"gpuanom/kernels": "kernels"}
"""Folders of the wheel that have another place in the repository."""

MADE = {
    *("profiling/results/kernels-", "tests/steps/test_WORD.py", "gpuanom/backends/cpu/WORD.py"),
    *("gpuanom/backends/gpu/WORD.py", "kernels/WORD.cu"),
}
"""Paths with a placeholder."""


def documents():
    return [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "mkdocs.yml")),
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "kernels").glob("*.md")),
        ROOT / "profiling" / "README.md",
        *sorted((ROOT / "profiling" / "log").glob("*.md")),
        ROOT / "tests" / "device" / "README.md",
    ]


def text_of(document):
    return document.read_text(encoding="utf-8")


@pytest.mark.parametrize("document", documents(), ids=lambda p: str(p.relative_to(ROOT)))
def test_paths_exist(document):
    for path in re.findall(rf"(?<![\w/.~-])(?:{FOLDERS})/[\w./-]*", text_of(document)):
        name = path.rstrip("./-")
        if name in MADE or path in MADE:
            continue
        for shipped, source in INSTALLED.items():
            name = source + name.removeprefix(shipped) if name.startswith(shipped) else name
        assert any((folder / name).exists() for folder in (ROOT, document.parent)), f"{document.name}: {path}"


@pytest.mark.parametrize("document", documents(), ids=lambda p: str(p.relative_to(ROOT)))
def test_names_of_the_package_exist(document):
    for name in re.findall(r"(?<![\w/.~@-])gpuanom(?:\.[A-Za-z_]\w*)+", text_of(document)):
        assert exists(name), f"{document.name}: {name}"


def exists(name):
    """Whether a dotted name is a module of the package (importable here or not), or an attribute of one."""
    if name == "gpuanom.kernels":
        return True
    parts = name.split(".")
    n = len(parts)
    while n > 1 and not ((ROOT / Path(*parts[:n])).is_dir() or (ROOT / Path(*parts[:n])).with_suffix(".py").exists()):
        n -= 1
    if n == len(parts):
        return True
    found = importlib.import_module(".".join(parts[:n]))
    for part in parts[n:]:
        if not hasattr(found, part):
            return False
        found = getattr(found, part)
    return True


def test_a_name_that_does_not_exist_is_noticed():
    assert exists("gpuanom.score")
    assert exists("gpuanom.fits.discover.discover")
    assert not exists("gpuanom.scored")
    assert not exists("gpuanom.fits.words")


def test_files_of_the_architecture_exist():
    """The tables of docs/architecture.md name files relative to the folder in their heading, or by full paths."""
    text = text_of(ROOT / "docs" / "architecture.md")
    parts = re.split(r"^### (.*)$", text, flags=re.MULTILINE)
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        folders = [ROOT / folder for folder in re.findall(r"`([\w/]+)/`", heading)]
        for row in re.findall(r"^\|.*\|$", body.split("\n## ")[0], flags=re.MULTILINE):
            for name in re.findall(r"`([\w/]+(?:\.py|/))`", row):
                places = [folder / name for folder in (*folders, ROOT / "gpuanom", ROOT)]
                assert any(place.exists() for place in places), f"{heading}: {name}"
    decided = text.split("\n## Where things are decided\n")[1].split("\n## ")[0]
    names = re.findall(r"`([\w/]+/\w+\.(?:py|cuh?))`", decided + text_of(ROOT / "CONTRIBUTING.md"))
    assert len(names) > 30
    for name in names:
        assert "WORD" in name or (ROOT / "gpuanom" / name).exists() or (ROOT / name).exists(), name
    # Conversely, every folder of the package is named.
    headings = " ".join(parts[1::2])
    for folder in (ROOT / "gpuanom").iterdir():
        if (folder / "__init__.py").exists() and folder.name != "data":
            assert f"`gpuanom/{folder.name}/`" in headings, f"docs/architecture.md leaves {folder.name} out"


def test_the_tutorial_has_ten_cells_and_keeps_no_output():
    notebook = json.loads(text_of(ROOT / "docs" / "tutorial.ipynb"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) == 10
    program = "".join("".join(cell["source"]) for cell in cells)
    (n_exposures,) = re.findall(r"exposures=(\d+)", program)
    assert int(n_exposures) >= gpuanom.Settings().verdict_exposures  # the list at the end goes by verdicts
    assert 'row["verdict"] == "bad"' in program
    for cell in cells:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        compile("".join(cell["source"]), "tutorial.ipynb", "exec")


def test_every_page_of_the_site_exists():
    text = text_of(ROOT / "mkdocs.yml")
    pages = re.findall(r": ([\w/-]+\.(?:md|ipynb))$", text, flags=re.MULTILINE)
    assert len(pages) > 10
    for page in pages:
        assert (ROOT / "docs" / page).exists() or (ROOT / page).exists(), page
    # Every page of docs/ is in the navigation.
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= set(pages)
