"""Which CCDs of an exposure are measured together: those of one shape that follow each other, as many as fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, islice

from gpuanom.backends.protocol import Backend
from gpuanom.records import Ccd, CcdFailure, CcdOnDisk
from gpuanom.settings import Settings


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
    ny, nx = size_of(ccd)
    size = f"{smallest} x {smallest}"
    return CcdFailure(ccd.name, "too_small", f"CCD {ccd.name}: {nx} x {ny} pixels hold no stamp of {size}")


def grouped_again(
    group: list[Ccd | CcdOnDisk] | CcdFailure, settings: Settings, backend: Backend
) -> Iterable[list[Ccd | CcdOnDisk] | CcdFailure]:
    """Group one of the `groups` once more, for a device that may have less memory than was known before."""
    if isinstance(group, CcdFailure) or len(group) <= backend.group_size(*size_of(group[0])):
        return [group]
    return groups(group, settings, backend)


def _shape(ccd: Ccd | CcdOnDisk | CcdFailure) -> tuple[int, int] | None:
    """(ny, nx) of a CCD; None of a failure."""
    if isinstance(ccd, CcdOnDisk):
        return ccd.shape
    return None if isinstance(ccd, CcdFailure) else size_of(ccd)


def size_of(ccd: Ccd | CcdOnDisk) -> tuple[int, int]:
    """Return the rows and columns of a CCD, pixels."""
    ny, nx = ccd.shape if isinstance(ccd, CcdOnDisk) else ccd.image.shape
    return ny, nx
