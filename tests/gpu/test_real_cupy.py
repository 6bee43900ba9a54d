"""The messages on machines without a usable GPU, from the real CuPy and an imitation of the driver."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests import device

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("GPUANOM_CUPY_PYTHON", sys.executable)
FACTS = """
import json, sys
try:
    import cupy
    driver = cupy.cuda.runtime.driverGetVersion()
    print(json.dumps([driver, cupy.cuda.runtime.runtimeGetVersion(), *sys.version_info[:2]]))
except Exception as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"""


def facts():
    """The CUDA versions of the imitated driver and of CuPy, where these tests can run."""
    done = subprocess.run([PYTHON, "-I", "-c", FACTS], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    if isinstance(found, str):
        pytest.skip(f"needs the real CuPy: pip install cupy-cuda12x (or 13x), or GPUANOM_CUPY_PYTHON ({found})")
    driver, built, *version = found
    if driver:
        pytest.skip("there is an NVIDIA driver")
    if tuple(version) != sys.version_info[:2]:
        pytest.skip("the Python with the real CuPy is of another version than this one")
    return built


@pytest.fixture(scope="module")
def built():
    return facts()


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The folder with the imitation of the driver."""
    device.require_compiler()
    folder = tmp_path_factory.mktemp("driver")
    source = Path(__file__).with_name("libcuda.c")
    command = [shutil.which("g++"), "-x", "c", "-std=c11", "-w", "-shared", "-fPIC", str(source)]
    subprocess.run([*command, "-o", str(folder / "libcuda.so.1")], check=True)
    return folder


def gpuanom(*arguments, **environment):
    # Its own packages where there are some, this Python's for what it lacks.
    path = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
    kept = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "PYTHONPATH")}
    done = subprocess.run(
        [PYTHON, "-m", "gpuanom", *arguments],
        env={**kept, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def finding(done, name):
    return next(f for f in json.loads(done.stdout)["software"] if f["name"] == name)


def test_no_driver(built):
    done = gpuanom("doctor", "--json")
    assert done.returncode == 0
    assert finding(done, "NVIDIA driver")["state"] == "absent"
    assert finding(done, "CuPy")["state"] == "ok"
    done = gpuanom("score", "nowhere", "-o", "nowhere", "--device", "0")
    assert done.returncode == 2
    assert "there is no NVIDIA driver (install it" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("driver", "status", "state", "text", "remedy"),
    [
        pytest.param("11040", 100, "broken", "supports CUDA 11.4", "update the driver", marks=pytest.mark.proof),
        ("same", 100, "absent", "the NVIDIA driver finds no GPU", "nvidia-smi"),
        ("same", 999, "broken", "cudaErrorUnknown", "reboot"),
        pytest.param("same", 803, "broken", "cudaErrorSystemDriverMismatch", "reboot", marks=pytest.mark.proof),
        pytest.param("13050", 100, "absent", "the NVIDIA driver finds no GPU", "nvidia-smi", marks=pytest.mark.proof),
        ("older", 100, "broken", "CuPy is built for CUDA", "pip uninstall cupy-cuda13x"),
    ],
)
def test_a_driver_without_a_usable_gpu(built, library, driver, status, state, text, remedy):
    if driver == "older" and built < 13000:
        pytest.skip("needs CuPy for CUDA 13")
    cuda = {"same": built, "older": built // 1000 * 1000 - 960}.get(driver, driver)
    stub = {"LD_LIBRARY_PATH": str(library), "STUB_CUDA": str(cuda), "STUB_INIT": str(status)}
    done = gpuanom("doctor", "--json", **stub)
    found = finding(done, "NVIDIA driver")
    assert found["state"] == state
    assert text in found["text"]
    assert remedy in found["remedy"]
    assert done.returncode == (0 if state == "absent" else 1)
    done = gpuanom("score", "nowhere", "-o", "nowhere", "--device", "0", **stub)
    assert done.returncode == 2
    assert text in done.stderr
    assert remedy in done.stderr
    assert done.stderr.count("\n") == 1
