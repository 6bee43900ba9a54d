"""Rice-coded images that follow each other in a file, read by one read and checked by one call of a native loop.

This is the way of an exposure to a GPU as long as nothing is unusual. Otherwise `RiceImagesOfFile.read` returns None,
and the images are read one by one, so that the error names the image. What the headers say is found out for all images
at once, before the first is read: a thread that has copied megabytes has nothing of Python left in its processor's
caches.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gpuanom.encoded import GiveRoom, RiceImages
from gpuanom.errors import InputError
from gpuanom.fits.ccds.pixels import goes_direct, sums_on_device
from gpuanom.fits.decoding.table_header import TableForm, have_same_table, table_form
from gpuanom.fits.decoding.tile_table import dither_seeds, same_for_all
from gpuanom.fits.decoding.tiles import AstropyOnlyError
from gpuanom.fits.headers.hdus import Hdu
from gpuanom.fits.opening.checksum import ones_complement_sum, same_sum
from gpuanom.fits.opening.file import File
from gpuanom.records import Doubles, Integers
from gpuanom.records.attributes import attributes

MOST_BYTES = 2**26
"""Bytes of one read: memory is lent in powers of two, so that long reads would leave much of it unused."""
MOST_BETWEEN = 2**18
"""Bytes between two images, such as a header, that are read and not used."""


class _Kind(NamedTuple):
    """The common properties of plain images that are read together."""

    form: TableForm
    shape: tuple[int, int]


class RiceImagesOfFile:
    """Images of one file, and what their headers say of the tables that hold them.

    Parameters
    ----------
    file : File
    items : sequence of Hdu
        Image HDUs of the file.
    shapes : sequence of (int, int)
        (ny, nx) of each image.
    on_host : bool, optional
        Whether the host decodes the images, so that no device reads them or adds up their bytes.
    """

    def __init__(
        self, file: File, items: Sequence[Hdu], shapes: Sequence[tuple[int, int]], *, on_host: bool = False
    ) -> None:
        self._file, self._items, self._on_host = file, items, on_host
        self._opened = file.open_again()
        begins, self._sizes, are_tables, self._headers = attributes(
            items, "stored.data_start", "stored.data_size", "compressed", "stored.header"
        )
        first = np.array(begins, dtype=np.int64)
        self._places = np.column_stack([first, first + self._sizes])
        between = self._places[1:, 0] - self._places[:-1, 1]
        self._follows = ((between >= 0) & (between <= MOST_BETWEEN)).tolist()
        self._kinds: list[_Kind | None] = [None] * len(items)
        self._seeds = [1] * len(items)
        self._sums: list[int | None] = [None] * len(items)
        self._numbers: dict[int, tuple[Integers, Doubles]] = {}
        if self._opened:
            layouts = map(attrgetter("layout"), self._headers)
            alike = list(zip(are_tables, layouts, shapes, strict=True))
            kinds = set(alike)
            for kind in kinds:
                compressed, _, shape = kind
                if compressed:
                    every = range(len(alike))
                    self._read_headers([i for i in every if alike[i] == kind] if len(kinds) > 1 else every, shape)

    @property
    def most_of_a_read(self) -> int:
        """How many images that follow each other one read may give, at least 1: as many as the largest would fill."""
        return max(1, MOST_BYTES // (int(max(self._sizes)) + MOST_BETWEEN))

    def _read_headers(self, images: Sequence[int], shape: tuple[int, int]) -> None:
        """Keep what the headers of compressed images say, which are of one layout; nothing of an unusual image."""
        headers = [self._headers[i] for i in images]
        smallest = min([self._sizes[i] for i in images])
        seeds: list[int] = []
        if len(images) == 1 or have_same_table(headers):
            with suppress(AstropyOnlyError, InputError):
                form = table_form(headers[0], shape)
                if form.is_plain and smallest >= form.heap:
                    seeds = dither_seeds(headers, form)
        if seeds:
            kind = _Kind(form, shape)
            for i, seed, datasum in zip(images, seeds, self._file.expected_datasums(headers), strict=True):
                self._kinds[i], self._seeds[i], self._sums[i] = kind, seed, datasum
        elif len(images) > 1:
            for i in images:  # some of them may be as usual
                self._read_headers([i], shape)

    def form(self, image: int) -> TableForm | None:
        """Return the form of an image's table; None where anything of the image is unusual."""
        kind = self._kinds[image]
        return None if kind is None else kind.form

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
            What `gpuanom.fits.ccds.pixels.as_stored` returns for each, in one record. None where the images do not
            follow each other, are not of one shape and form, or where anything may be wrong with one of them.
        """
        kinds, places = self._kinds[first:last], self._places[first:last]
        kind, begin, n_bytes = kinds[0], int(places[0, 0]), int(places[-1, 1] - places[0, 0])
        if kind is None or self._opened is None or not 0 < n_bytes <= MOST_BYTES:
            return None
        if kinds.count(kind) < len(kinds) or not all(self._follows[first : last - 1]):
            return None
        form, on_device = kind.form, sums_on_device.wanted and not self._on_host
        if not self._on_host and goes_direct(self._file, self._items[first], on_device):
            return None
        given, (wholes, reals) = room(n_bytes), self._tile_numbers(form)
        start, size, scale, zero = (*wholes[:, first:last], *reals[:, first:last])
        from gpuanom.fits.decoding.images_together_loop import read_sound_images

        where = (form.width, form.heap, *form.places)
        if not read_sound_images(self._opened.number, given.memory, places, *where, start, size, scale, zero):
            return None
        # Looked at after the read, so that a program that writes to the file meanwhile is found out.
        if not self._file.is_same(self._opened):
            return None
        given.memory.flags.writeable = False
        if not on_device and not self._sums_agree(first, last, given.memory):
            return None
        starts, sizes = places[:, 0] - begin, places[:, 1] - places[:, 0]
        sums = self._sums[first:last] if on_device else [None] * len(kinds)
        return RiceImages(
            data=given.memory,
            shape=kind.shape,
            tile=form.tile,
            start=start,
            size=size,
            bytepix=form.bytepix,
            blocksize=form.blocksize,
            quantised=form.quantised,
            dither=form.dither,
            seeds=self._seeds[first:last],
            scale=scale,
            zero=zero,
            blank=same_for_all(form.n_tiles, form.blank),
            lent=given.lent,
            sums=list(zip(starts.tolist(), sizes.tolist(), sums, strict=True)),
        )

    def _tile_numbers(self, form: TableForm) -> tuple[Integers, Doubles]:
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

    def _sums_agree(self, first: int, last: int, memory: npt.NDArray[np.uint8]) -> bool:
        """Whether the data of images add up to their sums."""
        places = (self._places[first:last] - self._places[first, 0]).tolist()
        try:
            for item, (start, end), wanted in zip(self._items[first:last], places, self._sums[first:last], strict=True):
                if wanted is not None and not same_sum(ones_complement_sum(memory[start:end]), wanted):
                    self._file.compare_read(item, memory[start:end])  # the CHECKSUM may explain the difference
        except InputError:
            return False
        return True
