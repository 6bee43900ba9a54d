"""Whether a GPU can be used, and if not, what the user can do about it."""

from __future__ import annotations

import cupy

from gpuanom.errors import DeviceError, printable

OLDEST = 70
"""Compute capability, times ten, from which on the kernels compile: Volta."""


def check(number: int) -> str:
    """Check that a GPU can run the kernels.

    Parameters
    ----------
    number : int
        The device, as CUDA counts.

    Returns
    -------
    str
        What it is, in words.

    Raises
    ------
    DeviceError
        No driver, no such device, one that is too old, or no NVRTC; the message names the remedy.
    """
    try:
        n_devices = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:  # without a driver CuPy raises one of several kinds
        raise DeviceError(f"no GPU can be used: {printable(str(error))} (is the NVIDIA driver installed?)") from None
    if number >= n_devices:
        raise DeviceError(
            f"device '{number}': no such GPU, of {n_devices} counted from 0 (nvidia-smi lists them; --device cpu)"
        )
    device = cupy.cuda.Device(number)
    capability = int(device.compute_capability)
    if capability < OLDEST:
        raise DeviceError(
            f"device '{number}': compute capability {capability / 10} is below {OLDEST / 10} (use --device cpu)"
        )
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:  # NVRTC missing or of another CUDA than CuPy's: again of several kinds
        raise DeviceError(
            f"the kernels' compiler NVRTC cannot be loaded: {printable(str(error))}"
            " (install CuPy for the driver's CUDA: pip install 'gpuanom[cuda12]', or [cuda13])"
        ) from None
    name = cupy.cuda.runtime.getDeviceProperties(number)["name"]
    return printable(name.decode() if isinstance(name, bytes) else str(name))
