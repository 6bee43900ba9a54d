"""One line for the user while code is compiled, which only the first run on a machine does.

The loops (`gpuanom.native`) and the kernels (`gpuanom.backends.gpu.kernel`) say here that they are being compiled;
the command line listens and shows the line. Without a listener, as in Python programs and worker processes, nothing
is said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOPS = "compiling, once, about ten seconds: the loops for this processor"
LOOPS_NOT_KEPT = "compiling, about ten seconds: the loops for this processor; no folder can keep them for the next run"
KERNELS = "compiling, once, about ten seconds: the kernels for this GPU"

PATIENCE = 0.5
"""Seconds after which a kernel counts as being compiled: from CuPy's cache it comes within milliseconds."""

_lock = threading.Lock()
_listener: Callable[[str], None] | None = None
_said: set[str] = set()


def listen(listener: Callable[[str], None] | None) -> Callable[[str], None] | None:
    """Give the lines of this process to a callable from now on, or to nobody (None); returns the listener before."""
    global _listener
    with _lock:
        before, _listener = _listener, listener
    return before


def begun(line: str) -> None:
    """Show one of the lines above, once in the life of a process.

    Parameters
    ----------
    line : str
        Shown only if somebody listens; a line that nobody heard can still be shown later.
    """
    with _lock:
        listener = _listener
        if listener is None or line in _said:
            return
        _said.add(line)
    listener(line)


@contextmanager
def watched(line: str) -> Iterator[None]:
    """Show a line if what is done within takes longer than `PATIENCE`: the way to tell compiling from a cache.

    Parameters
    ----------
    line : str
    """
    timer = threading.Timer(PATIENCE, begun, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
