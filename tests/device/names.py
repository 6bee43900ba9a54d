"""The public names of the cupy that is imported here, to compare the stand-in with the real CuPy.

This file runs as a script in two processes. One prints the names that the stand-in offers, one in each line; the other
reads these names and prints those that the real CuPy lacks.
"""

from __future__ import annotations

import importlib
import inspect
import sys

MODULES = [
    "cupy",
    "cupy.cuda",
    "cupy.cuda.compiler",
    "cupy.cuda.driver",
    "cupy.cuda.memory",
    "cupy.cuda.nvrtc",
    "cupy.cuda.runtime",
    "cupyx",
    "cupyx.profiler",
    "cupyx.scipy.ndimage",
]
CLASSES = [
    "cupy.ndarray",
    "cupy.RawKernel",
    "cupy.RawModule",
    "cupy.cuda.Device",
    "cupy.cuda.Event",
    "cupy.cuda.MemoryPool",
    "cupy.cuda.PinnedMemoryPool",
    "cupy.cuda.Stream",
    "cupy.cuda.compiler.CompileException",
]
# Parameters that gpuanom passes by name. Cython functions often hide their signatures, and are then passed over.
FUNCTIONS = ["cupy.asnumpy", "cupyx.empty_pinned", "cupyx.zeros_pinned", "cupyx.profiler.benchmark"]


def offered() -> list[str]:
    """The names that the stand-in offers."""
    from cupy._array import METHODS
    from cupy._functions import SHARED

    names = [f"cupy.{name}" for name in SHARED] + [f"cupy.ndarray.{name}" for name in METHODS]
    for module in MODULES:
        loaded = importlib.import_module(module)
        listed = getattr(loaded, "__all__", None) or [
            name
            for name, value in vars(loaded).items()
            if not name.startswith("_") and getattr(value, "__module__", module) == module
        ]
        names += [f"{module}.{name}" for name in listed if not inspect.ismodule(getattr(loaded, name))]
    for path in CLASSES:
        names += [f"{path}.{name}" for name in vars(look_up(path)) if not name.startswith("_")]
    names += CLASSES + FUNCTIONS
    for path in FUNCTIONS:
        names += [f"{path}({parameter})" for parameter in inspect.signature(look_up(path)).parameters]
    return sorted(set(names))


def look_up(path: str):
    """A module, or the attribute of a module or class."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for name in parts[length:]:
            found = getattr(found, name)
        return found
    raise AttributeError(path)


def lacks(path: str) -> bool:
    """Whether the imported cupy lacks a name, or a function lacks a parameter."""
    name, _, parameter = path.partition("(")
    try:
        found = look_up(name)
        return bool(parameter) and parameter.rstrip(")") not in inspect.signature(found).parameters
    except AttributeError:
        return True
    except ValueError:  # the function has no visible signature
        return False


if __name__ == "__main__":
    if sys.argv[1] == "offered":
        sys.stdout.write("\n".join(offered()))
    else:
        sys.stdout.write("".join(f"{path}\n" for path in sys.stdin.read().split("\n") if lacks(path)))
