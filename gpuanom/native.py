# ruff: noqa: ARG001 (intrinsics have the arguments that Numba gives them)
"""Loops over bytes and pixels at native speed, without the interpreter's lock (Numba); import it late: it is slow.

All of them trust the sizes that they are given: `gpuanom.fits.decode` and `tiles` check those that files claim.
Nothing here contracts a product and a sum to one rounding (no fastmath).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ClassVar

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gpuanom import compiling
from gpuanom.codecache import FunctionFiles

_lock = threading.RLock()


@contextmanager
def _enabled() -> Iterator[None]:
    """Compile within, even under NUMBA_DISABLE_JIT.

    That variable is for people who step through loops of their own. Those here read and write addresses (`byte_at`,
    `put`), which Python has no way to do: they would not run at all.
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
"""A function that only compiled ones call; what Python would need to call it takes as long to compile as itself."""

inlined = _jit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, forceinline=True)
"""The same, put into its callers."""


class native:  # noqa: N801 (a decorator)
    """Compile a function at its first call, or take it from the cache on disk; where there can be none, without."""

    made: ClassVar[list[native]] = []
    """All of them, as the modules that hold them are imported: so that tests can compile each one beforehand."""

    def __init__(self, signature: Any) -> None:
        self._signature = signature
        self._compiled: Any = None
        self.made.append(self)

    def __call__(self, function: Any) -> Any:
        """Decorate a function."""
        self._function = function

        @wraps(function)
        def call(*arguments: Any) -> Any:
            if self._compiled is None:
                self.compile()
            return self._compiled(*arguments)

        return call

    def compile(self) -> None:
        """Compile the function, or load it, unless that is done."""
        with _lock:
            self._compiled = self._compiled or self._compile()

    def _compile(self) -> Any:
        compiled = _jit(nogil=True)(self._function)
        try:
            compiled._cache = FunctionFiles(self._function)  # what Numba's own cache=True does, with our folder
        except Exception:  # there is no folder: a RuntimeError of Numba's
            compiling.begun(compiling.LOOPS_NOT_KEPT)
        with _enabled():
            compiled.compile(self._signature)
        compiled.disable_compile()
        return compiled


@intrinsic
def leading_zeros(typing: Any, value: Any) -> Any:
    """Number of 0 bits before the first 1 of a uint64; 64 for 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], context.get_constant(types.boolean, False))

    return types.uint64(types.uint64), generate


def _load(result: Any, swap: bool) -> Any:
    """An intrinsic that loads an unsigned number from an address: an array in its place would be counted as used."""

    @intrinsic
    def load(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], context.get_value_type(result).as_pointer())
            number = builder.load(pointer, align=1)
            return builder.bswap(number) if swap else number

        return result(types.uint64), generate

    return load


word_at = _load(types.uint64, swap=True)
byte_at = _load(types.uint8, swap=False)


@intrinsic
def put(typing: Any, address: Any, number: Any) -> Any:
    """Store the low 32 bits of a uint64 at an address that is a multiple of 4."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(types.uint32)
        builder.store(builder.trunc(arguments[1], kind), builder.inttoptr(arguments[0], kind.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.none(types.uint64, types.uint64), generate


@intrinsic
def prefetch(typing: Any, address: Any) -> Any:
    """Ask for the cache line of an address, which need not be one's own, ahead of its use."""

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
    """Ask for `width` pixels of a plane from (y, x) on: what jumps about in it else waits for each row anew."""
    at = np.uint64(image.ctypes.data) + np.uint64(image.itemsize) * np.uint64(y * image.shape[1] + x)
    for line in range(width * image.itemsize // 64 + 1):
        prefetch(at + np.uint64(64) * np.uint64(line))


@helper
def doubles(n: Any) -> Any:
    """Room for n float64 that begins with a cache line: no vector of a loop then straddles two of them."""
    memory = np.empty(n + 7)
    start = (np.uint64(64) - np.uint64(memory.ctypes.data) % np.uint64(64)) // np.uint64(8) % np.uint64(8)
    return memory[start : start + np.uint64(n)]


def _bits(result: Any, operand: Any, method: str) -> Any:
    """An intrinsic of one operand: a method of LLVM's builder, of the result's type where that is another."""

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
