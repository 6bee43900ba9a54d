"""The CUDA backend: a launcher for every step, a file each. `gpuanom.backend.Backend` says what each does.

The only part of gpuanom that imports CuPy; `gpuanom.backend.select` imports it only when a GPU is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import cupy
import cupyx
import numpy as np
import numpy.typing as npt

from gpuanom.gpu import background, divergence, gradients, histogram, orientation, prepare, smooth, sources, stamps
from gpuanom.records import Array, Background, Ccd, CcdStack, Gradients, OrientationHistograms, Sources
from gpuanom.settings import Settings

Record = TypeVar("Record")
Points = npt.NDArray[np.int32]

SHARE = 0.4
"""Of the free memory that one stack may take: two exposures are on their way at once, and the pool keeps some spare."""
BYTES_A_PIXEL = 8
"""float32 and its mask, and 3 for the sources' slots: 108 bytes for each 64 pixels at the smallest stamps."""
BYTES_A_CCD = 16 * 2**20
"""Drawn points, their scratch and results: 8 MB at the default settings."""
MOST_CCDS = 65535
"""The CCDs of a stack lie along a grid's z axis."""


class GpuBackend:
    """Every step in CUDA, on all CCDs of a stack in one launch each.

    Parameters
    ----------
    device : int
        Its number, as CUDA counts.
    """

    name = "gpu"

    def __init__(self, device: int = 0) -> None:
        self.device = cupy.cuda.Device(device)
        self._group_sizes: dict[tuple[int, int], int] = {}

    def group_size(self, ny: int, nx: int) -> int:
        """How many CCDs of ny x nx pixels fit `SHARE` of the memory that was free when first asked; at least 1."""
        if (ny, nx) not in self._group_sizes:
            with self.device:
                free = self.device.mem_info[0] + cupy.get_default_memory_pool().free_bytes()
            most = int(SHARE * free / (BYTES_A_PIXEL * ny * nx + BYTES_A_CCD))
            self._group_sizes[ny, nx] = min(max(1, most), MOST_CCDS)
        return self._group_sizes[ny, nx]

    def to_device(self, array: npt.NDArray[Any]) -> Array:
        """See `gpuanom.backend.Backend.to_device`; whole numbers become int64, as the kernels take them."""
        kind = np.int64 if array.dtype.kind == "i" else array.dtype
        with self.device:
            return cupy.asarray(np.ascontiguousarray(array, dtype=kind))

    def prepare(self, ccds: Sequence[Ccd]) -> CcdStack:
        """See `gpuanom.backend.Backend.prepare`."""
        with self.device:
            return prepare.prepare(ccds)

    def background(self, stack: CcdStack, fit_points: Points, sigma_points: Points, settings: Settings) -> Background:
        """See `gpuanom.backend.Backend.background`."""
        with self.device:
            return background.background(stack, fit_points, sigma_points, settings)

    def sources(self, stack: CcdStack, background: Background, settings: Settings) -> Sources:
        """See `gpuanom.backend.Backend.sources`."""
        with self.device:
            return sources.sources(stack, background, settings)

    def gradients(self, stack: CcdStack, points: Points, background: Background, settings: Settings) -> Gradients:
        """See `gpuanom.backend.Backend.gradients`."""
        with self.device:
            return gradients.gradients(stack, points, background, settings)

    def smooth(self, stack: CcdStack, settings: Settings) -> Array:
        """See `gpuanom.backend.Backend.smooth`."""
        with self.device:
            return smooth.smooth(stack, settings)

    def stamps(self, stack: CcdStack, background: Background, sources: Sources, settings: Settings) -> Array:
        """See `gpuanom.backend.Backend.stamps`."""
        with self.device:
            return stamps.stamps(stack, background, sources, settings)

    def orientation(self, moments: Array) -> Array:
        """See `gpuanom.backend.Backend.orientation`."""
        with self.device:
            return orientation.orientation(moments)

    def gradient_orientation(self, dx: Array, dy: Array) -> Array:
        """See `gpuanom.backend.Backend.gradient_orientation`."""
        with self.device:
            return orientation.gradient_orientation(dx, dy)

    def histogram(
        self, orientation: Array, ccd: Array, turns: npt.NDArray[np.int64], bins: int
    ) -> OrientationHistograms:
        """See `gpuanom.backend.Backend.histogram`."""
        with self.device:
            return histogram.histogram(orientation, ccd, turns, bins)

    def divergence(self, counts: Array, reference: Array) -> Array:
        """See `gpuanom.backend.Backend.divergence`."""
        with self.device:
            return divergence.divergence(counts, reference)

    def to_host(self, record: Record) -> Record:
        """See `gpuanom.backend.Backend.to_host`; slots without a source or a gradient are left out here."""
        if not is_dataclass(record) or isinstance(record, type):
            raise TypeError(f"a record of device arrays is wanted, not {type(record).__name__}")
        with self.device:
            arrays = {f.name: _copied(getattr(record, f.name)) for f in fields(record)}
            cupy.cuda.get_current_stream().synchronize()
        there: Any = replace(record, **arrays)
        if isinstance(there, Sources):
            there = sources.filled(there)
        elif isinstance(there, Gradients):
            there = gradients.filled(there)
        return there  # type: ignore[no-any-return]


def _copied(array: Any) -> Any:
    """A host copy that is complete once the stream is synchronised; what is on the host already stays."""
    if not isinstance(array, cupy.ndarray):
        return array
    if not array.size:
        return np.empty(array.shape, array.dtype)
    # Pinned: into other memory the copy would wait for the device, once for each array.
    host = cupyx.empty_pinned(array.shape, array.dtype)
    array.get(out=host, blocking=False)
    return host
