"""The commands that install a missing part, as they work on this machine.

gpuanom may have been installed from an index, from a clone or from a file, and ``pip install
'gpuanom[...]'`` works only for the first. The file direct_url.json that pip writes at the
installation (PEP 610) tells which it was.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import shlex
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gpuanom import nvidia
from gpuanom.errors import printable

CPU_TORCH = "torch --index-url https://download.pytorch.org/whl/cpu"
"""What pip installs as PyTorch for CPUs, without gigabytes of CUDA, from PyTorch's own index."""


def install(*extras: str) -> str:
    """Return the command that installs gpuanom with extras, from where it was installed before.

    Parameters
    ----------
    *extras : str
        Names of extras, such as ``report``.

    Returns
    -------
    str
        For example ``pip install 'gpuanom[report]'`` for an installation from an index, and
        ``pip install -e '/home/ann/gpuanom[report]'`` for a clone.
    """
    return f"{_pip()} install {_wanted(','.join(extras))}"


def install_cuda(driver: int | None = None) -> str:
    """Return the command that installs gpuanom with CuPy for the NVIDIA driver of this machine.

    Parameters
    ----------
    driver : int, optional
        The newest CUDA that the driver supports, as 1000 x major + 10 x minor. By default the
        driver is asked.
    """
    return install(nvidia.extra(driver))


def install_torch() -> str:
    """Return the commands that install gpuanom with PyTorch: without an NVIDIA driver, PyTorch's build for CPUs."""
    whole = install("autoencoder")
    return whole if nvidia.driver_cuda() else f"{_pip()} install {CPU_TORCH}, then {whole}"


def package(name: str) -> str:
    """Return the command that installs a package that is no extra of gpuanom."""
    return f"{_pip()} install {shlex.quote(name)}"


def lacks(module: str, name: str, remedy: str, package: str = "") -> str:
    """Say what keeps a package that is optional from being used, before anything is done for it.

    Parameters
    ----------
    module : str
        The module of the package that will be imported, such as ``pyarrow.parquet``.
    name : str
        The name that people know the package by.
    remedy : str
        The command that installs the package where it is missing.
    package : str, optional
        The name that pip knows the package by; by default `name` in small letters.

    Returns
    -------
    str
        Empty where the module can be imported; else the name, what is wrong, and in brackets what helps.
    """
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        return f"{name}, which is not installed ({remedy})"
    try:
        importlib.import_module(module)
    except Exception as error:  # a library that is missing, or one that was built for another version of NumPy
        why = printable(str(error))[:200] or type(error).__name__
        return f"{name}, which is installed but cannot be loaded: {why} ({reinstall(package or name.lower())})"
    return ""


def reinstall(name: str) -> str:
    """Return the command that installs a package again, in place of one that does not work."""
    for_cpu = name == "torch" and not nvidia.driver_cuda()
    return f"{_pip()} install --force-reinstall {CPU_TORCH if for_cpu else shlex.quote(name)}"


def uninstall(*names: str) -> str:
    """Return the command that removes packages."""
    return f"{_pip()} uninstall {' '.join(names)}"


def _pip() -> str:
    """Return ``pip`` where the shell finds this Python's pip, as in an active environment; else the full command."""
    found = shutil.which("pip")
    if found and Path(found).parent.resolve() == Path(sys.executable).parent.resolve():
        return "pip"
    return f"{shlex.quote(sys.executable)} -m pip" if sys.executable else "pip"


def _wanted(extras: str) -> str:
    """Return the arguments of ``pip install``."""
    clone = Path(__file__).resolve().parents[1]
    if (clone / "pyproject.toml").is_file():  # installed with -e, or run without any installation
        return f"-e {shlex.quote(f'{clone}[{extras}]')}"
    origin = _origin()
    if not origin:
        return shlex.quote(f"gpuanom[{extras}]")
    url = str(origin.get("url", ""))
    if url.startswith("file:"):
        path = Path(unquote(urlsplit(url).path))
        # The clone may have been deleted after the installation.
        return shlex.quote(f"{path}[{extras}]") if path.exists() else f"'.[{extras}]' in a clone of gpuanom"
    vcs = origin.get("vcs_info")
    name = f"{vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', 'HEAD')}" if isinstance(vcs, dict) else url
    return shlex.quote(f"gpuanom[{extras}] @ {name}")


def _origin() -> dict[str, object]:
    """Return pip's record of where the package was installed from; empty for an index."""
    from importlib import metadata

    try:
        found = json.loads(metadata.distribution("gpuanom").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
