"""Whether a GPU can be used, and if not, what the user can do about it."""

from __future__ import annotations

import os
from typing import Any

from gpuanom import compiling, installing
from gpuanom.backends.gpu import cuda, loops
from gpuanom.errors import DeviceError, printable
from gpuanom.nvidia import INSTALL_DRIVER, NEWEST_CUDA, NO_DRIVER, OLDEST_CUDA
from gpuanom.nvidia import driver_version as driver_version

OLDEST = 70
"""Compute capability, times ten, from which on the kernels compile: Volta."""
NO_DEVICE = 100
"""Status of the CUDA runtime where a driver finds no GPU."""

# What else the runtime says, by its status, and what helps.
_REMEDIES = {
    2: "its memory is full: nvidia-smi shows who uses it",
    3: "the driver does not start: nvidia-smi says more; a reboot helps after an update of it",
    46: "the GPU is reserved for another process: nvidia-smi shows which, and its compute mode",
    802: "the fabric manager of its NVSwitches is not running: systemctl start nvidia-fabricmanager",
    803: "driver and libcuda are of two versions: reboot, or start the container again, after an update of the driver",
    804: "a compatibility libcuda for newer CUDA is found first, which this card cannot use: see LD_LIBRARY_PATH",
    999: "the driver does not answer: nvidia-smi says more; a reboot helps after an update or a suspend",
}
_OTHERWISE = "nvidia-smi says whether the driver works"


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
        No driver, CuPy for another CUDA, no such device, one that is too old or does not answer, no NVRTC or one of
        another CUDA, no headers, no folder for compiled kernels; the message names the remedy.
    """
    n_devices = count()
    if number >= n_devices:
        raise DeviceError(
            f"device '{number}': no such GPU, of {n_devices} counted from 0 (nvidia-smi lists them; --device cpu)"
        )
    try:
        properties = cuda.properties(number)
    except Exception as error:
        raise DeviceError(f"device '{number}': {_with_remedy(error)}") from None
    capability = 10 * int(properties["major"]) + int(properties["minor"])
    if capability < OLDEST:
        raise DeviceError(
            f"device '{number}': compute capability {capability / 10} is below {OLDEST / 10} (use --device cpu)"
        )
    loops.load_meanwhile()
    check_compiler(capability)
    try:
        cuda.memory(number)
    except Exception as error:
        raise DeviceError(f"device '{number}': {_with_remedy(error)}") from None
    _check_compiling(number)
    return device_name(properties)


def device_name(properties: dict[str, Any]) -> str:
    """The name of a GPU from its properties."""
    name = properties["name"]
    return printable(name.decode(errors="replace") if isinstance(name, bytes) else str(name))


def count() -> int:
    """How many GPUs there are, at least 1.

    Raises
    ------
    DeviceError
        None can be used; the message names the remedy.
    """
    try:
        n_devices = cuda.n_devices()
    except Exception as error:  # without a driver CuPy raises one of several kinds
        raise DeviceError(f"no GPU can be used: {_why_none(error)}") from None
    if not n_devices:
        raise DeviceError(f"no GPU can be used: {_invisible()}")
    return n_devices


def none_there() -> bool:
    """Whether there is no driver, or one that finds no GPU; False if there is a GPU, usable or not."""
    try:
        return not cuda.n_devices()
    except Exception as error:
        return getattr(error, "status", None) == NO_DEVICE or (not driver_cuda() and not driver_version())


def check_compiler(capability: int | None = None) -> tuple[int, int]:
    """The version of NVRTC, which must be there, fit the driver, and know the card.

    Parameters
    ----------
    capability : int, optional
        Compute capability of the card that is meant, times ten. Without a card none matters: each version of NVRTC
        leaves out the cards that have become too old for it, which is no fault where there is no such card.

    Raises
    ------
    DeviceError
        It does not; the message names the remedy.
    """
    try:
        major, minor = cuda.compiler()
        known = cuda.compiles_for()
    except Exception as error:  # several kinds, by CuPy's version
        raise DeviceError(
            f"the kernels' compiler NVRTC cannot be loaded: {printable(str(error))[:200]} ({remedy()})"
        ) from None
    driver = driver_cuda()
    if driver and major > driver // 1000:
        raise DeviceError(
            f"the kernels' compiler NVRTC is of CUDA {major}.{minor}, the NVIDIA driver of CUDA {version(driver)}"
            f" ({remedy(driver // 1000)})"
        )
    if capability is not None and capability < min(known):
        raise DeviceError(
            f"NVRTC {major}.{minor} does not compile for compute capability {capability / 10} any more"
            f" ({remedy(OLDEST_CUDA)})"
        )
    return major, minor


def _check_compiling(number: int) -> None:
    """Compile a kernel that does nothing: CuPy also needs CUDA's headers and a folder to keep what it compiled."""
    try:
        with compiling.watched(compiling.KERNELS):
            cuda.compile_nothing(number)
    except OSError as error:
        about = f"the folder of compiled kernels cannot be used: {printable(str(error))}"
        raise DeviceError(f"{about} (set CUPY_CACHE_DIR to a folder that can be written)") from None
    except Exception as error:
        about = printable(str(error))[:200]
        raise DeviceError(f"device '{number}': no kernel can be compiled: {about} ({remedy()})") from None


def remedy(major: int | None = None) -> str:
    """The commands that bring CuPy and its compiler for a major version of CUDA, by default the installed CuPy's."""
    built = built_for() // 1000
    wanted = min(max(major or built or OLDEST_CUDA, OLDEST_CUDA), NEWEST_CUDA)
    install = installing.install_cuda(1000 * wanted)
    return install if built in (0, wanted) else f"{installing.uninstall(f'cupy-cuda{built}x')}, then {install}"


def built_for() -> int:
    """The CUDA that CuPy was built for, as 1000 x major + 10 x minor."""
    return cuda.built_for()


def driver_cuda() -> int:
    """The newest CUDA that the NVIDIA driver supports, as 1000 x major + 10 x minor; 0 if there is none."""
    try:
        return cuda.driver_supports()
    except Exception:
        return 0


def version(number: int) -> str:
    """A version of CUDA in words: 12040 is 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _why_none(error: Exception) -> str:
    driver, built = driver_cuda(), built_for()
    if not driver:
        loaded = driver_version()
        if loaded:
            return (
                f"the NVIDIA driver {loaded} runs, its libcuda.so.1 is not found (start the container with --gpus all,"
                " or install the driver's libraries; --device cpu)"
            )
        return f"{NO_DRIVER} ({INSTALL_DRIVER})"
    if driver // 1000 < OLDEST_CUDA:
        return f"the NVIDIA driver supports CUDA {version(driver)}, CuPy needs {version(built)} (update the driver)"
    if driver // 1000 < built // 1000:
        return (
            f"CuPy is built for CUDA {version(built)}, the NVIDIA driver supports CUDA {version(driver)}"
            f" ({remedy(driver // 1000)}; or update the driver)"
        )
    return _invisible() if getattr(error, "status", None) == NO_DEVICE else _with_remedy(error)


def _invisible() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hint = "" if visible is None else f"CUDA_VISIBLE_DEVICES is '{printable(visible)}'; "
    return f"the NVIDIA driver finds no GPU ({hint}nvidia-smi lists those it has; --device cpu)"


def _with_remedy(error: Any) -> str:
    return f"{printable(str(error))} ({_REMEDIES.get(getattr(error, 'status', -1), _OTHERWISE)})"
