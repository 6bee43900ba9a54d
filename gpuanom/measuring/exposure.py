"""CCDs, group by group: what is done where memory does not suffice, or a CCD is damaged.

`gpuanom.measuring.stack` takes the CCDs of a group through the steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpuanom.backends.protocol import Backend
from gpuanom.errors import InputError
from gpuanom.fits.ccds.pixels import sums_on_device
from gpuanom.measuring.ccd_record import unmeasured
from gpuanom.measuring.ccd_statistics import make_parts
from gpuanom.measuring.exposure_record import in_order
from gpuanom.measuring.groups import FailedCcd, Group, groups
from gpuanom.measuring.readahead import Readers
from gpuanom.measuring.stack import StackOutcome, measure_stack
from gpuanom.measuring.stamp_hook import StampUse
from gpuanom.records import Ccd, CcdFailure, CcdMeasurement, CcdOnDisk
from gpuanom.settings import Settings


def measure_ccds(
    exposure: str,
    ccds: Sequence[Ccd | CcdOnDisk | CcdFailure],
    settings: Settings,
    backend: Backend,
    stamp_use: StampUse | None = None,
) -> tuple[CcdMeasurement, ...]:
    """Measure the CCDs of one exposure.

    Parameters
    ----------
    exposure : str
        Id of the exposure; with each CCD's name it decides the random points.
    ccds : sequence of Ccd, CcdOnDisk or CcdFailure
        Those on disk are read one stack at a time, and each stack is freed when it has been measured.
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
    for group in groups(ccds, [0] * len(ccds), [exposure], settings, backend):
        measured = measure_group(group, settings, backend, stamp_use=stamp_use)
        make_parts(measured)
        done += measured
    return in_order(done)


def measure_group(
    group: Group | FailedCcd,
    settings: Settings,
    backend: Backend,
    readers: Readers | None = None,
    stamp_use: StampUse | None = None,
) -> list[CcdMeasurement]:
    """Measure CCDs that share a shape; where memory does not suffice for all of them, one half after the other.

    Parameters
    ----------
    group : Group or FailedCcd
        From `groups`.
    settings : Settings
    backend : Backend
    readers : Readers, optional
        Threads that read the CCDs ahead; by default each CCD is read when its turn comes.
    stamp_use : StampUse, optional
        What is done with the sources' stamps besides the steps; only where all CCDs are of one exposure.

    Returns
    -------
    list of CcdMeasurement
        One for each CCD, in the order of the group. `make_parts` goes on with them, without the backend.
    """
    if isinstance(group, FailedCcd):
        return [unmeasured(group.failure, settings.bins)]
    outcome = _try_to_measure(group, settings, backend, readers, stamp_use)
    ny, nx = group.shape
    if outcome is None:
        backend.too_many(len(group), ny, nx)
        if (half := len(group) // 2) > 0:
            parts = (group.part(range(half)), group.part(range(half, len(group))))
            return [m for part in parts for m in measure_group(part, settings, backend, readers, stamp_use)]
        # The memory that is missing may be in use by other lanes: measure once more while they wait.
        outcome = _try_to_measure(group, settings, backend, readers, stamp_use, alone=True)
    if outcome is None:
        name = group.ccds[0].name
        reason = f"CCD {name}: no memory for its {nx} x {ny} pixels (free some, or use another --device)"
        return [unmeasured(CcdFailure(name, "out_of_memory", reason), settings.bins)]
    measured, damaged, left = outcome
    for number in damaged:
        (measured[number],) = _measure_decoded_by_host(group.part([number]), settings, backend, stamp_use)
    if left:  # fewer than before, so that this comes to an end
        again = measure_group(group.part(left), settings, backend, readers, stamp_use)
        measured.update(zip(left, again, strict=True))
    return list(map(measured.__getitem__, range(len(group))))


def _try_to_measure(
    group: Group,
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
            return measure_stack(group, settings, backend, readers, stamp_use)
    except MemoryError:
        return None  # outside of this block the error's traceback keeps no arrays alive any more
    except InputError as error:
        # The backend cannot take CCDs of this shape; the other CCDs of the exposures are measured all the same.
        refused = [CcdFailure(ccd.name, error.status, f"CCD {ccd.name}: {error}") for ccd in group.ccds]
        return StackOutcome(dict(enumerate(unmeasured(failure, settings.bins) for failure in refused)), [], [])


def _measure_decoded_by_host(
    group: Group, settings: Settings, backend: Backend, stamp_use: StampUse | None
) -> list[CcdMeasurement]:
    """Measure a CCD that the device could not decode: the host decodes the image, and says what is damaged."""
    (item,), (exposure,) = group.ccds, group.exposures
    if isinstance(item, Ccd):
        raise ValueError(f"CCD {item.name}: images as a file holds them come from files only")
    ccd = item.load()
    if isinstance(ccd, CcdFailure):
        return measure_group(FailedCcd(exposure, ccd), settings, backend, stamp_use=stamp_use)
    # The CCD is sound. Only the host can see that a program changed the pixels and kept the header.
    sums_on_device.no_longer()
    return measure_group(Group([ccd], group.exposures, group.points_ids), settings, backend, stamp_use=stamp_use)
