"""The binary table that holds a tile-compressed image: where and how every tile is stored, checked.

Source: FITS standard 4.0, section 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gpuanom.errors import InputError
from gpuanom.fits.cards import Scanned
from gpuanom.fits.decode import damaged_tile
from gpuanom.fits.table_form import BYTES, TableForm, table_form, whole_number, wrong
from gpuanom.fits.tiles import RICE, AstropyOnlyError, Places, Tiles
from gpuanom.records import Doubles, Integers

_OTHER_FORMS = ("GZIP_COMPRESSED_DATA", "UNCOMPRESSED_DATA")
_NUMBERS = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}


def read_table(header: Scanned, shape: tuple[int, int], data: npt.NDArray[np.uint8]) -> Tiles:
    """Read the table of a tile-compressed image (FITS 4.0, section 10.1).

    Parameters
    ----------
    header : Scanned
        Header of the table.
    shape : tuple of int
        (ny, nx) of the image.
    data : ndarray, (n_bytes,) uint8
        The data of the HDU: rows, gap and heap.

    Returns
    -------
    Tiles

    Raises
    ------
    AstropyOnlyError
        When the image has a form that only astropy reads.
    InputError
        Status ``corrupt``: the table contradicts itself, or a tile lies outside of the data.
    """
    form = table_form(header, shape)
    if form.heap > len(data):
        raise wrong("its heap lies outside its data")
    seed = _seed(header) if form.dither else 1
    table = _Table(form, data)
    places = table.places("COMPRESSED_DATA")
    # Most images have a column for tiles in another form, and no such tile.
    gzipped = uncompressed = None
    if not places[1].all():
        gzipped, uncompressed = (table.places(n) if n in form.columns else None for n in _OTHER_FORMS)
    if form.quantised:
        scale, zero = table.numbers("ZSCALE", form.scale), table.numbers("ZZERO", form.zero)
    else:
        scale, zero = _constant(form.n_tiles, form.scale), _constant(form.n_tiles, form.zero)
    return Tiles(
        code=form.code,
        table=data,
        heap_start=form.heap,
        shape=shape,
        tile=form.tile,
        bitpix=form.bitpix,
        places=places,
        gzipped=gzipped,
        uncompressed=uncompressed,
        bytepix=form.bytepix,
        blocksize=form.blocksize,
        quantised=form.quantised,
        dither=form.dither,
        seed=seed,
        scale=np.ascontiguousarray(scale, dtype=np.float64),
        zero=np.ascontiguousarray(zero, dtype=np.float64),
        blank=np.ascontiguousarray(table.numbers("ZBLANK", form.blank), dtype=np.int64),
    )


class SoundTables(NamedTuple):
    """The tables of several images of one form, each tile of which is Rice-coded and lies within its heap.

    Attributes
    ----------
    form : TableForm
    seeds : list of int
        ZDITHER0 of each image.
    start, size : ndarray, (n, n_tiles) int64
        First byte of each tile within the data of its HDU, and number of bytes.
    scale, zero : ndarray, (n, n_tiles) float64
    blank : ndarray, (n_tiles,) int64
        The same for each image.
    """

    form: TableForm
    seeds: list[int]
    start: Integers
    size: Integers
    scale: Doubles
    zero: Doubles
    blank: Integers


def sound_tables(
    headers: Sequence[Scanned], shape: tuple[int, int], memory: npt.NDArray[np.uint8], tables: Integers, ends: Integers
) -> SoundTables | None:
    """Read the tables of several images at once, if nothing about them is unusual.

    Parameters
    ----------
    headers : sequence of Scanned
        Of the tables.
    shape : tuple of int
        (ny, nx) of each image.
    memory : ndarray, (n_bytes,) uint8
        What was read of a file.
    tables, ends : ndarray, (n,) int64
        First byte of the data of each HDU in `memory`, and the byte behind the last.

    Returns
    -------
    SoundTables or None
        None where the images are not of one form, or where `read_table` has to say of one of them what is wrong.
    """
    try:
        form = table_form(headers[0], shape)
        if any(table_form(header, shape) is not form for header in headers[1:]):
            return None
        seeds = [_seed(header) if form.dither else 1 for header in headers]
    except (AstropyOnlyError, InputError):
        return None
    columns = form.columns
    places = columns.get("COMPRESSED_DATA")
    if places is None or places.kind not in "PQ" or (places.repeat, places.element) != (1, "B"):
        return None
    reals = [columns.get(name) if form.quantised else None for name in ("ZSCALE", "ZZERO")]
    if any(column is not None and (column.repeat, column.kind) != (1, "D") for column in reals):
        return None
    if form.code not in RICE or "ZBLANK" in columns or (ends - tables < form.heap).any():
        return None
    from gpuanom.fits.descriptors import read_sound_tables

    n = len(headers), form.n_tiles
    start, size = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    scale, zero = (
        np.empty(n) if column is not None else np.full(n, default)
        for column, default in zip(reals, (form.scale, form.zero), strict=True)
    )
    at_scale, at_zero = (-1 if column is None else column.offset for column in reals)
    sound = read_sound_tables(
        memory, tables, ends, form.width, form.heap, places.offset, BYTES[places.kind] // 2, at_scale, at_zero, start,
        size, scale, zero,
    )  # fmt: skip
    blank = np.asarray(_constant(form.n_tiles, form.blank), dtype=np.int64)
    return SoundTables(form, seeds, start, size, scale, zero, blank) if sound else None


def _seed(header: Scanned) -> int:
    """Return ZDITHER0, which each CCD has of its own."""
    seed = whole_number(header, "ZDITHER0", 0)
    if not 1 <= seed <= 10000:
        raise wrong(f"its ZDITHER0 is {seed}, not 1 to 10000")
    return seed


@lru_cache(maxsize=16)
def _constant(n: int, value: float) -> npt.NDArray[Any]:
    """The same number for each tile, read-only."""
    numbers = np.full(n, value)
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
            return _constant(self._n, default)
        if column.repeat != 1 or column.kind not in _NUMBERS:
            raise AstropyOnlyError(f"a column {name} of an unusual form")
        # One number of each row, wherever it lies: NumPy copies it as it converts it.
        return np.ndarray((self._n,), _NUMBERS[column.kind], self._rows.data, column.offset, (self._form.width,))

    def places(self, name: str) -> Places:
        """Return where a column of descriptors says that the tiles lie in the heap."""
        column = self._form.columns.get(name)
        if column is None:
            raise wrong(f"its table has no column {name}")
        if column.kind not in "PQ" or column.repeat != 1 or column.element not in "BIJED":
            raise AstropyOnlyError(f"a column {name} of an unusual form")
        if column.element != "B" and name != "UNCOMPRESSED_DATA":
            raise AstropyOnlyError(f"a column {name} that does not hold bytes")
        from gpuanom.fits.descriptors import read_places

        start, size = np.empty(self._n, dtype=np.int64), np.empty(self._n, dtype=np.int64)
        wrong_tile = read_places(
            self._rows, column.offset, BYTES[column.kind] // 2, BYTES[column.element], self._room, start, size
        )
        if wrong_tile >= 0:
            raise damaged_tile(wrong_tile, self._n, "lies outside the heap")
        return start, size
