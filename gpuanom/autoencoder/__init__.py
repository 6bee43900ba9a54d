"""The paper's second method: an autoencoder on source stamps (METHOD.md 7).

drawn_stamps (which stamps) -> read_stamps -> training -> model (a file) -> scoring (errors of every stamp)
-> classifier (with labels)

Only this part of gpuanom imports PyTorch, and only when it is used: everything else works without PyTorch.
"""

from __future__ import annotations

from gpuanom import installing
from gpuanom.errors import GpuanomError


def require() -> None:
    """Check that PyTorch and safetensors can be imported, before anything is done for them.

    Raises
    ------
    GpuanomError
        When one of them is missing or cannot be loaded; the message names the remedy.
    """
    remedy = installing.install_torch()
    for module, name, package in (("torch", "PyTorch", "torch"), ("safetensors.numpy", "safetensors", "")):
        if lacking := installing.lacks(module, name, remedy, package):
            raise GpuanomError(f"the autoencoder needs {lacking}")
