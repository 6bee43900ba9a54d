"""The errors of the test device; the stand-in for CuPy offers them under CuPy's names."""

from __future__ import annotations


class CUDARuntimeError(RuntimeError):
    """The error that CuPy raises for an error of the CUDA runtime."""

    def __init__(self, message: str, status: int = 700):  # 700 is cudaErrorIllegalAddress
        super().__init__(message)
        self.status = status


class CUDADriverError(RuntimeError):
    """The error that CuPy raises for an error of the driver: here, a launch outside the limits of the device."""


class KernelError(CUDARuntimeError):
    """The kernel did something that CUDA forbids."""


class OutOfMemoryError(MemoryError):
    """The device has no room for an allocation."""


class CompileException(Exception):  # noqa: N818
    """g++ refused a source. Fields and methods are those of CuPy's exception."""

    def __init__(self, msg: str, source: str, name: str, options: tuple[str, ...], backend: str = "nvrtc"):
        super().__init__(msg)
        self._msg, self.source, self.name, self.options, self.backend = msg, source, name, options, backend

    def __str__(self) -> str:
        return self.get_message()

    def get_message(self) -> str:
        return self._msg

    def dump(self, f) -> None:
        for number, line in enumerate(self.source.split("\n"), 1):
            f.write(f"{number:4} {line.rstrip()}\n")
