"""One exposure through the steps: read this first.

CCDs -> stack -> background -> sources -> orientations -> histograms, and gradients -> orientations -> histograms.
Patterns, shapes and repeats -> statistics (`gpuanom.measuring.ccd_statistics`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, groupby, islice, repeat
from typing import NamedTuple, cast

import numpy as np

from gpuanom import nvtx as ranges
from gpuanom.attributes import attributes
from gpuanom.backends.protocol import Backend
from gpuanom.encoded import BytesOnDisk, RawImage, RiceImage
from gpuanom.errors import InputError
from gpuanom.fits import CcdsOnDisk
from gpuanom.fits.pixels import sums_on_device
from gpuanom.measuring.ccd_record import SATURATED, Counted, ccd_records, unmeasured
from gpuanom.measuring.ccd_statistics import (
    OfCcd,
    OfStack,
    statistic_arrays,
    with_statistics,
    without_bins,
    without_saturated,
)
from gpuanom.measuring.exposure_record import in_order
from gpuanom.measuring.isophotes import isophote_moments
from gpuanom.measuring.points import Step, draw_points
from gpuanom.measuring.readahead import Readers, read_together
from gpuanom.measuring.stamp_hook import StampUse
from gpuanom.measuring.streaks import without_streaks
from gpuanom.records import (
    KINDS,
    NO_PIXELS,
    Array,
    Ccd,
    CcdFailure,
    CcdMeasurement,
    CcdOnDisk,
    CcdsTogether,
    Gradients,
    Integers,
    OrientationHistograms,
    Sources,
)
from gpuanom.set_at_once import changed
from gpuanom.settings import Settings
from gpuanom.workspace import workspace

STEPS: tuple[Step, ...] = ("background", "sigma", "gradients")


def measure_ccds(
    exposure: str,
    ccds: Iterable[Ccd | CcdOnDisk | CcdFailure],
    settings: Settings,
    backend: Backend,
    use: StampUse | None = None,
) -> tuple[CcdMeasurement, ...]:
    """Measure the CCDs of one exposure.

    Parameters
    ----------
    exposure : str
        Id of the exposure; with each CCD's name it decides the random points.
    ccds : iterable of Ccd, CcdOnDisk or CcdFailure
        They are read one stack at a time, and each stack is freed when it has been measured.
    settings : Settings
    backend : Backend
    use : StampUse, optional
        What is done with the sources' stamps besides the steps.

    Returns
    -------
    tuple of CcdMeasurement
        One for each CCD and failure, in natural order of their names. `exposure_record` makes a record of an exposure
        of them.
    """
    done: list[CcdMeasurement] = []
    for group in groups(ccds, settings, backend):
        done += with_statistics(measure_group(exposure, group, settings, backend, use=use))
    return in_order(done)


def groups(
    ccds: Iterable[Ccd | CcdOnDisk | CcdFailure], settings: Settings, backend: Backend
) -> Iterator[list[Ccd | CcdOnDisk] | CcdFailure]:
    """Group CCDs that follow each other, share a shape and fit the device together.

    Parameters
    ----------
    ccds : iterable of Ccd, CcdOnDisk or CcdFailure
    settings : Settings
        Of these, the sizes of stamps and patches: smaller CCDs cannot be measured.
    backend : Backend
        Tells how many CCDs of a shape fit the device.

    Yields
    ------
    list of Ccd or CcdOnDisk, or CcdFailure
        Failures, and CCDs too small to measure, come alone.
    """
    smallest = max(settings.stamp_size, settings.patch_size)
    for shape, run in groupby(ccds, key=_shape):
        if shape is None or min(shape) < smallest:
            yield from (ccd if isinstance(ccd, CcdFailure) else _too_small(ccd, smallest) for ccd in run)
            continue
        while part := list(islice(run, backend.group_size(*shape))):
            yield part  # type: ignore[misc]
            del part


def _too_small(ccd: Ccd | CcdOnDisk, smallest: int) -> CcdFailure:
    ny, nx = _size(ccd)
    size = f"{smallest} x {smallest}"
    return CcdFailure(ccd.name, "too_small", f"CCD {ccd.name}: {nx} x {ny} pixels hold no stamp of {size}")


def grouped_again(
    group: list[Ccd | CcdOnDisk] | CcdFailure, settings: Settings, backend: Backend
) -> Iterable[list[Ccd | CcdOnDisk] | CcdFailure]:
    """Group one of the `groups` once more, for a device that may have less memory than was known before."""
    if isinstance(group, CcdFailure) or len(group) <= backend.group_size(*_size(group[0])):
        return [group]
    return groups(group, settings, backend)


def _shape(ccd: Ccd | CcdOnDisk | CcdFailure) -> tuple[int, int] | None:
    """(ny, nx) of a CCD; None of a failure."""
    if isinstance(ccd, CcdOnDisk):
        return ccd.shape
    return None if isinstance(ccd, CcdFailure) else _size(ccd)


def _size(ccd: Ccd | CcdOnDisk) -> tuple[int, int]:
    ny, nx = ccd.shape if isinstance(ccd, CcdOnDisk) else ccd.image.shape
    return ny, nx


def measure_group(
    exposure: str,
    group: Sequence[Ccd | CcdOnDisk] | CcdFailure,
    settings: Settings,
    backend: Backend,
    readers: Readers | None = None,
    use: StampUse | None = None,
) -> list[CcdMeasurement]:
    """Measure CCDs that share a shape; where memory does not suffice for all of them, one half after the other.

    Parameters
    ----------
    exposure : str
        Id of the exposure.
    group : sequence of Ccd or CcdOnDisk, or CcdFailure
        A group from `groups`.
    settings : Settings
    backend : Backend
    readers : Readers, optional
        Threads that read the CCDs ahead; by default each CCD is read when its turn comes.
    use : StampUse, optional
        What is done with the sources' stamps besides the steps.

    Returns
    -------
    list of CcdMeasurement
        One for each CCD. `with_statistics` makes the statistics of all, which does not need the backend.
    """
    if isinstance(group, CcdFailure):
        return [unmeasured(group, settings.bins)]
    done = _attempt(exposure, group, settings, backend, readers, use)
    ny, nx = _size(group[0])
    if done is None:
        backend.too_many(len(group), ny, nx)
        if len(group) > 1:
            half = len(group) // 2
            parts = (group[:half], group[half:])
            return [m for part in parts for m in measure_group(exposure, part, settings, backend, readers, use)]
        # The memory that is missing may be in use by other lanes: measure once more while they wait.
        done = _attempt(exposure, group, settings, backend, readers, use, alone=True)
    if done is None:
        reason = f"CCD {group[0].name}: no memory for its {nx} x {ny} pixels (free some, or use another --device)"
        return [unmeasured(CcdFailure(group[0].name, "out_of_memory", reason), settings.bins)]
    measured = done.measured + [m for item in done.damaged for m in _again(exposure, item, settings, backend, use)]
    # Those that are left are fewer than before: this comes to an end.
    return measured + (measure_group(exposure, done.left, settings, backend, readers, use) if done.left else [])


class _Measured(NamedTuple):
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


def _attempt(
    exposure: str,
    group: Sequence[Ccd | CcdOnDisk],
    settings: Settings,
    backend: Backend,
    readers: Readers | None,
    use: StampUse | None,
    alone: bool = False,
) -> _Measured | None:
    """What became of the CCDs of a stack; None without enough memory."""
    try:
        # Damaged pixels may hold NaN patterns of which even a cast warns; they are merely bad pixels.
        with backend.sharing(alone), np.errstate(invalid="ignore", over="ignore"):
            return _measure_stack(exposure, group, settings, backend, readers, use)
    except MemoryError:
        return None  # outside of this block the error's traceback keeps no arrays alive any more
    except InputError as error:
        # The backend cannot take CCDs of this shape; the other CCDs of the exposure are measured all the same.
        refused = [CcdFailure(item.name, error.status, f"CCD {item.name}: {error}") for item in group]
        return _Measured([unmeasured(failure, settings.bins) for failure in refused], [], [])


class _Reading:
    """The CCDs of a group as they come from disk; failures are collected in `failures`."""

    def __init__(self, backend: Backend, readers: Readers | None) -> None:
        self.backend, self.readers = backend, readers
        self.failures: list[CcdFailure] = []
        self.items: list[Ccd | CcdOnDisk] = []
        """The items whose CCDs could be read."""
        self.ccds: list[Ccd] = []
        """The CCDs of these items without their pixels."""
        self._on_disk: dict[int, BytesOnDisk] = {}
        """Of the images that the device may read from disk by itself, by their numbers in `items`."""

    def changed_on_disk(self) -> set[int]:
        """Those of `items` whose files were written to before the device had read them; asked afterwards."""
        return {i for i, place in self._on_disk.items() if not place.is_unchanged()}

    def __call__(self, group: Sequence[Ccd | CcdOnDisk]) -> Iterator[Ccd | CcdsTogether]:
        """Yield the CCDs that can be read, in order."""
        n = read_together(len(group)) if self.readers is not None else 1
        starts, task = range(0, len(group), n), self._several(group, n)
        read: Iterable[CcdsTogether | list[Ccd | CcdFailure]] = map(task, starts)
        if self.readers is not None and len(group) > 1:
            read = self.readers.ahead(task, starts)
        for start, found in zip(starts, read, strict=True):
            items = group[start : start + n]
            if isinstance(found, CcdsTogether):
                self.items += items
                self.ccds += [changed(ccd, bad=None) if ccd.bad is not None else ccd for ccd in found.ccds]
                yield found
            else:
                yield from self._one_by_one(items, found)
            del found

    def _one_by_one(self, items: Sequence[Ccd | CcdOnDisk], found: list[Ccd | CcdFailure]) -> Iterator[Ccd]:
        for item in items:
            ccd = found.pop(0)
            if isinstance(ccd, CcdFailure):
                self.failures.append(ccd)
                continue
            if isinstance(ccd.image, RawImage | RiceImage) and ccd.image.place is not None:
                self._on_disk[len(self.items)] = ccd.image.place
            self.items.append(item)
            self.ccds.append(changed(ccd, image=NO_PIXELS, bad=None))
            yield ccd
            del ccd

    def _several(
        self, group: Sequence[Ccd | CcdOnDisk], n: int
    ) -> Callable[[int], CcdsTogether | list[Ccd | CcdFailure]]:
        """Return a function that reads n CCDs from one on."""
        if n == 1 or set(map(type, group)) != {CcdOnDisk} or not self.backend.takes_encoded:
            return lambda start: [self._read(item) for item in group[start : start + n]]
        together = CcdsOnDisk(cast("Sequence[CcdOnDisk]", group))

        def load(start: int) -> CcdsTogether | list[Ccd | CcdFailure]:
            with ranges.named("read"):
                return together.load(start, min(start + n, len(group)), self.backend.room)

        return load

    def _read(self, item: Ccd | CcdOnDisk) -> Ccd | CcdFailure:
        if isinstance(item, Ccd):
            return item
        with ranges.named("read"):
            if self.backend.takes_encoded:
                return item.load(encoded=True, room=self.backend.room)
            return item.load(out=workspace("image", _size(item), np.float32))


def _measure_stack(
    exposure: str,
    group: Sequence[Ccd | CcdOnDisk],
    settings: Settings,
    backend: Backend,
    readers: Readers | None,
    use: StampUse | None,
) -> _Measured:
    """Measure CCDs that share a shape."""
    measured: list[CcdMeasurement] = []
    again: list[Ccd | CcdOnDisk] = []
    left: list[Ccd | CcdOnDisk] = []
    reading = _Reading(backend, readers)
    arriving = reading(group)
    first = next(arriving, None)
    if first is not None:
        stack = backend.prepare(chain((first,), arriving), len(group))
        del first
        ccds, (_, ny, nx) = reading.ccds, stack.shape
        names, turned = attributes(ccds, "name", "turn")
        fit_points, sigma_points, gradient_points = (
            draw_points(exposure, names, step, ny, nx, settings, backend) for step in STEPS
        )
        turns = np.array(turned, dtype=np.int64)
        background = backend.background(stack, fit_points, sigma_points, settings)
        sources = backend.sources(stack, background, settings)
        n_gradients: Array = np.zeros(len(ccds), dtype=np.int64)
        histograms = [_empty(len(ccds), settings.bins)] * len(KINDS)
        arrays = None
        if use is None or not use.only:
            arrays = statistic_arrays(stack, background, sources, turns, settings, backend)
            gradients = backend.gradients(stack, gradient_points, background, settings)
            histograms, n_gradients = _histograms(sources, gradients, turns, settings, backend), gradients.n_points
        reconstructed = None if use is None else use(names, stack, background, sources, settings, backend)
        counted = Counted(sources.n_sources, sources.n_bad, sources.n_saturated, n_gradients)
        on_device = background
        background, counted, histograms, damaged, arrays = backend.to_host(
            (background, counted, histograms, stack.damaged, arrays)
        )
        changed_files = reading.changed_on_disk()
        unsound = changed_files if damaged is None else changed_files.union(np.flatnonzero(damaged >= 0).tolist())
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
        measured, again = records, [reading.items[i] for i in sorted(unsound)]
        if unsound:
            sound = [i for i in range(len(records)) if i not in unsound]
            measured = [records[i] for i in sound]
            if changed_files and arrays is not None:
                # The pairs of maxima are one sum over the stack, and this one holds pairs of who knows which pixels. A
                # CCD that could not be decoded has no maxima.
                measured, left = [], [reading.items[i] for i in sound]
    return _Measured(measured + [unmeasured(failure, settings.bins) for failure in reading.failures], again, left)


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


def _again(
    exposure: str, item: Ccd | CcdOnDisk, settings: Settings, backend: Backend, use: StampUse | None
) -> list[CcdMeasurement]:
    """Measure a CCD that the device could not decode once more, decoded on the host, whose message names the damage."""
    if isinstance(item, Ccd):
        raise ValueError(f"CCD {item.name}: images as a file holds them come from files only")
    ccd = item.load()
    if isinstance(ccd, CcdFailure):
        return measure_group(exposure, ccd, settings, backend, use=use)
    # The CCD is sound. Only the host can see that a program changed the pixels and kept the header.
    sums_on_device.no_longer()
    return measure_group(exposure, [ccd], settings, backend, use=use)
