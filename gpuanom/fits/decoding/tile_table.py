"""The binary table that holds a tile-compressed image: where and how every tile is stored, checked.

Source: FITS standard 4.0, section 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.errors import corrupt
from gpuanom.fits.decoding.encoded_images import damaged_tile
from gpuanom.fits.decoding.table_header import BYTES, TableForm, table_form, whole_number
from gpuanom.fits.decoding.tiles import AstropyOnlyError, Places, Tiles
from gpuanom.fits.headers.scanned import ScannedHeader, whole_numbers

_MOST_SEED = 10000
_OTHER_FORMS = ("GZIP_COMPRESSED_DATA", "UNCOMPRESSED_DATA")
_NUMBERS = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}


def read_table(header: ScannedHeader, shape: tuple[int, int], data: npt.NDArray[np.uint8]) -> Tiles:
    """Read the table of a tile-compressed image (FITS 4.0, section 10.1).

    Parameters
    ----------
    header : ScannedHeader
        Header of the table.
    shape : tuple of int
        (ny, nx) of the image.
    data : ndarray, (n_bytes,) uint8
        The data of the HDU: rows, gap and heap.

    Raises
    ------
    AstropyOnlyError
        When the image has a form that only astropy reads.
    InputError
        Status ``corrupt``: the table contradicts itself, or a tile lies outside of the data.
    """
    form = table_form(header, shape)
    if form.heap > len(data):
        raise corrupt("its heap lies outside its data")
    seed = dither_seed(header, form)
    table = _Table(form, data)
    places = table.places("COMPRESSED_DATA")
    # Most images have a column for tiles in another form, and no such tile.
    gzipped = uncompressed = None
    if not places[1].all():
        gzipped, uncompressed = (table.places(n) if n in form.columns else None for n in _OTHER_FORMS)
    if form.quantised:
        scale, zero = table.numbers("ZSCALE", form.scale), table.numbers("ZZERO", form.zero)
    else:
        scale, zero = same_for_all(form.n_tiles, form.scale), same_for_all(form.n_tiles, form.zero)
    return Tiles(
        form=form,
        shape=shape,
        table=data,
        places=places,
        gzipped=gzipped,
        uncompressed=uncompressed,
        seed=seed,
        scale=np.ascontiguousarray(scale, dtype=np.float64),
        zero=np.ascontiguousarray(zero, dtype=np.float64),
        blank=np.ascontiguousarray(table.numbers("ZBLANK", form.blank), dtype=np.int64),
    )


def dither_seed(header: ScannedHeader, form: TableForm) -> int:
    """Return ZDITHER0, which each CCD has of its own; 1 where nothing is dithered.

    Parameters
    ----------
    header : ScannedHeader
        Of the table.
    form : TableForm
        Of the table.

    Raises
    ------
    InputError
        Status ``corrupt``: the card makes no sense.
    """
    if not form.dither:
        return 1
    seed = whole_number(header, "ZDITHER0", 0)
    if not 1 <= seed <= _MOST_SEED:
        raise corrupt(f"its ZDITHER0 is {seed}, not 1 to {_MOST_SEED}")
    return seed


def dither_seeds(headers: Sequence[ScannedHeader], form: TableForm) -> list[int]:
    """Return what `dither_seed` returns for each of several headers of one layout."""
    if not form.dither:
        return [1] * len(headers)
    seeds = whole_numbers(headers, "ZDITHER0")
    if seeds is not None and min(seeds) >= 1 and max(seeds) <= _MOST_SEED:
        return seeds
    return [dither_seed(header, form) for header in headers]


@lru_cache(maxsize=16, typed=True)
def same_for_all(n: int, number: float) -> npt.NDArray[Any]:
    """Return the same number for each tile, read-only: int64 for a whole number, float64 otherwise.

    Parameters
    ----------
    n : int
        How many tiles.
    number : int or float
    """
    numbers = np.full(n, number)
    numbers.flags.writeable = False
    return numbers


class _Table:
    """The rows of a binary table, one for each tile, and the length of its heap."""

    def __init__(self, form: TableForm, data: npt.NDArray[np.uint8]) -> None:
        self._form = form
        self._n = form.n_tiles
        self._rows = data[: form.width * self._n].reshape(self._n, form.width)
        self._room = len(data) - form.heap

    def numbers(self, name: str, default: float) -> npt.NDArray[Any]:
        """Return a column of numbers, one for each tile; the default for all tiles where there is no such column."""
        column = self._form.columns.get(name)
        if column is None:
            return same_for_all(self._n, default)
        if column.repeat != 1 or column.kind not in _NUMBERS:
            raise AstropyOnlyError(f"a column {name} of an unusual form")
        # One number of each row, wherever it lies: NumPy copies it as it converts it.
        return np.ndarray((self._n,), _NUMBERS[column.kind], self._rows.data, column.offset, (self._form.width,))

    def places(self, name: str) -> Places:
        """Return where a column of descriptors says that the tiles lie in the heap."""
        column = self._form.columns.get(name)
        if column is None:
            raise corrupt(f"its table has no column {name}")
        if column.kind not in "PQ" or column.repeat != 1 or column.element not in "BIJED":
            raise AstropyOnlyError(f"a column {name} of an unusual form")
        if column.element != "B" and name != "UNCOMPRESSED_DATA":
            raise AstropyOnlyError(f"a column {name} that does not hold bytes")
        from gpuanom.fits.decoding.tile_table_loop import read_places

        start, size = np.empty(self._n, dtype=np.int64), np.empty(self._n, dtype=np.int64)
        wrong_tile = read_places(
            self._rows, column.offset, BYTES[column.kind] // 2, BYTES[column.element], self._room, start, size
        )
        if wrong_tile >= 0:
            raise damaged_tile(wrong_tile, self._n, "lies outside the heap")
        return start, size
