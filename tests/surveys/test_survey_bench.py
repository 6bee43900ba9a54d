"""The benchmark of a survey's tables names functions of the package: a function that was renamed would end the run."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

PROFILING = Path(__file__).parents[2] / "profiling"


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.syspath_prepend(str(PROFILING))
    yield importlib.import_module("bench_scores").PARTS
    for name in ("bench_scores", "synthetic_survey"):
        sys.modules.pop(name, None)


def test_every_part_names_functions_that_are_there(parts):
    named = [(where, name) for functions in parts.values() for where, names in functions for name in names]
    assert len(named) > 10
    for where, name in named:
        module, _, owner = where.partition(":")
        holder = importlib.import_module(module)
        assert callable(getattr(getattr(holder, owner) if owner else holder, name)), (where, name)
