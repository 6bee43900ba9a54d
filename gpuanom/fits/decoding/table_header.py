"""The table of a tile-compressed image by its header, which is parsed once for all CCDs whose cards are the same.

The CCDs of an exposure have headers that differ in a few cards. The cards that describe the table
are taken out of the header as text, and the same text is not parsed twice.

Source: FITS standard 4.0, section 10.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Any

from gpuanom.encoded import NO_BLANK
from gpuanom.errors import corrupt
from gpuanom.fits.decoding.tiles import GZIP, RICE, AstropyOnlyError
from gpuanom.fits.headers.card_places import Layout, cards_at
from gpuanom.fits.headers.scanned import MOST_COLUMNS, ScannedHeader
from gpuanom.fits.headers.values import card

BYTES = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16, "P": 8, "Q": 16}
"""Bytes of an element of a column, by the letter of its TFORM card."""

_DITHERS = {"NO_DITHER": 0, "SUBTRACTIVE_DITHER_1": 1, "SUBTRACTIVE_DITHER_2": 2}
_FORM = re.compile(r"\s*([0-9]{0,9})([LXBIJKAEDCMPQ])([A-Z]?).*")
_LONGEST = re.compile(r"(TFORM[0-9 ]{3}= *'[^'(]*)(\([0-9]*\))")
"""The length of the longest tile in a TFORM card, '1PB(2604)': each CCD has another one, and nobody needs it."""
_WITH_LENGTH = re.compile(r"TFORM[0-9 ]{3}= *'[^'(]*\([0-9]*\) *' *(?:/.*)?")
_MOST_SETTINGS = 99
_MOST_FORMS = 64  # one for each camera and each way of compressing; a night has a few
_CARDS = (
    *("ZCMPTYPE", "ZMASKCMP", "ZBITPIX", "ZTILE1", "ZTILE2", "NAXIS1", "NAXIS2", "THEAP", "TFIELDS", "BSCALE", "BZERO"),
    *("ZSCALE", "ZZERO", "ZQUANTIZ", "ZBLANK", "BLANK"),
)


_DECIDE = frozenset(keyword.ljust(8) for keyword in _CARDS)
_BEGIN = ("TTYPE", "ZNAME", "ZVAL")


@dataclass(frozen=True)
class Column:
    """A column of a table: its first byte in a row, and its TFORM card as repeat count, type, and type of elements."""

    offset: int
    repeat: int
    kind: str
    element: str


@dataclass(frozen=True)
class TableForm:
    """The table of a compressed image by its header, without the data; every number was checked.

    Attributes
    ----------
    code : str
        ZCMPTYPE.
    bitpix : int
        ZBITPIX.
    tile : tuple of int
        (ny, nx) of a whole tile, which is no larger than the image.
    n_tiles, width, heap : int
        Number of tiles, bytes of a row of the table, and first byte of the heap.
    columns : dict of str to Column
        By TTYPE.
    scale, zero : float
        BSCALE and BZERO of integers, ZSCALE and ZZERO of quantised floats whose table has no such columns.
    quantised : bool
        Whether the integers are quantised floats.
    dither : int
        0 (none), 1 or 2 for SUBTRACTIVE_DITHER_1 and _2.
    bytepix, blocksize : int
        BYTEPIX and BLOCKSIZE of the Rice code.
    blank : int
        The integer that means "no value" where the table has no column ZBLANK; `gpuanom.encoded.NO_BLANK` for none.
    """

    code: str
    bitpix: int
    tile: tuple[int, int]
    n_tiles: int
    width: int
    heap: int
    columns: dict[str, Column]
    scale: float
    zero: float
    quantised: bool
    dither: int
    bytepix: int
    blocksize: int
    blank: int

    @cached_property
    def is_plain(self) -> bool:
        """Whether each image of this form can be Rice-coded throughout, with at most a scale and a zero a tile."""
        data = self.columns.get("COMPRESSED_DATA")
        if self.code not in RICE or "ZBLANK" in self.columns or data is None:
            return False
        if data.kind not in "PQ" or (data.repeat, data.element) != (1, "B"):
            return False
        return all(c is None or (c.repeat, c.kind) == (1, "D") for c in self._reals)

    @property
    def _reals(self) -> list[Column | None]:
        """The columns of scales and zero points."""
        return [self.columns.get(name) if self.quantised else None for name in ("ZSCALE", "ZZERO")]

    @cached_property
    def places(self) -> tuple[int, int, int, int]:
        """Of a plain form: first byte of the descriptors in a row, and bytes of their numbers; of scales; of zeros.

        The places of scales and zeros are -1 where there are no such columns.
        """
        data, (scale, zero) = self.columns["COMPRESSED_DATA"], self._reals
        of_scale, of_zero = (-1 if column is None else column.offset for column in (scale, zero))
        return data.offset, BYTES[data.kind] // 2, of_scale, of_zero


def table_form(header: ScannedHeader, shape: tuple[int, int]) -> TableForm:
    """Understand the cards that describe the table of a compressed image (FITS 4.0, section 10.1).

    Parameters
    ----------
    header : ScannedHeader
        Header of the table.
    shape : tuple of int
        (ny, nx) of the image.

    Raises
    ------
    AstropyOnlyError
        When the image has a form that only astropy reads.
    InputError
        Status ``corrupt``: a card makes no sense.
    """
    count = card(header, "TFIELDS")
    n_columns = min(count, MOST_COLUMNS) if type(count) is int else 0
    n_settings = 0
    while n_settings < _MOST_SETTINGS and f"ZNAME{n_settings + 1}" in header:
        n_settings += 1
    text = header.part(_cards(n_columns, n_settings))
    return _parsed_form(_LONGEST.sub(lambda found: found[1] + " " * len(found[2]), text), shape)


def have_same_table(headers: Sequence[ScannedHeader]) -> bool:
    """Whether headers certainly describe tables of the same form, if their images have the same shape.

    To compare the texts of cards takes a tenth of the time that it takes to look up what they mean.

    Parameters
    ----------
    headers : sequence of ScannedHeader
        Headers of tables, of one layout.
    """
    layout = headers[0].layout
    parts = layout.parts.get(have_same_table)
    if parts is None:
        parts = layout.parts[have_same_table] = _cards_about_table(layout)
    others, types = parts
    texts = [header.text for header in headers]
    return others is not None and _all_same(map(others, texts)) and all(_same_type(map(of, texts)) for of in types)


def _cards_about_table(layout: Layout) -> tuple[itemgetter[Any] | None, list[itemgetter[Any]]]:
    """The cards that describe a table: all but those of the columns' types, and each of the latter."""
    others = [at for name, at in layout.places.items() if name in _DECIDE or name.startswith(_BEGIN)]
    types = [cards_at([at]) for name, at in layout.places.items() if name.startswith("TFORM")]
    known = others and not layout.unusual and "CONTINUE" not in layout.places
    return cards_at(others) if known else None, types


def _all_same(items: Iterable[Any]) -> bool:
    items = list(items)
    return items.count(items[0]) == len(items)


def _same_type(cards: Iterable[str]) -> bool:
    """Whether TFORM cards differ at most in the length of the longest tile."""
    different = set(cards)
    if len(different) == 1:
        return True
    return all(map(_WITH_LENGTH.fullmatch, different)) and _all_same([card.partition("(")[0] for card in different])


@lru_cache(maxsize=_MOST_FORMS)
def _cards(n_columns: int, n_settings: int) -> tuple[str, ...]:
    """The keywords of all cards that describe a table of so many columns and settings of its code."""
    of_columns = (f"{name}{i}" for name in ("TTYPE", "TFORM") for i in range(1, n_columns + 1))
    of_settings = (f"{name}{i}" for name in ("ZNAME", "ZVAL") for i in range(1, n_settings + 1))
    return tuple(keyword.ljust(8) for keyword in (*_CARDS, *of_columns, *of_settings))


@lru_cache(maxsize=_MOST_FORMS)
def _parsed_form(cards: str, shape: tuple[int, int]) -> TableForm:
    header = ScannedHeader(cards.encode())
    code = str(card(header, "ZCMPTYPE"))
    if code not in RICE + GZIP:
        raise AstropyOnlyError(f"compressed by {code}")
    if card(header, "ZMASKCMP") is not None:
        raise AstropyOnlyError("a compressed mask of its blank pixels")
    bitpix = card(header, "ZBITPIX")
    if bitpix not in (8, 16, 32, 64, -32, -64):
        raise corrupt("its ZBITPIX card makes no sense")
    tile = _tile_shape(header, shape)
    n_tiles = math.prod(-(-whole // part) for whole, part in zip(shape, tile, strict=True))
    width, rows = whole_number(header, "NAXIS1", -1), whole_number(header, "NAXIS2", -1)
    if width < 1 or rows < n_tiles:
        raise corrupt(f"its table has {rows} rows for {n_tiles} tiles")
    heap = whole_number(header, "THEAP", width * rows)
    if heap < width * rows:
        raise corrupt("its heap lies outside its data")
    columns = _columns(header, width)
    scale, zero = (_real(header, key, default) for key, default in (("BSCALE", 1.0), ("BZERO", 0.0)))
    quantised = bitpix < 0 and ("ZSCALE" in columns or "ZSCALE" in header)
    if bitpix < 0 and (scale, zero) != (1.0, 0.0):
        raise AstropyOnlyError("a compressed float image with BSCALE or BZERO")
    if bitpix == 64 and zero:
        raise AstropyOnlyError("64-bit integers with BZERO")
    if bitpix < 0 and not quantised and code in RICE:
        raise AstropyOnlyError("floats in a code for integers")
    if quantised:
        scale, zero = (_real(header, key, 0.0) for key in ("ZSCALE", "ZZERO"))
    bytepix, blocksize = _rice_settings(header) if code in RICE else (4, 32)
    return TableForm(
        code=code,
        bitpix=bitpix,
        tile=tile,
        n_tiles=n_tiles,
        width=width,
        heap=heap,
        columns=columns,
        scale=scale,
        zero=zero,
        quantised=quantised,
        dither=_dither(header) if quantised else 0,
        bytepix=bytepix,
        blocksize=blocksize,
        blank=_blank(header),
    )


def whole_number(header: ScannedHeader, keyword: str, default: int) -> int:
    """Return the whole number of a card, or the default where the header has no such card.

    Raises
    ------
    InputError
        Status ``corrupt``: the card holds something else.
    """
    value = card(header, keyword) if keyword in header else default
    if type(value) is not int:
        raise corrupt(f"its {keyword} card is no whole number")
    return value


def _real(header: ScannedHeader, keyword: str, default: float) -> float:
    value = card(header, keyword)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        raise corrupt(f"its {keyword} card is no number")
    return float(value)


def _tile_shape(header: ScannedHeader, shape: tuple[int, int]) -> tuple[int, int]:
    columns, rows = whole_number(header, "ZTILE1", shape[1]), whole_number(header, "ZTILE2", 1)
    if rows < 1 or columns < 1:
        raise corrupt("its ZTILE cards make no sense")
    return min(rows, shape[0]), min(columns, shape[1])


def _dither(header: ScannedHeader) -> int:
    how = str(card(header, "ZQUANTIZ") or "NO_DITHER")
    if how not in _DITHERS:
        raise AstropyOnlyError(f"quantised by {how}")
    return _DITHERS[how]


def _rice_settings(header: ScannedHeader) -> tuple[int, int]:
    """Return BYTEPIX and BLOCKSIZE."""
    settings = {"BYTEPIX": 4, "BLOCKSIZE": 32}
    for i in range(1, _MOST_SETTINGS + 1):
        name = card(header, f"ZNAME{i}")
        if name is None:
            break
        if name in settings:
            settings[name] = whole_number(header, f"ZVAL{i}", settings[name])
    if settings["BYTEPIX"] not in (1, 2, 4):
        raise AstropyOnlyError(f"Rice code of {settings['BYTEPIX']} bytes a pixel")
    if not 1 <= settings["BLOCKSIZE"] <= 2**30:
        raise corrupt("its BLOCKSIZE makes no sense")
    return settings["BYTEPIX"], settings["BLOCKSIZE"]


def _blank(header: ScannedHeader) -> int:
    keyword = next((key for key in ("ZBLANK", "BLANK") if card(header, key) is not None), None)
    value = None if keyword is None else card(header, keyword)
    if value is None:
        return NO_BLANK
    blank = whole_blank(value)
    if blank == NO_BLANK and type(value) is not int:
        raise corrupt(f"its {keyword} card is no whole number")
    return blank


def whole_blank(value: Any) -> int:
    """Return BLANK or ZBLANK as a whole number, also where some program wrote -32768.0.

    Parameters
    ----------
    value : object
        The value of the card; None without one.

    Returns
    -------
    int
        `gpuanom.encoded.NO_BLANK` for what is no whole number of 64 bits: no pixel has such a value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value % 1:
        return NO_BLANK
    return int(value) if -(2**63) <= value < 2**63 else NO_BLANK


def _columns(header: ScannedHeader, width: int) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    offset = 0
    for i in range(1, min(whole_number(header, "TFIELDS", 0), MOST_COLUMNS) + 1):
        found = _FORM.fullmatch(str(card(header, f"TFORM{i}")))
        if not found:
            raise corrupt(f"its TFORM{i} card makes no sense")
        repeat = int(found[1] or 1)
        kind = found[2]
        name = str(card(header, f"TTYPE{i}")).upper()
        if name == "NULL_PIXEL_MASK":
            raise AstropyOnlyError("a compressed mask of its blank pixels")
        columns.setdefault(name, Column(offset, repeat, kind, found[3]))
        offset += -(-repeat // 8) if kind == "X" else repeat * BYTES[kind]
    if offset > width:
        raise corrupt("its columns are wider than its rows")
    return columns
