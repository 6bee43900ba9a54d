"""The test device: CUDA kernels on a CPU, under a stand-in for CuPy. See README.md."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def install() -> None:
    """Make `import cupy` find the stand-in, in this process. May be called again."""
    loaded = sys.modules.get("cupy")
    if loaded is not None and not _is_ours(loaded):
        raise RuntimeError("the real CuPy is imported already; the stand-in must come first")
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    import cupy

    assert _is_ours(cupy), cupy.__file__


def environment(**settings: str) -> dict[str, str]:
    """The environment for a process whose `import cupy` finds the stand-in: environment(orders="forward,reverse")."""
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    named = {f"GPUANOM_DEVICE_{name.upper()}": str(value) for name, value in settings.items()}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **named}


def reset() -> None:
    """Forget what was put into streams and not waited for: after a test that failed half-way."""
    if _is_ours(sys.modules.get("cupy")):
        from cupy.cuda._stream import reset as forget

        forget()


def _is_ours(module) -> bool:
    return module is not None and Path(module.__file__ or "").resolve().is_relative_to(HERE)
