"""Silence for astropy's warnings while our own code reads: what matters of them becomes a status and a reason."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from astropy.utils.exceptions import AstropyWarning

_lock = threading.Lock()
_inside = 0
_saved: warnings.catch_warnings[None] | None = None


@contextmanager
def ignore_astropy_warnings() -> Iterator[None]:
    """Ignore astropy's warnings inside the block, in any number of threads.

    `warnings.catch_warnings` alone saves and restores the filters of the whole process, so two threads that overlap
    leave the wrong ones behind. Here the first thread to come in saves them and the last to go out restores them.
    Never hold it across a ``yield``: the caller's own warnings would be lost.
    """
    global _inside, _saved
    with _lock:
        if _inside == 0:
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
