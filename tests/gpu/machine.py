"""A machine with a GPU that a test describes: it answers in place of CuPy, whatever CuPy and card are really there.

`gpuanom.backends.gpu.cuda` alone asks CuPy about a machine, and the functions of that module are replaced here. CuPy's
types cannot be changed, and CuPy's answers differ with its version and with the card.
"""

from __future__ import annotations

from types import SimpleNamespace


class CudaError(RuntimeError):
    """The error that the CUDA runtime raises, with its number as CuPy gives it."""

    def __init__(self, message, status):
        super().__init__(message)
        self.status = status


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


class Machine:
    """By default one card of compute capability 8.0 under CUDA 12.9, with a matching CuPy, where everything works."""

    def __init__(self, monkeypatch):
        from gpuanom.backends.gpu import cuda, devices

        self._cuda, self._devices, self._patch = cuda, devices, monkeypatch
        self.card = {"name": b"A card of the tests", "major": 8, "minor": 0, "totalGlobalMem": 2**34}
        self.answers(
            n_devices=1,
            properties=self.card,
            memory=(2**33, 2**34),
            built_for=12090,
            driver_supports=12090,
            compiler=(12, 9),
            compiles_for=(50, 60, 70, 80, 90),
            compile_nothing=None,
        )
        self.kernel_module("")

    def answers(self, **by_question):
        """Set the answer to each question; an exception as the answer is raised."""
        for name, answer in by_question.items():
            assert hasattr(self._cuda, name)
            known = raising(answer) if isinstance(answer, Exception) else lambda *_, answer=answer: answer
            self._patch.setattr(self._cuda, name, known)

    def has_card(self, **properties):
        self.answers(properties={**self.card, **properties})

    def kernel_module(self, version):
        self._patch.setattr(self._devices, "driver_version", lambda: version)

    def without_driver(self):
        self.answers(n_devices=CudaError("cudaErrorInsufficientDriver: driver version", 35), driver_supports=0)

    def of_cuda_13(self):
        """The machine becomes an H200 under CUDA 13, whose NVRTC does not compile for Volta any more."""
        self.answers(built_for=13020, driver_supports=13000, compiler=(13, 0))
        self.answers(compiles_for=(75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121))
        self.has_card(name=b"NVIDIA H200", major=9, minor=0)


def driver(monkeypatch, *, cuda=0, gpus=0, version=""):
    """Set the findings of `gpuanom.nvidia`, which is asked where there is no CuPy."""
    from gpuanom import nvidia

    found = SimpleNamespace(driver_cuda=lambda: cuda, n_gpus=lambda: gpus, driver_version=lambda: version)
    for name, answer in vars(found).items():
        monkeypatch.setattr(nvidia, name, answer)
