"""A line that tells the user that code is being compiled, as happens in the first run on a machine.

The loops (`gpuanom.native`) and the kernels (`gpuanom.backends.gpu.kernel`) report here that they
are being compiled. The command line sets a listener, which shows the line. Python programs and
worker processes have no listener, so no line is shown.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOPS = "compiling, once, less than a minute: the loops for this processor"
"""Shown where the compiled loops are kept for the next run."""
LOOPS_NOT_KEPT = (
    "compiling, about a minute: the loops for this processor; no folder can keep them for the next run"
    " (set NUMBA_CACHE_DIR to one that can be written to)"
)
"""Shown where each run has to compile the loops."""
KERNELS = "compiling, once, about ten seconds: the kernels for this GPU"
"""Shown where the CUDA kernels are compiled."""

PATIENCE = 0.5
"""Seconds after which a kernel counts as being compiled: loading a kernel from CuPy's cache takes milliseconds."""

_lock = threading.Lock()
_listener: Callable[[str], None] | None = None
_shown: set[str] = set()


def listen(listener: Callable[[str], None] | None) -> Callable[[str], None] | None:
    """Set the function that receives the lines of this process; None shows no lines.

    Returns
    -------
    callable or None
        The listener that was set before.
    """
    global _listener
    with _lock:
        before, _listener = _listener, listener
    return before


def begun(line: str) -> None:
    """Show a line, at most once in the life of a process.

    Parameters
    ----------
    line : str
        `LOOPS`, `LOOPS_NOT_KEPT` or `KERNELS`. Without a listener the line is not shown, and does
        not count as shown.
    """
    with _lock:
        listener = _listener
        if listener is None or line in _shown:
            return
        _shown.add(line)
    listener(line)


@contextmanager
def watched(line: str) -> Iterator[None]:
    """Show a line if the block takes longer than `PATIENCE`, which tells compiling from loading from a cache.

    Parameters
    ----------
    line : str
        As `begun` takes it.
    """
    timer = threading.Timer(PATIENCE, begun, (line,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
