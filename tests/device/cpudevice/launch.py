"""Runs a kernel in several orders of threads and blocks, and checks that results agree and only outputs are written."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import numpy as np

from . import build, recording, signature
from .errors import CUDADriverError, KernelError
from .memory import Block, device_memory
from .settings import settings

# The smallest limits of the cards from sm_70 to sm_120.
MAX_GRID = (2**31 - 1, 65535, 65535)
MAX_BLOCK = (1024, 1024, 64)
MAX_THREADS = 1024
SHARED_BYTES, SHARED_BYTES_OPT_IN = 48 << 10, 64 << 10

# A compiled file holds the state of one block, and signal handlers belong to the whole process: one launch at a time.
_running = threading.RLock()


class _Launch(ctypes.Structure):
    """The same structure as in include/runtime.h."""

    _fields_ = [
        ("blocks", ctypes.c_uint64),
        ("shared_bytes", ctypes.c_uint64),
        ("schedule", ctypes.c_uint64),
        ("block_order", ctypes.c_void_p),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
    ]


@dataclass(frozen=True)
class LaunchCounts:
    """The accesses of one launch to the memory of the device."""

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    loads: int
    load_bytes: int
    stores: int
    store_bytes: int
    atomics: int
    atomic_bytes: int
    sectors_requested: int  # 32-byte sectors that the warps request
    sectors_touched: int  # different sectors among them


class _Counts(ctypes.Structure):
    """The same structure as in runtime/counting.h."""

    _fields_ = [
        (name, ctypes.c_uint64) for name in LaunchCounts.__annotations__ if name not in ("kernel", "grid", "block")
    ]


_records: list[list[LaunchCounts]] = []


@contextlib.contextmanager
def counting() -> Iterator[list[LaunchCounts]]:
    """Count the loads and stores of the launches inside the `with` block, with one record for each launch."""
    records: list[LaunchCounts] = []
    before = settings.flavour, settings.orders
    settings.flavour, settings.orders = "counted", settings.orders[:1]
    _records.append(records)
    try:
        yield records
    finally:
        _records.pop()
        settings.flavour, settings.orders = before


class Source:
    """A source and its compiled libraries, one for each flavour."""

    def __init__(self, code: str, name: str, options: tuple[str, ...]):
        self.code, self.name, self.options = code, name, options
        self.declarations = {d.name: d for d in build.declarations(code)}
        self._libraries: dict[str, ctypes.CDLL] = {}

    def library(self) -> ctypes.CDLL:
        flavour = settings.flavour
        if flavour not in self._libraries:
            loaded = ctypes.CDLL(str(build.library(self.code, self.name, self.options, flavour)))
            loaded.device_message.restype = ctypes.c_char_p
            loaded.device_fault.restype = ctypes.c_uint64
            if flavour == "counted":
                loaded.device_counts.restype = ctypes.POINTER(_Counts)
                loaded.device_memory.argtypes = [ctypes.c_uint64, ctypes.c_uint64]
                loaded.device_memory(device_memory.first, device_memory.last)
            self._libraries[flavour] = loaded
        return self._libraries[flavour]


@dataclass
class _Output:
    """An allocation that a launch may write to, and which of the bytes it may write."""

    memory: np.ndarray  # the whole allocation, as bytes
    writable: np.ndarray  # for each byte, whether the kernel may write it
    before: np.ndarray = field(init=False)

    def __post_init__(self):
        self.before = self.memory.copy()


class Kernel:
    """A kernel of a source."""

    def __init__(self, source: Source, name: str):
        if name not in source.declarations:
            raise CUDADriverError(f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}")
        if not source.declarations[name].is_extern:
            raise CUDADriverError(f'CUDA_ERROR_NOT_FOUND: {name} is not extern "C", so its name is mangled')
        self.source, self.name = source, name
        library = source.library()
        described = getattr(library, f"signature_{name}")
        described.restype = ctypes.c_char_p
        self.parameters = signature.parse(described().decode(), source.declarations[name].parameters)
        self.bound = getattr(library, f"bound_{name}")() or MAX_THREADS
        self.dynamic_limit = SHARED_BYTES

    def check_geometry(self, grid: tuple, block: tuple, shared_bytes: int) -> tuple[tuple, tuple]:
        """Grid and block in three dimensions, checked against the limits of the device."""
        whole = []
        for word, sizes, limits in (("grid", grid, MAX_GRID), ("block", block, MAX_BLOCK)):
            if not isinstance(sizes, tuple) or not 1 <= len(sizes) <= 3:
                raise TypeError(f"{self.name}: {word} {sizes!r} is no tuple of one to three numbers")
            if not all(isinstance(size, int | np.integer) for size in sizes):
                raise TypeError(f"{self.name}: {word} {sizes!r} holds something else than integers")
            sizes = tuple(map(int, sizes)) + (1,) * (3 - len(sizes))
            if not all(1 <= size <= limit for size, limit in zip(sizes, limits, strict=True)):
                raise CUDADriverError(f"CUDA_ERROR_INVALID_VALUE: {self.name}: {word} {sizes}, allowed 1 to {limits}")
            whole.append(sizes)
        if prod(whole[1]) > self.bound:
            raise CUDADriverError(
                f"CUDA_ERROR_INVALID_VALUE: {self.name}: {whole[1]} has more than {self.bound} threads"
            )
        if not 0 <= shared_bytes <= self.dynamic_limit:
            raise CUDADriverError(
                f"CUDA_ERROR_INVALID_VALUE: {self.name}: {shared_bytes} bytes of dynamic shared memory, allowed are "
                f"{self.dynamic_limit} (max_dynamic_shared_size_bytes raises that to {SHARED_BYTES_OPT_IN})"
            )
        return whole[0], whole[1]

    def check_arguments(self, values: tuple) -> list[bytes]:
        """The arguments as bytes: arrays of device memory, NumPy scalars, or None."""
        if len(values) != len(self.parameters):
            raise TypeError(f"{self.name}: {len(values)} arguments, it takes {len(self.parameters)}")
        packed = []
        for number, (parameter, value) in enumerate(zip(self.parameters, values, strict=True)):
            try:
                if value is None:
                    signature.check_null(parameter)
                    packed.append(bytes(8))
                elif isinstance(value, np.ndarray):
                    signature.check_array(parameter, value)
                    packed.append(value.__array_interface__["data"][0].to_bytes(8, "little"))
                else:
                    packed.append(signature.check_scalar(parameter, value))
            except TypeError as wrong:
                raise TypeError(f"{self.name}, argument {number}: {wrong}") from None
        self._check_overlap(values)
        return packed

    def _check_overlap(self, values: tuple) -> None:
        arrays = [(p, v) for p, v in zip(self.parameters, values, strict=True) if isinstance(v, np.ndarray) and v.size]
        for place, (parameter, array) in enumerate(arrays):
            for other, another in arrays[place + 1 :]:
                if "+" in parameter.access + other.access and np.may_share_memory(array, another):
                    raise TypeError(f"{self.name}: '{parameter}' and '{other}' overlap, and one is written")

    def run(self, grid: tuple, block: tuple, packed: list[bytes], values: tuple, shared_bytes: int) -> None:
        """Run a launch that has passed the checks in every order."""
        with _running:
            blocks = [device_memory.find(v.__array_interface__["data"][0]) for v in values if isinstance(v, np.ndarray)]
            outputs, inputs = self._memory(values)
            first = None
            for order in settings.orders:
                if first is not None:
                    for output in outputs:
                        output.memory[:] = output.before
                keep = (
                    contextlib.nullcontext() if first else recording.recorded(self, grid, block, values, shared_bytes)
                )
                with keep:
                    self._once(grid, block, packed, shared_bytes, order)
                self._check_memory(blocks, outputs, inputs)
                if len(settings.orders) == 1:
                    continue
                results = [output.memory.copy() for output in outputs]
                if first is not None and any(not np.array_equal(a, b) for a, b in zip(first, results, strict=True)):
                    raise KernelError(
                        f"{self.name}: the result depends on the order of threads and blocks ({settings.orders[0]} "
                        f"against {order}): a race, or a missing __syncthreads()"
                    )
                first = first or results

    def _memory(self, values: tuple) -> tuple[list[_Output], list[tuple[np.ndarray, np.ndarray]]]:
        """The allocations that may be written to, and the inputs with copies of their bytes."""
        outputs: dict[int, _Output] = {}
        inputs = []
        for parameter, value in zip(self.parameters, values, strict=True):
            if not isinstance(value, np.ndarray) or not value.size:
                continue
            if parameter.access == "*":
                inputs.append((value, value.copy()))
                continue
            found = device_memory.find(value.__array_interface__["data"][0])
            if found.start not in outputs:
                whole = np.frombuffer((ctypes.c_char * found.nbytes).from_address(found.start), np.uint8)
                outputs[found.start] = _Output(whole, np.zeros(found.nbytes, bool))
            offset = value.__array_interface__["data"][0] - found.start
            outputs[found.start].writable[offset : offset + value.nbytes] = True
        return list(outputs.values()), inputs

    def _once(self, grid: tuple, block: tuple, packed: list[bytes], shared_bytes: int, order: int) -> None:
        blocks = prod(grid)
        permutation = _permutation(blocks, order)
        launch = _Launch(
            blocks,
            shared_bytes,
            order,
            None if permutation is None else permutation.ctypes.data,
            (ctypes.c_uint * 3)(*grid),
            (ctypes.c_uint * 3)(*block),
        )
        pointers, _kept = signature.pack(packed)
        library = self.source.library()
        if getattr(library, f"launch_{self.name}")(pointers, ctypes.byref(launch)):
            where = self._fault(library.device_fault(), packed)
            raise KernelError(f"{self.name}: {library.device_message().decode()}{where}")
        if settings.flavour == "counted" and _records:
            counts = library.device_counts().contents
            _records[-1].append(
                LaunchCounts(self.name, grid, block, *(getattr(counts, name) for name, _ in _Counts._fields_))
            )

    def _fault(self, address: int, packed: list[bytes]) -> str:
        """The array to which a faulting address belongs."""
        if not device_memory.first <= address < device_memory.last:
            return ""
        found = device_memory.find(address)
        if found is None:
            return ": memory that was freed, or never allocated"
        for parameter, value in zip(self.parameters, packed, strict=True):
            if parameter.is_pointer and found.start <= int.from_bytes(value, "little") <= found.stop:
                return f": byte {address - int.from_bytes(value, 'little')} of '{parameter}' ({found.nbytes} bytes)"
        return f": byte {address - found.start} of an array of {found.nbytes} bytes that is no argument"

    def _check_memory(self, blocks: list[Block], outputs: list[_Output], inputs: list) -> None:
        for block in blocks:
            if complaint := block.check():
                raise KernelError(f"{self.name}: {complaint}")
        for output in outputs:
            if not np.array_equal(output.memory[~output.writable], output.before[~output.writable]):
                raise KernelError(f"{self.name}: written outside the view that it was given")
        for value, before in inputs:
            if value.tobytes() != before.tobytes():
                raise KernelError(f"{self.name}: an array that was passed for a pointer to const has changed")


def _permutation(blocks: int, order: int) -> np.ndarray | None:
    if order == 0:
        return None
    if order == 1:
        return np.arange(blocks, dtype=np.uint64)[::-1].copy()
    return np.random.default_rng(order).permutation(blocks).astype(np.uint64)
