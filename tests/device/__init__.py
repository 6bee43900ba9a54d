"""The test device: CUDA kernels that run on a CPU, under a stand-in for CuPy. See README.md."""

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

# The stand-in's modules while the stand-in is not installed. Other modules keep references to objects of the stand-in,
# so its modules must not be imported a second time.
_put_away: dict[str, ModuleType] = {}

# Whether each launch is repeated in the orders of threads and blocks that the settings name.
_every_order = True

# `pytest --require-gpu` uses a real card in place of the test device, until this process ends.
_off = False


def switch_off() -> None:
    """Leave this process to the real CuPy: `installed()` now does nothing, and tests of the test device are skipped.

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
    # This finder comes last: a test that imports `cpudevice`, which nothing else offers, is skipped on a real card.
    sys.meta_path.append(_Skip())


def is_off() -> bool:
    """Whether the tests run on a real card."""
    return _off


def in_every_order(wanted: bool) -> None:
    """Repeat each launch in every order, or run it once: the tests of the steps ask for orders, whole nights do not.

    The variable GPUANOM_DEVICE_ORDERS goes first.
    """
    global _every_order
    _every_order = wanted or "GPUANOM_DEVICE_ORDERS" in os.environ
    _set_orders()


def _set_orders() -> None:
    if "cpudevice" in sys.modules:
        from cpudevice import settings

        settings.orders = settings.default_orders if _every_order else (0,)


class _Skip:
    """A finder that finds no module, and skips a test that imports the modules of the test device."""

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == "cpudevice":
            pytest.skip(ABOUT_IT)


def install() -> None:
    """Make `import cupy` find the stand-in in this process. Further calls change nothing."""
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
    _set_orders()
    _forget_what_is_installed()


def require_compiler() -> None:
    """Skip the calling test on a machine where kernels cannot be compiled for the CPU."""
    if not _off and shutil.which("g++") is None:
        pytest.skip("the test device needs a C++ compiler (Debian: apt-get install g++)")


def uninstall() -> None:
    """Undo `install`: `import cupy` finds the CuPy of this machine, if there is one."""
    if str(HERE) in sys.path:
        sys.path.remove(str(HERE))
    for name in [name for name in list(sys.modules) if name.split(".")[0] in ("cupy", "cupyx", "kvikio")]:
        if _is_ours(sys.modules[name]):
            _put_away[name] = sys.modules.pop(name)
    if _put_away:
        # Modules that were imported with the stand-in are removed too: the device "auto" must be the CPU again.
        for name in [
            name
            for name in list(sys.modules)
            if name == "gpuanom.backends.gpu" or name.startswith("gpuanom.backends.gpu.")
        ]:
            _put_away[name] = sys.modules.pop(name)
    _forget_what_is_installed()


def _forget_what_is_installed() -> None:
    """Readers look once in a process for KvikIO, which comes and goes with the stand-in."""
    from gpuanom.fits.ccds import pixels

    pixels._reads_direct.cache_clear()


@contextlib.contextmanager
def installed() -> Iterator[None]:
    """The stand-in inside a `with` block; afterwards all is as before, and nothing waits in the stand-in's streams.

    On a real card this does nothing, and the real CuPy is used.
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

    On a real card this is the environment of this process; a test that sets options of the test device is skipped.
    """
    if _off and not settings:
        return dict(os.environ)
    if _off:
        pytest.skip(ABOUT_IT)
    if not _every_order:
        settings = {"orders": "forward", **settings}
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    named = {f"GPUANOM_DEVICE_{name.upper()}": str(value) for name, value in settings.items()}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **named}


def reset() -> None:
    """Discard the work in streams that nothing has waited for, after a test that failed half-way."""
    if _is_ours(sys.modules.get("cupy")):
        from cupy.cuda._stream import reset as forget

        forget()


def _is_ours(module: ModuleType | None) -> bool:
    return module is not None and Path(getattr(module, "__file__", None) or "").resolve().is_relative_to(HERE)
