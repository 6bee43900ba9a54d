"""An array of device memory. It holds a NumPy array without being one, so that NumPy cannot use it by mistake.

A subclass of numpy.ndarray would silently pass through np.asarray(), whereas this class raises CuPy's TypeError.
"""

from __future__ import annotations

import math

import numpy as np
from cpudevice import device_memory

from .cuda import Device
from .cuda._memory import allocate, is_pinned
from .cuda._stream import current_device, get_current_stream

# Methods that apply NumPy's methods to the data of the device; a test compares the names with the real CuPy.
METHODS = frozenset(
    """
    all any argmax argmin argsort astype clip copy cumsum dot flatten max mean min nonzero prod ravel repeat reshape
    round sort squeeze std sum swapaxes take transpose var view
    """.split()  # noqa: SIM905
)


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801
    __slots__ = ("__weakref__", "_a", "_device")
    __hash__ = None

    def __init__(self, shape, dtype=float, memptr=None, strides=None, order="C"):
        if memptr is not None or strides is not None or order != "C":
            raise NotImplementedError("an array from a pointer, with strides, or in Fortran order")
        shape = tuple(map(int, shape)) if np.iterable(shape) else (int(shape),)
        dtype = np.dtype(dtype)
        if dtype.kind not in "biufc":
            raise ValueError(f"Unsupported dtype {dtype}")
        self._a = allocate(math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)
        self._device = current_device()

    # ---- properties that need no look at the data ----
    shape = property(lambda self: self._a.shape)
    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    nbytes = property(lambda self: self._a.nbytes)
    itemsize = property(lambda self: self._a.itemsize)
    strides = property(lambda self: self._a.strides)
    flags = property(lambda self: self._a.flags)
    device = property(lambda self: Device(self._device))
    data = property(lambda self: MemoryPointer(self))
    T = property(lambda self: wrap(self._a.T, self._device))

    def __len__(self):
        return len(self._a)

    def __repr__(self):
        return f"<device array {self.shape} {self.dtype}>"

    # ---- copies to the host, only on request ----
    def __array__(self, *args, **kwargs):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    # DLPack describes the memory as CPU memory, so that PyTorch's CPU build accepts it. The real CuPy says CUDA.
    def __dlpack_device__(self):
        return (1, 0)

    def __dlpack__(self, *, stream=None, **_):
        if stream is not None:
            raise ValueError("a stream for memory of the CPU")
        get_current_stream(self._device)._catch_up()
        return self._a.__dlpack__()

    def get(self, stream=None, order="C", out=None, blocking=True):
        stream = stream or get_current_stream(self._device)
        if out is not None:
            if not isinstance(out, np.ndarray):
                raise TypeError(f"Only numpy.ndarray can be obtained from cupy.ndarray, not {type(out)}")
            if out.dtype != self.dtype or out.shape != self.shape:
                raise ValueError(f"get(): {out.dtype} {out.shape} for {self.dtype} {self.shape}")
            if not out.flags.c_contiguous:
                raise RuntimeError("get(): `out` must be C-contiguous")
        if blocking:
            stream._catch_up()
            if out is None:
                return np.array(self._a, order=order)
            out[...] = self._a
            return out
        if out is None or (out.size and not is_pinned(out)):
            raise RuntimeError("get(blocking=False): into memory that is not pinned, the copy waits for the device")
        out.reshape(-1).view(np.uint8)[:] = 0xFF  # the values must not be read before the copy has been waited for
        stream._push(lambda: np.copyto(out, self._a))
        return out

    def set(self, arr, stream=None):
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if self.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not self.flags.c_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        # Pageable memory is copied to a staging buffer at once; pinned memory is read when the copy takes place.
        source = arr if is_pinned(arr) and arr.flags.c_contiguous else arr.copy()
        target = stream or get_current_stream(self._device)
        target._push(lambda: np.copyto(self._a, source))
        if target.ptr == 0:
            target._drain()

    def item(self):
        return self.get().item()

    def tolist(self):
        return self.get().tolist()

    def __float__(self):
        return float(self.get())

    def __int__(self):
        return int(self.get())

    def __bool__(self):
        return bool(self.get())

    def __index__(self):
        return self.get().__index__()

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    # ---- on the device ----
    def fill(self, value):
        value = unwrap(value)
        get_current_stream(self._device)._push(lambda: self._a.fill(value))

    def __getitem__(self, key):
        if _is_basic(key):
            parts = key if isinstance(key, tuple) else (key,)
            if Ellipsis not in parts:
                parts += (Ellipsis,)  # a single element is a view too, read when its value is asked for
            return wrap(self._a[parts], self._device)
        return compute(lambda a, k: a[k], self, key)

    def __setitem__(self, key, value):
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError("a host array for a part of a device array: use .set(), or cupy.asarray()")
        plain, where = unwrap(value), unwrap(key)

        def assign():
            self._a[where] = plain

        stream = get_current_stream(self._device)
        stream._push(assign)
        if not np.isscalar(plain):
            stream._drain()

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return compute(getattr(ufunc, method), *inputs, **kwargs)

    def __array_function__(self, func, types, args, kwargs):
        if not all(issubclass(kind, ndarray) for kind in types):
            return NotImplemented  # NumPy then raises its TypeError, since host and device arrays do not mix
        import cupy

        return getattr(cupy, func.__name__)(*args, **kwargs)

    def __getattr__(self, name):
        if name not in METHODS:
            raise AttributeError(f"the stand-in's ndarray has no {name!r}")
        if name in ("reshape", "view", "ravel", "transpose", "swapaxes", "squeeze") and self.flags.c_contiguous:
            return lambda *args, **kwargs: wrap(getattr(self._a, name)(*args, **kwargs), self._device)
        return lambda *args, **kwargs: compute(getattr(np.ndarray, name), self, *args, **kwargs)


class MemoryPointer:
    """The place of an array's data."""

    def __init__(self, array):
        self.ptr = array._a.__array_interface__["data"][0] if array.size else 0
        self.device_id = array._device
        self.device = array.device


def wrap(a, device):
    """A device array around memory that already belongs to the device."""
    made = ndarray.__new__(ndarray)
    made._a, made._device = a, device
    return made


def unwrap(value):
    """The NumPy array of a device array. Host arrays are refused; numbers are returned as they are."""
    if isinstance(value, ndarray):
        if value._device != current_device():
            raise ValueError(f"an array of device {value._device} used on device {current_device()}")
        return value._a
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: host and device arrays do not mix")
    if isinstance(value, list | tuple):
        return type(value)(unwrap(part) for part in value)
    return value


def compute(function, *args, **kwargs):
    """Apply a NumPy function to data of the device, after the work that is already in the current stream."""
    out = kwargs.get("out")
    plain = [unwrap(value) for value in args]
    named = {key: unwrap(value) for key, value in kwargs.items()}
    get_current_stream()._catch_up()
    result = function(*plain, **named)
    if out is not None:
        return out[0] if isinstance(out, tuple) else out
    return _to_device(result)


def _to_device(result):
    if isinstance(result, tuple | list):
        return type(result)(_to_device(part) for part in result)
    if not isinstance(result, np.ndarray | np.generic | bool):
        return result
    host = np.asarray(result)
    if isinstance(result, np.ndarray) and result.size and device_memory.holds(result):
        return wrap(result, current_device())  # a view
    made = ndarray(host.shape, host.dtype)
    np.copyto(made._a, host)
    return made


def _is_basic(key):
    """Whether indexing gives a view, which can be decided without the data."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(part is None or part is Ellipsis or isinstance(part, int | np.integer | slice) for part in parts)
