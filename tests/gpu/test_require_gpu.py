"""`pytest --require-gpu` ends with one line without a GPU; with one (here a copy of the stand-in) the tests run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpuanom import nvidia
from tests import device

ROOT = Path(__file__).parents[2]
# The folder is the last entry of the path of the new process: its modules are found, and hide no others.
PYTEST = "import sys; sys.path.append(sys.argv.pop(1)); import pytest; sys.exit(pytest.main(sys.argv[1:]))"


def run(folder, *arguments):
    """Run the tests in a new process, which takes CuPy from `folder` if it has none."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "GPUANOM_DEVICE_", "PYTHONPATH"))}
    command = [sys.executable, "-c", PYTEST, str(folder), "-p", "no:cacheprovider", "--require-gpu", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def refused(done):
    """The only line of output, which says why nothing was run."""
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, done.stdout
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line]
    return line


def has_cupy():
    return subprocess.run([sys.executable, "-P", "-c", "import cupy"], capture_output=True, cwd="/").returncode == 0


@pytest.fixture(autouse=True)
def no_card():
    """These tests are about machines without a card."""
    if device.is_off():
        pytest.skip(device.ABOUT_IT)


@pytest.mark.parametrize("workers", [pytest.param("0", marks=pytest.mark.proof), "2"])
def test_without_cupy(tmp_path, workers):
    if has_cupy():
        pytest.skip("CuPy is installed beside these tests")
    said = refused(run(tmp_path, "-n", workers, "tests/steps/test_histogram.py"))
    expected = "CuPy is not installed (" if nvidia.driver_cuda() else "there is no NVIDIA driver (install it"
    assert said.startswith(f"ERROR: --require-gpu: device '0': {expected}")


def test_without_a_gpu():
    """The real CuPy on a machine without a driver."""
    python = os.environ.get("GPUANOM_CUPY_PYTHON", sys.executable)
    ask = "import cupy, sys; print(cupy.__path__[0]); sys.exit(cupy.is_available())"
    asked = subprocess.run([python, "-I", "-c", ask], capture_output=True, text=True, check=False)
    if not asked.stdout:
        pytest.skip("needs the real CuPy: pip install cupy-cuda12x (or 13x), or GPUANOM_CUPY_PYTHON names a Python")
    if asked.returncode:
        pytest.skip("there is a GPU here: pytest --require-gpu")
    said = refused(run(Path(asked.stdout.strip()).parent, "-n", "2", "tests/steps/test_histogram.py"))
    assert re.match("ERROR: --require-gpu: .*(driver|GPU)", said), said


def test_the_test_device_is_no_gpu():
    said = refused(run(ROOT / "tests" / "device", "-n", "0", "tests/steps/test_histogram.py"))
    assert said == f"ERROR: --require-gpu: CuPy is the test device's: {ROOT / 'tests' / 'device'} is on the path"


def test_with_a_gpu_the_same_tests_run_on_it(tmp_path):
    """A copy of the stand-in takes the place of the real CuPy; no module of the test device may be loaded beside it."""
    device.require_compiler()
    for name in ("cupy", "cupyx", "cpudevice"):
        shutil.copytree(ROOT / "tests" / "device" / name, tmp_path / name)
    check = tmp_path / "no_stand_in.py"
    check.write_text(
        "import sys\n"
        "from tests import device\n"
        "def pytest_runtest_teardown():\n"
        f"    assert sys.modules['cupy'].__file__.startswith({str(tmp_path)!r})\n"
        "    assert str(device.HERE) not in sys.path\n"
    )
    tests = ["tests/steps/test_histogram.py", "tests/gpu/test_card.py", "tests/device/test_mistakes.py"]
    # Repeated runs on large images are left to a card, which is faster.
    chosen = "right_closed or librarys or after_a_mistake"
    done = run(tmp_path, "-p", "no_stand_in", "-n", "1", "-v", *tests, "-k", chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--require-gpu: the tests run on gpu 0" in done.stdout
    assert re.search(r"PASSED tests/steps/test_histogram.py::test_bins_are_right\w+\[gpu\]", done.stdout)
    assert re.search(r"PASSED tests/gpu/test_card.py::test_gradients_are", done.stdout)
    assert device.ABOUT_IT in done.stdout


def test_without_the_option_a_cards_own_tests_are_skipped_with_the_reason():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "tests/gpu/test_card.py", "-m", "card"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"SKIPPED \[\d\] tests/gpu/test_card.py:\d+: needs a real GPU: pytest --require-gpu", done.stdout)
    assert " passed" not in done.stdout
