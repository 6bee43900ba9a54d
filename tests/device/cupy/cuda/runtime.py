"""The parts of the CUDA runtime through which a program asks about its devices."""

from cpudevice import settings
from cpudevice.errors import CUDARuntimeError
from cpudevice.launch import MAX_BLOCK, MAX_GRID, MAX_THREADS, SHARED_BYTES, SHARED_BYTES_OPT_IN

from . import _memory, _stream

__all__ = ["CUDARuntimeError"]

_PROPERTIES = {
    "name": b"CUDA on a CPU (test device)",
    "major": 8,
    "minor": 0,
    "multiProcessorCount": 2,
    "warpSize": 32,
    "maxThreadsPerBlock": MAX_THREADS,
    "maxThreadsDim": MAX_BLOCK,
    "maxGridSize": MAX_GRID,
    "sharedMemPerBlock": SHARED_BYTES,
    "sharedMemPerBlockOptin": SHARED_BYTES_OPT_IN,
    "regsPerBlock": 65536,
    "l2CacheSize": 4 << 20,
    "memoryBusWidth": 5120,
    "asyncEngineCount": 2,
    "concurrentKernels": 1,
}


def getDeviceCount():  # noqa: N802
    if not settings.devices:
        raise CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected", 100)
    return settings.devices


def getDevice():  # noqa: N802
    getDeviceCount()
    return _stream.current_device()


def setDevice(device):  # noqa: N802
    _stream.set_current_device(device)


def deviceSynchronize():  # noqa: N802
    _stream.synchronize_device(_stream.current_device())


def memGetInfo():  # noqa: N802
    return _memory.mem_info(_stream.current_device())


def getDeviceProperties(device):  # noqa: N802
    if not 0 <= device < settings.devices:
        raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal", 101)
    return {**_PROPERTIES, "totalGlobalMem": settings.memory}


def driverGetVersion():  # noqa: N802
    return 12090


def runtimeGetVersion():  # noqa: N802
    return 12090
