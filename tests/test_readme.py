"""README and docs: the examples run, the lists are complete, the commands are those that the gate runs."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from gpuanom.columns import AUTOENCODER_COLUMNS, CCD_COLUMNS, EXPOSURE_COLUMNS
from gpuanom.settings import Settings

ROOT = Path(__file__).parent.parent


def test_examples_of_the_readme_run():
    blocks = re.findall(r"```pycon\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    assert blocks
    pytest.importorskip("galsim")
    runner, names = doctest.DocTestRunner(), {}
    for i, block in enumerate(blocks):
        test = doctest.DocTestParser().get_doctest(block, names, f"README {i}", "README.md", 0)
        runner.run(test, clear_globs=False)
        names = test.globs
    assert runner.summarize().failed == 0
    assert runner.tries > 5


def test_examples_of_the_docstrings_run():
    import gpuanom.api

    assert doctest.testmod(gpuanom.api).failed == 0


def test_settings_file_of_the_readme_is_one(tmp_path):
    block = re.search(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    path = tmp_path / "my.toml"
    path.write_text(block.group(1))
    assert Settings.from_toml(path).cameras[0].name == "mycam"


def test_tables_are_documented():
    text = (ROOT / "docs" / "tables.md").read_text()
    for column in (*EXPOSURE_COLUMNS, *AUTOENCODER_COLUMNS, *CCD_COLUMNS):
        assert f"| `{column.name}` | {column.unit} | {column.description} |" in text


def test_every_status_is_documented():
    text = (ROOT / "docs" / "tables.md").read_text()
    sources = "\n".join(path.read_text() for path in (ROOT / "gpuanom").rglob("*.py"))
    for status in set(re.findall(r'status="(\w+)"', sources)):
        assert f"`{status}`" in text, status


def test_links_of_the_documents_lead_somewhere():
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "profiling").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"
