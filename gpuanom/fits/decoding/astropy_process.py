"""Images that are decoded in a separate process, because a damaged image may crash the C decoders behind astropy.

HCOMPRESS, PLIO and unusual Rice images are decoded here. Each thread that decodes has a process of
its own at that time. Processes are kept for the next images, and end when this process ends.
"""

from __future__ import annotations

import atexit
import errno
import json
import math
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.fits.decoding import astropy_process_program
from gpuanom.system import patiently

SECONDS, SECONDS_A_PIXEL = 30.0, 2e-6
"""Time limits of a decoder, in all and for each pixel. Four decoders at once, which need a second on an idle machine,
needed 7 to 9 s on one with five times as many processes at work as cores."""
_MEMORY, _MEMORY_A_PIXEL = 2**31, 64
"""Bytes of address space that a decoder may use: for the interpreter and its libraries, and for each pixel."""
_CRASHES = frozenset((signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL))
"""Signals by which damaged images end a decoder; other signals come from the system or from a person."""

_idle: list[subprocess.Popen[bytes]] = []
_lock = threading.Lock()


def decode_isolated(raw: bytes, primary: bool, n_pixels: int) -> npt.NDArray[Any]:
    """Decode the pixels of one HDU by astropy in a separate process, with BSCALE and BZERO applied.

    Parameters
    ----------
    raw : bytes
        The bytes of the HDU: header and data.
    primary : bool
        Whether this is a primary HDU.
    n_pixels : int
        The number of pixels that the header claims, which decides the limits of time and memory.

    Returns
    -------
    ndarray
        Of the type that astropy gives the pixels.

    Raises
    ------
    ValueError
        When the image cannot be decoded; the message says why.
    OSError
        When the system refuses to start a process or ends it, or the time is up. The image itself
        may be sound.
    """
    return patiently(lambda: _attempted(raw, primary, n_pixels))


def _attempted(raw: bytes, primary: bool, n_pixels: int) -> npt.NDArray[Any]:
    process = _taken()
    ended = threading.Event()

    def end() -> None:
        ended.set()
        process.kill()

    watchdog = threading.Timer(_seconds(n_pixels), end)
    watchdog.daemon = True
    watchdog.start()
    try:
        answer = _asked(process, raw, primary, n_pixels)
    except BaseException as error:
        watchdog.cancel()
        with suppress(subprocess.TimeoutExpired):  # if it ended by itself, its exit status tells why
            process.wait(0.5 if isinstance(error, OSError | ValueError) else 0)
        code = _ended(process)
        if not isinstance(error, OSError | ValueError):
            raise
        if ended.is_set():
            # `patiently` does not try again after EINVAL: another attempt would take as long.
            raise OSError(errno.EINVAL, f"its decoder did not end within {_seconds(n_pixels):.0f} s") from None
        if -code in _CRASHES:
            raise ValueError(f"its decoder was ended by signal {-code}") from None
        by_signal = f"was ended by signal {-code}, which the system sends when memory runs out"
        why = by_signal if code < 0 else f"ended: {code}"
        raise OSError(errno.EAGAIN, f"its decoder {why}") from None
    finally:
        watchdog.cancel()
    if isinstance(answer, OSError):
        _ended(process)
        raise answer
    with _lock:
        _idle.append(process)
    if isinstance(answer, str):
        raise ValueError(answer)
    return answer


def _seconds(n_pixels: int) -> float:
    return SECONDS + SECONDS_A_PIXEL * n_pixels


def _asked(
    process: subprocess.Popen[bytes], raw: bytes, primary: bool, n_pixels: int
) -> npt.NDArray[Any] | str | OSError:
    """Return the pixels, a text where the image cannot be decoded, or an OSError where the system refused something.

    Raises
    ------
    OSError, ValueError
        When the process has ended.
    """
    requests, answers = process.stdin, process.stdout
    assert requests is not None
    assert answers is not None
    requests.write(astropy_process_program.HEAD.pack(len(raw), primary, _MEMORY + _MEMORY_A_PIXEL * n_pixels))
    requests.write(raw)
    requests.flush()
    about = json.loads(answers.readline())
    if "error" in about:
        number = about.get("errno")
        return str(about["error"]) if number is None else OSError(int(number), str(about["error"]))
    if math.prod(about["shape"]) > n_pixels:
        return "its pixels are more than its header says"
    data = np.empty(about["shape"], dtype=about["dtype"])
    if answers.readinto(memoryview(data).cast("B")) != data.nbytes:  # type: ignore[attr-defined, arg-type]
        raise ValueError("the process has ended")
    return data


def _taken() -> subprocess.Popen[bytes]:
    """Return a process that waits for an image; a new process where none waits."""
    with _lock:
        while _idle:
            process = _idle.pop()
            if process.poll() is None:
                return process
            _close(process)
    # -P: Python must not import modules from the folder of the program.
    command = [sys.executable, "-P", "-W", "ignore", str(Path(astropy_process_program.__file__))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _ended(process: subprocess.Popen[bytes]) -> int:
    """End a process, and return its exit status."""
    process.kill()
    code = process.wait()
    _close(process)
    return code


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):  # the reader of what was not yet written has ended
            if stream is not None:
                stream.close()


def _end_all() -> None:
    """End the processes that wait for an image."""
    with _lock:
        for process in _idle:
            _ended(process)
        _idle.clear()


def _forked() -> None:
    """Forget the processes after a fork: they belong to the parent process."""
    global _lock
    _lock = threading.Lock()
    for process in _idle:
        process.returncode = 0
        _close(process)
    _idle.clear()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forked)
