"""The real CuPy, which can be imported without a GPU, has every name that the stand-in offers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.device import environment

NAMES = Path(__file__).parent / "names.py"


def _real_python():
    """An interpreter with the real CuPy: this interpreter, or the one in GPUANOM_CUPY_PYTHON."""
    python = os.environ.get("GPUANOM_CUPY_PYTHON", sys.executable)
    # In another folder and without PYTHONPATH, so that the stand-in is not found.
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    tried = subprocess.run([python, "-P", "-c", "import cupy"], env=env, capture_output=True, text=True, cwd="/")
    if "No module named 'cupy'" in tried.stderr:
        pytest.skip("CuPy is not installed (pip install cupy-cuda12x, or GPUANOM_CUPY_PYTHON names an interpreter)")
    assert tried.returncode == 0, tried.stderr
    return python, env


def test_real_cupy_has_every_name():
    python, env = _real_python()
    names = subprocess.run(
        [sys.executable, str(NAMES), "offered"], env=environment(), capture_output=True, text=True, check=True
    ).stdout
    assert len(names.split("\n")) > 150
    code = f"import runpy, sys; sys.argv = ['names', 'lacks']; runpy.run_path({str(NAMES)!r}, run_name='__main__')"
    done = subprocess.run([python, "-P", "-c", code], env=env, input=names, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", f"the real CuPy lacks: {done.stdout}"
