"""The paper's second method: an autoencoder on source stamps (METHOD.md 7).

draw (which stamps) -> training -> model (a file) -> scoring (errors of every stamp) -> classifier (with labels)

Only this part of gpuanom imports PyTorch, and only when it is used: everything else works without PyTorch.
"""

from __future__ import annotations

import importlib
import importlib.util

from gpuanom import installing
from gpuanom.errors import GpuanomError, printable


def require() -> None:
    """Check that PyTorch and safetensors can be imported, before anything is done for them.

    Raises
    ------
    GpuanomError
        When one of them is missing or does not work; the message names the remedy.
    """
    remedy = installing.install_torch()
    for name, module in (("PyTorch", "torch"), ("safetensors", "safetensors.numpy")):
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            raise GpuanomError(f"the autoencoder needs {name} ({remedy})")
        try:
            importlib.import_module(module)
        except Exception as error:
            # The installed package does not fit this system.
            raise GpuanomError(f"{name} cannot be loaded: {printable(str(error))[:300]} ({remedy})") from None
