"""A GPU that cannot be used: each cause gives one line that names the remedy, and `auto` then takes the CPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gpuanom import installing
from gpuanom.backends.choice import choose, select, why_no_cupy
from gpuanom.errors import DeviceError
from tests import device
from tests.gpu.machine import CudaError, Machine, driver

ROOT = Path(__file__).parents[2]


@pytest.fixture
def machine(monkeypatch):
    """A machine with a usable GPU, until the test takes something away; CuPy or the stand-in is imported."""
    with device.installed():
        yield Machine(monkeypatch)


def refused(name="0"):
    """The message for an unusable device: one line, with a remedy in brackets. `auto` gives the same reason."""
    with pytest.raises(DeviceError) as raised:
        select(name)
    message = str(raised.value)
    assert message.isprintable()
    assert message.endswith(")")
    backends, about = choose("auto")
    assert [backend.name for backend in backends] == ["cpu"]
    assert about in (f"cpu, because {message}", "cpu (no NVIDIA GPU found)")
    return message


def test_a_gpu_that_can_be_used(gpu):
    assert gpu.name == "gpu"


def test_the_machine_of_these_tests_can_be_used(machine):
    assert choose("auto")[1] == "gpu 0, A card of the tests"


def test_no_driver(machine):
    machine.without_driver()
    message = refused()
    assert "there is no NVIDIA driver (install it" in message
    assert "--device cpu" in message
    # No GPU was asked for: a laptop without one needs no line about what is missing.
    assert choose("auto")[1] == "cpu (no NVIDIA GPU found)"


def test_a_driver_without_its_library(machine):
    machine.without_driver()
    machine.kernel_module("550.54.15")
    message = refused()
    assert "driver 550.54.15 runs, its libcuda.so.1 is not found" in message
    assert "--gpus all" in message


def test_cupy_of_a_newer_cuda_than_the_driver(machine):
    machine.answers(n_devices=CudaError("cudaErrorInsufficientDriver: something that CUDA says", 35))
    machine.answers(driver_supports=12040, built_for=13020)
    message = refused()
    assert "CuPy is built for CUDA 13.2, the NVIDIA driver supports CUDA 12.4" in message
    assert f"{installing.uninstall('cupy-cuda13x')}, then {installing.install('cuda12')}; or update" in message


def test_a_driver_older_than_any_cupy(machine):
    machine.answers(n_devices=CudaError("cudaErrorInsufficientDriver: something that CUDA says", 35))
    machine.answers(driver_supports=11040)
    assert "supports CUDA 11.4, CuPy needs 12.9 (update the driver)" in refused()


def test_cupy_of_an_older_cuda_than_the_driver_is_well(machine):
    machine.answers(driver_supports=13000)
    assert choose("auto")[1] == "gpu 0, A card of the tests"


@pytest.mark.parametrize("visible", [None, "", "-1"])
def test_no_gpu(machine, monkeypatch, visible):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    machine.answers(n_devices=CudaError("cudaErrorNoDevice: something that CUDA says", 100))
    message = refused()
    assert "the NVIDIA driver finds no GPU" in message
    assert (f"CUDA_VISIBLE_DEVICES is '{visible}'" in message) == (visible is not None)
    machine.answers(n_devices=0)
    assert refused() == message


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (802, "systemctl start nvidia-fabricmanager"),
        (803, "reboot"),
        (804, "LD_LIBRARY_PATH"),
        (999, "nvidia-smi"),
        (12345, "nvidia-smi"),
    ],
)
def test_a_driver_that_does_not_work(machine, status, remedy):
    machine.answers(n_devices=CudaError("cudaErrorOther: something that CUDA says", status))
    message = refused()
    assert "cudaErrorOther: something that CUDA says" in message
    assert remedy in message


@pytest.mark.parametrize(("status", "remedy"), [(2, "memory is full"), (46, "reserved for another process")])
def test_a_gpu_that_does_not_answer(machine, status, remedy):
    machine.answers(memory=CudaError("cudaErrorOther: something that CUDA says", status))
    message = refused()
    assert message.startswith("device '0': cudaErrorOther")
    assert remedy in message


def test_a_card_that_is_too_old(machine):
    machine.has_card(major=6, minor=1)
    assert "compute capability 6.1 is below 7.0 (use --device cpu)" in refused()


def test_no_compiler(machine):
    machine.answers(compiler=RuntimeError("CuPy failed to load libnvrtc.so.12:\nOSError"))
    message = refused()
    assert "NVRTC cannot be loaded: CuPy failed to load libnvrtc.so.12: OSError" in message
    assert message.endswith(f"({installing.install('cuda12')})")


def test_a_compiler_of_a_newer_cuda_than_the_driver(machine):
    machine.answers(compiler=(13, 0))
    message = refused()
    assert "NVRTC is of CUDA 13.0, the NVIDIA driver of CUDA 12.9" in message
    assert "pip install" in message


def test_a_compiler_that_has_forgotten_the_card(machine):
    machine.of_cuda_13()
    machine.has_card(major=7, minor=0)
    message = refused()
    assert "NVRTC 13.0 does not compile for compute capability 7.0 any more" in message
    assert message.endswith(f"({installing.uninstall('cupy-cuda13x')}, then {installing.install('cuda12')})")


def test_what_a_compiler_has_forgotten_matters_only_where_there_is_such_a_card(machine):
    """Seen on an H200 with CUDA 13: gpuanom advised to uninstall the right CuPy."""
    from gpuanom.backends.gpu import devices

    machine.of_cuda_13()
    assert choose("auto")[1] == "gpu 0, NVIDIA H200"
    assert devices.check_compiler() == (13, 0)


def test_remedies_on_cuda_13_are_of_cuda_13(machine):
    machine.of_cuda_13()
    machine.answers(compiler=RuntimeError("CuPy failed to load libnvrtc.so.13"))
    assert refused().endswith(f"({installing.install('cuda13')})")
    machine.answers(driver_supports=14010, built_for=14010)  # there is no extra for this version of CUDA yet
    assert installing.install("cuda13") in refused()


def test_no_headers(machine):
    """The wheels of CuPy and NVRTC are not enough: seen with CuPy 14.2 and nvidia-cuda-nvrtc-cu12 alone."""
    machine.answers(compile_nothing=RuntimeError("Failed to find CUDA headers. Please install CUDA toolkit headers"))
    message = refused()
    assert "no kernel can be compiled: Failed to find CUDA headers." in message
    assert message.endswith(f"({installing.install('cuda12')})")


def test_a_cache_that_cannot_be_written(machine):
    machine.answers(compile_nothing=PermissionError(13, "Permission denied", "/home/someone/.cupy/kernel_cache"))
    message = refused()
    assert "Permission denied: '/home/someone/.cupy/kernel_cache'" in message
    assert message.endswith("(set CUPY_CACHE_DIR to a folder that can be written)")


def test_no_such_gpu(machine):
    with pytest.raises(DeviceError, match="device '3': no such GPU, of 1 counted from 0"):
        select("3")


# Machines without CuPy


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    for name in [name for name in list(sys.modules) if name.startswith("gpuanom.backends.gpu")]:
        monkeypatch.delitem(sys.modules, name)
    if hasattr(sys.modules["gpuanom"], "gpu"):
        monkeypatch.delattr(sys.modules["gpuanom"], "gpu")


def test_without_a_driver_no_line_speaks_of_cupy(no_cupy, monkeypatch):
    driver(monkeypatch)
    assert choose("auto")[1] == "cpu (no NVIDIA GPU found)"
    with pytest.raises(DeviceError, match=r"device '0': there is no NVIDIA driver \(install it"):
        select("0")


def test_a_driver_without_a_gpu_is_no_reason_for_cupy(no_cupy, monkeypatch):
    driver(monkeypatch, cuda=12040)
    assert choose("auto")[1] == "cpu (no NVIDIA GPU found)"


@pytest.mark.parametrize(
    ("cuda", "extra"), [(11080, "cuda12"), (12040, "cuda12"), (13000, "cuda13"), (14020, "cuda13")]
)
def test_no_cupy_beside_a_gpu(no_cupy, monkeypatch, cuda, extra):
    driver(monkeypatch, cuda=cuda, gpus=1, version="580.65.06")
    expected = f"device '0': CuPy is not installed ({installing.install(extra)})"
    assert choose("auto")[1] == f"cpu, because {expected}"
    with pytest.raises(DeviceError) as raised:
        select("0")
    assert str(raised.value) == expected


def test_a_cupy_that_cannot_be_loaded(tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('''\n=====\nadvice\n\nOriginal error:\n  it is broken''')")
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
        "from gpuanom.backends.choice import select\n"
        "try: select('0')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("DeviceError device '0': CuPy cannot be loaded: it is broken (uninstall all cupy")


def test_whatever_an_import_raises_is_told_in_a_line():
    message = why_no_cupy(ValueError("numpy.dtype size changed,\nmay indicate binary incompatibility"))
    assert message.startswith("CuPy cannot be loaded: numpy.dtype size changed, may indicate")
