"""The CCDs of one exposure, group by group: what is done where memory does not suffice, or a CCD is damaged.

`gpuanom.measuring.stack` takes the CCDs of a group through the steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.errors import InputError
from gpuanom.fits.ccds.pixels import sums_on_device
from gpuanom.measuring.ccd_record import unmeasured
from gpuanom.measuring.ccd_statistics import make_parts
from gpuanom.measuring.exposure_record import in_order
from gpuanom.measuring.groups import groups, size_of
from gpuanom.measuring.readahead import Readers
from gpuanom.measuring.stack import StackOutcome, measure_stack
from gpuanom.measuring.stamp_hook import StampUse
from gpuanom.records import Ccd, CcdFailure, CcdMeasurement, CcdOnDisk
from gpuanom.settings import Settings


def measure_ccds(
    exposure: str,
    ccds: Iterable[Ccd | CcdOnDisk | CcdFailure],
    settings: Settings,
    backend: Backend,
    stamp_use: StampUse | None = None,
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
    stamp_use : StampUse, optional
        What is done with the sources' stamps besides the steps.

    Returns
    -------
    tuple of CcdMeasurement
        One for each CCD and failure, in natural order of their names. `exposure_record` makes a record of an exposure
        of them.
    """
    done: list[CcdMeasurement] = []
    for group in groups(ccds, settings, backend):
        measured = measure_group(exposure, group, settings, backend, stamp_use=stamp_use)
        make_parts(measured)
        done += measured
    return in_order(done)


def measure_group(
    exposure: str,
    group: Sequence[Ccd | CcdOnDisk] | CcdFailure,
    settings: Settings,
    backend: Backend,
    readers: Readers | None = None,
    stamp_use: StampUse | None = None,
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
    stamp_use : StampUse, optional
        What is done with the sources' stamps besides the steps.

    Returns
    -------
    list of CcdMeasurement
        One for each CCD. `make_parts` goes on with them, without the backend.
    """
    if isinstance(group, CcdFailure):
        return [unmeasured(group, settings.bins)]
    outcome = _try_to_measure(exposure, group, settings, backend, readers, stamp_use)
    ny, nx = size_of(group[0])
    if outcome is None:
        backend.too_many(len(group), ny, nx)
        if len(group) > 1:
            half = len(group) // 2
            parts = (group[:half], group[half:])
            return [m for part in parts for m in measure_group(exposure, part, settings, backend, readers, stamp_use)]
        # The memory that is missing may be in use by other lanes: measure once more while they wait.
        outcome = _try_to_measure(exposure, group, settings, backend, readers, stamp_use, alone=True)
    if outcome is None:
        reason = f"CCD {group[0].name}: no memory for its {nx} x {ny} pixels (free some, or use another --device)"
        return [unmeasured(CcdFailure(group[0].name, "out_of_memory", reason), settings.bins)]
    measured, damaged, left = outcome
    for item in damaged:
        measured += _measure_decoded_by_host(exposure, item, settings, backend, stamp_use)
    if left:  # fewer than before, so that this comes to an end
        measured += measure_group(exposure, left, settings, backend, readers, stamp_use)
    return measured


def _try_to_measure(
    exposure: str,
    group: Sequence[Ccd | CcdOnDisk],
    settings: Settings,
    backend: Backend,
    readers: Readers | None,
    stamp_use: StampUse | None,
    alone: bool = False,
) -> StackOutcome | None:
    """Measure CCDs as one stack; None where memory does not suffice."""
    try:
        # Damaged pixels may hold NaN patterns of which even a cast warns; they are merely bad pixels.
        with backend.sharing(alone), np.errstate(invalid="ignore", over="ignore"):
            return measure_stack(exposure, group, settings, backend, readers, stamp_use)
    except MemoryError:
        return None  # outside of this block the error's traceback keeps no arrays alive any more
    except InputError as error:
        # The backend cannot take CCDs of this shape; the other CCDs of the exposure are measured all the same.
        refused = [CcdFailure(item.name, error.status, f"CCD {item.name}: {error}") for item in group]
        return StackOutcome([unmeasured(failure, settings.bins) for failure in refused], [], [])


def _measure_decoded_by_host(
    exposure: str, item: Ccd | CcdOnDisk, settings: Settings, backend: Backend, stamp_use: StampUse | None
) -> list[CcdMeasurement]:
    """Measure a CCD that the device could not decode: the host decodes it, and says what is damaged."""
    if isinstance(item, Ccd):
        raise ValueError(f"CCD {item.name}: images as a file holds them come from files only")
    ccd = item.load()
    if isinstance(ccd, CcdFailure):
        return measure_group(exposure, ccd, settings, backend, stamp_use=stamp_use)
    # The CCD is sound. Only the host can see that a program changed the pixels and kept the header.
    sums_on_device.no_longer()
    return measure_group(exposure, [ccd], settings, backend, stamp_use=stamp_use)
