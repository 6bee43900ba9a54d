"""The choice of a backend by the name of a device, and the reasons why a GPU cannot be used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpuanom import installing, nvidia
from gpuanom.backends import ahead
from gpuanom.backends.protocol import Backend
from gpuanom.errors import DeviceError, printable

_DEVICES = "auto, cpu, a GPU's number such as 0, or several such as 0,1"


def device_name(device: object) -> str:
    """Return the name of a device, as `choose` takes it.

    Parameters
    ----------
    device : str, int, sequence of int, or None
        A name; the number of a GPU; several numbers; None for ``auto``.

    Returns
    -------
    str

    Raises
    ------
    DeviceError
        When the device is something else.
    """
    if device is None:
        return "auto"
    if isinstance(device, str):
        return str(device)
    given = list(device) if isinstance(device, list | tuple) else [device]
    if not given or not all(_is_number(number) or isinstance(number, str) for number in given):
        raise DeviceError(f"unknown device {repr(device)[:60]} ({_DEVICES})")
    return ",".join(str(number) for number in given)


def _is_number(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 0


def select(device: str | int | Sequence[int] = "auto") -> Backend:
    """Return the backend for a device name, see `choose`; for several GPUs that of the first.

    Raises
    ------
    DeviceError
        When the device cannot be used; the message names the remedy.
    """
    return choose(device)[0][0]


def choose(device: str | int | Sequence[int] = "auto") -> tuple[list[Backend], str]:
    """Choose the backends for a device name.

    Parameters
    ----------
    device : str, int or sequence of int, optional
        ``cpu``; the number of a GPU such as ``0``; several, as ``0,1``; or ``auto``: GPU 0 if it
        can be used, otherwise the CPU.

    Returns
    -------
    backends : list of Backend
        One for each device.
    about : str
        The devices in words; where ``auto`` chose the CPU, also why.

    Raises
    ------
    DeviceError
        When a device that was asked for cannot be used; the message names the remedy.
    """
    ahead.wait()
    device = device_name(device)
    if device == "cpu":
        return [_cpu()], "cpu"
    if device == "auto":
        try:
            backend, about = _gpu(0)
            return [backend], about
        except DeviceError as error:
            return [_cpu()], "cpu (no NVIDIA GPU found)" if _no_gpu() else f"cpu, because {error}"
    numbers = [number.strip() for number in device.split(",")]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise DeviceError(f"unknown device '{device}' ({_DEVICES})")
    found = [_gpu(number) for number in dict.fromkeys(int(number) for number in numbers)]
    return [backend for backend, _ in found], "; ".join(about for _, about in found)


def _cpu() -> Backend:
    from gpuanom.backends.cpu import CpuBackend

    return CpuBackend()


def _gpu(number: int) -> tuple[Backend, str]:
    try:
        from gpuanom.backends.gpu import GpuBackend
        from gpuanom.backends.gpu.devices import check
    except Exception as error:
        raise DeviceError(f"device '{number}': {why_no_cupy(error)}") from None
    about = check(number)
    return GpuBackend(number), f"gpu {number}, {about}"


def _no_gpu() -> bool:
    """Whether this machine has no GPU, so that the user need not be told what is missing to use one.

    Where CuPy is installed, only a machine without an NVIDIA driver counts as one without a GPU: a
    driver that finds no GPU, on a machine that was prepared for one, is reported.
    """
    try:
        from gpuanom.backends.gpu import devices
    except Exception:
        return not nvidia.n_gpus()
    return not devices.driver_cuda() and not devices.driver_version()


def why_no_cupy(error: Exception) -> str:
    """Return why the CUDA backend cannot be imported, with the remedy.

    Parameters
    ----------
    error : Exception
        What the import raised. A CuPy that does not fit Python, NumPy or the system may raise
        anything.
    """
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] in ("cupy", "cupyx"):
        if not nvidia.driver_cuda() and not nvidia.driver_version():
            return f"{nvidia.NO_DRIVER} ({nvidia.INSTALL_DRIVER})"
        return f"CuPy is not installed ({installing.install_cuda()})"
    text = printable(str(error))
    # CuPy puts the original error into a page of advice.
    original = text.partition("Original error:")[2] or text
    reinstall = f"uninstall all cupy packages, then {installing.install_cuda()}"
    return f"CuPy cannot be loaded: {original.strip()[:300]} ({reinstall})"
