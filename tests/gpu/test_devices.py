"""A GPU that cannot be used: each cause is one line that names the remedy, and `auto` then takes the CPU."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from gpuanom.backend import choose, select, why_no_cupy
from gpuanom.errors import DeviceError
from tests import device


@pytest.fixture
def cuda(monkeypatch):
    """Parts of the stand-in's `cupy.cuda`, and a way to have one of its functions give or raise something else."""
    with device.installed():
        import cupy

        from gpuanom.gpu import devices

        monkeypatch.setattr(devices, "driver_version", str)

        def change(where, name, result):
            def changed(*_):
                if isinstance(result, Exception):
                    raise result
                return result

            monkeypatch.setattr(getattr(cupy.cuda, where), name, changed)

        def fails_to_compile(error):
            def fail(_):
                raise error

            monkeypatch.setattr(cupy.RawKernel, "compile", fail)

        yield SimpleNamespace(
            runtime=cupy.cuda.runtime, Device=cupy.cuda.Device, change=change, fails_to_compile=fails_to_compile
        )


def error(cuda, name, status):
    return cuda.runtime.CUDARuntimeError(f"{name}: something that CUDA says", status)


def refused(name="0"):
    """The message for a device that cannot be used: one line with a remedy in brackets, and the reason of `auto`."""
    with pytest.raises(DeviceError) as raised:
        select(name)
    message = str(raised.value)
    assert message.isprintable()
    assert message.endswith(")")
    backends, about = choose("auto")
    assert [backend.name for backend in backends] == ["cpu"]
    assert about.startswith("cpu, because ")
    return message


def test_a_gpu_that_can_be_used(cuda):
    assert select("0").name == "gpu"


def test_no_driver(cuda):
    cuda.change("runtime", "getDeviceCount", error(cuda, "cudaErrorInsufficientDriver", 35))
    cuda.change("runtime", "driverGetVersion", 0)
    message = refused()
    assert "there is no NVIDIA driver (install it" in message
    assert "--device cpu" in message


def test_a_driver_without_its_library(cuda, monkeypatch):
    from gpuanom.gpu import devices

    cuda.change("runtime", "getDeviceCount", error(cuda, "cudaErrorInsufficientDriver", 35))
    cuda.change("runtime", "driverGetVersion", 0)
    monkeypatch.setattr(devices, "driver_version", lambda: "550.54.15")
    message = refused()
    assert "driver 550.54.15 runs, its libcuda.so.1 is not found" in message
    assert "--gpus all" in message


def test_cupy_of_a_newer_cuda_than_the_driver(cuda):
    cuda.change("runtime", "getDeviceCount", error(cuda, "cudaErrorInsufficientDriver", 35))
    cuda.change("runtime", "driverGetVersion", 12040)
    cuda.change("runtime", "runtimeGetVersion", 13020)
    message = refused()
    assert "CuPy is built for CUDA 13.2, the NVIDIA driver supports CUDA 12.4" in message
    assert "pip uninstall cupy-cuda13x, then pip install 'gpuanom[cuda12]'" in message


def test_a_driver_older_than_any_cupy(cuda):
    cuda.change("runtime", "getDeviceCount", error(cuda, "cudaErrorInsufficientDriver", 35))
    cuda.change("runtime", "driverGetVersion", 11040)
    assert "supports CUDA 11.4, CuPy needs 12.9 (update the driver)" in refused()


def test_cupy_of_an_older_cuda_than_the_driver_is_well(cuda):
    cuda.change("runtime", "driverGetVersion", 13000)
    assert select("0").name == "gpu"


@pytest.mark.parametrize("visible", [None, "", "-1"])
def test_no_gpu(cuda, monkeypatch, visible):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    cuda.change("runtime", "getDeviceCount", error(cuda, "cudaErrorNoDevice", 100))
    message = refused()
    assert "the NVIDIA driver finds no GPU" in message
    assert (f"CUDA_VISIBLE_DEVICES is '{visible}'" in message) == (visible is not None)
    cuda.change("runtime", "getDeviceCount", 0)
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
def test_a_driver_that_does_not_work(cuda, status, remedy):
    cuda.change("runtime", "getDeviceCount", error(cuda, "cudaErrorOther", status))
    message = refused()
    assert "cudaErrorOther: something that CUDA says" in message
    assert remedy in message


@pytest.mark.parametrize(("status", "remedy"), [(2, "memory is full"), (46, "reserved for another process")])
def test_a_gpu_that_does_not_answer(cuda, monkeypatch, status, remedy):
    def fail(_):
        raise error(cuda, "cudaErrorOther", status)

    monkeypatch.setattr(cuda.Device, "mem_info", property(fail))
    message = refused()
    assert message.startswith("device '0': cudaErrorOther")
    assert remedy in message


def test_a_card_that_is_too_old(cuda):
    properties = cuda.runtime.getDeviceProperties(0)
    cuda.change("runtime", "getDeviceProperties", {**properties, "major": 6, "minor": 1})
    assert "compute capability 6.1 is below 7.0 (use --device cpu)" in refused()


def test_no_compiler(cuda):
    cuda.change("nvrtc", "getVersion", RuntimeError("CuPy failed to load libnvrtc.so.12:\nOSError"))
    message = refused()
    assert "NVRTC cannot be loaded: CuPy failed to load libnvrtc.so.12: OSError" in message
    assert message.endswith("(pip install 'gpuanom[cuda12]')")


def test_a_compiler_of_a_newer_cuda_than_the_driver(cuda):
    cuda.change("nvrtc", "getVersion", (13, 0))
    message = refused()
    assert "NVRTC is of CUDA 13.0, the NVIDIA driver of CUDA 12.9" in message
    assert "pip install" in message


def test_a_compiler_that_has_forgotten_the_card(cuda):
    properties = cuda.runtime.getDeviceProperties(0)
    cuda.change("runtime", "getDeviceProperties", {**properties, "major": 7, "minor": 0})
    cuda.change("runtime", "runtimeGetVersion", 13000)
    cuda.change("runtime", "driverGetVersion", 13000)
    cuda.change("nvrtc", "getVersion", (13, 0))
    cuda.change("nvrtc", "getSupportedArchs", (75, 80, 90, 120))
    message = refused()
    assert "NVRTC 13.0 does not compile for compute capability 7.0 any more" in message
    assert message.endswith("(pip uninstall cupy-cuda13x, then pip install 'gpuanom[cuda12]')")


def test_no_headers(cuda):
    """CuPy's wheel and NVRTC's are not enough: seen with CuPy 14.2 and nvidia-cuda-nvrtc-cu12 alone."""
    cuda.fails_to_compile(RuntimeError("Failed to find CUDA headers. Please install CUDA toolkit headers"))
    message = refused()
    assert "no kernel can be compiled: Failed to find CUDA headers." in message
    assert message.endswith("(pip install 'gpuanom[cuda12]')")


def test_a_cache_that_cannot_be_written(cuda):
    cuda.fails_to_compile(PermissionError(13, "Permission denied", "/home/someone/.cupy/kernel_cache"))
    message = refused()
    assert "Permission denied: '/home/someone/.cupy/kernel_cache'" in message
    assert message.endswith("(set CUPY_CACHE_DIR to a folder that can be written)")


def test_no_such_gpu(cuda):
    with pytest.raises(DeviceError, match="device '3': no such GPU, of 1 counted from 0"):
        select("3")


def run_without(code):
    """What choosing a GPU says in a process that first runs some code."""
    code += (
        "\nfrom gpuanom.backend import choose, select\n"
        "print(choose('auto')[0][0].name, '|', choose('auto')[1])\n"
        "try: select('0')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    auto, asked = done.stdout.splitlines()
    assert auto.startswith("cpu | cpu, because device '0': CuPy")
    assert asked.startswith("DeviceError device '0': CuPy")
    return asked


def test_no_cupy():
    assert "CuPy is not installed (pip install 'gpuanom[cuda12]', or [cuda13])" in run_without(
        "import sys; sys.modules['cupy'] = None"
    )


def test_a_cupy_that_cannot_be_loaded(tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('''\n=====\nadvice\n\nOriginal error:\n  it is broken''')")
    asked = run_without(f"import sys; sys.path.insert(0, {str(tmp_path)!r})")
    assert "CuPy cannot be loaded: it is broken (uninstall all cupy packages, then pip install" in asked


def test_whatever_an_import_raises_is_told_in_a_line():
    message = why_no_cupy(ValueError("numpy.dtype size changed,\nmay indicate binary incompatibility"))
    assert message.startswith("CuPy cannot be loaded: numpy.dtype size changed, may indicate")
