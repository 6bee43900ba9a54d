"""A CuPy that computes nothing, so that what a host does for a GPU can be measured where there is no GPU.

Arrays have a shape and a type and no memory, kernels and copies return at once, and the copy home brings ones. Pinned
memory is real, and is kept for the next user as CuPy's pool keeps it: reading files into it costs what it costs beside
a card. `COUNTS` says how often the device was asked for something.
"""

# ruff: noqa: ARG001, ARG002, ARG005, D102 - the signatures are CuPy's, and so are the meanings

from __future__ import annotations

import ctypes
import math
import mmap
import sys
import threading
import weakref
from collections import Counter, defaultdict
from types import ModuleType

import numpy as np

COUNTS: Counter[str] = Counter()
"""Launches, copies (to the device and home) and allocations (on the device, and of pinned memory) so far."""
FREE_MEMORY = 75 * 2**30
"""Bytes that the device says are free: a card of 80 GB."""
LARGE = 4096
"""Bytes from which on a copy home is made without the interpreter's lock, as a card's is."""
ALIGNED = 512
"""The address of every array: CuPy aligns them so."""


class ndarray:  # noqa: N801 - CuPy's name
    """An array of a shape and a type; `value` is what all of its elements are where it was filled, else None."""

    def __init__(self, shape, dtype=float, value=None):
        self.shape = tuple(map(int, shape)) if np.iterable(shape) else (int(shape),)
        self.dtype, self.value = np.dtype(dtype), value

    size = property(lambda self: math.prod(self.shape))
    ndim = property(lambda self: len(self.shape))
    nbytes = property(lambda self: self.size * self.dtype.itemsize)
    flags = property(lambda self: _FLAGS)
    device = property(lambda self: _DEVICE)
    data = property(lambda self: _POINTER)

    def __len__(self):
        return self.shape[0]

    def reshape(self, *shape):
        shape = shape[0] if len(shape) == 1 and np.iterable(shape[0]) else shape
        known = -math.prod(shape)
        return ndarray([self.size // known if n == -1 else n for n in shape], self.dtype, self.value)

    def view(self, dtype):
        last = self.shape[-1] * self.dtype.itemsize // np.dtype(dtype).itemsize
        return ndarray((*self.shape[:-1], last), dtype, self.value)

    def __getitem__(self, key):
        if isinstance(key, slice) and key.step is None:  # CuPy takes a microsecond for it
            return ndarray((len(range(*key.indices(self.shape[0]))), *self.shape[1:]), self.dtype, self.value)
        if isinstance(key, int):
            return ndarray(self.shape[1:], self.dtype, self.value)
        return ndarray(np.broadcast_to(np.empty((), self.dtype), self.shape)[key].shape, self.dtype, self.value)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __setitem__(self, key, value):
        COUNTS["launches"] += 1

    def copy(self):
        COUNTS["copies"] += 1
        return empty(self.shape, self.dtype)

    def __array_function__(self, function, types, arguments, options):
        if function is not np.where:
            return NotImplemented
        COUNTS["launches"] += 1
        return empty(_broadcast(arguments), arguments[-1].dtype)

    def __lt__(self, other):
        COUNTS["launches"] += 1
        return empty(self.shape, bool)

    def set(self, host, stream=None):
        if host.nbytes != self.nbytes:
            raise ValueError(f"{host.nbytes} bytes for an array of {self.nbytes}")
        COUNTS["copies"] += 1

    def get(self, stream=None, order="C", out=None, blocking=True):
        COUNTS["copies"] += 1
        out = np.empty(self.shape, self.dtype) if out is None else out
        value = 1 if self.value is None else self.value
        if out.nbytes < LARGE or not out.flags.c_contiguous:
            out[...] = value
        else:  # a card's copy does not hold the interpreter's lock, and neither does memmove
            filled = _filled(out.dtype, value, out.nbytes)  # named, so that another thread's larger one cannot free it
            ctypes.memmove(out.ctypes.data, filled.ctypes.data, out.nbytes)
        return out


_FILLED: dict[tuple, np.ndarray] = {}


def _filled(dtype, value, n_bytes):
    """At least so many bytes of one value, made once."""
    kept = _FILLED.get((dtype, value))
    if kept is None or kept.nbytes < n_bytes:
        kept = _FILLED[dtype, value] = np.full(2 * n_bytes // dtype.itemsize, value, dtype)
    return kept


def _broadcast(arguments):
    """The shape of arrays and numbers that are broadcast together."""
    return np.broadcast_shapes(*(np.shape(a) if not isinstance(a, ndarray) else a.shape for a in arguments))


class _Flags:
    c_contiguous = True


class _Pointer:
    ptr = ALIGNED


class Device:
    """The one device, which needs no choosing."""

    id = 0
    mem_info = (FREE_MEMORY, FREE_MEMORY)

    def __init__(self, number=0):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __int__(self):
        return 0


class Stream:
    """A stream in which everything is done already."""

    ptr = 0

    def __init__(self, non_blocking=False):
        pass

    __enter__, __exit__ = Device.__enter__, Device.__exit__

    def synchronize(self):
        pass


class Event:
    """An event that has happened."""

    done = True

    def __init__(self, block=False, disable_timing=False):
        pass

    def record(self, stream=None):
        pass

    def synchronize(self):
        pass


class RawModule:
    """Kernels that are not compiled."""

    def __init__(self, code=None, options=()):
        pass

    def compile(self):
        pass

    def get_function(self, name):
        return _launched


def _launched(grid, block, arguments, shared_mem=0):
    COUNTS["launches"] += 1


def empty(shape, dtype=float):
    COUNTS["allocations"] += 1
    return ndarray(shape, dtype)


def full(shape, value, dtype=float):
    COUNTS["allocations"] += 1
    COUNTS["launches"] += 1
    return ndarray(shape, dtype, value)


def zeros(shape, dtype=float):
    return full(shape, 0, dtype)


def asarray(host, dtype=None):
    if isinstance(host, ndarray):
        return host
    # CuPy copies pageable memory to memory of its own before it returns.
    host = np.array(host, dtype=dtype)
    COUNTS["allocations"] += 1
    COUNTS["copies"] += 1
    return ndarray(host.shape, host.dtype)


def arange(n, dtype=int):
    COUNTS["launches"] += 1
    return empty(n, dtype)


def repeat(array, n):
    COUNTS["launches"] += 1
    return empty(array.size * n, array.dtype)


class _Lent(np.ndarray):
    """Pinned memory, until the last view of it is gone."""


class Pool:
    """Pinned memory; what was given back is lent again, in sizes that are powers of two as in CuPy's pool."""

    def __init__(self):
        self._free, self._lock = defaultdict(list), threading.Lock()

    def empty(self, shape, dtype=float):
        shape = tuple(map(int, shape)) if np.iterable(shape) else (int(shape),)
        n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        size = 1 << max(9, (n_bytes - 1).bit_length())
        COUNTS["pinned allocations"] += 1
        with self._lock:
            memory = self._free[size].pop() if self._free[size] else None
        if memory is None:
            COUNTS["pinned bytes"] += size
            memory = mmap.mmap(-1, size)
            # Pinned memory has all of its pages; neither the driver nor memset holds the interpreter's lock meanwhile.
            ctypes.memset(np.frombuffer(memory, np.uint8).ctypes.data, 0, size)
        # A class for each size, as ctypes makes them, would cost more than CuPy's own pointers do.
        lent = _Lent((size,), np.uint8, memory)
        weakref.finalize(lent, self._back, size, memory)
        return lent.view(np.ndarray)[:n_bytes].view(dtype).reshape(shape)

    def _back(self, size, memory):
        with self._lock:
            self._free[size].append(memory)

    def free_bytes(self):
        return 0

    def free_all_blocks(self):
        pass


_FLAGS, _POINTER, _DEVICE, _STREAM, _POOL = _Flags(), _Pointer(), Device(), Stream(), Pool()


def install() -> None:
    """Make ``import cupy`` find this device, in this process."""

    def module(name, **content):
        made = ModuleType(name)
        vars(made).update(content)
        sys.modules[name] = made
        return made

    class CompileError(Exception):
        pass

    class DeviceFailsError(RuntimeError):
        pass

    cuda = module(
        "cupy.cuda",
        Device=Device,
        Stream=Stream,
        Event=Event,
        get_current_stream=lambda: _STREAM,
        alloc_pinned_memory=lambda n_bytes: _POOL.empty(n_bytes, np.uint8),
        runtime=module("cupy.cuda.runtime", CUDARuntimeError=DeviceFailsError),
        driver=module("cupy.cuda.driver", CUDADriverError=DeviceFailsError),
        compiler=module("cupy.cuda.compiler", CompileException=CompileError),
    )
    made = {function.__name__: function for function in (empty, full, zeros, asarray, arange, repeat)}
    module(
        "cupy",
        ndarray=ndarray,
        RawModule=RawModule,
        cuda=cuda,
        get_default_memory_pool=lambda: _POOL,
        __version__="0",
        **made,
    )
