"""The page on what each cause means: its examples are scored anew, since changes of the verdict change them, too."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from gpuanom.review.opened import open_night

ROOT = Path(__file__).parent.parent


@pytest.mark.proof
def test_the_page_says_what_the_verdict_says_of_its_examples(tmp_path, monkeypatch):
    """The page is written by profiling/cause_page.py, with the pictures of the exposures that are scored here."""
    pytest.importorskip("galsim")
    pytest.importorskip("PIL")
    monkeypatch.syspath_prepend(str(ROOT / "profiling"))
    names = "cause_page", "cause_night", "cause_examples"
    page, night, examples = (importlib.import_module(name) for name in names)
    try:
        scored = open_night(night.scored(tmp_path, examples.EXAMPLES.values()))
        written = (ROOT / "docs" / "what-the-picture-means.md").read_text(encoding="utf-8")
        assert page.text(scored).splitlines() == written.splitlines()
    finally:
        for name in names:
            sys.modules.pop(name, None)
