"""The checks of `gpuanom doctor`: CuPy, the driver, the compiler, the GPUs, and the kernels on each GPU."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from gpuanom import installing
from gpuanom.backends.gpu import cuda, devices, kernel
from gpuanom.doctor.findings import CACHE, COMPILER, CUPY, DRIVER, DeviceFinding, Finding, KernelFinding
from gpuanom.errors import DeviceError, printable


def software() -> list[Finding]:
    """Check CuPy, the driver, the compiler, and the folder of compiled kernels."""
    checks = {CUPY: _cupy, DRIVER: _driver, COMPILER: _compiler, CACHE: cache_folder}
    return [_checked(name, check) for name, check in checks.items()]


def _checked(name: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # a check that fails must not end the others
        return Finding(name, "broken", f"{type(error).__name__}: {printable(str(error))}", "please report this")


def device(number: int) -> DeviceFinding:
    """Check whether a GPU can be used."""
    try:
        properties = cuda.properties(number)
    except Exception as error:
        return DeviceFinding(number, state="broken", problem=printable(str(error)))
    name = devices.device_name(properties)
    capability = f"{properties['major']}.{properties['minor']}"
    try:
        devices.check(number)
    except DeviceError as error:
        old = 10 * properties["major"] + properties["minor"] < devices.OLDEST
        memory = int(properties["totalGlobalMem"])
        return DeviceFinding(number, name, capability, memory, state="absent" if old else "broken", problem=str(error))
    free, total = cuda.memory(number)
    return DeviceFinding(number, name, capability, total, free)


def kernels(number: int) -> tuple[KernelFinding, ...]:
    """Compile every kernel for a GPU."""
    with cuda.chosen(number):
        return tuple(_kernel(step, name) for step in kernel.steps() for name in kernel.signatures(step))


def _kernel(step: str, name: str) -> KernelFinding:
    file = f"{step}.cu"
    try:
        compiled = kernel.Kernel(step, name).function()
        return KernelFinding(
            name,
            file,
            registers=int(compiled.num_regs),
            local=int(compiled.local_size_bytes),
            shared=int(compiled.shared_size_bytes),
            threads=int(compiled.max_threads_per_block),
        )
    except Exception as error:  # from the compiler, the cache folder or the driver
        return KernelFinding(name, file, error=printable(str(error)))


def cache_folder() -> Finding:
    """Check whether the folder of CuPy's compiled kernels can be written to: otherwise CuPy compiles nothing."""
    # The folder is chosen as CuPy does: CuPy 14 has no public function for that. Path.home() may
    # raise an error.
    folder = Path(os.environ.get("CUPY_CACHE_DIR") or os.path.expanduser("~/.cupy/kernel_cache"))  # noqa: PTH111
    about = printable(str(folder))
    if os.environ.get("CUPY_CACHE_IN_MEMORY", "0") not in ("", "0"):
        return Finding(CACHE, "ok", "in memory (CUPY_CACHE_IN_MEMORY): compiled again by every run")
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        # The permissions alone do not show that a disk is full or read-only.
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"gpuanom")
    except OSError as error:
        remedy = "set CUPY_CACHE_DIR to a folder that can be written"
        return Finding(CACHE, "broken", f"{about} cannot be written: {printable(error.strerror or str(error))}", remedy)
    return Finding(CACHE, "ok", f"{about}, {'writable' if existing == folder else 'will be made'}")


def _cupy() -> Finding:
    packages = sorted({f"{d.name} {d.version}" for d in metadata.distributions() if _brings_cupy(d.name)})
    text = f"{cuda.cupy_version()}, for CUDA {devices.version(devices.built_for())}"
    if len(packages) > 1:
        remedy = f"{installing.uninstall(*(p.split()[0] for p in packages))}, then {_again()}"
        return Finding(
            CUPY, "broken", f"{text}: several packages are installed together: {', '.join(packages)}", remedy
        )
    return Finding(CUPY, "ok", f"{text} ({packages[0].split()[0]})" if packages else text)


def _again() -> str:
    """Return the command that installs CuPy for the driver of this machine, after several packages were removed."""
    return installing.install_cuda(devices.driver_cuda() or devices.built_for())


def _brings_cupy(name: str | None) -> bool:
    return bool(name) and (name == "cupy" or str(name).startswith(("cupy-cuda", "cupy-rocm")))


def _driver() -> Finding:
    supported = devices.driver_cuda()
    text = ", ".join(
        part for part in (devices.driver_version(), supported and f"CUDA {devices.version(supported)}") if part
    )
    try:
        n = devices.count()
    except DeviceError as error:
        problem, _, remedy = str(error).removeprefix("no GPU can be used: ").rpartition(" (")
        about = f"{text}: {problem}" if text and "CUDA" not in problem else problem
        return Finding(DRIVER, "absent" if devices.none_there() else "broken", about, remedy.removesuffix(")"))
    return Finding(DRIVER, "ok", f"{text}, {n} GPU{'s' if n != 1 else ''}")


def _compiler() -> Finding:
    try:
        major, minor = devices.check_compiler()
    except DeviceError as error:
        problem, _, remedy = str(error).rpartition(" (")
        return Finding(COMPILER, "broken", problem, remedy.removesuffix(")"))
    return Finding(COMPILER, "ok", f"{major}.{minor}")
