"""Which CCDs go through the steps together: those of one shape, of one exposure or several, as many as fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, TypeAlias, cast

from gpuanom.backends.protocol import Backend
from gpuanom.records import Ccd, CcdFailure, CcdOnDisk
from gpuanom.settings import Settings

ReadableCcd: TypeAlias = Ccd | CcdOnDisk


class FailedCcd(NamedTuple):
    """A CCD that is not measured, and its exposure.

    Attributes
    ----------
    exposure : int
        Number of the exposure among those that are measured together.
    failure : CcdFailure
    """

    exposure: int
    failure: CcdFailure

    @property
    def exposures(self) -> tuple[int]:
        """The number of its exposure, as a group gives those of its CCDs."""
        return (self.exposure,)


@dataclass(frozen=True, eq=False)
class Group:
    """CCDs of one shape that go through the steps as one stack.

    Attributes
    ----------
    ccds : sequence of Ccd or CcdOnDisk
    exposures : sequence of int
        Number of the exposure of each CCD, among those that are measured together.
    points_ids : sequence of str
        Of each exposure, by its number: the id that decides its random points (`gpuanom.records.Exposure.points_id`).
    """

    ccds: Sequence[ReadableCcd]
    exposures: Sequence[int]
    points_ids: Sequence[str]

    def __len__(self) -> int:
        return len(self.ccds)

    def part(self, chosen: Iterable[int]) -> Group:
        """Return the group of those CCDs that are chosen by their numbers in this group."""
        numbers = list(chosen)
        ccds, exposures = list(map(self.ccds.__getitem__, numbers)), list(map(self.exposures.__getitem__, numbers))
        return Group(ccds, exposures, self.points_ids)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of each CCD, pixels."""
        return self.ccds[0].shape


def groups(
    ccds: Sequence[ReadableCcd | CcdFailure],
    exposures: Sequence[int],
    points_ids: Sequence[str],
    settings: Settings,
    backend: Backend,
) -> list[Group | FailedCcd]:
    """Group CCDs that share a shape and fit the device together.

    Parameters
    ----------
    ccds : sequence of Ccd, CcdOnDisk or CcdFailure
    exposures : sequence of int
        Number of the exposure of each, among those that are measured together.
    points_ids : sequence of str
        Of each exposure, see `Group`.
    settings : Settings
        Of these, the sizes of stamps and patches: smaller CCDs cannot be measured.
    backend : Backend
        Tells how many CCDs of a shape fit the device.

    Returns
    -------
    list of Group or FailedCcd
        Failures come alone, and so do CCDs that are too small to measure, which become failures.
    """
    smallest = max(settings.stamp_size, settings.patch_size)
    shapes = list(map(attrgetter("shape"), ccds))
    found: list[Group | FailedCcd] = []
    for shape, run in groupby(sorted(range(len(ccds)), key=shapes.__getitem__), key=shapes.__getitem__):
        numbers = list(run)
        if min(shape) < smallest:
            found += [FailedCcd(exposures[number], _too_small(ccds[number], smallest)) for number in numbers]
        else:
            of_shape = Group(cast("Sequence[ReadableCcd]", ccds), exposures, points_ids)
            most = backend.group_size(*shape)
            found += [of_shape.part(numbers[start : start + most]) for start in range(0, len(numbers), most)]
    return found


def _too_small(ccd: ReadableCcd | CcdFailure, smallest: int) -> CcdFailure:
    """The failure of a CCD that is too small; what is a failure already stays as it is."""
    if isinstance(ccd, CcdFailure):
        return ccd
    ny, nx = ccd.shape
    size = f"{smallest} x {smallest}"
    return CcdFailure(ccd.name, "too_small", f"CCD {ccd.name}: {nx} x {ny} pixels hold no stamp of {size}")


def grouped_again(group: Group | FailedCcd, backend: Backend) -> Sequence[Group | FailedCcd]:
    """Divide one of the `groups`, for a device that may have less memory than was known before."""
    if isinstance(group, FailedCcd):
        return [group]
    most = backend.group_size(*group.shape)
    if len(group) <= most:
        return [group]
    return [group.part(range(start, min(start + most, len(group)))) for start in range(0, len(group), most)]
