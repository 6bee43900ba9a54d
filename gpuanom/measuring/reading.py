"""The CCDs of a group, read one after the other or several at a time, for the device that measures them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import cast

import numpy as np

from gpuanom import nvtx as ranges
from gpuanom.backends.protocol import Backend
from gpuanom.encoded import BytesOnDisk, RawImage, RiceImage
from gpuanom.fits import CcdsOnDisk
from gpuanom.measuring.groups import size_of
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
    items : list of Ccd or CcdOnDisk
        The items of the group whose CCDs could be read.
    ccds : list of Ccd
        The CCDs of these items without their pixels.
    failures : list of CcdFailure
        The others.
    """

    def __init__(self, backend: Backend, readers: Readers | None) -> None:
        self.backend, self.readers = backend, readers
        self.items: list[Ccd | CcdOnDisk] = []
        self.ccds: list[Ccd] = []
        self.failures: list[CcdFailure] = []
        self._on_disk: dict[int, BytesOnDisk] = {}
        """Where the images lie that the device may read from disk by itself, by their numbers in `items`."""

    def changed_on_disk(self) -> set[int]:
        """Those of `items` whose files were written to before the device had read them; asked afterwards."""
        return {i for i, place in self._on_disk.items() if not place.is_unchanged()}

    def __call__(self, group: Sequence[Ccd | CcdOnDisk]) -> Iterator[Ccd | CcdsTogether]:
        """Yield the CCDs that can be read, in order."""
        n, task = self._several(group)
        starts = range(0, len(group), n)
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
            if isinstance(ccd.image, RawImage | RiceImage) and ccd.image.on_disk is not None:
                self._on_disk[len(self.items)] = ccd.image.on_disk
            self.items.append(item)
            self.ccds.append(changed(ccd, image=NO_PIXELS, bad=None))
            yield ccd
            del ccd

    def _several(
        self, group: Sequence[Ccd | CcdOnDisk]
    ) -> tuple[int, Callable[[int], CcdsTogether | list[Ccd | CcdFailure]]]:
        """How many CCDs are read at a time, and a function that reads so many from one on."""
        n = read_together(len(group)) if self.readers is not None else 1
        if n == 1 or set(map(type, group)) != {CcdOnDisk} or not self.backend.takes_encoded:
            return n, lambda start: [self._read(item) for item in group[start : start + n]]
        together = CcdsOnDisk(cast("Sequence[CcdOnDisk]", group))
        of_read = read_together(len(group), together.most_of_a_read)

        def load(start: int) -> CcdsTogether | list[Ccd | CcdFailure]:
            with ranges.named("read"):
                return together.load(start, min(start + of_read, len(group)), self.backend.room)

        return of_read, load

    def _read(self, item: Ccd | CcdOnDisk) -> Ccd | CcdFailure:
        if isinstance(item, Ccd):
            return item
        with ranges.named("read"):
            if self.backend.takes_encoded:
                return item.load(encoded=True, room=self.backend.room)
            return item.load(out=workspace("image", size_of(item), np.float32))
