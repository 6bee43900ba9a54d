"""Files straight to the device, where KvikIO is installed (GPUDirect Storage; the extras `direct12` and `direct13`).

Only what nobody has to look at on the host goes this way: images of plain files whose headers carry no DATASUM.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

import cupy

from gpuanom.encoded import BytesOnDisk
from gpuanom.records import Array

MIN_BYTES = 2**20
"""Bytes from which on it is worth a request of its own."""

_log = logging.getLogger("gpuanom")


@cache
def _files() -> Any:
    """KvikIO's class of files; None where it is not installed or cannot work here."""
    try:
        from kvikio import CuFile
    except ImportError:
        return None
    except Exception as error:  # its libraries raise what they like when there is something wrong with the system
        _log.warning("KvikIO is installed but cannot be used: %s; files are read through the host", error)
        return None
    return CuFile


def read(place: BytesOnDisk | None, target: Array) -> bool:
    """Read bytes of a file into device memory, and wait for them.

    Parameters
    ----------
    place : BytesOnDisk or None
        Where they begin.
    target : device array
        C-contiguous; as many bytes are read as it has.

    Returns
    -------
    bool
        Whether it was done; if not, nothing is lost: they must be brought by way of the host.
    """
    if place is None or target.nbytes < MIN_BYTES or _files() is None:
        return False
    # KvikIO knows nothing of the stream, in which a kernel may still use this memory.
    cupy.cuda.get_current_stream().synchronize()
    try:
        with _files()(place.path, "r") as file:
            n = file.read(target, target.nbytes, file_offset=place.offset)
    except Exception as error:  # as many types as there are file systems
        _log.warning("%s cannot be read by KvikIO: %s; it is read through the host", place.path, error)
        return False
    return bool(n == target.nbytes)
