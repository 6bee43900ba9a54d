"""What the NVIDIA driver says about this machine, asked without CuPy, which need not be installed."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from pathlib import Path
from typing import Any

OLDEST_CUDA, NEWEST_CUDA = 12, 13
"""The versions of CUDA for which gpuanom's extras install CuPy."""

NO_DRIVER = "there is no NVIDIA driver"
INSTALL_DRIVER = "install it, start the container with --gpus all, or ask for a GPU node; --device cpu"


def driver_version() -> str:
    """Return the version of the NVIDIA kernel module, such as 550.54.15; empty where it cannot be read."""
    try:
        words = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return ""
    return next((word for word in words if word[:1].isdigit() and "." in word), "")


def driver_cuda() -> int:
    """Return the newest CUDA that the driver supports, as 1000 x major + 10 x minor; 0 without a driver."""
    found = ctypes.c_int(0)
    library = _library()
    if library is None or library.cuDriverGetVersion(ctypes.byref(found)) != 0:
        return 0
    return found.value


def n_gpus() -> int:
    """Return how many GPUs the driver lets this process use; 0 without a driver, or with a driver that does not work.

    This starts the driver in the process, so call it only where CuPy, which counts GPUs too, is
    missing.
    """
    found = ctypes.c_int(0)
    library = _library()
    if library is None or library.cuInit(0) != 0 or library.cuDeviceGetCount(ctypes.byref(found)) != 0:
        return 0
    return found.value


def start(number: int) -> None:
    """Make the context of a GPU that all libraries of this process share; nothing is done where that is impossible.

    The driver takes some tenths of a second for the first context, in which Python can go on. CuPy then finds the
    context, and says what is wrong where there is none.

    Parameters
    ----------
    number : int
        The device, as CUDA counts.
    """
    library, device, context = _library(), ctypes.c_int(0), ctypes.c_void_p()
    with suppress(AttributeError):  # a driver without these functions
        if library is not None and library.cuInit(0) == 0 and library.cuDeviceGet(ctypes.byref(device), number) == 0:
            library.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)


def extra(driver: int | None = None) -> str:
    """Return the extra that installs CuPy for the driver of this machine: cuda12 or cuda13.

    Parameters
    ----------
    driver : int, optional
        As `driver_cuda` returns it, which is called by default. Without a driver the extra is
        cuda12, which most drivers can use.
    """
    major = (driver_cuda() if driver is None else driver) // 1000
    return f"cuda{min(max(major, OLDEST_CUDA), NEWEST_CUDA)}"


def _library() -> Any:
    """Return the driver's library; None where there is none, or where the library lacks the functions used here."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
        _ = library.cuInit, library.cuDriverGetVersion, library.cuDeviceGetCount
    except (OSError, AttributeError):
        return None
    return library
