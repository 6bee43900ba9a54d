"""A GPU that is prepared in a thread while the rest of the package is imported.

CuPy and the driver's context take half a second, for half of which Python is idle: a second thread lets the driver make
the context while the first one imports CuPy. Whoever chooses a device waits for the first thread
(`gpuanom.backends.choice.choose`), and reports what is wrong with the device.
"""

from __future__ import annotations

import importlib.util
import threading
from contextlib import suppress

from gpuanom import nvidia

_thread: threading.Thread | None = None


def begin(device: str) -> None:
    """Begin to prepare the GPUs of a device name; nothing is done for the CPU.

    Parameters
    ----------
    device : str
        As `gpuanom.backends.choice.choose` takes it; impossible names are left to that function.
    """
    global _thread
    if device != "cpu":
        _thread = threading.Thread(target=_prepare, args=(device,), name="gpuanom-device")
        _thread.start()
        threading.Thread(target=_start, args=(device,), name="gpuanom-driver").start()


def wait() -> None:
    """Wait until the GPUs are prepared, if that was begun."""
    if _thread is not None and _thread is not threading.current_thread():
        _thread.join()


def _prepare(device: str) -> None:
    with suppress(Exception):  # the choice of the device meets the same trouble, and has words for it
        from gpuanom.backends.gpu.devices import check

        for number in _numbers(device):
            check(number)


def _start(device: str) -> None:
    with suppress(ValueError):  # from a name that is no number, or from a stand-in for CuPy
        if importlib.util.find_spec("cupy") is not None:
            for number in _numbers(device):
                nvidia.start(number)


def _numbers(device: str) -> list[int]:
    return [int(number) for number in ("0" if device == "auto" else device).split(",")]
