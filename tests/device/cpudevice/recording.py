"""Keeps small launches of each kernel as files, to be run again under other rules by ../recording.py."""

from __future__ import annotations

import hashlib
import os
import pickle
from math import prod
from pathlib import Path

import numpy as np

# ThreadSanitizer manages some ten thousand threads a second.
MOST_THREADS = 4096
KEPT = 3  # a kernel

_kept: dict[str, list[tuple[int, Path]]] = {}


def folder() -> Path | None:
    """Where launches are kept, if they are."""
    named = os.environ.get("GPUANOM_DEVICE_RECORD")
    return Path(named) if named else None


def record(kernel, grid: tuple, block: tuple, values: tuple, shared_bytes: int) -> None:
    """Keep a launch if it is among the largest of its kernel that are small enough."""
    where, threads = folder(), prod(grid) * prod(block)
    if where is None or threads > MOST_THREADS:
        return
    kept = _kept.setdefault(kernel.name, [])
    if len(kept) == KEPT and threads <= kept[0][0]:
        return
    source = kernel.source
    launch = {
        "code": source.code,
        "options": source.options,
        "kernel": kernel.name,
        "grid": grid,
        "block": block,
        "shared_bytes": shared_bytes,
        "dynamic_limit": kernel.dynamic_limit,
        "arguments": [np.array(value) if isinstance(value, np.ndarray) else value for value in values],
    }
    content = pickle.dumps(launch)
    path = where / f"{kernel.name}-{threads}-{hashlib.sha256(content).hexdigest()[:8]}.pickle"
    path.write_bytes(content)
    kept.append((threads, path))
    kept.sort(key=lambda entry: entry[0])
    while len(kept) > KEPT:
        kept.pop(0)[1].unlink(missing_ok=True)
