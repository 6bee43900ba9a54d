"""The script of docs/commands.md for a job every night is run: twice for one night, and where nothing can be done."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gpuanom
from tests import nights

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "commands.md").read_text()
(SCRIPT,) = re.findall(r"<!-- script: nightly.sh -->\n```sh\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def nightly(tmp_path, monkeypatch):
    """Run the script for a night, with the test's folder in place of /data; return its exit code and output."""
    pytest.importorskip("matplotlib")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "gpuanom"
    command.write_text(f'#!/bin/bash\nexec "{sys.executable}" -m gpuanom "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(command.parent), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    script = tmp_path / "nightly.sh"
    script.write_text(SCRIPT.replace("/data", str(tmp_path)))

    def run(night):
        done = subprocess.run(["bash", script, night], capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def test_the_nightly_script_does_a_night_and_may_be_repeated(nightly, tmp_path):
    nights.night(tmp_path / "2026-01-01", exposures=3)
    nights.night(tmp_path / "2026-01-02", exposures=3, **{"DATE-OBS": "2026-01-03T03:04:05"})
    (tmp_path / "2026-01-02" / "bad.fits").write_text("no FITS")
    head = "exposure,camera,band,cause,evidence,file\n"
    assert nightly("2026-01-01") == (0, head, "")
    for _ in range(2):
        code, out, err = nightly("2026-01-02")
        assert (code, out) == (1, head)
        assert err.splitlines() == [
            f"failed {tmp_path / '2026-01-02' / 'bad.fits'}: not a FITS file (leave it out of the input)"
        ]
    assert (tmp_path / "scored-nights" / "2026-01-02" / "report.html").exists()
    assert (tmp_path / "scored-nights" / "history.html").exists()
    assert gpuanom.open_night(tmp_path / "survey").tables.exposures["status"].tolist().count("ok") == 6


def test_the_nightly_script_ends_where_nothing_can_be_done(nightly, tmp_path):
    code, out, err = nightly("2026-01-01")
    assert (code, out) == (2, "")
    assert "no exposure among the inputs" in err
    assert not (tmp_path / "survey").exists()
