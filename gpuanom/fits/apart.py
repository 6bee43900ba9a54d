"""Images decoded in a process of their own: the C decoders behind astropy do not survive every damaged image.

HCOMPRESS, PLIO and odd Rice images come here. A process is kept for the next image, and one a thread that wants one at
the same time; it goes with ours.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.fits import decoder

SECONDS, SECONDS_A_PIXEL = 8.0, 2e-6
"""What a decoder may take: astropy's take a tenth of that on a slow machine."""
_MEMORY, _MEMORY_A_PIXEL = 2**31, 64
"""Bytes of address space: the interpreter and its libraries, and what decoders make of a pixel."""

_idle: list[subprocess.Popen[bytes]] = []
_lock = threading.Lock()


def decoded_apart(raw: bytes, primary: bool, n_pixels: int) -> npt.NDArray[Any]:
    """Return the pixels of one HDU as astropy decodes them, BSCALE and BZERO applied.

    Parameters
    ----------
    raw : bytes
        The HDU: header and data.
    primary : bool
        Whether it is a primary HDU.
    n_pixels : int
        How many its header claims; time and memory are measured out by it.

    Raises
    ------
    ValueError
        The image cannot be decoded; says why.
    OSError
        No process can be started.
    """
    process = _taken()
    ended = threading.Event()

    def end() -> None:
        ended.set()
        process.kill()

    watchdog = threading.Timer(SECONDS + SECONDS_A_PIXEL * n_pixels, end)
    watchdog.daemon = True
    watchdog.start()
    try:
        answer = _asked(process, raw, primary, n_pixels)
    except BaseException as error:
        process.kill()
        code = process.wait()
        _close(process)
        if not isinstance(error, OSError | ValueError):
            raise
        why = "did not end" if ended.is_set() else f"was ended by signal {-code}" if code < 0 else f"ended: {code}"
        raise ValueError(f"its decoder {why}") from None
    finally:
        watchdog.cancel()
    with _lock:
        _idle.append(process)
    if isinstance(answer, str):
        raise ValueError(answer)
    return answer


def _asked(process: subprocess.Popen[bytes], raw: bytes, primary: bool, n_pixels: int) -> npt.NDArray[Any] | str:
    """The pixels, or why there are none; an OSError or ValueError where the process has ended."""
    requests, answers = process.stdin, process.stdout
    assert requests is not None
    assert answers is not None
    requests.write(decoder.HEAD.pack(len(raw), primary, _MEMORY + _MEMORY_A_PIXEL * n_pixels))
    requests.write(raw)
    requests.flush()
    about = json.loads(answers.readline())
    if "error" in about:
        return str(about["error"])
    if math.prod(about["shape"]) > n_pixels:
        return "its pixels are more than its header says"
    data = np.empty(about["shape"], dtype=about["dtype"])
    if answers.readinto(memoryview(data).cast("B")) != data.nbytes:  # type: ignore[attr-defined, arg-type]
        raise ValueError("the process has ended")
    return data


def _taken() -> subprocess.Popen[bytes]:
    """A process that waits for an image; a new one where all others are at work."""
    with _lock:
        while _idle:
            process = _idle.pop()
            if process.poll() is None:
                return process
            _close(process)
    # -P: the folder of the file that is run is no place to import from.
    command = [sys.executable, "-P", "-W", "ignore", str(Path(decoder.__file__))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):  # what was not written yet has no reader
            if stream is not None:
                stream.close()


def _end_all() -> None:
    """End the processes that wait."""
    with _lock:
        for process in _idle:
            process.kill()
            process.wait()
            _close(process)
        _idle.clear()


def _forked() -> None:
    """What is our parent's is not ours."""
    global _lock
    _lock = threading.Lock()
    for process in _idle:
        process.returncode = 0
        _close(process)
    _idle.clear()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forked)
