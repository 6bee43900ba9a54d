"""The CCDs of a stack through the steps: read this first.

CCDs -> stack -> background -> sources -> orientations -> histograms, and gradients -> orientations -> histograms.
Patterns, shapes and repeats -> statistics (`gpuanom.measuring.ccd_statistics`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, repeat
from typing import NamedTuple

import numpy as np

from gpuanom.attributes import attributes
from gpuanom.backends.protocol import Backend
from gpuanom.measuring.ccd_record import SATURATED, Counted, ccd_records, unmeasured
from gpuanom.measuring.ccd_statistics import OfCcd, OfStack, statistic_arrays, without_bins, without_saturated
from gpuanom.measuring.isophotes import isophote_moments
from gpuanom.measuring.points import Step, draw_points
from gpuanom.measuring.readahead import Readers
from gpuanom.measuring.reading import GroupReading
from gpuanom.measuring.stamp_hook import StampUse
from gpuanom.measuring.streaks import without_streaks
from gpuanom.records import (
    KINDS,
    Array,
    Ccd,
    CcdMeasurement,
    CcdOnDisk,
    CcdStack,
    Gradients,
    Integers,
    OrientationHistograms,
    Sources,
)
from gpuanom.set_at_once import changed
from gpuanom.settings import Settings

STEPS: tuple[Step, ...] = ("background", "sigma", "gradients")
"""The steps that look at random points."""


class Measured(NamedTuple):
    """What became of the CCDs of a stack.

    Attributes
    ----------
    measured : list of CcdMeasurement
    damaged : list of Ccd or CcdOnDisk
        Those that the device could not decode, and those whose files were written to before the device had read them.
    left : list of Ccd or CcdOnDisk
        Those that are to be measured once more without the damaged ones.
    """

    measured: list[CcdMeasurement]
    damaged: list[Ccd | CcdOnDisk]
    left: list[Ccd | CcdOnDisk]


def measure_stack(
    exposure: str,
    group: Sequence[Ccd | CcdOnDisk],
    settings: Settings,
    backend: Backend,
    readers: Readers | None,
    use: StampUse | None,
) -> Measured:
    """Read CCDs that share a shape, measure them, and tell which of them are to be measured again.

    Parameters
    ----------
    exposure, group, settings, backend, readers, use
        As `gpuanom.measuring.exposure.measure_group` takes them.

    Returns
    -------
    Measured

    Raises
    ------
    MemoryError
        When the device has no room for the stack.
    InputError
        When the backend cannot take CCDs of this shape.
    """
    reading = GroupReading(backend, readers)
    arriving = reading(group)
    first = next(arriving, None)
    measured: list[CcdMeasurement] = []
    again: list[Ccd | CcdOnDisk] = []
    left: list[Ccd | CcdOnDisk] = []
    if first is not None:
        stack = backend.prepare(chain((first,), arriving), len(group))
        del first
        measured, undecoded = _steps(exposure, reading.ccds, stack, settings, backend, use)
        rewritten = reading.changed_on_disk()
        unsound = rewritten | undecoded
        if unsound:
            again = [reading.items[i] for i in sorted(unsound)]
            sound = [i for i in range(len(measured)) if i not in unsound]
            measured = [measured[i] for i in sound]
            if rewritten and _has_statistics(use):
                # The pairs of maxima are one sum over the stack, and this one holds pairs of who knows which pixels. A
                # CCD that could not be decoded has no maxima.
                measured, left = [], [reading.items[i] for i in sound]
    return Measured(measured + [unmeasured(failure, settings.bins) for failure in reading.failures], again, left)


def _steps(
    exposure: str, ccds: Sequence[Ccd], stack: CcdStack, settings: Settings, backend: Backend, use: StampUse | None
) -> tuple[list[CcdMeasurement], set[int]]:
    """The measurements of all CCDs of a stack, and the numbers of those that the device could not decode."""
    _, ny, nx = stack.shape
    names, turned = attributes(ccds, "name", "turn")
    turns = np.array(turned, dtype=np.int64)
    fit_points, sigma_points, gradient_points = (
        draw_points(exposure, names, step, ny, nx, settings, backend) for step in STEPS
    )
    background = backend.background(stack, fit_points, sigma_points, settings)
    sources = backend.sources(stack, background, settings)
    n_gradients: Array = np.zeros(len(ccds), dtype=np.int64)
    histograms = [_empty(len(ccds), settings.bins)] * len(KINDS)
    arrays = None
    if _has_statistics(use):
        arrays = statistic_arrays(stack, background, sources, turns, settings, backend)
        gradients = backend.gradients(stack, gradient_points, background, settings)
        histograms, n_gradients = _histograms(sources, gradients, turns, settings, backend), gradients.n_points
    reconstructed = None if use is None else use(names, stack, background, sources, settings, backend)
    counted = Counted(sources.n_sources, sources.n_bad, sources.n_saturated, n_gradients)
    on_device = background
    background, counted, histograms, damaged, arrays = backend.to_host(
        (background, counted, histograms, stack.damaged, arrays)
    )
    of_stack = OfStack()
    parts = [None] * len(ccds) if arrays is None else list(map(OfCcd, repeat(of_stack), range(len(ccds))))
    records = ccd_records(ccds, (int(ny), int(nx)), background, counted, histograms, settings, parts)
    if arrays is not None:
        if SATURATED in [record.status for record in records]:
            arrays = without_saturated(arrays, stack, on_device, sources, turns, settings, backend)
        of_stack.arrays = without_bins(without_streaks(arrays, stack, on_device, settings, backend))
    if reconstructed is not None:
        records = [
            changed(record, reconstruction=result) if record.status == "ok" else record
            for record, result in zip(records, reconstructed, strict=True)
        ]
    return records, set() if damaged is None else set(np.flatnonzero(damaged >= 0).tolist())


def _has_statistics(use: StampUse | None) -> bool:
    """Whether more is wanted than what is done with the stamps."""
    return use is None or not use.only


def _histograms(
    sources: Sources, gradients: Gradients, turns: Integers, settings: Settings, backend: Backend
) -> list[OrientationHistograms]:
    """The four histograms of a stack, in the order of `KINDS`."""
    with backend.working():
        isophotal = isophote_moments(sources, settings)
    orientations = (
        (backend.orientation(sources.moments), sources.ccd),
        (backend.orientation(isophotal), sources.ccd),
        (backend.gradient_orientation(gradients.dx, gradients.dy), gradients.ccd),
        (backend.gradient_orientation(gradients.flat_dx, gradients.flat_dy), gradients.ccd),
    )
    return [backend.histogram(theta, ccd, turns, settings.bins) for theta, ccd in orientations]


def _empty(n_ccd: int, bins: int) -> OrientationHistograms:
    """Histograms without any counts, on the host."""
    return OrientationHistograms(np.zeros((n_ccd, bins), dtype=np.int64), np.zeros(n_ccd), np.zeros(n_ccd))
