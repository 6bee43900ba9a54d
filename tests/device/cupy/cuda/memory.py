"""CuPy's name for the module of the pools."""

from cpudevice.errors import OutOfMemoryError

from ._memory import MemoryPool

__all__ = ["MemoryPool", "OutOfMemoryError"]
