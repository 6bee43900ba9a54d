"""Memory that exposes mistakes: filled with 0xFF, followed by a page that faults, and not handed out again soon."""

from __future__ import annotations

import bisect
import ctypes
import threading
import weakref
from collections.abc import Callable

import numpy as np

from .settings import settings

PAGE = 4096
ALIGNMENT = 16  # a float4 may be read from the start of any array; CuPy promises an alignment of 512
CANARY = 0xA5
PROT_NONE, PROT_READ_WRITE = 0, 3
MAP_PRIVATE_ANONYMOUS_NORESERVE = 0x2 | 0x20 | 0x4000
MADV_DONTNEED = 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def _sanitizer_call(name: str, address: int, size: int) -> None:
    """Tell AddressSanitizer, in the flavour `address`, which memory must not be touched."""
    if settings.flavour == "address" and size:
        call = getattr(_libc, name)
        call.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        call(address, size)


class Block:
    """One allocation: whole pages with the array at their end, followed by a page that faults."""

    def __init__(self, first: int, nbytes: int, device: int):
        self.first, self.nbytes, self.device = first, nbytes, device
        self.pages = -(-nbytes // PAGE)
        self.start = first + (self.pages * PAGE - nbytes) // ALIGNMENT * ALIGNMENT
        self.stop = self.start + nbytes
        self.end = first + self.pages * PAGE  # the guard page begins here

    def margins(self) -> list[tuple[int, int]]:
        """The bytes of the block's pages before and after the array."""
        return [(self.first, self.start - self.first), (self.stop, self.end - self.stop)]

    def check(self) -> str:
        """A complaint when the margins were written to, otherwise an empty text."""
        if settings.flavour == "address":
            return ""  # AddressSanitizer has reported any write already
        for (start, size), where in zip(self.margins(), ("before the start", "past the end"), strict=True):
            if ctypes.string_at(start, size) != bytes([CANARY]) * size:
                return f"written {where} of an array of {self.nbytes} bytes"
        return ""


class Arena:
    """A range of addresses. Freed memory faults when touched, and its addresses are used again as late as possible."""

    def __init__(self, size: int):
        base = _libc.mmap(None, size, PROT_NONE, MAP_PRIVATE_ANONYMOUS_NORESERVE, -1, 0)
        if base in (None, ctypes.c_void_p(-1).value):
            raise MemoryError(f"no {size} bytes of addresses for the test device")
        self.first, self.last = base, base + size
        self._next = base
        self._starts: list[int] = []  # first addresses of the blocks in use, in order
        self._blocks: dict[int, Block] = {}
        self._lock = threading.RLock()  # finalizers run in whichever thread the garbage collector runs

    def allocate(self, nbytes: int, device: int = 0, freed: Callable[[], None] | None = None) -> np.ndarray:
        """An array of bytes, all 0xFF. The memory lives as long as any array that views it; then `freed` is called."""
        span = (-(-nbytes // PAGE) + 1) * PAGE
        with self._lock:
            block = Block(self._gap(span), nbytes, device)
            bisect.insort(self._starts, block.first)
            self._blocks[block.first] = block
            if block.pages and _libc.mprotect(block.first, block.pages * PAGE, PROT_READ_WRITE):
                raise MemoryError("mprotect failed: too many arrays on the test device")
        ctypes.memset(block.first, CANARY, block.pages * PAGE)
        ctypes.memset(block.start, 0xFF, nbytes)
        for start, size in block.margins():
            _sanitizer_call("__asan_poison_memory_region", start, size)
        owner = (ctypes.c_char * max(nbytes, 1)).from_address(block.start)  # an empty array points at the guard page
        weakref.finalize(owner, self._free, block, freed).atexit = False
        return np.frombuffer(owner, np.uint8)[:nbytes]

    def find(self, address: int) -> Block | None:
        """The block that contains an address, or that ends just before it."""
        with self._lock:
            index = bisect.bisect_right(self._starts, address) - 1
            if index < 0:
                return None
            block = self._blocks[self._starts[index]]
        return block if address <= block.end + PAGE else None

    def holds(self, array: np.ndarray) -> bool:
        """Whether the memory of an array lies in this arena."""
        return self.first <= array.__array_interface__["data"][0] < self.last

    def _gap(self, span: int) -> int:
        for _ in range(2):
            index = bisect.bisect_left(self._starts, self._next)
            while True:
                following = self._starts[index] if index < len(self._starts) else self.last
                if self._next + span <= following:
                    found, self._next = self._next, self._next + span
                    return found
                if index >= len(self._starts):
                    break
                self._next = self._blocks[following].end + PAGE
                index += 1
            self._next = self.first  # start again at the front, with the addresses that were freed longest ago
        raise MemoryError("the test device has no addresses left")

    def _free(self, block: Block, freed: Callable[[], None] | None) -> None:
        with self._lock:
            del self._blocks[block.first]
            del self._starts[bisect.bisect_left(self._starts, block.first)]
            for start, size in block.margins():
                _sanitizer_call("__asan_unpoison_memory_region", start, size)
            if block.pages:
                _libc.madvise(block.first, block.pages * PAGE, MADV_DONTNEED)
                _libc.mprotect(block.first, block.pages * PAGE, PROT_NONE)
        if freed is not None:
            freed()


# ThreadSanitizer prepares shadow memory for every reserved address.
_SPAN = (4 << 30) if settings.flavour == "thread" else (256 << 30)
device_memory = Arena(_SPAN)
pinned_memory = Arena(_SPAN)
