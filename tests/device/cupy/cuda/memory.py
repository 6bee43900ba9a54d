"""The module of the memory pools under CuPy's name."""

from cpudevice.errors import OutOfMemoryError

from ._memory import MemoryPool

__all__ = ["MemoryPool", "OutOfMemoryError"]
