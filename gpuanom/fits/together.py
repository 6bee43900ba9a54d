"""Rice-coded images that follow each other in a file, read by one read and checked by one call of a native loop.

This is the way of an exposure to a GPU as long as nothing is unusual. Otherwise `rice_images` returns None, and the
images are read one by one, which says what is wrong with which.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gpuanom.encoded import GiveRoom, RiceImage
from gpuanom.errors import InputError
from gpuanom.fits.mapped import File, Hdu
from gpuanom.fits.pixels import goes_direct, is_decoded_by_gpus, sums_on_device
from gpuanom.fits.tile_table import sound_tables

MOST_BYTES = 2**26
"""Bytes of one read: memory is lent in powers of two, so that long reads would leave much of it unused."""
MOST_BETWEEN = 2**18
"""Bytes between two images, such as a header, that are read and not used."""


def rice_images(file: File, items: Sequence[Hdu], room: GiveRoom) -> list[RiceImage] | None:
    """Read images as a file holds them, for a GPU to decode.

    Parameters
    ----------
    file : File
    items : sequence of Hdu
        Image HDUs of the file.
    room : callable
        Gives the memory that they are read into.

    Returns
    -------
    list of RiceImage, or None
        What `gpuanom.fits.pixels.as_stored` returns for each. None where the images do not follow each other, are not
        of one shape and form, or where anything may be wrong with one of them.
    """
    on_device = sums_on_device.wanted
    units = [item.unit for item in items]
    begin, end = units[0].data, units[-1].end
    if len(items) < 2 or not file.plain or not 0 < end - begin <= MOST_BYTES:
        return None
    if not all(item.compressed and is_decoded_by_gpus(item) for item in items):
        return None
    if not all(0 <= two.data - one.end <= MOST_BETWEEN for one, two in pairwise(units)):
        return None
    try:
        shape = file.image_shape(items[0])
        if any(file.image_shape(item) != shape for item in items) or goes_direct(file, items[0], on_device):
            return None
        given = file.read_part(begin, end, room)
        if given is None:
            return None
        tables, ends = (np.array([at - begin for at in places]) for places in zip(*_places(items), strict=True))
        found = sound_tables([unit.header for unit in units], shape, given.memory, tables, ends)
        if found is None:
            return None
        parts = [given.memory[first:last] for first, last in zip(tables.tolist(), ends.tolist(), strict=True)]
        if not on_device:
            for item, data in zip(items, parts, strict=True):
                file.compare_read(item, data)
        sums = [file.wanted_sum(item) if on_device else None for item in items]
    except InputError:
        return None
    form = found.form
    images = []
    for i, (data, wanted) in enumerate(zip(parts, sums, strict=True)):
        # Where the backend sums the data, it is sent all of them; else the heap alone.
        start = found.start[i] if wanted is None else found.start[i] + form.heap
        images.append(
            RiceImage(
                data=data[form.heap :] if wanted is None else data,
                shape=shape,
                tile=form.tile,
                start=start,
                size=found.size[i],
                bytepix=form.bytepix,
                blocksize=form.blocksize,
                quantised=form.quantised,
                dither=form.dither,
                seed=found.seeds[i],
                scale=found.scale[i],
                zero=found.zero[i],
                blank=found.blank,
                lent=given.lent,
                datasum=wanted,
            )
        )
    return images


def _places(items: Sequence[Hdu]) -> list[tuple[int, int]]:
    """First byte of the data of each HDU, and the byte behind the last."""
    return [(item.unit.data, item.unit.end) for item in items]
