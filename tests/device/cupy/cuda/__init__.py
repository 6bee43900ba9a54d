"""Devices, streams, events and memory."""

from cpudevice import settings

from . import compiler, driver, memory, nvrtc, runtime
from ._memory import (
    MemoryPool,
    PinnedMemoryPointer,
    PinnedMemoryPool,
    alloc_pinned_memory,
    mem_info,
)
from ._stream import (
    Event,
    Stream,
    current_device,
    get_current_stream,
    get_elapsed_time,
    set_current_device,
    synchronize_device,
)

__all__ = [
    "Device",
    "Event",
    "MemoryPool",
    "PinnedMemoryPointer",
    "PinnedMemoryPool",
    "Stream",
    "alloc_pinned_memory",
    "compiler",
    "driver",
    "get_current_stream",
    "get_elapsed_time",
    "is_available",
    "memory",
    "nvrtc",
    "runtime",
]


def is_available():
    return settings.devices > 0


class Device:
    """A device by its number, or the current device if no number is given."""

    def __init__(self, device=None):
        self.id = current_device() if device is None else int(device)
        self._before = []

    def __eq__(self, other):
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self):
        return self.id

    def __int__(self):
        return self.id

    def __repr__(self):
        return f"<CUDA Device {self.id}>"

    def __enter__(self):
        self._before.append(current_device())
        self.use()
        return self

    def __exit__(self, *exc):
        set_current_device(self._before.pop())

    def use(self):
        set_current_device(self.id)
        return self

    def synchronize(self):
        synchronize_device(self.id)

    @property
    def mem_info(self):
        return mem_info(self.id)

    @property
    def compute_capability(self):
        properties = runtime.getDeviceProperties(self.id)
        return f"{properties['major']}{properties['minor']}"

    @property
    def attributes(self):
        properties = runtime.getDeviceProperties(self.id)
        return {
            "MaxSharedMemoryPerBlock": properties["sharedMemPerBlock"],
            "MaxSharedMemoryPerBlockOptin": properties["sharedMemPerBlockOptin"],
            "MaxThreadsPerBlock": properties["maxThreadsPerBlock"],
            "MultiProcessorCount": properties["multiProcessorCount"],
            "WarpSize": properties["warpSize"],
        }
