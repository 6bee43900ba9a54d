"""Keeps small launches of each kernel as files, to be run again under other rules by ../recording.py."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import time
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

# ThreadSanitizer is some hundred times slower, and has room for so many fibers.
MOST_THREADS, MOST_SECONDS = 16384, 0.05
KEPT = 4  # a kernel

_kept: dict[str, list[tuple[float, Path]]] = {}


def folder() -> Path | None:
    """Where launches are kept, if they are."""
    named = os.environ.get("GPUANOM_DEVICE_RECORD")
    return Path(named) if named else None


@contextlib.contextmanager
def recorded(kernel, grid: tuple, block: tuple, values: tuple, shared_bytes: int) -> Iterator[None]:
    """Keep a launch that runs inside if it is among those of its kernel that take longest and are short enough.

    The longest: many launches of a test have nothing to do, and would show nothing.
    """
    where = folder()
    if where is None or prod(grid) * prod(block) > MOST_THREADS:
        yield
        return
    content = pickle.dumps(
        {
            "code": kernel.source.code,
            "options": kernel.source.options,
            "kernel": kernel.name,
            "grid": grid,
            "block": block,
            "shared_bytes": shared_bytes,
            "dynamic_limit": kernel.dynamic_limit,
            "arguments": [np.array(value) if isinstance(value, np.ndarray) else value for value in values],
        }
    )
    began = time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    kept = _kept.setdefault(kernel.name, [])
    if seconds > MOST_SECONDS or (len(kept) == KEPT and seconds <= kept[0][0]):
        return
    path = where / f"{kernel.name}-{hashlib.sha256(content).hexdigest()[:12]}.pickle"
    if path.exists():
        return
    path.write_bytes(content)
    kept.append((seconds, path))
    kept.sort(key=lambda entry: entry[0])
    while len(kept) > KEPT:
        kept.pop(0)[1].unlink(missing_ok=True)
