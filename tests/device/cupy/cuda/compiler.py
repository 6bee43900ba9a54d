"""The compiler's error."""

from cpudevice.errors import CompileException

__all__ = ["CompileException"]
