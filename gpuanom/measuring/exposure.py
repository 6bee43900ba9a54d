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
from gpuanom.measuring.ccd_statistics import with_statistics
from gpuanom.measuring.exposure_record import in_order
from gpuanom.measuring.groups import groups, size_of
from gpuanom.measuring.readahead import Readers
from gpuanom.measuring.stack import Measured, measure_stack
from gpuanom.measuring.stamp_hook import StampUse
from gpuanom.records import Ccd, CcdFailure, CcdMeasurement, CcdOnDisk
from gpuanom.settings import Settings


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
    ny, nx = size_of(group[0])
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


def _attempt(
    exposure: str,
    group: Sequence[Ccd | CcdOnDisk],
    settings: Settings,
    backend: Backend,
    readers: Readers | None,
    use: StampUse | None,
    alone: bool = False,
) -> Measured | None:
    """What became of the CCDs of a stack; None without enough memory."""
    try:
        # Damaged pixels may hold NaN patterns of which even a cast warns; they are merely bad pixels.
        with backend.sharing(alone), np.errstate(invalid="ignore", over="ignore"):
            return measure_stack(exposure, group, settings, backend, readers, use)
    except MemoryError:
        return None  # outside of this block the error's traceback keeps no arrays alive any more
    except InputError as error:
        # The backend cannot take CCDs of this shape; the other CCDs of the exposure are measured all the same.
        refused = [CcdFailure(item.name, error.status, f"CCD {item.name}: {error}") for item in group]
        return Measured([unmeasured(failure, settings.bins) for failure in refused], [], [])


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
