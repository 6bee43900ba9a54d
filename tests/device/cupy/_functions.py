"""Functions that make arrays, and functions that NumPy has under the same name."""

from __future__ import annotations

import numpy as np

from ._array import compute, ndarray, wrap
from .cuda._stream import current_device, get_current_stream

# Functions that apply NumPy's functions to the data of the device; a test compares the names with the real CuPy.
SHARED = frozenset(
    """
    abs absolute add all allclose any arange arctan arctan2 argmax argmin argsort argwhere array_equal bincount
    broadcast_to ceil clip concatenate copyto cos count_nonzero cumsum diff divide equal exp expand_dims flatnonzero
    floor floor_divide hstack hypot isfinite isinf isnan linspace log log2 logical_and logical_not logical_or max
    maximum mean median min minimum moveaxis multiply nanmax nanmedian nanmin negative nonzero percentile power ravel
    repeat reshape rint round searchsorted sin sort sqrt square squeeze stack std subtract sum swapaxes take tan tile
    transpose unique vstack where
    """.split()  # noqa: SIM905
)


def shared(name):
    function = getattr(np, name)
    return lambda *args, **kwargs: compute(function, *args, **kwargs)


def empty(shape, dtype=float, order="C"):
    return ndarray(shape, dtype, order=order)


def full(shape, fill_value, dtype=None, order="C"):
    made = ndarray(shape, np.asarray(fill_value).dtype if dtype is None else dtype, order=order)
    made.fill(fill_value)
    return made


def zeros(shape, dtype=float, order="C"):
    return full(shape, 0, dtype, order)


def ones(shape, dtype=float, order="C"):
    return full(shape, 1, dtype, order)


def empty_like(prototype, dtype=None):
    return empty(prototype.shape, dtype or prototype.dtype)


def zeros_like(a, dtype=None):
    return zeros(a.shape, dtype or a.dtype)


def full_like(a, fill_value, dtype=None):
    return full(a.shape, fill_value, dtype or a.dtype)


def array(obj, dtype=None, copy=True, order="K"):
    """A copy on the device. Host data are read at once (CuPy stages them), and arrive in the order of the stream."""
    if isinstance(obj, ndarray):
        return compute(np.array, obj, dtype=dtype)
    host = np.array(obj, dtype=dtype, order="C")
    made = ndarray(host.shape, host.dtype)
    get_current_stream()._push(lambda: np.copyto(made._a, host))
    return made


def asarray(a, dtype=None, order=None):
    if isinstance(a, ndarray) and (dtype is None or a.dtype == dtype):
        return a
    return array(a, dtype=dtype)


def ascontiguousarray(a, dtype=None):
    if isinstance(a, ndarray) and a.flags.c_contiguous and (dtype is None or a.dtype == dtype):
        return a if a.ndim else wrap(a._a.reshape(1), current_device())
    return compute(np.ascontiguousarray, a, dtype=dtype) if isinstance(a, ndarray) else array(a, dtype=dtype)


def asnumpy(a, stream=None, order="C", out=None, *, blocking=True):
    if isinstance(a, ndarray):
        return a.get(stream=stream, order=order, out=out, blocking=blocking)
    return np.asarray(a)
