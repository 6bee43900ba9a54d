"""The binary table that holds a tile-compressed image: where and how every tile is stored, checked.

Source: FITS standard 4.0, section 10.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gpuanom.encoded import NO_BLANK
from gpuanom.errors import InputError
from gpuanom.fits.cards import Scanned
from gpuanom.fits.decode import damaged_tile
from gpuanom.fits.headers import card
from gpuanom.fits.tiles import GZIP, RICE, AstropyOnlyError, Places, Tiles
from gpuanom.records import Integers

_DITHERS = {"NO_DITHER": 0, "SUBTRACTIVE_DITHER_1": 1, "SUBTRACTIVE_DITHER_2": 2}
_FORM = re.compile(r"\s*([0-9]{0,9})([LXBIJKAEDCMPQ])([A-Z]?).*")
_BYTES = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
_OTHER_FORMS = ("GZIP_COMPRESSED_DATA", "UNCOMPRESSED_DATA")
_NUMBERS = {"B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8"}


@dataclass(frozen=True)
class _Column:
    offset: int
    repeat: int
    kind: str
    element: str


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
    code = str(card(header, "ZCMPTYPE"))
    if code not in RICE + GZIP:
        raise AstropyOnlyError(f"compressed by {code}")
    if card(header, "ZMASKCMP") is not None:
        raise AstropyOnlyError("a compressed mask of its blank pixels")
    bitpix = card(header, "ZBITPIX")
    if bitpix not in (8, 16, 32, 64, -32, -64):
        raise _wrong("its ZBITPIX card makes no sense")
    tile = _tile_shape(header, shape)
    n = math.prod(-(-whole // part) for whole, part in zip(shape, tile, strict=True))
    table = _Table(header, data, n)
    bscale, bzero = (_real(header, key, default) for key, default in (("BSCALE", 1.0), ("BZERO", 0.0)))
    quantised = bitpix < 0 and (table.has("ZSCALE") or "ZSCALE" in header)
    if bitpix < 0 and (bscale, bzero) != (1.0, 0.0):
        raise AstropyOnlyError("a compressed float image with BSCALE or BZERO")
    if bitpix == 64 and bzero:
        raise AstropyOnlyError("64-bit integers with BZERO")
    if bitpix < 0 and not quantised and code in RICE:
        raise AstropyOnlyError("floats in a code for integers")
    dither, seed = _dither(header) if quantised else (0, 1)
    bytepix, blocksize = _rice_settings(header) if code in RICE else (4, 32)
    if quantised:
        scale, zero = (table.numbers(key, float(_real(header, key, 0.0))) for key in ("ZSCALE", "ZZERO"))
    else:
        scale, zero = np.full(n, bscale), np.full(n, bzero)
    places = table.places("COMPRESSED_DATA")
    # Most images have a column for tiles in another form, and no such tile.
    gzipped = uncompressed = None
    if not places[1].all():
        gzipped, uncompressed = (table.places(n) if table.has(n) else None for n in _OTHER_FORMS)
    return Tiles(
        code=code,
        heap=table.heap,
        shape=shape,
        tile=tile,
        bitpix=bitpix,
        places=places,
        gzipped=gzipped,
        uncompressed=uncompressed,
        bytepix=bytepix,
        blocksize=blocksize,
        quantised=quantised,
        dither=dither,
        seed=seed,
        scale=np.ascontiguousarray(scale, dtype=np.float64),
        zero=np.ascontiguousarray(zero, dtype=np.float64),
        blank=_blanks(header, table),
    )


def _wrong(message: str) -> InputError:
    return InputError(message, remedy="fetch it again", status="corrupt")


def _whole(header: Scanned, keyword: str, default: int) -> int:
    value = card(header, keyword) if keyword in header else default
    if type(value) is not int:
        raise _wrong(f"its {keyword} card is no whole number")
    return value


def _real(header: Scanned, keyword: str, default: float) -> float:
    value = card(header, keyword)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        raise _wrong(f"its {keyword} card is no number")
    return float(value)


def _tile_shape(header: Scanned, shape: tuple[int, int]) -> tuple[int, int]:
    columns, rows = _whole(header, "ZTILE1", shape[1]), _whole(header, "ZTILE2", 1)
    if rows < 1 or columns < 1:
        raise _wrong("its ZTILE cards make no sense")
    return min(rows, shape[0]), min(columns, shape[1])


def _dither(header: Scanned) -> tuple[int, int]:
    how = str(card(header, "ZQUANTIZ") or "NO_DITHER")
    if how not in _DITHERS:
        raise AstropyOnlyError(f"quantised by {how}")
    seed = _whole(header, "ZDITHER0", 1 if how == "NO_DITHER" else 0)
    if _DITHERS[how] and not 1 <= seed <= 10000:
        raise _wrong(f"its ZDITHER0 is {seed}, not 1 to 10000")
    return _DITHERS[how], seed if _DITHERS[how] else 1


def _rice_settings(header: Scanned) -> tuple[int, int]:
    """Return BYTEPIX and BLOCKSIZE."""
    settings = {"BYTEPIX": 4, "BLOCKSIZE": 32}
    for i in range(1, 100):
        name = card(header, f"ZNAME{i}")
        if name is None:
            break
        if name in settings:
            settings[name] = _whole(header, f"ZVAL{i}", settings[name])
    if settings["BYTEPIX"] not in (1, 2, 4):
        raise AstropyOnlyError(f"Rice code of {settings['BYTEPIX']} bytes a pixel")
    if not 1 <= settings["BLOCKSIZE"] <= 2**30:
        raise _wrong("its BLOCKSIZE makes no sense")
    return settings["BYTEPIX"], settings["BLOCKSIZE"]


def _blanks(header: Scanned, table: _Table) -> Integers:
    """Return the integer that means "no value" in each tile: from a column, else from the header."""
    keyword = next((key for key in ("ZBLANK", "BLANK") if card(header, key) is not None), None)
    blank = NO_BLANK if keyword is None else _whole(header, keyword, NO_BLANK)
    if not -(2**63) <= blank < 2**63:
        blank = NO_BLANK
    return np.ascontiguousarray(table.numbers("ZBLANK", blank), dtype=np.int64)


class _Table:
    """The rows of a binary table, one for each tile, and the heap of the table."""

    def __init__(self, header: Scanned, data: npt.NDArray[np.uint8], n: int) -> None:
        width, rows = _whole(header, "NAXIS1", -1), _whole(header, "NAXIS2", -1)
        start = _whole(header, "THEAP", width * rows)
        if width < 1 or rows < n:
            raise _wrong(f"its table has {rows} rows for {n} tiles")
        if not width * rows <= start <= len(data):
            raise _wrong("its heap lies outside its data")
        self._n = n
        self._rows = data[: width * n].reshape(n, width)
        self.heap = data[start:]
        self._columns = _columns(header, width)

    def has(self, name: str) -> bool:
        """Whether the table has a column."""
        return name in self._columns

    def numbers(self, name: str, default: float) -> npt.NDArray[Any]:
        """Return a column of numbers, one for each tile; the default for all tiles where there is no such column."""
        if not self.has(name):
            return np.full(self._n, default)
        column = self._columns[name]
        if column.repeat != 1 or column.kind not in _NUMBERS:
            raise AstropyOnlyError(f"a column {name} of an unusual form")
        # One number of each row, wherever it lies: NumPy copies it as it converts it.
        width = self._rows.shape[1]
        return np.ndarray((self._n,), _NUMBERS[column.kind], self._rows.data, column.offset, (width,))

    def places(self, name: str) -> Places:
        """Return where a column of descriptors says that the tiles lie in the heap."""
        if not self.has(name):
            raise _wrong(f"its table has no column {name}")
        column = self._columns[name]
        if column.kind not in "PQ" or column.repeat != 1 or column.element not in "BIJED":
            raise AstropyOnlyError(f"a column {name} of an unusual form")
        if column.element != "B" and name != "UNCOMPRESSED_DATA":
            raise AstropyOnlyError(f"a column {name} that does not hold bytes")
        from gpuanom.fits.descriptors import read_places

        start, size = np.empty(self._n, dtype=np.int64), np.empty(self._n, dtype=np.int64)
        wrong = read_places(
            self._rows, column.offset, _BYTES[column.kind] // 2, _BYTES[column.element], len(self.heap), start, size
        )
        if wrong >= 0:
            raise damaged_tile(wrong, self._n, "lies outside the heap")
        return start, size


def _columns(header: Scanned, width: int) -> dict[str, _Column]:
    columns: dict[str, _Column] = {}
    offset = 0
    for i in range(1, min(_whole(header, "TFIELDS", 0), 999) + 1):
        found = _FORM.fullmatch(str(card(header, f"TFORM{i}")))
        if not found:
            raise _wrong(f"its TFORM{i} card makes no sense")
        repeat = int(found[1] or 1)
        kind = found[2]
        name = str(card(header, f"TTYPE{i}")).upper()
        if name == "NULL_PIXEL_MASK":
            raise AstropyOnlyError("a compressed mask of its blank pixels")
        columns.setdefault(name, _Column(offset, repeat, kind, found[3]))
        offset += -(-repeat // 8) if kind == "X" else repeat * _BYTES[kind]
    if offset > width:
        raise _wrong("its columns are wider than its rows")
    return columns
