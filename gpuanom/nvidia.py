"""What the NVIDIA driver says of this machine, without CuPy: to say nothing of CuPy where there is no card."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

OLDEST_CUDA, NEWEST_CUDA = 12, 13
"""The versions of CUDA that extras of ours bring CuPy for."""

NO_DRIVER = "there is no NVIDIA driver"
INSTALL_DRIVER = "install it, start the container with --gpus all, or ask for a GPU node; --device cpu"


def driver_version() -> str:
    """The NVIDIA kernel module's own version, such as 550.54.15; empty if it cannot be told."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return ""
    return next((word for word in words if word[:1].isdigit() and "." in word), "")


def driver_cuda() -> int:
    """The newest CUDA that the driver supports, as 1000 x major + 10 x minor; 0 without a driver."""
    found = ctypes.c_int(0)
    library = _library()
    if library is None or library.cuDriverGetVersion(ctypes.byref(found)) != 0:
        return 0
    return found.value


def n_gpus() -> int:
    """How many GPUs the driver lets this process use; 0 without a driver, and with one that does not work.

    Unlike CuPy's count this needs CuPy no more than a machine without a card does. It starts the driver in this
    process, so ask only where CuPy is missing.
    """
    found = ctypes.c_int(0)
    library = _library()
    if library is None or library.cuInit(0) != 0 or library.cuDeviceGetCount(ctypes.byref(found)) != 0:
        return 0
    return found.value


def extra(driver: int | None = None) -> str:
    """The extra that brings CuPy for the driver here: cuda12, or cuda13.

    Parameters
    ----------
    driver : int, optional
        As `driver_cuda` gives it, which is asked by default. Without a driver the extra is cuda12, which the most
        drivers can use.
    """
    major = (driver_cuda() if driver is None else driver) // 1000
    return f"cuda{min(max(major, OLDEST_CUDA), NEWEST_CUDA)}"


def _library() -> Any:
    """The driver's own library; None where there is none, or one that lacks what every version has."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
        _ = library.cuInit, library.cuDriverGetVersion, library.cuDeviceGetCount
    except (OSError, AttributeError):
        return None
    return library
