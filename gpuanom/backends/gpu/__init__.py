"""The CUDA backend: a launcher for every step, a file each. `gpuanom.backends.protocol.Backend` says what each does.

The only part of gpuanom that imports CuPy; `gpuanom.backends.choice.select` imports it only when a GPU is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import accumulate
from typing import Any, TypeVar

import cupy
import numpy as np
import numpy.typing as npt

from gpuanom import nvtx as ranges
from gpuanom.backends.gpu import (
    background,
    divergence,
    gradients,
    histogram,
    lines,
    orientation,
    patterns,
    pinned,
    points,
    prepare,
    profiles,
    repeats,
    shapes,
    sources,
    stamps,
)
from gpuanom.backends.gpu.memory import LANES, MemoryPlan
from gpuanom.backends.gpu.staging import Staging, lent_room
from gpuanom.encoded import Room
from gpuanom.errors import DeviceError, printable
from gpuanom.records import (
    Array,
    Background,
    Ccd,
    CcdStack,
    CcdsTogether,
    Gradients,
    LineBins,
    OrientationHistograms,
    Patterns,
    Profiles,
    ProfileSums,
    Repeats,
    Shapes,
    Sources,
)
from gpuanom.set_at_once import changed
from gpuanom.settings import Settings

Record = TypeVar("Record")

ALIGNMENT = 64
"""Each array that is copied to the host begins at a multiple of so many bytes."""


class GpuBackend:
    """Every step in CUDA, on all CCDs of a stack in one launch each, in a stream of its own.

    Parameters
    ----------
    device : int
        Its number, as CUDA counts.
    plan : MemoryPlan, optional
        Shared by the lanes of one device.

    Notes
    -----
    Used by one thread at a time. Nothing waits for the device but `to_host`, and a staging buffer that is still full.
    """

    name = "gpu"
    takes_encoded = True

    def __init__(self, device: int = 0, plan: MemoryPlan | None = None) -> None:
        self.device = cupy.cuda.Device(device)
        self.plan = plan or MemoryPlan(self.device)
        with self.device:
            # Not the default stream's: that one would have the lanes wait for each other.
            self.stream = cupy.cuda.Stream(non_blocking=True)
            self.staging = Staging()

    @contextmanager
    def working(self, step: str = "between steps") -> Iterator[None]:
        """Choose the device and the lane's stream, in a range of that name in profiles; see `Backend.working`."""
        try:
            with self.device, self.stream, ranges.named(step):
                yield
        except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError) as error:
            # After most of its errors a device refuses everything else: what comes next would fail for nothing.
            raise DeviceError(
                f"gpu {self.device.id} fails: {printable(str(error))} (nvidia-smi and the system's log may say why;"
                " the same command goes on where it stopped)"
            ) from error

    def sharing(self, alone: bool) -> AbstractContextManager[None]:
        """See `gpuanom.backends.protocol.Backend.sharing`."""
        return self.plan.sharing(alone)

    def lanes(self, threads: int) -> list[GpuBackend]:  # noqa: ARG002 - the protocol's signature
        """See `gpuanom.backends.protocol.Backend.lanes`: two streams, whatever the threads that read for them."""
        return [self, *(GpuBackend(self.device.id, self.plan) for _ in range(LANES - 1))]

    @property
    def device_name(self) -> str:
        """See `gpuanom.backends.protocol.Backend.device_name`."""
        return str(self.device.id)

    def share_memory(self, most: int) -> tuple[int, int]:
        """See `gpuanom.backends.protocol.Backend.share_memory`."""
        return self.plan.share(most)

    def limit_memory(self, n_bytes: int) -> None:
        """See `gpuanom.backends.protocol.Backend.limit_memory`."""
        self.plan.limit(n_bytes)

    def group_size(self, ny: int, nx: int) -> int:
        """How many CCDs of ny x nx pixels fit this lane's part of the device's memory; at least 1."""
        return self.plan.most(ny, nx)

    def too_many(self, n: int, ny: int, nx: int) -> None:
        """See `gpuanom.backends.protocol.Backend.too_many`."""
        with self.working():
            self.stream.synchronize()  # what is still under way holds memory
            self.staging.done()
        self.plan.too_many(n, ny, nx)

    def to_device(self, array: npt.NDArray[Any]) -> Array:
        """See `gpuanom.backends.protocol.Backend.to_device`; whole numbers become int64, as the kernels take them."""
        kind = np.int64 if array.dtype.kind == "i" else array.dtype
        with self.working():
            return cupy.asarray(np.ascontiguousarray(array, dtype=kind))

    def room(self, n_bytes: int) -> Room:
        """See `gpuanom.backends.protocol.Backend.room`: pinned memory, as far as the host's share of it goes."""
        with self.device:
            return lent_room(n_bytes)

    def prepare(self, ccds: Iterable[Ccd | CcdsTogether], most: int) -> CcdStack:
        """See `gpuanom.backends.protocol.Backend.prepare`."""
        with self.working("prepare"):
            return prepare.prepare(ccds, most, self.staging)

    def points(self, keys: npt.NDArray[np.uint64], n_draws: int, ny: int, nx: int, margin: int) -> Array:
        """See `gpuanom.backends.protocol.Backend.points`."""
        with self.working("points"):
            return points.points(keys, n_draws, ny, nx, margin)

    def background(self, stack: CcdStack, fit_points: Array, sigma_points: Array, settings: Settings) -> Background:
        """See `gpuanom.backends.protocol.Backend.background`."""
        with self.working("background"):
            return background.background(stack, fit_points, sigma_points, settings)

    def sources(self, stack: CcdStack, background: Background, settings: Settings) -> Sources:
        """See `gpuanom.backends.protocol.Backend.sources`."""
        with self.working("sources"):
            return sources.sources(stack, background, settings)

    def gradients(self, stack: CcdStack, points: Array, background: Background, settings: Settings) -> Gradients:
        """See `gpuanom.backends.protocol.Backend.gradients`."""
        with self.working("gradients"):
            return gradients.gradients(stack, points, background, settings)

    def patterns(
        self, stack: CcdStack, background: Background, settings: Settings
    ) -> tuple[Patterns, ProfileSums, LineBins]:
        """See `gpuanom.backends.protocol.Backend.patterns`."""
        with self.working("patterns"):
            return patterns.patterns(stack, background, settings)

    def profiles(self, sums: ProfileSums) -> Profiles:
        """See `gpuanom.backends.protocol.Backend.profiles`."""
        with self.working("profiles"):
            return profiles.profiles(sums)

    def lines(self, bins: LineBins) -> Array:
        """See `gpuanom.backends.protocol.Backend.lines`."""
        with self.working("lines"):
            return lines.lines(bins)

    def stamps(self, stack: CcdStack, background: Background, sources: Sources, settings: Settings) -> Array:
        """See `gpuanom.backends.protocol.Backend.stamps`."""
        with self.working("stamps"):
            return stamps.stamps(stack, background, sources, settings)

    def shapes(self, stack: CcdStack, background: Background, sources: Sources, settings: Settings) -> Shapes:
        """See `gpuanom.backends.protocol.Backend.shapes`."""
        with self.working("shapes"):
            return shapes.shapes(stack, background, sources, settings)

    def repeats(
        self,
        stack: CcdStack,
        background: Background,
        sources: Sources,
        turns: npt.NDArray[np.int64],
        exposures: npt.NDArray[np.int64],
        settings: Settings,
    ) -> Repeats:
        """See `gpuanom.backends.protocol.Backend.repeats`."""
        with self.working("repeats"):
            return repeats.repeats(stack, background, sources, turns, exposures, settings)

    def orientation(self, moments: Array) -> Array:
        """See `gpuanom.backends.protocol.Backend.orientation`."""
        with self.working("orientation"):
            return orientation.orientation(moments)

    def gradient_orientation(self, dx: Array, dy: Array) -> Array:
        """See `gpuanom.backends.protocol.Backend.gradient_orientation`."""
        with self.working("orientation"):
            return orientation.gradient_orientation(dx, dy)

    def histogram(
        self, orientation: Array, ccd: Array, turns: npt.NDArray[np.int64], bins: int
    ) -> OrientationHistograms:
        """See `gpuanom.backends.protocol.Backend.histogram`."""
        with self.working("histogram"):
            return histogram.histogram(orientation, ccd, turns, bins)

    def divergence(self, counts: Array, reference: Array) -> Array:
        """See `gpuanom.backends.protocol.Backend.divergence`."""
        with self.working("divergence"):
            return divergence.divergence(counts, reference)

    def to_host(self, record: Record) -> Record:
        """See `gpuanom.backends.protocol.Backend.to_host`; slots without a source or a gradient are left out here."""
        with self.working("copy home"):
            arrays: list[Array] = []
            _map_arrays(record, arrays.append)
            home = dict(zip(map(id, arrays), _copy_to_host(arrays), strict=True))
            self.stream.synchronize()
            self.staging.done()
        return _without_empty_slots(_map_arrays(record, lambda array: home[id(array)]))  # type: ignore[no-any-return]


def _copy_to_host(arrays: Sequence[Array]) -> list[npt.NDArray[Any]]:
    """Begin to copy arrays to the host; the copies are complete once the stream is synchronised.

    The copies lie in pinned memory: a copy to other memory would wait for the device, once for each array. They share
    one piece of memory: to allocate all of it takes as long as to allocate the memory of one array.
    """
    begins = [0, *accumulate(-(-array.nbytes // ALIGNMENT) * ALIGNMENT for array in arrays)]
    memory = pinned.empty((begins[-1],), np.uint8) if begins[-1] else np.empty(0, np.uint8)
    copies = []
    for array, begin in zip(arrays, begins, strict=False):
        host: npt.NDArray[Any] = np.ndarray(array.shape, array.dtype, memory.data, begin)
        if array.size:
            array.get(out=host, blocking=False)
        copies.append(host)
    return copies


def _map_arrays(record: Any, change: Callable[[Array], Any]) -> Any:
    """Return a record in which each array of the device is replaced by what `change` makes of it."""
    if isinstance(record, cupy.ndarray):
        return change(record)
    if isinstance(record, tuple | list):
        return type(record)([_map_arrays(part, change) for part in record])
    if not hasattr(type(record), "__dataclass_fields__"):
        return record
    if isinstance(record, Sources):  # the brightest pixels of tiles stay on the device
        record = changed(record, brightest=None)
    kind = cupy.ndarray
    return changed(
        record,
        **{
            name: change(value) if isinstance(value, kind) else _map_arrays(value, change)
            for name, value in vars(record).items()
        },
    )


def _without_empty_slots(record: Any) -> Any:
    if isinstance(record, tuple | list):
        return type(record)(_without_empty_slots(part) for part in record)
    if isinstance(record, Sources):
        return sources.without_empty_slots(record)
    return gradients.without_empty_slots(record) if isinstance(record, Gradients) else record
