"""README and docs: the examples run, the lists are complete, and the commands are those that the gate runs."""

from __future__ import annotations

import doctest
import importlib.util
import re
from pathlib import Path

import click
import pytest

from gpuanom.cli import cli
from gpuanom.scoring.judged.judged_statistics import EVERY, TYPICAL, WORST
from gpuanom.settings import Settings
from gpuanom.statistics.spectrum import BANDS, EDGES
from gpuanom.tables.columns import (
    AUTOENCODER_COLUMNS,
    CCD_COLUMNS,
    CCD_VERDICT_COLUMNS,
    EXPOSURE_COLUMNS,
    SOURCE_COLUMNS,
    VERDICT_COLUMNS,
)
from gpuanom.tables.statistic_columns import CCD_STATISTIC_COLUMNS, EXPOSURE_STATISTIC_COLUMNS

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
    of_statistics = (*EXPOSURE_STATISTIC_COLUMNS, *CCD_STATISTIC_COLUMNS, *VERDICT_COLUMNS, *CCD_VERDICT_COLUMNS)
    for column in (*EXPOSURE_COLUMNS, *AUTOENCODER_COLUMNS, *CCD_COLUMNS, *SOURCE_COLUMNS, *of_statistics):
        assert f"| `{column.name}` | {column.unit} | {column.description} |" in text


def test_every_status_is_documented():
    text = (ROOT / "docs" / "tables.md").read_text()
    sources = "\n".join(path.read_text() for path in (ROOT / "gpuanom").rglob("*.py"))
    for status in set(re.findall(r'status="(\w+)"', sources)):
        assert f"`{status}`" in text, status


def commands():
    """Every `gpuanom` command in the documents and help texts, with the file that contains the command."""
    paths = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "gpuanom" / "cli").glob("*.py")]
    for path in paths:
        for line in path.read_text().splitlines():
            for command in re.findall(r"gpuanom (?:[a-z]+) [^#`|]*", line):
                yield path.name, command


def test_images_are_in_night_and_scores_in_scored():
    looked = "reference|merge|report|show|label|evaluate|export|train"
    for name, command in commands():
        said = f"{name}: {command}"
        assert not re.match(rf"gpuanom ({looked}) (to|other-)?night\b", command), said
        if not command.startswith("gpuanom simulate"):
            assert not re.search(r"(-o|--output) (to)?night\b", command), said
    assert len(list(commands())) > 60


def test_a_scored_night_has_one_name_in_the_help_of_every_command():
    takes = {"reference", "merge", "report", "show", "label", "evaluate", "export", "train"}
    for name in takes:
        (argument, *_) = [p for p in cli.commands[name].params if isinstance(p, click.Argument)]
        assert argument.metavar in ("SCORED", "SCORED..."), name
    for name, command in cli.commands.items():
        assert "NIGHT" not in command.get_help(click.Context(command)).replace("GPUANOM_NIGHT", ""), name


def test_the_gate_finds_both_commands():
    text = (ROOT / "README.md").read_text()
    for mark, ends in (("first", "score night --output scored"), ("test", ".venv/bin/pytest")):
        (command,) = re.findall(rf"<!-- {mark} command -->\n```sh\n(.*)\n```", text)
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install")
        assert command.endswith(ends)
        assert f"command_of {mark}" in (ROOT / ".ci" / "run").read_text()


def test_pytorch_for_cpus_is_named_before_the_commands_that_need_pytorch():
    line = "pip install torch"
    text = (ROOT / "README.md").read_text()
    assert -1 < text.index(f"{line}==2.13.0 --index-url") < text.index("<!-- test command -->")
    for path in (ROOT / "README.md", ROOT / "docs" / "autoencoder.md"):
        text = path.read_text()
        assert (
            -1
            < text.index(f"{line} --index-url https://download.pytorch.org/whl/cpu")
            < text.index("gpuanom train scored")
        )


def test_links_of_the_documents_lead_somewhere():
    folders = ("docs", "profiling", "profiling/log")
    for document in (*ROOT.glob("*.md"), *(page for folder in folders for page in (ROOT / folder).glob("*.md"))):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_conclusions_of_the_validation_follow_from_its_results():
    """The table at the top of docs/validation.md follows from the results in profiling/results."""
    spec = importlib.util.spec_from_file_location("conclusions", ROOT / "profiling" / "validation_conclusions.py")
    conclusions = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conclusions)
    lines = (ROOT / "profiling" / "results" / "validation.md").read_text().splitlines()
    header, _, *rows = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    table, strengths = {}, {}
    for name, strength, *cells in rows:
        strengths.setdefault(name, []).append(float(strength))
        found = [tuple(map(float, cell.split())) for cell in cells]
        table[name, len(strengths[name]) - 1] = {
            column: (at_1 / 100, at_5 / 100, area) for column, (at_1, at_5, area) in zip(header[2:], found, strict=True)
        }
    assert len(table) == 132
    assert conclusions.found_from(table, strengths) in (ROOT / "docs" / "validation.md").read_text()


def test_every_name_that_score_can_give_is_explained():
    text = (ROOT / "docs" / "tables.md").read_text()
    part = text.partition("a statistic of the verdict.")[2].partition("The exposure itself")[0]
    columns = {c.name for c in (*EXPOSURE_COLUMNS, *EXPOSURE_STATISTIC_COLUMNS, *CCD_COLUMNS, *CCD_STATISTIC_COLUMNS)}
    explained = columns | set(re.findall(r"`([a-z0-9_]+)`", part))
    for name in (judged.name for judged in EVERY):
        base = re.sub("_(worst|typical)_ccd$", "", name)
        known = base in explained or re.fullmatch(r"stripe_power_\d+", base) or name.endswith(f"_off{WORST}")
        assert known, name
    assert all(f"ending in `{end}`" in part for end in (WORST, TYPICAL, f"_off{WORST}"))
    assert f"`stripe_power_{BANDS - 1}`" in part
    edges = re.search(r"one band of periods: ([^|]*) \|", part)[1]
    assert [float(number) for number in re.findall(r"\d+(?:\.\d+)?", edges)] == list(EDGES)
