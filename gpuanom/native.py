# ruff: noqa: ARG001 (intrinsics have the arguments that Numba gives them)
"""How loops over bytes and pixels are compiled by Numba, and the machine instructions that the loops use.

Compiled loops run without the interpreter's lock. They trust the sizes that they are given:
`gpuanom.fits.decoding.encoded_images` and `gpuanom.fits.decoding.tiles` check the sizes that files
claim. No product and sum are contracted to one rounding (no fastmath). Importing Numba takes long,
so import this module inside the functions that need it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from typing import Any, ClassVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gpuanom import compiling
from gpuanom.loops.cache import ClaimedError, FunctionFiles

_lock = threading.RLock()


@contextmanager
def _enabled() -> Iterator[None]:
    """Compile inside the block, even where the variable NUMBA_DISABLE_JIT is set.

    People set that variable to step through their own loops. The loops of gpuanom read and write
    addresses (`byte_at`, `put`), which plain Python cannot do.
    """
    with _lock:
        disabled, numba.config.DISABLE_JIT = numba.config.DISABLE_JIT, 0
        try:
            yield
        finally:
            numba.config.DISABLE_JIT = disabled


def _jit(**options: Any) -> Any:
    """`numba.njit` under `_enabled`."""

    def decorate(function: Any) -> Any:
        with _enabled():
            return numba.njit(**options)(function)

    return decorate


helper = _jit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Decorator of functions that only compiled functions call: without an entry for Python they compile twice as fast."""

inlined = _jit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)
"""The same as `helper`, for functions whose code is copied into their callers."""


class native:  # noqa: N801 (a decorator)
    """Decorator that compiles a function at its first call, or loads the compiled function from the cache on disk.

    Parameters
    ----------
    signature : Numba signature
        Types of the arguments and of the result.
    """

    made: ClassVar[list[native]] = []
    """Every decorated function of the modules imported so far, so that tests can compile them beforehand."""

    def __init__(self, signature: Any) -> None:
        self._signature = signature
        self._compiled: Any = None

    def __call__(self, function: Any) -> Any:
        """Return the function that compiles `function` at its first call, or when its attribute `load` is called."""
        if function.__closure__:
            raise TypeError(f"{function.__qualname__}: a loop that uses what is around it is compiled by every process")
        self._function = function
        self.made.append(self)

        @wraps(function)
        def call(*arguments: Any) -> Any:
            if self._compiled is None:
                self.compile()
            return self._compiled(*arguments)

        call.load = self.compile  # type: ignore[attr-defined]
        return call

    @property
    def module(self) -> str:
        """The name of the module that the function is in."""
        return str(self._function.__module__)

    def compile(self) -> None:
        """Compile or load the function, unless this was done before."""
        with _lock:
            self._compiled = self._compiled or self._compile(wait=True)

    def compile_ahead(self) -> None:
        """Compile the function for other processes, unless one of them is compiling the function now."""
        with _lock, suppress(ClaimedError):
            self._compiled = self._compiled or self._compile(wait=False)

    def _compile(self, *, wait: bool) -> Any:
        compiled, files = _jit(nogil=True)(self._function), None
        try:
            # What Numba's own cache=True does, with our folder.
            files = compiled._cache = FunctionFiles(self._function, wait=wait)
        except Exception:  # Numba raises a RuntimeError where there is no folder for the cache
            compiling.begun(compiling.LOOPS_NOT_KEPT)
        try:
            with _enabled():
                compiled.compile(self._signature)
        finally:
            if files:
                files.release()
        compiled.disable_compile()
        return compiled


@intrinsic
def leading_zeros(typing: Any, value: Any) -> Any:
    """Count the 0 bits before the first 1 of a uint64.

    Parameters
    ----------
    typing : Numba context
        Given by Numba, not by the caller; the same holds for the other intrinsics here.
    value : uint64

    Returns
    -------
    uint64
        0 to 64; 64 where the value is 0.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], context.get_constant(types.boolean, False))

    return types.uint64(types.uint64), generate


@intrinsic
def high_product(typing: Any, first: Any, second: Any) -> Any:
    """Return the upper half of the product of two uint64.

    Parameters
    ----------
    typing : Numba context
    first, second : uint64

    Returns
    -------
    uint64
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide, narrow = ir.IntType(128), ir.IntType(64)
        product = builder.mul(*(builder.zext(argument, wide) for argument in arguments))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), narrow)

    return types.uint64(types.uint64, types.uint64), generate


def _load(result: Any, swap: bool) -> Any:
    """Make an intrinsic that loads an unsigned number from an address, without the reference counting of arrays."""

    @intrinsic
    def load(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], context.get_value_type(result).as_pointer())
            number = builder.load(pointer, align=1)
            return builder.bswap(number) if swap else number

        return result(types.uint64), generate

    return load


word_at = _load(types.uint64, swap=True)
"""The big-endian uint64 at an address."""
byte_at = _load(types.uint8, swap=False)
"""The byte at an address."""


@intrinsic
def put(typing: Any, address: Any, number: Any) -> Any:
    """Store the low 32 bits of a number.

    Parameters
    ----------
    typing : Numba context
    address : uint64
        Where to store them: a multiple of 4.
    number : uint64
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(types.uint32)
        builder.store(builder.trunc(arguments[1], kind), builder.inttoptr(arguments[0], kind.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.none(types.uint64, types.uint64), generate


@intrinsic
def prefetch(typing: Any, address: Any) -> Any:
    """Ask the processor to fetch the cache line of an address before it is used.

    Parameters
    ----------
    typing : Numba context
    address : uint64
        Any address: memory that does not exist is not touched.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        line = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [line.type, i32, i32, i32])
        function = builder.module.declare_intrinsic("llvm.prefetch", (line.type,), kind)
        builder.call(function, [line, *(ir.Constant(i32, n) for n in (0, 3, 1))])  # to read, to keep, as data
        return context.get_dummy_value()

    return types.none(types.uint64), generate


@helper
def prefetch_row(image: Any, y: Any, x: Any, width: Any) -> None:
    """Ask the processor to fetch pixels of one row, so that loops that jump between rows need not wait for each.

    Parameters
    ----------
    image : ndarray, (ny, nx), C-contiguous
    y, x : int
        The first pixel.
    width : int
        Number of pixels.
    """
    at = np.uint64(image.ctypes.data) + np.uint64(image.itemsize) * np.uint64(y * image.shape[1] + x)
    for line in range(width * image.itemsize // 64 + 1):
        prefetch(at + np.uint64(64) * np.uint64(line))


@helper
def doubles(n: Any) -> Any:
    """Return memory for n float64 that begins at a cache line, so that no vector of a loop straddles two lines."""
    memory = np.empty(n + 7)
    start = (np.uint64(64) - np.uint64(memory.ctypes.data) % np.uint64(64)) // np.uint64(8) % np.uint64(8)
    return memory[start : start + np.uint64(n)]


@helper
def sort(values: Any) -> None:
    """Sort numbers, ascending, in place (Shell's sort, with Ciura's gaps).

    Numba takes three seconds to compile `numpy.sort`, and much less for these lines.

    Parameters
    ----------
    values : ndarray, (n,)
        A few hundred numbers at most, without NaN.
    """
    n = len(values)
    for gap in (701, 301, 132, 57, 23, 10, 4, 1):
        for i in range(gap, n):
            value, place = values[i], i
            while place >= gap and values[place - gap] > value:
                values[place] = values[place - gap]
                place -= gap
            values[place] = value


def _bits(result: Any, operand: Any, method: str) -> Any:
    """Make an intrinsic of one operand from a method of LLVM's builder; the result may have another type."""

    @intrinsic
    def apply(typing: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            if result is operand:
                return getattr(builder, method)(arguments[0])
            return getattr(builder, method)(arguments[0], context.get_value_type(result))

        return result(operand), generate

    return apply


swapped16 = _bits(types.uint16, types.uint16, "bswap")
swapped32 = _bits(types.uint32, types.uint32, "bswap")
swapped64 = _bits(types.uint64, types.uint64, "bswap")
as_float32 = _bits(types.float32, types.uint32, "bitcast")
as_float64 = _bits(types.float64, types.uint64, "bitcast")
