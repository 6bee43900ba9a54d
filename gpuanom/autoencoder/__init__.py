"""The paper's second method: an autoencoder on source stamps (METHOD.md 7).

draw (which stamps) -> training -> model (a file) -> scoring (errors of every stamp) -> classifier (with labels)

Only this part of gpuanom imports PyTorch, and only when it is used: everything else works without PyTorch.
"""

from __future__ import annotations

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
        try:
            __import__(module)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] == module.split(".")[0]:
                raise GpuanomError(f"the autoencoder needs {name} ({remedy})") from None
            raise GpuanomError(f"{name} cannot be loaded: {printable(str(error))} ({remedy})") from None
        except (ImportError, OSError) as error:
            # The installed package does not fit this system.
            raise GpuanomError(f"{name} cannot be loaded: {printable(str(error))[:300]} ({remedy})") from None
