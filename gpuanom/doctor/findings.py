"""What `gpuanom doctor` found: records without behaviour, which it prints or turns into JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CUPY, DRIVER, COMPILER, CACHE = "CuPy", "NVIDIA driver", "NVRTC", "kernel cache"
"""Names of what a GPU needs."""

State = Literal["ok", "absent", "broken"]
"""It works; it is not there, which may be as it should; it is there and does not work."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes
    ----------
    name : str
    state : str
        See `State`.
    text : str
        What was found, in one line.
    remedy : str
        What to do if it should be otherwise; empty if nothing.
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
        The kernel, and its source in kernels/.
    registers, local : int
        Of each thread: registers, and bytes of local memory, which are arrays and spills.
    shared : int
        Static shared memory of a block, bytes.
    threads : int
        The most of a block.
    error : str
        Why it cannot be had; empty if it can.
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
    """One result of a step, held against the CPU's.

    Attributes
    ----------
    step, what : str
        The step, as the Backend protocol names it, and which of its results.
    allowed : float
        The declared parity, in `unit`; 0 means equal.
    unit : str
    difference : float
        The largest one found, in `unit`; infinite where shapes or missing values differ.
    error : str
        Why it could not be compared; empty if it could.
    """

    step: str
    what: str
    allowed: float
    unit: str
    difference: float
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether the backends agree as they should."""
        return not self.error and self.difference <= self.allowed


@dataclass(frozen=True)
class DeviceFinding:
    """One GPU.

    Attributes
    ----------
    number : int
        As CUDA counts.
    name, capability : str
        Its name and compute capability; empty if they cannot be had.
    memory, free : int
        Bytes.
    state : str
        See `State`; "absent" is a card that is too old.
    problem : str
        Why it cannot be used, with the remedy; empty if it can.
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
        """Whether it can be used, every kernel compiles, and every step agrees with the CPU's."""
        compiled = all(not kernel.error for kernel in self.kernels)
        return self.state == "ok" and compiled and all(step.passed for step in self.steps)
