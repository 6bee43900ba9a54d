"""Loaded by the workers of the tests (``dask worker --preload``): faults that happen in the middle of an exposure.

A file ``ID.WHAT`` in the folder GPUANOM_TEST_HOOKS makes the fault WHAT happen in the worker that measures exposure ID:
once, or each time while ``ID.WHAT.always`` is there. The worker leaves a file ``ID.WHAT.pid-N``, where N is its process
id.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from gpuanom.cluster import job, worker
from gpuanom.cluster.job import Unseen
from gpuanom.measuring import threads as measuring_threads
from gpuanom.measuring.groups import Group

MIB = 2**20


def hang():
    time.sleep(1e6)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def stop():
    os.kill(os.getpid(), signal.SIGSTOP)


def doze():
    time.sleep(9)


def hog():
    held = []
    while True:  # until the nanny notices
        held.append(b"x" * (32 * MIB))
        time.sleep(0.01)


def memory():
    raise MemoryError


def device():
    from gpuanom.errors import DeviceError

    raise DeviceError("device '0': it has fallen off the bus")


def befall(exposure, possible=(hang, die, stop, doze, hog, memory, device)):
    folder = Path(os.environ["GPUANOM_TEST_HOOKS"])
    for what in possible:
        name = f"{exposure}.{what.__name__}"
        try:
            (folder / name).unlink()
        except FileNotFoundError:
            if not (folder / f"{name}.always").exists():
                continue
        (folder / f"{name}.pid-{os.getpid()}").touch()
        what()
        return True
    return False


def lose():
    """Ask for faults before the files of the exposure are looked at."""


def hidden(places, whole=worker.first_unseen):
    name = Path(os.fsdecode(places[0][0])).stem
    exposure = str(int(name.rpartition("_")[2]))
    if befall(exposure, (lose,)):
        return Unseen(f"a file of exposure {exposure}", "it is elsewhere")
    return whole(places)


def versions(whole=worker.versions):
    gpuanom = os.environ.get("GPUANOM_TEST_VERSION")
    if gpuanom == "none":
        raise ModuleNotFoundError("No module named 'gpuanom'", name="gpuanom")
    numpy = os.environ.get("GPUANOM_TEST_NUMPY")
    return {**whole(), **({"gpuanom": gpuanom} if gpuanom else {}), **({"numpy": numpy} if numpy else {})}


def choose(device, whole=job.choose):
    """Write down the device that a worker was told to use and the GPUs that it sees; then use the CPU."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    (Path(os.environ["GPUANOM_TEST_HOOKS"]) / f"chosen-{os.getpid()}").write_text(f"{device} of {seen}")
    return whole("cpu")


def error():
    raise RuntimeError("unforeseen")


def measured(run, job, name, parts, span, whole=worker.measured):
    if len(parts) > 1:
        befall(parts[0][0].exposure, (error,))
    return whole(run, job, name, parts, span)


def dask_setup(_worker):
    if "GPUANOM_TEST_CHOICES" in os.environ:
        job.choose = choose
    worker.first_unseen, worker.versions, worker.measured = hidden, versions, measured

    def measure_group(group, *arguments, whole=measuring_threads.measure_group):
        if isinstance(group, Group):  # and not a CCD that could not be read
            for number in set(group.exposures):
                befall(group.points_ids[number])
        return whole(group, *arguments)

    measuring_threads.measure_group = measure_group
