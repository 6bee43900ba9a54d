"""The CCDs of a stack through the steps: read this first.

CCDs -> stack -> background -> sources -> orientations -> histograms, and gradients -> orientations -> histograms.
Patterns, shapes and repeats -> statistics (`gpuanom.measuring.ccd_statistics`).
"""

from __future__ import annotations

from itertools import chain, repeat
from typing import NamedTuple

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.measuring.ccd_record import SATURATED, Counted, ccd_records, unmeasured
from gpuanom.measuring.ccd_statistics import (
    CcdOfStack,
    StackStatistics,
    statistic_arrays,
    without_saturated,
)
from gpuanom.measuring.groups import Group
from gpuanom.measuring.isophotes import isophote_moments
from gpuanom.measuring.points import Step, draw_points
from gpuanom.measuring.readahead import Readers
from gpuanom.measuring.reading import GroupReading
from gpuanom.measuring.stamp_hook import StampUse
from gpuanom.measuring.streaks import without_streaks
from gpuanom.records import (
    KINDS,
    Array,
    CcdMeasurement,
    CcdStack,
    Gradients,
    Integers,
    OrientationHistograms,
    Sources,
)
from gpuanom.records.attributes import attributes
from gpuanom.set_at_once import changed
from gpuanom.settings import Settings

STEPS_AT_POINTS: tuple[Step, ...] = ("background", "sigma", "gradients")
"""The steps that look at random points."""


class StackOutcome(NamedTuple):
    """What became of the CCDs of a stack.

    Attributes
    ----------
    measured : dict of int to CcdMeasurement
        By the numbers of the CCDs in their group; also of CCDs that could not be read.
    damaged : list of int
        CCDs that the device could not decode, and those whose files were written to before the device had read them.
    left : list of int
        CCDs that are to be measured once more without the damaged ones.
    """

    measured: dict[int, CcdMeasurement]
    damaged: list[int]
    left: list[int]


def measure_stack(
    group: Group,
    settings: Settings,
    backend: Backend,
    readers: Readers | None,
    stamp_use: StampUse | None,
) -> StackOutcome:
    """Read CCDs that share a shape, measure them, and tell which of them are to be measured again.

    Parameters
    ----------
    group, settings, backend, readers, stamp_use
        As `gpuanom.measuring.exposure.measure_group` takes them.

    Returns
    -------
    StackOutcome

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
    measured: dict[int, CcdMeasurement] = {}
    damaged: list[int] = []
    left: list[int] = []
    if first is not None:
        stack = backend.prepare(chain((first,), arriving), len(group))
        del first
        records, undecoded = _measured(group, reading, stack, settings, backend, stamp_use)
        rewritten = reading.changed_on_disk()
        unsound = rewritten | undecoded
        measured = {
            number: m for i, (number, m) in enumerate(zip(reading.read, records, strict=True)) if i not in unsound
        }
        damaged = [reading.read[i] for i in sorted(unsound)]
        if rewritten and _wants_all_steps(stamp_use):
            # The pairs of maxima are one sum over an exposure, which holds pairs of pixels that were written
            # meanwhile: all CCDs are measured again. (A CCD that could not be decoded has no maxima.)
            measured, left = {}, list(measured)
    measured.update((number, unmeasured(failure, settings.bins)) for number, failure in reading.failures.items())
    return StackOutcome(measured, damaged, left)


def _measured(
    group: Group,
    reading: GroupReading,
    stack: CcdStack,
    settings: Settings,
    backend: Backend,
    stamp_use: StampUse | None,
) -> tuple[list[CcdMeasurement], set[int]]:
    """The measurements of all CCDs of a stack, and the numbers of those that the device could not decode."""
    # The steps, queued on the device.
    ccds, (_, ny, nx) = reading.ccds, stack.shape
    names, turned = attributes(ccds, "name", "turn")
    turns = np.array(turned, dtype=np.int64)
    exposures = list(map(group.exposures.__getitem__, reading.read))
    points_ids = list(map(group.points_ids.__getitem__, exposures))
    fit_points, sigma_points, gradient_points = (
        draw_points(points_ids, names, step, ny, nx, settings, backend) for step in STEPS_AT_POINTS
    )
    background = backend.background(stack, fit_points, sigma_points, settings)
    sources = backend.sources(stack, background, settings)
    n_gradients: Array = np.zeros(len(ccds), dtype=np.int64)
    histograms = [_empty(len(ccds), settings.bins)] * len(KINDS)
    arrays = None
    if _wants_all_steps(stamp_use):
        numbers = np.array(exposures, dtype=np.int64)
        arrays = statistic_arrays(stack, background, sources, turns, numbers, settings, backend)
        gradients = backend.gradients(stack, gradient_points, background, settings)
        histograms, n_gradients = _histograms(sources, gradients, turns, settings, backend), gradients.n_points
    reconstructions = None if stamp_use is None else stamp_use(names, stack, background, sources, settings, backend)
    counted = Counted(sources.n_sources, sources.n_bad, sources.n_saturated, n_gradients)

    # One copy to the host, for which the host waits.
    background_on_device = background
    background, counted, histograms, first_damaged_tile, arrays = backend.to_host(
        (background, counted, histograms, stack.damaged, arrays)
    )

    # The records, made on the host.
    shared = StackStatistics()
    parts = [None] * len(ccds) if arrays is None else list(map(CcdOfStack, repeat(shared), range(len(ccds)), exposures))
    records = ccd_records(ccds, (int(ny), int(nx)), background, counted, histograms, settings, parts)
    if arrays is not None:
        if SATURATED in [record.status for record in records]:
            arrays = without_saturated(arrays, stack, background_on_device, sources, settings, backend)
        shared.arrays = without_streaks(arrays, stack, background_on_device, settings, backend)
    if reconstructions is not None:
        records = [
            changed(record, reconstruction=reconstruction) if record.status == "ok" else record
            for record, reconstruction in zip(records, reconstructions, strict=True)
        ]
    undecoded = [] if first_damaged_tile is None else np.flatnonzero(first_damaged_tile >= 0).tolist()
    return records, set(undecoded)


def _wants_all_steps(stamp_use: StampUse | None) -> bool:
    """Whether gradients, histograms and statistics are wanted, or nothing but the stamps."""
    return stamp_use is None or not stamp_use.stamps_only


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
