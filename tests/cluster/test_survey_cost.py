"""What docs/cluster.md says of a survey's cost follows from the measured parts."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

PROFILING = Path(__file__).parents[2] / "profiling"


@pytest.fixture(scope="module")
def script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROFILING)
        yield importlib.import_module("survey_cost")


def rows(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_the_arithmetic(script):
    """17,112 exposures of 0.1 s and 100 MB; the client stores 100 of them a second."""
    made = script.Parts("card", exposure=0.1, start=3.0, scoring=20.0, megabytes=100.0, client=100.0, load="0.0")
    found = {row[0]: row[1:] for row in rows(script.page(made))}
    assert found["1"] == ["10", "28.5 min", "1.0 GB/s", "2.9 min", "28.9 min", "the GPUs"]
    assert found["4"] == ["40", "7.1 min", "4.0 GB/s", "2.9 min", "7.5 min", "the GPUs"]
    assert found["32"] == ["320", "53 s", "32.0 GB/s", "2.9 min", "3.2 min", "the one client"]
    assert found["1 GB/s"] == ["28.5 min", "1.0"]
    assert found["100 GB/s"] == ["17 s", "100.0"]


def test_the_page_follows_from_the_results(script):
    """Where this fails, a part was measured again: `python profiling/survey_cost.py --write` mends the page."""
    text = script.PAGE.read_text()
    assert script.with_page(text, script.page(script.parts())) == text
