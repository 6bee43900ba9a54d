"""RawModule and RawKernel: sources are compiled for the device on first use, and every launch is checked."""

# ruff: noqa: ARG002, ARG005 - the signatures are CuPy's

from __future__ import annotations

import re

import numpy as np
from cpudevice import Kernel, Source, settings
from cpudevice.build import check_options
from cpudevice.errors import CUDADriverError
from cpudevice.launch import MAX_THREADS, SHARED_BYTES_OPT_IN

from ._array import ndarray
from .cuda._stream import current_device, get_current_stream


class RawModule:
    def __init__(self, *, code=None, path=None, options=(), backend="nvrtc", name_expressions=None, jitify=False):
        if (code is None) == (path is None):
            raise TypeError("Exactly one of `code` and `path` keyword arguments must be given.")
        if path is not None or name_expressions is not None or jitify or backend != "nvrtc":
            raise NotImplementedError("the test device compiles `code`, and kernels that are no templates")
        if not isinstance(options, tuple):
            raise TypeError("`options` must be a tuple")
        check_options(options)
        # The first #line names the file, so that errors name the file too.
        named = re.search(r'^\s*#\s*line\s+\d+\s+"([^"]+)"', code, re.MULTILINE)
        self._source = Source(code, named[1] if named else "raw_module.cu", options)
        self._kernels = {}

    def compile(self, log_stream=None):
        self._source.library()

    def get_function(self, name):
        if name not in self._kernels:
            self._kernels[name] = RawKernel._of(self._source, name)
        return self._kernels[name]


class RawKernel:
    def __init__(self, code, name, options=(), backend="nvrtc", *, jitify=False):
        module = RawModule(code=code, options=options, backend=backend, jitify=jitify)
        self._source, self.name, self._ready = module._source, name, None

    @classmethod
    def _of(cls, source, name):
        made = cls.__new__(cls)
        made._source, made.name, made._ready = source, name, None
        made._kernel()  # a name that the module does not have raises an error at once
        return made

    def _kernel(self):
        if self._ready is None:
            self._ready = Kernel(self._source, self.name)
        return self._ready

    def compile(self, log_stream=None):
        self._kernel()

    def __call__(self, grid, block, args, *, shared_mem=0, stream=None):
        kernel = self._kernel()
        grid, block = kernel.check_geometry(grid, block, shared_mem)
        values = tuple(self._value(number, value) for number, value in enumerate(args))
        packed = kernel.check_arguments(values)
        # The arrays are kept until the launch has run; CuPy's memory pool has the same effect.
        run = stream or get_current_stream()
        run._push(lambda: kernel.run(grid, block, packed, values, shared_mem))

    def _value(self, number, value):
        if isinstance(value, np.ndarray):
            raise TypeError(f"{self.name}, argument {number}: an array of the host")
        if not isinstance(value, ndarray):
            return value
        if value._device != current_device():
            raise ValueError(
                f"{self.name}, argument {number}: an array of device {value._device}, launched on {current_device()}"
            )
        return value._a

    # ---- properties of a compiled kernel on a real card; registers and spills are known from NVRTC only ----
    @property
    def max_threads_per_block(self):
        return min(self._kernel().bound, MAX_THREADS)

    @property
    def max_dynamic_shared_size_bytes(self):
        return self._kernel().dynamic_limit

    @max_dynamic_shared_size_bytes.setter
    def max_dynamic_shared_size_bytes(self, nbytes):
        if not 0 <= nbytes <= SHARED_BYTES_OPT_IN:
            raise CUDADriverError(f"CUDA_ERROR_INVALID_VALUE: {nbytes} bytes of shared memory")
        self._kernel().dynamic_limit = int(nbytes)

    num_regs = property(lambda self: 0)
    local_size_bytes = property(lambda self: 0)
    shared_size_bytes = property(lambda self: 0)
    const_size_bytes = property(lambda self: 0)

    @property
    def attributes(self):
        names = (
            "max_threads_per_block shared_size_bytes const_size_bytes local_size_bytes num_regs "
            "max_dynamic_shared_size_bytes"
        )
        return {name: getattr(self, name) for name in names.split()}


def is_available():
    return settings.devices > 0
