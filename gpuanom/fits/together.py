"""Rice-coded images that follow each other in a file, read by one read and checked by one call of a native loop.

This is the way of an exposure to a GPU as long as nothing is unusual. Otherwise `RiceFile.read` returns None, and the
images are read one by one, which says what is wrong with which. What the headers say is found out for all images at
once, before the first is read: a thread that has copied megabytes has nothing of Python left in its processor's caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gpuanom.encoded import GiveRoom, RiceImages
from gpuanom.errors import InputError
from gpuanom.fits.mapped import File, Hdu
from gpuanom.fits.pixels import goes_direct, sums_on_device
from gpuanom.fits.table_form import TableForm, about_table, table_form
from gpuanom.fits.tile_table import dither_seed, same_for_all
from gpuanom.fits.tiles import AstropyOnlyError
from gpuanom.records import Doubles, Integers

MOST_BYTES = 2**26
"""Bytes of one read: memory is lent in powers of two, so that long reads would leave much of it unused."""
MOST_BETWEEN = 2**18
"""Bytes between two images, such as a header, that are read and not used."""


class RiceFile:
    """Images of one file, and what their headers say of the tables that hold them.

    Parameters
    ----------
    file : File
    items : sequence of Hdu
        Image HDUs of the file.
    """

    def __init__(self, file: File, items: Sequence[Hdu]) -> None:
        self._file, self._items = file, items
        self._opened = file.opened()
        self._places = np.array([(item.unit.data, item.unit.end) for item in items], dtype=np.int64)
        self._abouts: list[_About | None] = [None] * len(items)
        self._numbers: dict[int, tuple[Integers, Doubles]] = {}
        about: _About | None = None
        for i, item in enumerate(items if self._opened else ()):
            about = self._abouts[i] = self._about(item, about)

    def _about(self, item: Hdu, last: _About | None) -> _About | None:
        """What the headers say of an image; `last` is what those of the image before say. None for an unusual one."""
        if not item.compressed:
            return None
        header = item.unit.header
        try:
            shape, table = self._file.image_shape(item), about_table(header)
            alike = last is not None and table is not None and (last.shape, last.table) == (shape, table)
            form = last.form if last is not None and alike else table_form(header, shape)
            seed, datasum = dither_seed(header, form), self._file.wanted_sum(item)
        except (AstropyOnlyError, InputError):
            return None
        sound = form.is_plain and item.unit.size >= form.heap
        return _About(table, shape, form, seed, datasum) if sound else None

    def read(self, first: int, last: int, room: GiveRoom) -> RiceImages | None:
        """Read images as the file holds them, for a GPU to decode.

        Parameters
        ----------
        first, last : int
            The first image, and the one behind the last.
        room : callable
            Gives the memory that they are read into.

        Returns
        -------
        RiceImages or None
            What `gpuanom.fits.pixels.as_stored` returns for each, in one record. None where the images do not follow
            each other, are not of one shape and form, or where anything may be wrong with one of them.
        """
        abouts, units = self._abouts[first:last], [item.unit for item in self._items[first:last]]
        about, begin, n_bytes = abouts[0], units[0].data, units[-1].end - units[0].data
        if about is None or self._opened is None or not 0 < n_bytes <= MOST_BYTES:
            return None
        form, shape, on_device = about.form, about.shape, sums_on_device.wanted
        if any(a is None or a.form is not form or a.shape != shape for a in abouts):
            return None
        if not all(0 <= two.data - one.end <= MOST_BETWEEN for one, two in pairwise(units)):
            return None
        if goes_direct(self._file, self._items[first], on_device):
            return None
        given, (wholes, reals) = room(n_bytes), self._tiles(form)
        start, size, scale, zero = (*wholes[:, first:last], *reals[:, first:last])
        from gpuanom.fits.sound_images import read_sound_images

        places = self._places[first:last]
        where = (form.width, form.heap, *form.places)
        if not read_sound_images(self._opened.number, given.memory, places, *where, start, size, scale, zero):
            return None
        # Looked at after the read, so that a program that writes to the file meanwhile is found out.
        if not self._file.is_same(self._opened):
            return None
        given.memory.flags.writeable = False
        if not on_device and not self._agree(first, last, given.memory):
            return None
        return RiceImages(
            data=given.memory,
            shape=shape,
            tile=form.tile,
            start=start,
            size=size,
            bytepix=form.bytepix,
            blocksize=form.blocksize,
            quantised=form.quantised,
            dither=form.dither,
            seeds=[a.seed for a in abouts if a],
            scale=scale,
            zero=zero,
            blank=same_for_all(form.n_tiles, form.blank),
            lent=given.lent,
            sums=[
                (u.data - begin, u.size, a.datasum if on_device else None)
                for u, a in zip(units, abouts, strict=True)
                if a
            ],
        )

    def _tiles(self, form: TableForm) -> tuple[Integers, Doubles]:
        """Memory for the numbers of all images' tiles, (2, n, n_tiles) each: starts and sizes, scales and zeros."""
        found = self._numbers.get(id(form))
        if found is None:
            shape = 2, len(self._items), form.n_tiles
            found = np.empty(shape, np.int64), np.empty(shape)
            for numbers, place, number in zip(found[1], form.places[2:], (form.scale, form.zero), strict=True):
                if place < 0:  # the table has no such column
                    numbers[:] = number
            found = self._numbers.setdefault(id(form), found)
        return found

    def _agree(self, first: int, last: int, memory: npt.NDArray[np.uint8]) -> bool:
        """Whether the data of images add up to their sums."""
        begin = self._items[first].unit.data
        try:
            for item in self._items[first:last]:
                self._file.compare_read(item, memory[item.unit.data - begin : item.unit.end - begin])
        except InputError:
            return False
        return True


class _About(NamedTuple):
    """What the headers say of a plain image."""

    table: tuple[Any, ...] | None
    shape: tuple[int, int]
    form: TableForm
    seed: int
    datasum: int | None
