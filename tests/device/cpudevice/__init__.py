"""A CUDA device on the CPU: kernels are compiled with g++, and each of their threads is a fiber. See ../README.md."""

from .errors import KernelError
from .launch import Kernel, LaunchCounts, Source, counting
from .memory import device_memory, pinned_memory
from .settings import settings

__all__ = ["Kernel", "KernelError", "LaunchCounts", "Source", "counting", "device_memory", "pinned_memory", "settings"]
