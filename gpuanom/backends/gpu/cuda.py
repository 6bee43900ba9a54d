"""Questions to CuPy about this machine's CUDA, one function each.

`devices` and `diagnosis` ask here and nowhere else, so that tests can answer in CuPy's place: its own types cannot be
changed. What CuPy raises goes through, an error of the CUDA runtime with its number in ``status``.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import cupy

from gpuanom.backends.gpu.kernel import OPTIONS


def cupy_version() -> str:
    """The version of CuPy."""
    return str(cupy.__version__)


def chosen(number: int) -> AbstractContextManager[Any]:
    """Make a GPU the current one, for as long as the context lasts."""
    device: AbstractContextManager[Any] = cupy.cuda.Device(number)
    return device


def n_devices() -> int:
    """How many GPUs there are."""
    return int(cupy.cuda.runtime.getDeviceCount())


def properties(number: int) -> dict[str, Any]:
    """The properties of a GPU, as the CUDA runtime names them."""
    found: dict[str, Any] = cupy.cuda.runtime.getDeviceProperties(number)
    return found


def memory(number: int) -> tuple[int, int]:
    """Free and total memory of a GPU, bytes. Makes its context: the first thing that needs the card itself."""
    free, total = cupy.cuda.Device(number).mem_info
    return int(free), int(total)


def built_for() -> int:
    """The CUDA that CuPy was built for, as 1000 x major + 10 x minor."""
    return int(cupy.cuda.runtime.runtimeGetVersion())


def driver_supports() -> int:
    """The newest CUDA that the NVIDIA driver supports, likewise; 0 without a driver."""
    return int(cupy.cuda.runtime.driverGetVersion())


def compiler() -> tuple[int, int]:
    """The version of NVRTC."""
    major, minor = cupy.cuda.nvrtc.getVersion()
    return int(major), int(minor)


def compiles_for() -> tuple[int, ...]:
    """The compute capabilities, times ten, that NVRTC compiles for."""
    return tuple(int(capability) for capability in cupy.cuda.nvrtc.getSupportedArchs())


def compile_nothing(number: int) -> None:
    """Compile a kernel that does nothing for a GPU.

    With the options of all kernels: for each set of options CuPy asks NVRTC once for its version, by compiling.
    """
    with cupy.cuda.Device(number):
        nothing = 'extern "C" __global__ void gpuanom_nothing() {}\n'
        cupy.RawKernel(nothing, "gpuanom_nothing", options=OPTIONS).compile()
