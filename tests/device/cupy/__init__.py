"""A stand-in for CuPy on a machine without a GPU. Kernels run on the CPU, and forbidden operations are refused.

Every name here is also a name of the real CuPy, which has more names. Names that tests need are added; other names
raise AttributeError.
"""

import numpy as _np
from numpy import (
    bool_,
    complex64,
    complex128,
    dtype,
    e,
    float32,
    float64,
    inf,
    int8,
    int16,
    int32,
    int64,
    intp,
    nan,
    newaxis,
    pi,
    uint8,
    uint16,
    uint32,
    uint64,
)

from . import cuda
from ._array import ndarray
from ._functions import (
    SHARED,
    array,
    asarray,
    ascontiguousarray,
    asnumpy,
    empty,
    empty_like,
    full,
    full_like,
    ones,
    shared,
    zeros,
    zeros_like,
)
from ._raw import RawKernel, RawModule, is_available
from .cuda._memory import get_default_memory_pool, get_default_pinned_memory_pool

__version__ = "14.2.0"


def get_array_module(*args):
    import cupy

    return cupy if any(isinstance(value, ndarray) for value in args) else _np


def __getattr__(name):
    if name in SHARED:
        return shared(name)
    raise AttributeError(f"the stand-in cupy has no {name!r}: if the real one does, it can be added")


__all__ = [
    *SHARED,
    "RawKernel",
    "RawModule",
    "array",
    "asarray",
    "ascontiguousarray",
    "asnumpy",
    "bool_",
    "complex64",
    "complex128",
    "cuda",
    "dtype",
    "e",
    "empty",
    "empty_like",
    "float32",
    "float64",
    "full",
    "full_like",
    "get_array_module",
    "get_default_memory_pool",
    "get_default_pinned_memory_pool",
    "inf",
    "int8",
    "int16",
    "int32",
    "int64",
    "intp",
    "is_available",
    "nan",
    "ndarray",
    "newaxis",
    "ones",
    "pi",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "zeros",
    "zeros_like",
]
