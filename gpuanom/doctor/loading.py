"""Whether an optional package can be loaded: an installed one may lack a library, or be built for another NumPy."""

from __future__ import annotations

import subprocess

from gpuanom.errors import printable
from gpuanom.system import python_command, python_environment

_MODULES = {
    "pyarrow": "pyarrow.parquet",
    "matplotlib": "matplotlib.figure",
    "pillow": "PIL.Image",
    "dask-cuda": "dask_cuda",
}
"""What is imported of a package, where that is not the module of the package's name."""

_LONGEST = 120.0
"""Seconds after which a package that is still being loaded counts as one that does not work."""


def why_not_loaded(package: str) -> str:
    """Load a package in a process of its own, which a library that fails may end.

    Parameters
    ----------
    package : str
        Name of an installed package.

    Returns
    -------
    str
        What goes wrong, in one line; empty where the package can be loaded.
    """
    try:
        done = subprocess.run(
            python_command("-c", f"import {_MODULES.get(package, package)}"),
            env=python_environment(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LONGEST,
        )
    except subprocess.TimeoutExpired:
        return f"still being loaded after {_LONGEST:.0f} s"
    except OSError as error:
        return printable(error.strerror or str(error))
    if not done.returncode:
        return ""
    if done.returncode < 0:
        return f"the process that loads the package is ended by signal {-done.returncode}"
    said = [line for line in done.stderr.splitlines() if line.strip()]
    return printable(said[-1])[:200] if said else f"exit code {done.returncode}"
