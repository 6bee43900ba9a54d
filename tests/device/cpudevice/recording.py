"""Keeps small launches of each kernel as files, which ../recording.py runs again under other rules."""

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

from .settings import settings

# ThreadSanitizer is some hundred times slower, and can manage no more fibers than this.
MOST_THREADS, MOST_SECONDS = 16384, 0.05

_kept: dict[str, list[tuple[float, Path]]] = {}


def folder() -> Path | None:
    """The folder for kept launches, or None where none are kept."""
    named = os.environ.get("GPUANOM_DEVICE_RECORD")
    return Path(named) if named else None


@contextlib.contextmanager
def recorded(kernel, grid: tuple, block: tuple, values: tuple, shared_bytes: int) -> Iterator[None]:
    """Keep the launch inside the `with` block if it is short enough and among the longest launches of its kernel.

    The longest launches are kept, since many launches in tests have nothing to do and would show nothing.
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
    # Seconds of the processor: on a busy machine a launch waits for its turn.
    began = time.process_time()
    yield
    seconds = time.process_time() - began
    kept = _kept.setdefault(kernel.name, [])
    replaced = replaced_by(seconds, kept)
    if replaced is None:
        return
    path = where / f"{kernel.name}-{hashlib.sha256(content).hexdigest()[:12]}.pickle"
    if path.exists():
        return
    path.write_bytes(content)
    for entry in list(replaced):
        kept.remove(entry)
        entry[1].unlink(missing_ok=True)
    kept.append((seconds, path))
    kept.sort(key=lambda entry: entry[0])


def replaced_by(seconds: float, kept: list[tuple[float, Path]]) -> list[tuple[float, Path]] | None:
    """The kept launches, in order of their seconds, that make room for a new one; None where that one is not kept.

    Every kernel keeps a launch: where all were too long, the shortest one.
    """
    longest = kept[-1][0] if kept else np.inf
    if longest > MOST_SECONDS:
        return kept if seconds < longest else None
    if seconds > MOST_SECONDS:
        return None
    if len(kept) < settings.kept:
        return []
    return kept[:1] if seconds > kept[0][0] else None
