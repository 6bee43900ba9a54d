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

from gpuanom.fits.decoding.by_astropy import process_program
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
    return patiently(lambda: _decode_once(raw, primary, n_pixels))


def _decode_once(raw: bytes, primary: bool, n_pixels: int) -> npt.NDArray[Any]:
    process = _waiting_process()
    timed_out = threading.Event()

    def stop() -> None:
        timed_out.set()
        process.kill()

    watchdog = threading.Timer(_time_limit(n_pixels), stop)
    watchdog.daemon = True
    watchdog.start()
    try:
        answer = _ask(process, raw, primary, n_pixels)
    except (OSError, ValueError):
        # The decoder has ended, or ends at the end of its input: its exit status tells why, however long it takes on a
        # busy machine. A decoder that does not end is ended when the time is up.
        _close(process)
        raise _why_ended(process.wait(), timed_out.is_set(), n_pixels) from None
    except BaseException:
        _end(process)
        raise
    finally:
        watchdog.cancel()
    if isinstance(answer, OSError):
        _end(process)
        raise answer
    with _lock:
        _idle.append(process)
    if isinstance(answer, str):
        raise ValueError(answer)
    return answer


def _why_ended(code: int, timed_out: bool, n_pixels: int) -> OSError | ValueError:
    """Return the error for a process that ended with this exit status before it gave an answer."""
    if timed_out:
        # `patiently` does not try again after EINVAL: another attempt would take as long.
        return OSError(errno.EINVAL, f"its decoder did not end within {_time_limit(n_pixels):.0f} s")
    if -code in _CRASHES:
        return ValueError(f"its decoder was ended by signal {-code}")
    by_signal = f"was ended by signal {-code}, which the system sends when memory runs out"
    return OSError(errno.EAGAIN, f"its decoder {by_signal if code < 0 else f'ended: {code}'}")


def _time_limit(n_pixels: int) -> float:
    return SECONDS + SECONDS_A_PIXEL * n_pixels


def _ask(
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
    requests.write(process_program.HEAD.pack(len(raw), primary, _MEMORY + _MEMORY_A_PIXEL * n_pixels))
    requests.write(raw)
    requests.flush()
    outcome = json.loads(answers.readline())
    if "error" in outcome:
        number = outcome.get("errno")
        return str(outcome["error"]) if number is None else OSError(int(number), str(outcome["error"]))
    if math.prod(outcome["shape"]) > n_pixels:
        _end(process)  # its next answer would begin with these pixels
        return "its pixels are more than its header says"
    data = np.empty(outcome["shape"], dtype=outcome["dtype"])
    if answers.readinto(memoryview(data).cast("B")) != data.nbytes:  # type: ignore[attr-defined, arg-type]
        raise ValueError("the process has ended")
    return data


def _waiting_process() -> subprocess.Popen[bytes]:
    """Return a process that waits for an image; a new process where none waits."""
    with _lock:
        while _idle:
            process = _idle.pop()
            if process.poll() is None:
                return process
            _close(process)
    # -P: Python must not import modules from the folder of the program.
    command = [sys.executable, "-P", "-W", "ignore", str(Path(process_program.__file__))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _end(process: subprocess.Popen[bytes]) -> int:
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
            _end(process)
        _idle.clear()


def _forget_processes() -> None:
    """Forget the processes after a fork: they belong to the parent process."""
    global _lock
    _lock = threading.Lock()
    for process in _idle:
        process.returncode = 0
        _close(process)
    _idle.clear()


atexit.register(_end_all)
os.register_at_fork(after_in_child=_forget_processes)
