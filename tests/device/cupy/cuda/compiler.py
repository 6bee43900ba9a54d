"""The error of the compiler."""

from cpudevice.errors import CompileException

__all__ = ["CompileException"]
