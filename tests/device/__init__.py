"""The test device: CUDA kernels on a CPU, under a stand-in for CuPy. See README.md."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ABOUT_IT = "about the test device, which is off: --require-gpu runs the tests on a real card"

HERE = Path(__file__).resolve().parent

# The stand-in's modules while it is not installed. Others hold on to its objects, so it must not be made twice.
_put_away: dict[str, ModuleType] = {}

# `pytest --require-gpu`: a real card in place of the test device, for as long as this process lives.
_off = False


def switch_off() -> None:
    """Leave this process to the real CuPy: from here on `installed()` does nothing, and what is about the device skips.

    Raises
    ------
    RuntimeError
        When the stand-in was imported before, or is what `import cupy` finds.
    """
    global _off
    import cupy

    if _is_ours(cupy):
        raise RuntimeError(f"CuPy is the test device's: {HERE} is on the path")
    _off = True
    # Last: where nothing else offers `cpudevice`, a test that wants it has nothing to ask of a real card.
    sys.meta_path.append(_Skip())


def is_off() -> bool:
    """Whether tests run on a real card."""
    return _off


class _Skip:
    """Finds no module; a test that imports the test device's own is skipped."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == "cpudevice":
            pytest.skip(ABOUT_IT)


def install() -> None:
    """Make `import cupy` find the stand-in, in this process. May be called again."""
    if _off:
        pytest.skip(ABOUT_IT)
    require_compiler()
    loaded = sys.modules.get("cupy")
    if loaded is not None and not _is_ours(loaded):
        raise RuntimeError("the real CuPy is imported already; the stand-in must come first")
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    sys.modules.update(_put_away)
    _put_away.clear()
    import cupy
    import cupyx

    for module in (cupy, cupyx):
        if not _is_ours(module):
            raise RuntimeError(f"{module.__file__} was found before the stand-in")


def require_compiler() -> None:
    """Skip the test that asks where kernels cannot be compiled for the CPU."""
    if not _off and shutil.which("g++") is None:
        pytest.skip("the test device needs a C++ compiler (Debian: apt-get install g++)")


def uninstall() -> None:
    """The reverse: `import cupy` finds what is installed on this machine, if anything."""
    if str(HERE) in sys.path:
        sys.path.remove(str(HERE))
    for name in [name for name in sys.modules if name.split(".")[0] in ("cupy", "cupyx", "kvikio")]:
        if _is_ours(sys.modules[name]):
            _put_away[name] = sys.modules.pop(name)
    if _put_away:
        # What was imported over the stand-in goes with it: the device "auto" must be the CPU again.
        for name in [
            name for name in sys.modules if name == "gpuanom.backends.gpu" or name.startswith("gpuanom.backends.gpu.")
        ]:
            _put_away[name] = sys.modules.pop(name)


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """The stand-in for as long as a test needs it; left as it was found, with nothing waiting in its streams.

    On a real card, the real CuPy: nothing is done.
    """
    if _off:
        yield
        return
    before = _is_ours(sys.modules.get("cupy"))
    install()
    try:
        yield
    finally:
        reset()
        if not before:
            uninstall()


def environment(**settings: str) -> dict[str, str]:
    """The environment for a process whose `import cupy` finds the stand-in: environment(orders="forward,reverse").

    On a real card, the environment as it is; a test that sets the test device is skipped.
    """
    if _off and not settings:
        return dict(os.environ)
    if _off:
        pytest.skip(ABOUT_IT)
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    named = {f"GPUANOM_DEVICE_{name.upper()}": str(value) for name, value in settings.items()}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **named}


def reset() -> None:
    """Forget what was put into streams and not waited for: after a test that failed half-way."""
    if _is_ours(sys.modules.get("cupy")):
        from cupy.cuda._stream import reset as forget

        forget()


def _is_ours(module: ModuleType | None) -> bool:
    return module is not None and Path(getattr(module, "__file__", None) or "").resolve().is_relative_to(HERE)
