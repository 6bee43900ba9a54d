"""A digest of all that a compiled loop is made of: two loops with the same digest are the same machine code.

A loop contains the functions that it calls and the numbers that it finds in its module, whichever file they come from.
All of these are in the digest, and nothing else: neither where the package is installed, nor the other lines of a file.
So installations of the same version share their compiled loops, and a change of one loop leaves the others compiled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba import types
from numba.core.dispatcher import Dispatcher
from numba.core.extending import _Intrinsic


@cache
def digest(function: FunctionType) -> str:
    """Return the digest of a function that is to be compiled.

    Parameters
    ----------
    function : function
        As Python has it, before Numba compiles it.

    Returns
    -------
    str
        64 hexadecimal digits. The same in every process and in every installation.

    Raises
    ------
    TypeError
        Where the function uses something of which this module does not know what the machine code takes from it.
    """
    total = hashlib.sha256(_native_source())
    # Machine code names the functions that it is made of by their modules.
    for part in (function.__module__, function.__qualname__, *_parts(function)):
        total.update(f"{len(part)} {part}\n".encode())
    return total.hexdigest()


@cache
def _native_source() -> bytes:
    """The file with the options of compiling, and with what the intrinsics compile to."""
    return Path(__file__).parent.with_name("native.py").read_bytes()


def _parts(function: FunctionType) -> Iterator[str]:
    """What a function is made of, one text for each part."""
    yield _described(function.__defaults__)
    for cell in function.__closure__ or ():
        yield _described(cell.cell_contents)
    yield from _of_code(function.__code__, function.__globals__)


def _of_code(code: CodeType, around: dict[str, Any]) -> Iterator[str]:
    yield code.co_code.hex()
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _of_code(constant, around)
        else:
            yield _described(constant)
    # The names of attributes are among these, too: a value that has the same name by chance does no harm.
    for name in code.co_names:
        if name in around:
            yield f"{name} is {_described(around[name])}"


def _described(value: Any) -> str:
    """A text that is another one where the machine code is."""
    if isinstance(value, Dispatcher):
        return f"function {sorted(value.targetoptions.items())} {digest(value.py_func)}"
    if isinstance(value, tuple):
        return f"({' '.join(map(_described, value))})"
    if isinstance(value, frozenset):  # the order of its elements is another one in each process
        return f"{{{' '.join(sorted(map(_described, value)))}}}"
    if isinstance(value, np.ndarray | np.generic):
        return f"array {value.dtype.str} {value.shape} {value.tobytes().hex()}"
    if isinstance(value, ModuleType):
        _refuse_ours(value.__name__)
        return f"module {value.__name__}"
    if isinstance(value, type):
        _refuse_ours(value.__module__)
        return f"class {value.__module__}.{value.__qualname__}"
    if isinstance(value, _Intrinsic):
        # What an intrinsic compiles to is written in `gpuanom.native`, whose source is in every digest.
        if value._defn.__module__ != "gpuanom.native":
            raise TypeError(f"intrinsic {value._name}: intrinsics are defined in gpuanom.native")
        return f"intrinsic {value._name}"
    if isinstance(value, types.ExternalFunction):
        return f"external {value.symbol} {value.sig}"
    if value is None or value is Ellipsis or isinstance(value, bool | int | float | complex | str | bytes):
        return f"{type(value).__name__} {value!r}"
    raise TypeError(f"a compiled loop uses {value!r}: only numbers, tuples, arrays and compiled functions are known")


def _refuse_ours(module: str) -> None:
    """Refuse a module or a class of this package: its contents are not looked at."""
    if module.partition(".")[0] == "gpuanom":
        raise TypeError(f"a compiled loop uses {module} as a whole: let it import the names that it needs")
