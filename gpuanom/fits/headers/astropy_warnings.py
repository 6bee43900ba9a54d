"""Astropy's warnings are ignored while gpuanom reads files.

A fault of a file that matters becomes the status and the reason of a CCD.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_saved: warnings.catch_warnings[None] | None = None


@contextmanager
def ignore_astropy_warnings() -> Iterator[None]:
    """Ignore astropy's warnings inside the block, which any number of threads may enter.

    `warnings.catch_warnings` saves and restores the warning filters of the whole process, so two
    threads at a time would leave the wrong filters behind. Here the first thread to enter saves
    the filters, and the last to leave restores them. Do not use the block around a ``yield``:
    astropy's warnings to the caller would be lost.

    A process that has not imported astropy has none of its warnings, and astropy is not imported for
    them: import it before the block that uses it.
    """
    global _inside, _saved
    with _lock:
        if _saved is None and "astropy" in sys.modules:
            from astropy.utils.exceptions import AstropyWarning

            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.simplefilter("ignore", AstropyWarning)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _saved is not None:
                _saved.__exit__(None, None, None)
                _saved = None
