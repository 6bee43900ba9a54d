"""CUDA kernels by name: their source, compiled on first use, and one place that checks every launch.

A launcher says ``KERNEL = Kernel("background", "background_fit")`` once and calls it like a function, with plain Python
numbers and device arrays. The kernel's own C signature is the one truth of its arguments: numbers are sized by it and
arrays held against it, since CuPy passes a Python number as 8 bytes and an array as a bare pointer, whatever the kernel
expects.
"""

from __future__ import annotations

import math
import operator
import re
import threading
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np

from gpuanom import compiling
from gpuanom.errors import DeviceError

# --fmad=false: see kernels/common.cuh. -lineinfo costs nothing at run time and lets profilers name the source's lines.
OPTIONS = ("--std=c++17", "--fmad=false", "-lineinfo")

MAX_GRID = (2**31 - 1, 65535, 65535)
MAX_BLOCK = (1024, 1024, 64)
MAX_THREADS = 1024
MAX_SHARED = 48 * 1024
"""Dynamic shared memory of a block, in bytes, on every card without asking for more."""

_TYPES = {
    "bool": np.bool_,
    "unsigned char": np.uint8,
    "short": np.int16,
    "int": np.int32,
    "unsigned int": np.uint32,
    "long long": np.int64,
    "unsigned long long": np.uint64,
    "float": np.float32,
    "double": np.float64,
}
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)
_KERNEL = re.compile(
    r'extern "C" __global__ void\s+(?:__launch_bounds__\((?P<bounds>[^)]*)\)\s+)?(?P<name>\w+)\((?P<arguments>[^)]*)\)'
)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_ERROR = re.compile(r"^(?P<file>\w+\.cuh?)\((?P<line>\d+)\): (?:catastrophic )?error:? ?(?P<what>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Argument:
    """One argument of a kernel as its C signature has it.

    Attributes
    ----------
    name : str
    type : NumPy scalar type
        Of the number, or of the array's elements.
    array, optional : bool
        Whether it is a pointer, and whether that may be null.
    output : bool
        Whether it is a pointer to something that the kernel may write.
    """

    name: str
    type: type[np.generic]
    array: bool
    optional: bool
    output: bool


def folder() -> Traversable:
    """Where the CUDA sources are: in the installed package, or beside it in a checkout."""
    installed = resources.files("gpuanom") / "kernels"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "kernels"


def steps() -> tuple[str, ...]:
    """The names of all .cu files, without suffix, sorted."""
    return tuple(sorted(f.name.removesuffix(".cu") for f in folder().iterdir() if f.name.endswith(".cu")))


@cache
def _bounds(kind: type[np.generic]) -> tuple[int, int]:
    """The least and the largest whole number of a type."""
    bounds: Any = np.iinfo(np.dtype(kind))
    return int(bounds.min), int(bounds.max)


@cache
def source(step: str) -> str:
    """A step's source as it is compiled: includes in place, and every line under its own file and number."""
    lines = []
    for number, line in enumerate(_text(f"{step}.cu").splitlines(), start=1):
        include = _INCLUDE.match(line)
        if include:
            lines += [f'#line 1 "{include[1]}"', _text(include[1]), f'#line {number + 1} "{step}.cu"']
        else:
            lines.append(line)
    return f'#line 1 "{step}.cu"\n' + "\n".join(lines) + "\n"


@cache
def signatures(step: str) -> dict[str, tuple[Argument, ...]]:
    """The arguments of each of a step's kernels."""
    found = _KERNEL.finditer(_COMMENT.sub("", _text(f"{step}.cu")))
    return {k["name"]: tuple(_argument(a, k["name"]) for a in k["arguments"].split(",") if a.strip()) for k in found}


def _text(name: str) -> str:
    return (folder() / name).read_text(encoding="utf-8")


def _argument(declaration: str, kernel: str) -> Argument:
    words = declaration.replace("*", " * ").split()
    *type_words, name = words
    plain = " ".join(w for w in type_words if w not in ("const", "*", "__restrict__", "OPTIONAL"))
    if plain not in _TYPES or type_words.count("*") > 1:
        raise ValueError(f"kernel {kernel}: the type of '{declaration.strip()}' is not one that a launch can check")
    array = "*" in type_words
    if plain == "bool" and not array:
        raise ValueError(f"kernel {kernel}: '{declaration.strip()}': flags are passed as int")
    return Argument(name, _TYPES[plain], array, "OPTIONAL" in type_words, array and "const" not in type_words)


class Kernel:
    """One kernel of a step, compiled for each device on first use.

    Parameters
    ----------
    step : str
        The .cu file, without suffix.
    name : str
        The kernel in it.
    """

    def __init__(self, step: str, name: str) -> None:
        self.step, self.name = step, name

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any, shared: int = 0) -> None:
        """Launch on the current device and stream; nothing is launched when the grid is empty.

        Parameters
        ----------
        grid, block : tuple of int
            Blocks, and threads of a block, along x, y, z.
        *arguments : device array, number, or None
            In the order of the kernel's signature; None is a null pointer.
        shared : int
            Bytes of dynamic shared memory.

        Raises
        ------
        TypeError, ValueError
            When an argument or the geometry is not what the kernel takes: a mistake in the launcher.
        DeviceError
            When the kernel does not compile.
        """
        self._check_geometry(grid, block, shared)
        checked = self.checked(arguments)
        if 0 not in grid:
            self.function()(grid, block, checked, shared_mem=shared)

    def checked(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments as they are passed to CuPy: numbers sized, arrays as they are."""
        import cupy

        wanted = self._wanted
        if len(arguments) != len(wanted):
            raise TypeError(f"kernel {self.name} takes {len(wanted)} arguments, not {len(arguments)}")
        kind, device = cupy.ndarray, cupy.cuda.Device().id
        checked = []
        for (argument, dtype, least, most), given in zip(wanted, arguments, strict=True):
            # Most of an exposure's 600 arguments are plainly right. Of others the methods say what is wrong.
            if dtype is not None:
                plain = type(given) is kind and given.dtype == dtype and given.flags.c_contiguous
                right = plain and given.device.id == device
                checked.append(given if right else self._array(argument, given, kind, device))
            else:
                right = type(given) is int and least <= given <= most
                checked.append(argument.type(given) if right else self._number(argument, given))
        return tuple(checked)

    @cached_property
    def _wanted(self) -> list[tuple[Argument, np.dtype[Any] | None, float, float]]:
        """The arguments; with the type of an array's elements, or the least and largest number."""
        found: list[tuple[Argument, np.dtype[Any] | None, float, float]] = []
        for argument in signatures(self.step)[self.name]:
            whole = not argument.array and not issubclass(argument.type, np.floating)
            least, most = _bounds(argument.type) if whole else (math.inf, -math.inf)  # type: ignore[arg-type]
            found.append((argument, np.dtype(argument.type) if argument.array else None, least, most))
        return found

    def function(self) -> Any:
        """The compiled kernel of the current device: CuPy's RawKernel, which also knows its registers."""
        import cupy

        return _compiled(self.step, cupy.cuda.Device().id).get_function(self.name)

    def _array(self, wanted: Argument, array: Any, kind: Any, device: int) -> Any:
        where = f"kernel {self.name}, argument {wanted.name}"
        if array is None and wanted.optional:
            return None
        if not isinstance(array, kind):
            raise TypeError(f"{where}: a device array is wanted, not {type(array).__name__}")
        if array.dtype != wanted.type:
            raise TypeError(f"{where}: {np.dtype(wanted.type)} is wanted, not {array.dtype}")
        if not array.flags.c_contiguous:
            raise ValueError(f"{where}: the array is not C-contiguous")
        if array.device.id != device:
            raise ValueError(f"{where}: the array is on device {array.device.id}, the launch on device {device}")
        return array

    def _number(self, wanted: Argument, number: Any) -> np.generic:
        where = f"kernel {self.name}, argument {wanted.name}"
        if issubclass(wanted.type, np.floating):
            return wanted.type(float(number))
        try:
            whole = operator.index(number)
        except TypeError:
            raise TypeError(f"{where}: a whole number is wanted, not {number!r}") from None
        least, most = _bounds(wanted.type)  # type: ignore[arg-type]
        if not least <= whole <= most:
            raise ValueError(f"{where}: {whole} does not fit {np.dtype(wanted.type)}")
        return wanted.type(whole)

    def _check_geometry(self, grid: tuple[int, ...], block: tuple[int, ...], shared: int) -> None:
        threads = 1
        for size, limit in zip(block, MAX_BLOCK, strict=False):
            threads *= size
            if not 1 <= size <= limit:
                raise ValueError(f"kernel {self.name}: block {block} is beyond {MAX_BLOCK}")
        if threads > MAX_THREADS:
            raise ValueError(f"kernel {self.name}: block {block} has more than {MAX_THREADS} threads")
        if any(not 0 <= size <= limit for size, limit in zip(grid, MAX_GRID, strict=False)):
            raise ValueError(f"kernel {self.name}: grid {grid} is beyond {MAX_GRID}")
        if not 0 <= shared <= MAX_SHARED:
            raise ValueError(f"kernel {self.name}: {shared} bytes of shared memory are beyond {MAX_SHARED}")


_modules: dict[tuple[str, int], Any] = {}
_lock = threading.Lock()


def _compiled(step: str, device: int) -> Any:
    """The step's module, compiled for the current device, whose number is given."""
    import cupy

    found = _modules.get((step, device))
    if found is not None:
        return found
    # Workers of one device would otherwise compile the same kernels side by side.
    with _lock:
        if (step, device) not in _modules:
            module = cupy.RawModule(code=source(step), options=OPTIONS)
            try:
                with compiling.watched(compiling.KERNELS):
                    module.compile()
            except cupy.cuda.compiler.CompileException as error:
                raise DeviceError(compile_message(step, str(error))) from error
            _modules[step, device] = module
    return _modules[step, device]


def compile_message(step: str, log: str) -> str:
    """One line from a compiler's log: the first error, where it is, and the source line at fault."""
    first = _ERROR.search(log)
    if first is None:
        return f"kernels/{step}.cu does not compile: {log.strip().splitlines()[0] if log.strip() else 'no message'}"
    lines = _text(first["file"]).splitlines()
    at = int(first["line"])
    excerpt = f": {lines[at - 1].strip()}" if at <= len(lines) else ""
    return f"kernels/{first['file']}, line {at}: {first['what'].strip()}{excerpt}"
