"""The way of host bytes to the device, by way of pinned memory, from which copies run while the host goes on.

Readers read files into pinned memory that is lent to them, and it is copied from there. Whatever else goes to the
device is first copied into a ring of pinned buffers.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from pickle import PickleBuffer
from typing import Any

import cupy
import numpy as np
import numpy.typing as npt

from gpuanom import nvtx as ranges
from gpuanom.backends.gpu import gpudirect, pinned
from gpuanom.encoded import BytesOnDisk, Room
from gpuanom.records import Array

SLOTS = 4
SLOT_BYTES = 8 * 2**20
"""Large enough that a copy runs at the bus's full rate, small enough that the first one starts at once."""

MOST_LENT = 896 * 2**20
"""Bytes of pinned memory that are lent at a time; whoever wants more reads into ordinary memory. A read of 12 CCDs
takes 64 MiB: two lanes with three reads each, and one read ahead for each of the eight readers of a GPU."""
MOST_UNDERWAY = 16
"""Copies from lent memory that may be under way at a time in a lane, so that memory does not grow."""

_lock = threading.RLock()
"""A garbage collection on the thread that holds the lock may give lent memory back, and then takes the lock again."""
_n_lent = 0


class _Lent(np.ndarray[Any, Any]):
    """Memory that is lent, until the last view of it is gone."""


def lent_room(n_bytes: int) -> Room:
    """Pinned memory of the current device for a reader, or ordinary memory where there is none to be had."""
    global _n_lent
    # CuPy's pool gives memory in powers of two.
    size = 1 << max(0, n_bytes - 1).bit_length()
    with _lock:
        lent = n_bytes > 0 and _n_lent + size <= MOST_LENT
        _n_lent += size if lent else 0
    if lent:
        try:
            # All views of the memory keep this array alive, and nothing else does. NumPy's views keep the first array
            # that was made of something else than an array or a memoryview, hence the wrapper.
            memory: Any = pinned.empty((n_bytes,), np.uint8)
            wrapped: Any = PickleBuffer(memory)
            owner = _Lent((n_bytes,), np.uint8, wrapped)
            weakref.finalize(owner, _returned, size)
            return Room(owner.view(np.ndarray), lent=True)
        except BaseException as error:
            _returned(size)
            if not isinstance(error, cupy.cuda.runtime.CUDARuntimeError | MemoryError):
                raise
    return Room(np.empty(n_bytes, np.uint8))


def _returned(size: int) -> None:
    global _n_lent
    with _lock:
        _n_lent -= size


class Staging:
    """A bounded ring of pinned buffers for one stream.

    Copies from pinned memory run while the host goes on, and beside the kernels of other streams. An event in the
    stream says when a buffer may be filled again: nobody waits for anything else, and memory does not grow.
    """

    def __init__(self) -> None:
        self._slots: list[npt.NDArray[np.uint8]] = []
        self._events: list[Any] = []
        self._next = 0
        self._underway: deque[tuple[Any, npt.NDArray[np.uint8]]] = deque()
        self._spare: list[Any] = []  # events of copies that are done

    def upload(
        self, host: npt.NDArray[Any], target: Array, place: BytesOnDisk | None = None, lent: bool = False
    ) -> None:
        """Copy an array to the device; it may be changed or let go as soon as this returns, unless it is lent memory.

        Parameters
        ----------
        host : ndarray
            Any shape and type; need not be aligned.
        target : device array
            C-contiguous, of as many bytes.
        place : BytesOnDisk, optional
            Where the same bytes lie on disk: with KvikIO they come from there.
        lent : bool, optional
            The array lies in memory of `lent_room`, is contiguous and does not change any more. It is kept until the
            copy is done.

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
            if lent:
                self._from_lent(_as_bytes(host), _as_bytes(target))
            elif not gpudirect.read(place, target):
                self._upload(host, target)

    def done(self) -> None:
        """Give all lent memory back: the stream was synchronised, so that every copy is done."""
        self._spare += [event for event, _ in self._underway]
        self._underway.clear()

    def _from_lent(self, host: npt.NDArray[np.uint8], target: Array) -> None:
        stream = cupy.cuda.get_current_stream()
        target.set(host, stream=stream)
        event = self._spare.pop() if self._spare else cupy.cuda.Event(block=True, disable_timing=True)
        event.record(stream)
        self._underway.append((event, host))
        while self._underway[0][0].done or len(self._underway) > MOST_UNDERWAY:
            done, _ = self._underway.popleft()
            done.synchronize()
            self._spare.append(done)
            if not self._underway:
                break

    def _upload(self, host: npt.NDArray[Any], target: Array) -> None:
        stream = cupy.cuda.get_current_stream()
        source = np.ascontiguousarray(host).reshape(-1).view(np.uint8)
        destination = target.reshape(-1).view(np.uint8)
        for start in range(0, source.size, SLOT_BYTES):
            part = source[start : start + SLOT_BYTES]
            slot, event = self._free()
            slot[: part.size] = part
            destination[start : start + part.size].set(slot[: part.size], stream=stream)
            event.record(stream)

    def _free(self) -> tuple[npt.NDArray[np.uint8], Any]:
        """The buffer whose turn it is, once the device has done with it."""
        if len(self._slots) < SLOTS:
            self._slots.append(pinned.empty((SLOT_BYTES,), np.uint8))
            # Waited for asleep: the core is needed by those who read and decode.
            self._events.append(cupy.cuda.Event(block=True, disable_timing=True))
        i = self._next % SLOTS
        self._next += 1
        self._events[i].synchronize()
        return self._slots[i], self._events[i]


def _as_bytes(array: Any) -> Any:
    """A contiguous array, of the host or of the device, as a row of bytes; most are one already."""
    return array if array.ndim == 1 and array.dtype == np.uint8 else array.reshape(-1).view(np.uint8)
