"""The CPU's backend, NumPy and Numba: the twin of every step, a file each; see `gpuanom.backends.protocol.Backend`.

Steps that visit pixels are native loops; their files are imported when they are first needed, since Numba is slow to.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from gpuanom.backends.cpu import background, divergence, histogram, orientation, prepare
from gpuanom.encoded import Room
from gpuanom.records import (
    Background,
    Ccd,
    CcdStack,
    CcdsTogether,
    Doubles,
    FloatImage,
    Gradients,
    Integers,
    LineBins,
    OrientationHistograms,
    Patterns,
    Profiles,
    ProfileSums,
    Repeats,
    Shapes,
    Sources,
)
from gpuanom.settings import Settings

Record = TypeVar("Record")
Points = npt.NDArray[np.int32]


class CpuBackend:
    """Every step on the CPU, one CCD at a time."""

    name = "cpu"
    takes_encoded = False

    def working(self) -> AbstractContextManager[None]:
        """See `gpuanom.backends.protocol.Backend.working`: nothing to do."""
        return nullcontext()

    def sharing(self, alone: bool) -> AbstractContextManager[None]:
        """See `gpuanom.backends.protocol.Backend.sharing`: all threads share the system's memory already."""
        return nullcontext()

    def lanes(self, threads: int) -> list[CpuBackend]:
        """See `gpuanom.backends.protocol.Backend.lanes`: the steps keep nothing, and one backend serves all threads."""
        return [self] * threads

    def too_many(self, n: int, ny: int, nx: int) -> None:
        """See `gpuanom.backends.protocol.Backend.too_many`: one CCD cannot be made fewer."""

    @property
    def device_name(self) -> str:
        """See `gpuanom.backends.protocol.Backend.device_name`."""
        return "cpu"

    def share_memory(self, most: int) -> tuple[int, int]:
        """See `gpuanom.backends.protocol.Backend.share_memory`; on a CPU threads suffice."""
        return 1, 0

    def limit_memory(self, n_bytes: int) -> None:
        """See `gpuanom.backends.protocol.Backend.limit_memory`; there is nothing to be planned."""

    def group_size(self, ny: int, nx: int) -> int:
        """One: a CCD at a time stays closest to the cache and needs the least memory."""
        return 1

    def room(self, n_bytes: int) -> Room:
        """See `gpuanom.backends.protocol.Backend.room`."""
        return Room(np.empty(n_bytes, dtype=np.uint8))

    def prepare(self, ccds: Iterable[Ccd | CcdsTogether], most: int) -> CcdStack:
        """See `gpuanom.backends.protocol.Backend.prepare`."""
        return prepare.prepare(ccds, most)

    def points(self, keys: npt.NDArray[np.uint64], n_draws: int, ny: int, nx: int, margin: int) -> Points:
        """See `gpuanom.backends.protocol.Backend.points`."""
        from gpuanom.backends.cpu import points

        return points.points(keys, n_draws, ny, nx, margin)

    def background(self, stack: CcdStack, fit_points: Points, sigma_points: Points, settings: Settings) -> Background:
        """See `gpuanom.backends.protocol.Backend.background`."""
        return background.background(stack, fit_points, sigma_points, settings)

    def sources(self, stack: CcdStack, background: Background, settings: Settings) -> Sources:
        """See `gpuanom.backends.protocol.Backend.sources`."""
        from gpuanom.backends.cpu import sources

        return sources.sources(stack, background, settings)

    def gradients(self, stack: CcdStack, points: Points, background: Background, settings: Settings) -> Gradients:
        """See `gpuanom.backends.protocol.Backend.gradients`."""
        from gpuanom.backends.cpu import gradients

        return gradients.gradients(stack, points, background, settings)

    def patterns(
        self, stack: CcdStack, background: Background, settings: Settings
    ) -> tuple[Patterns, ProfileSums, LineBins]:
        """See `gpuanom.backends.protocol.Backend.patterns`."""
        from gpuanom.backends.cpu import patterns

        return patterns.patterns(stack, background, settings)

    def profiles(self, sums: ProfileSums) -> Profiles:
        """See `gpuanom.backends.protocol.Backend.profiles`."""
        from gpuanom.backends.cpu import profiles

        return profiles.profiles(sums)

    def lines(self, bins: LineBins) -> Doubles:
        """See `gpuanom.backends.protocol.Backend.lines`."""
        from gpuanom.backends.cpu import lines

        return lines.lines(bins)

    def stamps(self, stack: CcdStack, background: Background, sources: Sources, settings: Settings) -> FloatImage:
        """See `gpuanom.backends.protocol.Backend.stamps`."""
        from gpuanom.backends.cpu import stamps

        return stamps.stamps(stack, background, sources, settings)

    def shapes(self, stack: CcdStack, background: Background, sources: Sources, settings: Settings) -> Shapes:
        """See `gpuanom.backends.protocol.Backend.shapes`."""
        from gpuanom.backends.cpu import shapes

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
        from gpuanom.backends.cpu import repeats

        return repeats.repeats(stack, background, sources, turns, exposures, settings)

    def orientation(self, moments: Doubles) -> Doubles:
        """See `gpuanom.backends.protocol.Backend.orientation`."""
        return orientation.orientation(moments)

    def gradient_orientation(self, dx: Doubles, dy: Doubles) -> Doubles:
        """See `gpuanom.backends.protocol.Backend.gradient_orientation`."""
        return orientation.gradient_orientation(dx, dy)

    def histogram(
        self, orientation: Doubles, ccd: Integers, turns: npt.NDArray[np.int64], bins: int
    ) -> OrientationHistograms:
        """See `gpuanom.backends.protocol.Backend.histogram`."""
        return histogram.histogram(orientation, ccd, turns, bins)

    def divergence(self, counts: Integers, reference: Doubles) -> Doubles:
        """See `gpuanom.backends.protocol.Backend.divergence`."""
        return divergence.divergence(counts, reference)

    def to_device(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """See `gpuanom.backends.protocol.Backend.to_device`; it is there already."""
        return array

    def to_host(self, record: Record) -> Record:
        """See `gpuanom.backends.protocol.Backend.to_host`; the arrays are there already."""
        return record
