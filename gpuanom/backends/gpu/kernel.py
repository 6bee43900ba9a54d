"""CUDA kernels by name: their source, compiled on first use, and one place that checks every launch.

A launcher says ``KERNEL = Kernel("background", "background_fit")`` once and calls it like a function, with plain Python
numbers and device arrays. The kernel's own C signature is the one truth of its arguments: numbers are sized by it and
arrays held against it, since CuPy passes a Python number as 8 bytes and an array as a bare pointer, whatever the kernel
expects.
"""

from __future__ import annotations

import operator
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import repeat
from pathlib import Path
from typing import Any, TypeAlias

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
_TYPE_AND_PLACE = operator.attrgetter("dtype", "flags.c_contiguous", "device.id")
"""The properties of an array that a launch checks."""
_ERROR = re.compile(r"^(?P<file>\w+\.cuh?)\((?P<line>\d+)\): (?:catastrophic )?error:? ?(?P<what>.*)$", re.MULTILINE)


_Pick: TypeAlias = Callable[[tuple[Any, ...]], tuple[Any, ...]]


def _picker(places: Sequence[int]) -> _Pick:
    """A function that takes the items at these places of a tuple, without a loop in Python where there are several."""
    if len(places) > 1:
        return operator.itemgetter(*places)
    return lambda items: tuple(items[i] for i in places)


@lru_cache(maxsize=256)
def _picker_of_present(absent: tuple[bool, ...]) -> _Pick:
    """A function that takes those of a kernel's arrays that are given."""
    return _picker([i for i, is_absent in enumerate(absent) if not is_absent])


def _device() -> int:
    """The number of the current device."""
    import cupy

    return int(cupy.cuda.Device().id)


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
        self._checked_before: set[tuple[Any, ...]] = set()
        """The properties of the arrays of earlier launches, which were found to be right."""
        # The same numbers come again with every exposure. 1, 1.0 and True are kept apart.
        self._sized_numbers = lru_cache(maxsize=256, typed=True)(self._numbers)

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
        device = _device()
        _check_geometry(self.name, grid, block, shared)
        checked = self._checked(arguments, device)
        if 0 not in grid:
            self._function(device)(grid, block, checked, shared_mem=shared)

    def _checked(self, arguments: tuple[Any, ...], device: int) -> tuple[Any, ...]:
        """The arguments as they are passed to CuPy: numbers sized, arrays as they are."""
        wanted = self._signature
        if len(arguments) != len(wanted):
            raise TypeError(f"kernel {self.name} takes {len(wanted)} arguments, not {len(arguments)}")
        arrays_of, numbers_of, in_order = self._pickers
        arrays = arrays_of(arguments)
        # An exposure has 600 arguments. What is known to be right is compared, by functions written in C.
        absent = tuple(map(operator.is_, arrays, repeat(None)))
        try:
            about = device, absent, *map(_TYPE_AND_PLACE, _picker_of_present(absent)(arrays))
        except AttributeError:  # something else than a device array, which is refused by name
            self._check_arrays(arrays_of(wanted), arrays, device)
            raise
        if about not in self._checked_before:
            self._check_arrays(arrays_of(wanted), arrays, device)
            self._checked_before.add(about)
        return in_order((*arrays, *self._sized_numbers(*numbers_of(arguments))))

    @cached_property
    def _signature(self) -> tuple[Argument, ...]:
        return signatures(self.step)[self.name]

    @cached_property
    def _pickers(self) -> tuple[_Pick, _Pick, _Pick]:
        """Functions that take the arrays and the numbers of the arguments, and that put the two in order again."""
        arrays = [i for i, argument in enumerate(self._signature) if argument.array]
        numbers = [i for i, argument in enumerate(self._signature) if not argument.array]
        every = arrays + numbers
        return _picker(arrays), _picker(numbers), _picker([every.index(i) for i in range(len(every))])

    def _numbers(self, *numbers: Any) -> list[np.generic]:
        """Numbers of the types of the signature."""
        wanted = self._pickers[1](self._signature)
        return [self._number(argument, number) for argument, number in zip(wanted, numbers, strict=True)]

    def function(self) -> Any:
        """The compiled kernel of the current device: CuPy's RawKernel, which also knows its registers."""
        return self._function(_device())

    def _function(self, device: int) -> Any:
        return _compiled(self.step, device)[self.name]

    def _check_arrays(self, wanted: Sequence[Argument], arrays: Sequence[Any], device: int) -> None:
        import cupy

        for argument, array in zip(wanted, arrays, strict=True):
            self._check_array(argument, array, cupy.ndarray, device)

    def _check_array(self, wanted: Argument, array: Any, kind: Any, device: int) -> None:
        where = f"kernel {self.name}, argument {wanted.name}"
        if array is None and wanted.optional:
            return
        if not isinstance(array, kind):
            raise TypeError(f"{where}: a device array is wanted, not {type(array).__name__}")
        if array.dtype != wanted.type:
            raise TypeError(f"{where}: {np.dtype(wanted.type)} is wanted, not {array.dtype}")
        if not array.flags.c_contiguous:
            raise ValueError(f"{where}: the array is not C-contiguous")
        if array.device.id != device:
            raise ValueError(f"{where}: the array is on device {array.device.id}, the launch on device {device}")

    def _number(self, wanted: Argument, number: Any) -> np.generic:
        where = f"kernel {self.name}, argument {wanted.name}"
        if issubclass(wanted.type, np.floating):
            return wanted.type(float(number))
        try:
            whole = operator.index(number)
        except TypeError:
            raise TypeError(f"{where}: a whole number is wanted, not {number!r}") from None
        bounds: Any = np.iinfo(np.dtype(wanted.type))
        if not bounds.min <= whole <= bounds.max:
            raise ValueError(f"{where}: {whole} does not fit {np.dtype(wanted.type)}")
        return wanted.type(whole)


@lru_cache(maxsize=1024)
def _check_geometry(name: str, grid: tuple[int, ...], block: tuple[int, ...], shared: int) -> None:
    threads = 1
    for size, limit in zip(block, MAX_BLOCK, strict=False):
        threads *= size
        if not 1 <= size <= limit:
            raise ValueError(f"kernel {name}: block {block} is beyond {MAX_BLOCK}")
    if threads > MAX_THREADS:
        raise ValueError(f"kernel {name}: block {block} has more than {MAX_THREADS} threads")
    if any(not 0 <= size <= limit for size, limit in zip(grid, MAX_GRID, strict=False)):
        raise ValueError(f"kernel {name}: grid {grid} is beyond {MAX_GRID}")
    if not 0 <= shared <= MAX_SHARED:
        raise ValueError(f"kernel {name}: {shared} bytes of shared memory are beyond {MAX_SHARED}")


class _Functions(dict[str, Any]):
    """The kernels of a compiled module by name; CuPy makes a new object each time that one is asked for."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self._module = module

    def __missing__(self, name: str) -> Any:
        self[name] = self._module.get_function(name)
        return self[name]


_modules: dict[tuple[str, int], _Functions] = {}
_lock = threading.Lock()


def _compiled(step: str, device: int) -> _Functions:
    """The kernels of a step, compiled for the current device, whose number is given."""
    found = _modules.get((step, device))
    if found is not None:
        return found
    import cupy

    # Workers of one device would otherwise compile the same kernels side by side.
    with _lock:
        if (step, device) not in _modules:
            module = cupy.RawModule(code=source(step), options=OPTIONS)
            try:
                with compiling.watched(compiling.KERNELS):
                    module.compile()
            except cupy.cuda.compiler.CompileException as error:
                raise DeviceError(compile_message(step, str(error))) from error
            _modules[step, device] = _Functions(module)
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
