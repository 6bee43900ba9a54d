"""The CCDs of a group, read one by one or several at a time, for the device that measures them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import TypeAlias, cast

import numpy as np

from gpuanom import nvtx as ranges
from gpuanom.backends.protocol import Backend
from gpuanom.encoded import BytesOnDisk, RawImage, RiceImage
from gpuanom.fits import CcdsOnDisk
from gpuanom.measuring.groups import Group
from gpuanom.measuring.readahead import Readers, read_together
from gpuanom.records import NO_PIXELS, Ccd, CcdFailure, CcdOnDisk, CcdsTogether
from gpuanom.set_at_once import changed
from gpuanom.workspace import workspace


class GroupReading:
    """The CCDs of a group as they come from disk.

    Parameters
    ----------
    backend : Backend
        Which takes images as a file holds them, or decoded ones.
    readers : Readers or None
        Threads that read ahead; None: each CCD is read when its turn comes.

    Attributes
    ----------
    read : list of int
        The CCDs of the group that could be read, by their numbers in the group.
    ccds : list of Ccd
        These CCDs without their pixels.
    failures : dict of int to CcdFailure
        The others, by their numbers in the group.
    """

    def __init__(self, backend: Backend, readers: Readers | None) -> None:
        self.backend, self.readers = backend, readers
        self.read: list[int] = []
        self.ccds: list[Ccd] = []
        self.failures: dict[int, CcdFailure] = {}
        self._on_disk: dict[int, BytesOnDisk] = {}
        """Where the images lie that the device may read from disk by itself, by their places in `read`."""

    def changed_on_disk(self) -> set[int]:
        """Return which of `read`, by place, are of files that were written to before the device had read them."""
        return {i for i, place in self._on_disk.items() if not place.is_unchanged()}

    def __call__(self, group: Group) -> Iterator[Ccd | CcdsTogether]:
        """Yield the CCDs that can be read, in order."""
        tasks = self._tasks(group)
        found: Iterable[_Found] = map(_run, tasks)
        if self.readers is not None and len(group) > 1:
            found = self.readers.ahead(_run, tasks)
        number = 0
        for of_task in found:
            while of_task:
                item = of_task.pop(0)
                number += self._note(number, item)
                if not isinstance(item, CcdFailure):
                    yield item
                del item  # nothing here knows a CCD any more when the device has it

    def _note(self, number: int, item: CcdsTogether | Ccd | CcdFailure) -> int:
        """Note what was read, from that number in the group on; return how many CCDs of the group it is."""
        if isinstance(item, CcdFailure):
            self.failures[number] = item
            return 1
        if isinstance(item, CcdsTogether):
            self.read += range(number, number + len(item.ccds))
            self.ccds += [changed(ccd, bad=None) if ccd.bad is not None else ccd for ccd in item.ccds]
            return len(item.ccds)
        if isinstance(item.image, RawImage | RiceImage) and item.image.on_disk is not None:
            self._on_disk[len(self.read)] = item.image.on_disk
        self.read.append(number)
        self.ccds.append(changed(item, image=NO_PIXELS, bad=None))
        return 1

    def _tasks(self, group: Group) -> list[list[_Read]]:
        """What is read before it is handed over: one CCD or several, of one exposure or of several small ones."""
        n_together = read_together(len(group)) if self.readers is not None else 1
        if n_together == 1 or set(map(type, group.ccds)) != {CcdOnDisk} or not self.backend.takes_encoded:
            one_by_one: list[_Read] = [partial(self._one, ccd) for ccd in group.ccds]
            return [one_by_one[start : start + n_together] for start in range(0, len(group), n_together)]
        tasks: list[list[_Read]] = []
        n_of_task = n_together  # the first read begins a task
        for _, numbers in groupby(range(len(group)), key=group.exposures.__getitem__):
            of_exposure = list(map(group.ccds.__getitem__, numbers))
            ccds, n_ccd = CcdsOnDisk(cast("list[CcdOnDisk]", of_exposure)), len(of_exposure)
            most = read_together(len(group), ccds.most_of_a_read)
            n_reads = -(-n_ccd // most)
            n = -(-n_ccd // n_reads)
            for start in range(0, n_ccd, n):
                end = min(start + n, n_ccd)
                if n_of_task + end - start > most:
                    tasks.append([])
                    n_of_task = 0
                tasks[-1].append(partial(self._several, ccds, start, end))
                n_of_task += end - start
        return tasks

    def _several(self, ccds: CcdsOnDisk, first: int, last: int) -> _Found:
        with ranges.named("read"):
            found = ccds.load(first, last, self.backend.room)
        return [found] if isinstance(found, CcdsTogether) else [*found]

    def _one(self, item: Ccd | CcdOnDisk) -> _Found:
        if isinstance(item, Ccd):
            return [item]
        with ranges.named("read"):
            if self.backend.takes_encoded:
                return [item.load(encoded=True, room=self.backend.room)]
            return [item.load(out=workspace("image", item.shape, np.float32))]


_Found: TypeAlias = "list[CcdsTogether | Ccd | CcdFailure]"
"""CCDs as they come from disk, in the order of the group."""

_Read: TypeAlias = Callable[[], _Found]
"""Reads one CCD, or several that follow each other."""


def _run(task: Sequence[_Read]) -> _Found:
    """Do what a thread does before it hands over CCDs."""
    return [ccd for read in task for ccd in read()]
