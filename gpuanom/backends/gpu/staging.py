"""The way of host bytes to the device: a ring of pinned buffers, filled while earlier ones are still being copied."""

from __future__ import annotations

from typing import Any

import cupy
import cupyx
import numpy as np
import numpy.typing as npt

from gpuanom import nvtx as ranges
from gpuanom.backends.gpu import gpudirect
from gpuanom.encoded import BytesOnDisk
from gpuanom.records import Array

SLOTS = 4
SLOT_BYTES = 8 * 2**20
"""Large enough that a copy runs at the bus's full rate, small enough that the first one starts at once."""


class Staging:
    """A bounded ring of pinned buffers for one stream.

    Copies from pinned memory run while the host goes on, and beside the kernels of other streams. An event in the
    stream says when a buffer may be filled again: nobody waits for anything else, and memory does not grow.
    """

    def __init__(self) -> None:
        self._slots: list[npt.NDArray[np.uint8]] = []
        self._events: list[Any] = []
        self._next = 0

    def upload(self, host: npt.NDArray[Any], target: Array, place: BytesOnDisk | None = None) -> None:
        """Copy an array to the device; it may be changed or let go as soon as this returns.

        Parameters
        ----------
        host : ndarray
            Any shape and type; need not be aligned.
        target : device array
            C-contiguous, of as many bytes.
        place : BytesOnDisk, optional
            Where the same bytes lie on disk: with KvikIO they come from there.

        Raises
        ------
        ValueError
            When the sizes differ.
        """
        if host.nbytes != target.nbytes:
            raise ValueError(f"{host.nbytes} bytes for an array of {target.nbytes}")
        if not host.nbytes:
            return
        with ranges.named("upload"):
            if not gpudirect.read(place, target):
                self._upload(host, target)

    def _upload(self, host: npt.NDArray[Any], target: Array) -> None:
        stream = cupy.cuda.get_current_stream()
        source = np.ascontiguousarray(host).reshape(-1).view(np.uint8)
        there = target.reshape(-1).view(np.uint8)
        for start in range(0, source.size, SLOT_BYTES):
            part = source[start : start + SLOT_BYTES]
            slot, event = self._free()
            slot[: part.size] = part
            there[start : start + part.size].set(slot[: part.size], stream=stream)
            event.record(stream)

    def _free(self) -> tuple[npt.NDArray[np.uint8], Any]:
        """The buffer whose turn it is, once the device has done with it."""
        if len(self._slots) < SLOTS:
            self._slots.append(cupyx.empty_pinned((SLOT_BYTES,), np.uint8))
            # Waited for asleep: the core is needed by those who read and decode.
            self._events.append(cupy.cuda.Event(block=True, disable_timing=True))
        i = self._next % SLOTS
        self._next += 1
        self._events[i].synchronize()
        return self._slots[i], self._events[i]
