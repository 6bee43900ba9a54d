"""The memory of the devices: its size, and how much of it is in use."""

# ruff: noqa: ARG002 - the signatures are CuPy's

from __future__ import annotations

import threading

import numpy as np
from cpudevice import device_memory, pinned_memory, settings
from cpudevice.errors import OutOfMemoryError

from ._stream import current_device

_lock = threading.RLock()
UNIT = 512  # CuPy rounds the size of every allocation up to a multiple of this


class MemoryPool:
    """CuPy's pool: freed memory stays with the process until a caller asks the pool to free it."""

    def __init__(self, allocator=None):
        self._used: dict[int, int] = {}
        self._kept: dict[int, int] = {}
        self._limit: dict[int, int] = {}

    def used_bytes(self):
        return self._used.get(current_device(), 0)

    def free_bytes(self):
        return self._kept.get(current_device(), 0)

    def total_bytes(self):
        return self.used_bytes() + self.free_bytes()

    def free_all_blocks(self, stream=None):
        with _lock:
            self._kept[current_device()] = 0

    def set_limit(self, size=None, fraction=None):
        self._limit[current_device()] = int(fraction * settings.memory) if fraction is not None else int(size or 0)

    def get_limit(self):
        return self._limit.get(current_device(), 0)

    def _take(self, nbytes, device):
        size = -(-nbytes // UNIT) * UNIT
        with _lock:
            used, kept = self._used.get(device, 0), self._kept.get(device, 0)
            limit = self._limit.get(device, 0) or settings.memory
            if used + size > min(limit, settings.memory):
                raise OutOfMemoryError(
                    f"Out of memory allocating {size:,} bytes (allocated so far: {used:,} bytes, limit set to: "
                    f"{limit:,} bytes)."
                )
            self._used[device] = used + size
            # The new size differs from the sizes of the kept blocks: the pool frees kept memory when room gets short.
            self._kept[device] = min(max(kept - size, 0), settings.memory - used - size)
        return size

    def _give(self, size, device):
        with _lock:
            self._used[device] -= size
            self._kept[device] = self._kept.get(device, 0) + size


class PinnedMemoryPool:
    def free_all_blocks(self):
        pass

    def n_free_blocks(self):
        return 0


_pool = MemoryPool()
_pinned_pool = PinnedMemoryPool()


def get_default_memory_pool():
    return _pool


def get_default_pinned_memory_pool():
    return _pinned_pool


def allocate(nbytes):
    """Allocate bytes on the current device."""
    device = current_device()
    size = _pool._take(nbytes, device)
    try:
        return device_memory.allocate(nbytes, device, lambda: _pool._give(size, device))
    except BaseException:
        _pool._give(size, device)
        raise


class PinnedMemoryPointer:
    """Pinned memory through the buffer protocol, which np.frombuffer uses."""

    def __init__(self, nbytes):
        self._bytes = pinned_memory.allocate(nbytes)

    @property
    def ptr(self):
        return self._bytes.ctypes.data

    def size(self):
        return self._bytes.size

    def __buffer__(self, flags):
        return memoryview(self._bytes)


def alloc_pinned_memory(size):
    # Python classes support the buffer protocol from Python 3.12 on; before that the buffer of the array serves.
    return memoryview(pinned_memory.allocate(int(size)))


def is_pinned(array: np.ndarray):
    return pinned_memory.holds(array)


def mem_info(device):
    with _lock:
        held = _pool._used.get(device, 0) + _pool._kept.get(device, 0)
    return settings.memory - held, settings.memory
