"""The verdicts that README and docs print are those that the commands beside them print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FIRST_COMMAND = "GPUANOM_FIRST_COMMAND"


def printed(folder, *arguments):
    """What a command prints in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "gpuanom", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout + done.stderr


def lines(text, pattern):
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if re.search(pattern, line)]


def test_the_tour_prints_the_verdicts_of_its_night(tmp_path):
    """README's tour, which docs/reading-scores.md goes on with.

    The gate has just run the README's first command, and names the file with all that was printed.
    """
    pytest.importorskip("galsim")
    if FIRST_COMMAND in os.environ:
        text = Path(os.environ[FIRST_COMMAND]).read_text()
    else:
        text = printed(tmp_path, "simulate", "night") + printed(tmp_path, "score", "night", "--output", "scored")
    drawn, found = (lines(text, of) for of in (r"anomalous:$|^ +exposure \d+, band", r"^verdicts:|^ (bad|check) "))
    readme = (ROOT / "README.md").read_text()
    assert len(drawn) == len(found) == 4
    assert drawn == lines(readme, r"^\d+ exposures in night|^  exposure \d+, band")
    for path in ("README.md", "docs/reading-scores.md"):
        assert lines((ROOT / path).read_text(), r"^verdicts:|^ (bad|check) ") == found, path


def test_the_page_of_watch_prints_its_alerts(tmp_path):
    pytest.importorskip("galsim")
    printed(tmp_path, "simulate", "tonight", "--exposures", "24", "--bands", "r")
    text = printed(tmp_path, "watch", "tonight", "-o", "scored-tonight", "--once", "--settle", "0")
    page = (ROOT / "docs" / "watch.md").read_text()

    def alerts(text):
        # On a busy machine the exposures are ranked in smaller parts, and a deviation is among those so far.
        found = lines(text, r"^ALERT .*\d\d:\d\d:\d\d")
        return sorted(re.sub(r"\d\d:\d\d:\d\d |(?<=deviation )[\d.]+", "", line) for line in found)

    assert alerts(page) == alerts(text)
    assert len(alerts(page)) == 3
