"""How many CCDs a stack may hold: planned from the card's free memory, and made less when that was too much."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cupy

LANES = 2
"""Exposures under way at a time: one is uploaded while the other is measured."""
SHARE = 0.85
"""Of the free memory that all lanes together may take: the pool keeps some spare, and others may want some."""
BYTES_A_PIXEL = 11
"""float32 and its mask, 3 for the file's own bytes and the sources' slots (108 bytes a tile), 3 for patterns."""
BYTES_A_CCD = 9 * 2**20
"""Drawn points, their scratch and results (8 MB at the default settings), the sums of powers (0.4 MiB), and the bins
and contrasts of straight lines (0.5 MiB); the 40 KB for shapes and repeats lie within."""
BYTES_A_PROCESS = 15 * 2**30
"""Least memory of a process where several share the device: an exposure of 61 CCDs of 2048 x 4096 in each lane."""
MOST_CCDS = 65535
"""The CCDs of a stack lie along a grid's z axis."""

_log = logging.getLogger("gpuanom")


class MemoryPlan:
    """The plan of one device, shared by its lanes.

    Parameters
    ----------
    device : cupy.cuda.Device
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._most: dict[tuple[int, int], int] = {}
        self._free: int | None = None
        self._limit: int | None = None
        # `with` takes the plain lock, see `docs/architecture.md`: an interrupt must not leave the lock taken.
        self._turns = threading.Lock()
        self._turn = threading.Condition(self._turns)
        self._n_at_work = self._n_alone = 0

    def most(self, ny: int, nx: int) -> int:
        """How many CCDs of ny x nx pixels fit a lane's part of the memory that was free at first; at least 1."""
        with self._lock:
            if (ny, nx) not in self._most:
                free = self._free_memory()
                usable = int(SHARE * free) if self._limit is None else self._limit
                a_ccd = BYTES_A_PIXEL * ny * nx + BYTES_A_CCD
                self._most[ny, nx] = min(max(1, int(usable / LANES / a_ccd)), MOST_CCDS)
                _log.info(
                    "memory plan: gpu %d has %.0f MiB free; a CCD of %d x %d pixels takes %.0f MiB, so up to %d of an "
                    "exposure at a time, in each of %d lanes%s",
                    self._device.id,
                    free / 2**20,
                    nx,
                    ny,
                    a_ccd / 2**20,
                    self._most[ny, nx],
                    LANES,
                    "" if a_ccd * LANES <= free else " (one lane may have to wait for the other)",
                )
            return self._most[ny, nx]

    def _free_memory(self) -> int:
        """Bytes of the device that were free when this was first asked for."""
        if self._free is None:
            with self._device:
                self._free = self._device.mem_info[0] + cupy.get_default_memory_pool().free_bytes()
        return self._free

    def share(self, most: int) -> tuple[int, int]:
        """Divide the free memory among processes, see `gpuanom.backends.protocol.Backend.share_memory`."""
        with self._lock:
            usable = int(SHARE * self._free_memory())
            n = max(1, min(most, usable // BYTES_A_PROCESS))
            if n > 1:
                self._limit = usable // n
                self._most.clear()
            return n, usable // n

    def limit(self, n_bytes: int) -> None:
        """Plan with no more than this from now on."""
        with self._lock:
            self._limit = n_bytes
            self._most.clear()

    @contextmanager
    def sharing(self, alone: bool) -> Iterator[None]:
        """The device's memory, beside other lanes or alone; who wants it alone waits for all, and all wait for it."""
        with self._turns:
            if alone:
                self._n_alone += 1
                self._turn.wait_for(lambda: self._n_at_work == 0)
            else:
                self._turn.wait_for(lambda: self._n_alone == 0)
            self._n_at_work += 1
        try:
            yield
        finally:
            with self._turns:
                self._n_at_work -= 1
                self._n_alone -= alone
                self._turn.notify_all()

    def too_many(self, n: int, ny: int, nx: int) -> None:
        """Memory did not suffice for a stack of n CCDs: from now on at most half as many, and spare memory is freed."""
        if n > 1:
            self._fewer(n, ny, nx)
        with self._device:
            cupy.get_default_memory_pool().free_all_blocks()

    def _fewer(self, n: int, ny: int, nx: int) -> None:
        with self._lock:
            self._most[ny, nx] = max(1, min(self._most.get((ny, nx), n), n // 2))
            _log.warning(
                "gpu %d: out of memory with %d CCDs of %d x %d pixels; going on with %d at a time",
                self._device.id,
                n,
                nx,
                ny,
                self._most[ny, nx],
            )
