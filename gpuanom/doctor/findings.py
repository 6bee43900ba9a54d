"""The results of `gpuanom doctor`, as records that the command prints or turns into JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CUPY, DRIVER, COMPILER, CACHE = "CuPy", "NVIDIA driver", "NVRTC", "kernel cache"
"""Names of the software that a GPU needs."""

State = Literal["ok", "absent", "broken"]
"""``ok``: present and working; ``absent``: missing, which may be intended; ``broken``: present but not working."""


@dataclass(frozen=True)
class Finding:
    """The state of one part of the software that a GPU needs.

    Attributes
    ----------
    name : str
        Name of the part, such as `DRIVER`.
    state : str
        See `State`.
    text : str
        What was found, in one line.
    remedy : str
        What helps; empty if nothing is wrong.
    """

    name: str
    state: State
    text: str
    remedy: str = ""


@dataclass(frozen=True)
class KernelFinding:
    """One kernel, compiled for a device.

    Attributes
    ----------
    name, file : str
        Name of the kernel, and name of its source in kernels/.
    registers, local : int
        Registers of each thread, and bytes of local memory of each thread (arrays and spilled
        registers).
    shared : int
        Static shared memory of a block, in bytes.
    threads : int
        Largest number of threads of a block.
    error : str
        Why the kernel cannot be compiled or loaded; empty if it can.
    """

    name: str
    file: str
    registers: int = 0
    local: int = 0
    shared: int = 0
    threads: int = 0
    error: str = ""


@dataclass(frozen=True)
class StepFinding:
    """One result of a step, compared with that of the CPU.

    Attributes
    ----------
    step, what : str
        Name of the step in the Backend protocol, and name of the result.
    allowed : float
        The largest difference that the protocol allows, in `unit`; 0 means equal.
    unit : str
        Unit of `allowed` and `difference`.
    difference : float
        The largest difference found, in `unit`; infinite where shapes or missing values differ.
    error : str
        Why the results could not be compared; empty if they could.
    """

    step: str
    what: str
    allowed: float
    unit: str
    difference: float
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether the two backends agree within the allowed difference."""
        return not self.error and self.difference <= self.allowed


@dataclass(frozen=True)
class DeviceFinding:
    """One GPU.

    Attributes
    ----------
    number : int
        The number that CUDA gives the GPU.
    name, capability : str
        Name and compute capability of the GPU; empty if they cannot be read.
    memory, free : int
        The whole and the free memory, in bytes.
    state : str
        See `State`; ``absent`` is a GPU that is too old.
    problem : str
        Why the GPU cannot be used, with the remedy; empty if it can.
    kernels : tuple of KernelFinding
    steps : tuple of StepFinding
    """

    number: int
    name: str = ""
    capability: str = ""
    memory: int = 0
    free: int = 0
    state: State = "ok"
    problem: str = ""
    kernels: tuple[KernelFinding, ...] = ()
    steps: tuple[StepFinding, ...] = ()

    @property
    def works(self) -> bool:
        """Whether the GPU can be used, every kernel compiles, and every step agrees with the CPU."""
        compiled = all(not kernel.error for kernel in self.kernels)
        return self.state == "ok" and compiled and all(step.passed for step in self.steps)
