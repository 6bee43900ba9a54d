"""The one place that says how a missing part is installed: with a command that works on this machine.

The package may have come from an index, from a clone, or from a file, and ``pip install 'gpuanom[...]'`` works only for
the first. What pip noted at the installation (direct_url.json, PEP 610) tells which.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from gpuanom import nvidia

CPU_TORCH = "install torch --index-url https://download.pytorch.org/whl/cpu"
"""What brings PyTorch without gigabytes of CUDA: its builds for CPUs have an index of their own."""


def install(*extras: str) -> str:
    """The command that installs gpuanom with extras, in the way that it is installed already.

    Parameters
    ----------
    *extras : str
        Such as ``report``.

    Returns
    -------
    str
        For example ``pip install 'gpuanom[report]'`` if it came from an index, and
        ``pip install -e '/home/ann/gpuanom[report]'`` if it is a clone.
    """
    return f"{_pip()} install {_wanted(','.join(extras))}"


def install_cuda(driver: int | None = None) -> str:
    """The command that installs gpuanom with CuPy for the NVIDIA driver here.

    Parameters
    ----------
    driver : int, optional
        The driver's CUDA, as 1000 x major + 10 x minor, if it is known.
    """
    return install(nvidia.extra(driver))


def install_torch() -> str:
    """The commands that install gpuanom with PyTorch; where there is no GPU, with PyTorch's build for CPUs."""
    whole = install("autoencoder")
    return whole if nvidia.driver_cuda() else f"{_pip()} {CPU_TORCH}, then {whole}"


def package(name: str) -> str:
    """The command that installs a package which is no extra of ours."""
    return f"{_pip()} install {shlex.quote(name)}"


def uninstall(*names: str) -> str:
    """The command that removes packages."""
    return f"{_pip()} uninstall {' '.join(names)}"


def _pip() -> str:
    """`pip` if that word finds this Python's pip, as in an environment that is activated; else in full."""
    found = shutil.which("pip")
    if found and Path(found).parent.resolve() == Path(sys.executable).parent.resolve():
        return "pip"
    return f"{shlex.quote(sys.executable)} -m pip" if sys.executable else "pip"


def _wanted(extras: str) -> str:
    """What to hand to ``pip install``, options included."""
    clone = Path(__file__).resolve().parents[1]
    if (clone / "pyproject.toml").is_file():  # installed with -e, or run without any installation
        return f"-e {shlex.quote(f'{clone}[{extras}]')}"
    origin = _origin()
    if not origin:
        return shlex.quote(f"gpuanom[{extras}]")
    url = str(origin.get("url", ""))
    if url.startswith("file:"):
        path = Path(unquote(urlsplit(url).path))
        # A clone may have been deleted after the installation.
        return shlex.quote(f"{path}[{extras}]") if path.exists() else f"'.[{extras}]' in a clone of gpuanom"
    vcs = origin.get("vcs_info")
    name = f"{vcs.get('vcs', 'git')}+{url}@{vcs.get('commit_id', 'HEAD')}" if isinstance(vcs, dict) else url
    return shlex.quote(f"gpuanom[{extras}] @ {name}")


def _origin() -> dict[str, object]:
    """What pip noted about where the package came from; empty for an index."""
    try:
        found = json.loads(metadata.distribution("gpuanom").read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
