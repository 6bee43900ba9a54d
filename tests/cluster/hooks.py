"""Loaded by the workers of the tests (``dask worker --preload``): what befalls them in the middle of an exposure.

A file ``ID.WHAT`` in the folder GPUANOM_TEST_HOOKS befalls whoever measures exposure ID: once, or as long as
``ID.WHAT.always`` is there. Who it befell leaves ``ID.WHAT.pid-N``.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from gpuanom import works

MIB = 2**20


def hang():
    time.sleep(1e6)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


def slow():
    time.sleep(0.3)


def hog():
    held = []
    while True:  # until the nanny sees it
        held.append(b"x" * (32 * MIB))
        time.sleep(0.01)


def memory():
    raise MemoryError


def device():
    from gpuanom.errors import DeviceError

    raise DeviceError("device '0': it has fallen off the bus")


def befall(exposure):
    folder = Path(os.environ["GPUANOM_TEST_HOOKS"])
    for what in (hang, die, stop, slow, hog, memory, device):
        name = f"{exposure}.{what.__name__}"
        try:
            (folder / name).unlink()
        except FileNotFoundError:
            if not (folder / f"{name}.always").exists():
                continue
        (folder / f"{name}.pid-{os.getpid()}").touch()
        what()


def dask_setup(_worker):
    def measure_group(exposure, *arguments, whole=works.measure_group):
        befall(exposure)
        return whole(exposure, *arguments)

    works.measure_group = measure_group
