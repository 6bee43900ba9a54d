"""The error of the driver."""

from cpudevice.errors import CUDADriverError

__all__ = ["CUDADriverError"]
