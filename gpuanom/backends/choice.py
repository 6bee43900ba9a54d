"""The choice of a backend by the name of a device, and why a GPU cannot be used."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpuanom import installing, nvidia
from gpuanom.backends.protocol import Backend
from gpuanom.errors import DeviceError, printable

_DEVICES = "auto, cpu, a GPU's number such as 0, or several such as 0,1"


def device_name(device: object) -> str:
    """A device as `choose` takes it, from what people pass for it.

    Parameters
    ----------
    device : str, int, sequence of int, or None
        A name; a GPU's number; several numbers; None for ``auto``.

    Raises
    ------
    DeviceError
        When it is something else.
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
    """The backend for a device name, see `choose`; of several GPUs the first.

    Raises
    ------
    DeviceError
        When the device cannot be used; the message names the remedy.
    """
    return choose(device)[0][0]


def choose(device: str | int | Sequence[int] = "auto") -> tuple[list[Backend], str]:
    """The backends for a device name, one a device, and in words what they are and why.

    Parameters
    ----------
    device : str, int or sequence of int, optional
        ``cpu``; a GPU's number such as ``0``; several, as ``0,1``; or ``auto``: GPU 0 if it can be used, else the CPU.

    Raises
    ------
    DeviceError
        When a device asked for cannot be used; the message names the remedy.
    """
    from gpuanom.backends.cpu import CpuBackend

    device = device_name(device)
    if device == "cpu":
        return [CpuBackend()], "cpu"
    if device == "auto":
        try:
            backend, about = _gpu(0)
            return [backend], about
        except DeviceError as error:
            return [CpuBackend()], "cpu (no NVIDIA GPU found)" if _no_gpu() else f"cpu, because {error}"
    numbers = [number.strip() for number in device.split(",")]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise DeviceError(f"unknown device '{device}' ({_DEVICES})")
    found = [_gpu(number) for number in dict.fromkeys(int(number) for number in numbers)]
    return [backend for backend, _ in found], "; ".join(about for _, about in found)


def _gpu(number: int) -> tuple[Backend, str]:
    try:
        from gpuanom.backends.gpu import GpuBackend
        from gpuanom.backends.gpu.devices import check
    except Exception as error:
        raise DeviceError(f"device '{number}': {why_no_cupy(error)}") from None
    about = check(number)
    return GpuBackend(number), f"gpu {number}, {about}"


def _no_gpu() -> bool:
    """Whether there is no GPU to speak of: whoever has none need not hear what is missing to use one.

    CuPy asks for the driver more thoroughly, where it is installed. A driver that finds no GPU is then worth a word:
    somebody made this machine ready for one.
    """
    try:
        from gpuanom.backends.gpu import devices
    except Exception:
        return not nvidia.n_gpus()
    return not devices.driver_cuda() and not devices.driver_version()


def why_no_cupy(error: Exception) -> str:
    """Why the CUDA backend cannot be imported, and the remedy.

    Parameters
    ----------
    error : Exception
        What the import raised: for a CuPy that does not fit Python, NumPy or the system, of any kind.
    """
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] in ("cupy", "cupyx"):
        if not nvidia.driver_cuda() and not nvidia.driver_version():
            return f"{nvidia.NO_DRIVER} ({nvidia.INSTALL_DRIVER})"
        return f"CuPy is not installed ({installing.install_cuda()})"
    text = printable(str(error))
    # CuPy wraps what went wrong in a page of advice.
    said = text.partition("Original error:")[2] or text
    again = f"uninstall all cupy packages, then {installing.install_cuda()}"
    return f"CuPy cannot be loaded: {said.strip()[:300]} ({again})"
