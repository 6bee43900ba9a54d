"""Headers that are scanned for keywords only: the value of a card is parsed when it is asked for.

Cards other than the plain cards of the FITS standard (HIERARCH, CONTINUE, record-valued,
lower-case or broken cards) are parsed by astropy, so that every value is the one that astropy
gives. Astropy takes a third of a second to import, and is imported for the first such card.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, cast

from gpuanom.fits.headers.astropy_warnings import ignore_astropy_warnings
from gpuanom.fits.headers.card_places import WIDTH as _WIDTH
from gpuanom.fits.headers.card_places import Layout, as_text, layout_of

if TYPE_CHECKING:
    from astropy.io import fits

_END = b"END".ljust(_WIDTH)
_RECORD = re.compile(r"[A-Za-z_][\w.]*: ")
_FLOAT = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[EeDd][+-]?[0-9]+)?"
_TEXT, _WHOLE, _REAL, _WORD = range(1, 5)
_VALUE = re.compile(rf" *(?:'([ -&(-~]*)'|([+-]?[0-9]+)|({_FLOAT})|([TF])) *(?:/.*)?")
"""The value of a card, in the group of its kind, and a comment."""
_PLAIN_NAME = re.compile("[A-Z0-9_-]{1,8}")
_LONG_NAME = re.compile("[A-Z0-9_-]+(?: [A-Z0-9_-]+)*")
_UNVALUED = ("COMMENT ", "HISTORY ", "        ", "HIERARCH", "CONTINUE", "END     ")


def find_end(data: Any, start: int, stop: int) -> int:
    """Find the end of a header.

    Parameters
    ----------
    data : bytes or mmap
        The bytes of a file.
    start : int
        The first byte of the header.
    stop : int
        The byte at which the search ends.

    Returns
    -------
    int
        The byte behind the END card; -1 where there is no END card before `stop`.
    """
    at = start
    while True:
        found: int = data.find(_END, at, stop)
        if found < 0:
            return -1
        if (found - start) % _WIDTH == 0:
            return found + _WIDTH
        at = found + 1


_TEXT_OF = attrgetter("text")
_WHOLE_NUMBERS = re.compile(r"^= +([0-9]{1,10}) *(?:/.*)?$", re.MULTILINE)
_QUOTED_NUMBERS = re.compile(r"^= +'([0-9]{1,10}) *' *(?:/.*)?$", re.MULTILINE)


def whole_numbers(headers: Sequence[ScannedHeader], keyword: str, *, quoted: bool = False) -> list[int] | None:
    """Return the whole number that each of several headers has in a card, if all these cards are plain.

    To ask each header for the value takes twenty times as long.

    Parameters
    ----------
    headers : sequence of ScannedHeader
        Of one layout.
    keyword : str
        One of the standard's plain cards.
    quoted : bool, optional
        Whether the numbers stand between quotation marks, as those of DATASUM.

    Returns
    -------
    list of int, or None
        What `ScannedHeader.get` returns for each, or the number in that text. None where the headers have no such card,
        or where one of the cards may hold anything else than a whole number without a sign.
    """
    found = found_in_all(_QUOTED_NUMBERS if quoted else _WHOLE_NUMBERS, headers, keyword)
    return None if found is None else list(map(int, found))


def found_in_all(value: re.Pattern[str], headers: Sequence[ScannedHeader], keyword: str) -> list[str] | None:
    """Return the text of a card's value in several headers of one layout; None where not all cards have that form."""
    layout = headers[0].layout
    at = layout.places.get(keyword.ljust(8))
    if at is None or layout.unusual or "CONTINUE" in layout.places:
        return None
    behind_the_name = itemgetter(slice(at + 8, at + _WIDTH))
    cards = "\n".join(map(behind_the_name, map(_TEXT_OF, headers)))
    found: list[str] = value.findall(cards)
    return found if len(found) == len(headers) == cards.count("\n") + 1 else None


class ScannedHeader:
    """A header as it is stored; `get`, ``in`` and iteration do the same as for `astropy.io.fits.Header`.

    Parameters
    ----------
    text : bytes or str
        Cards of 80 bytes each, with or without the END card and the padding; as a str where the layout is given.
    layout : Layout, optional
        That of the header, where it is known.

    Attributes
    ----------
    text : str
        The cards.
    unusual : bool
        Whether it has cards whose names only astropy understands.
    layout : Layout
        The names of the cards, shared by all headers that have the same names.
    """

    def __init__(self, text: bytes | str, layout: Layout | None = None) -> None:
        self.text = text if isinstance(text, str) else as_text(text)
        self.layout = layout or layout_of(cast(bytes, text))
        self.unusual, self._places = self.layout.unusual, self.layout.places
        self._values: dict[str, Any] = {}

    @cached_property
    def astropy(self) -> fits.Header:
        """The same header as astropy parses it."""
        from astropy.io import fits

        with ignore_astropy_warnings():
            return fits.Header.fromstring(self.text.encode("ascii"))

    def may_have(self, beginning: str) -> bool:
        """Whether a keyword may begin with these letters; False is certain, and much faster than asking for each."""
        return self.unusual or f"\n{beginning}" in self.layout.lines

    def _lacks(self, keyword: str) -> bool:
        """Whether the header certainly has no card of a name that is long or has blanks: HIERARCH cards have such."""
        if self.unusual or not _LONG_NAME.fullmatch(keyword) or keyword.ljust(8) in self._places:
            return False
        return "HIERARCH" not in self._places or keyword.split()[-1] not in self._capitals

    @cached_property
    def _capitals(self) -> str:
        return self.text.upper()

    def __contains__(self, keyword: str) -> bool:
        if not self.unusual and _is_plain(keyword):
            return keyword.ljust(8) in self._places
        return not self._lacks(keyword) and keyword in self.astropy

    def __iter__(self) -> Iterator[str]:
        return iter(self.astropy)

    def get(self, keyword: str, default: Any = None) -> Any:
        """Return the value of a card.

        Parameters
        ----------
        keyword : str
        default : object, optional
            Returned where the header has no such card.

        Returns
        -------
        object
            As astropy parses the value.

        Raises
        ------
        astropy.io.fits.VerifyError, ValueError
            When the card cannot be parsed.
        """
        # Many rules ask for the same cards, of each of the CCDs of an exposure.
        value = self._values.get(keyword, _UNKNOWN)
        if value is _UNKNOWN:
            value = self._values[keyword] = self._looked_up(keyword)
        return default if value is _ABSENT else value

    def _looked_up(self, keyword: str) -> Any:
        """The value of a card; `_ABSENT` where there is none."""
        if self.unusual or not _is_plain(keyword):
            return _ABSENT if self._lacks(keyword) else self._by_astropy(keyword, _ABSENT)
        at = self._places.get(keyword.ljust(8))
        return _ABSENT if at is None else self._value(at, keyword)

    def __getitem__(self, keyword: str) -> Any:
        if keyword not in self:
            raise KeyError(keyword)
        return self.get(keyword)

    def part(self, names: tuple[str, ...]) -> str:
        """Return the cards of some keywords, one behind the other: another header, of the same values.

        What is worked out from these keywords alone need not be worked out again for a header with the same part.

        Parameters
        ----------
        names : tuple of str
            Keywords of the standard's plain cards, each filled with blanks to 8 letters.

        Returns
        -------
        str
            Cards of 80 letters. All cards, where the header has cards whose names only astropy understands.
        """
        if self.unusual:
            return self.text
        ends = self.layout.parts.get(names)
        if ends is None:
            ends = self.layout.parts[names] = self._ends(names)
        text = self.text
        return "".join([text[at:end] for at, end in ends])

    def _ends(self, names: Sequence[str]) -> list[tuple[int, int]]:
        """First letter, and the letter behind the last, of the cards of some names that the header has."""
        ends = []
        for name in names:
            if (at := self._places.get(name)) is not None:
                end = at + _WIDTH
                while self.text.startswith("CONTINUE", end):
                    end += _WIDTH
                ends.append((at, end))
        return ends

    def _by_astropy(self, keyword: str, default: Any = None) -> Any:
        header = self.astropy
        with ignore_astropy_warnings():
            return header.get(keyword, default)

    def _value(self, at: int, keyword: str) -> Any:
        text = self.text
        if text[at + 8 : at + 10] == "= ":
            found = _VALUE.fullmatch(text, at + 10, min(at + _WIDTH, len(text)))
            kind = found and found.lastindex
            if found and kind == _WHOLE:
                return int(found[_WHOLE])
            if found and kind == _REAL:
                return float(found[_REAL].translate(_EXPONENT))
            if found and kind == _WORD:
                return found[_WORD] == "T"
            if found and not text.startswith("CONTINUE", at + _WIDTH) and not _RECORD.match(found[_TEXT]):
                return found[_TEXT].rstrip()
        return self._by_astropy(keyword)


@cache
def _is_plain(keyword: str) -> bool:
    """Whether a keyword is one of the standard's plain cards; gpuanom asks for a few hundred different ones."""
    return _PLAIN_NAME.fullmatch(keyword) is not None and keyword.ljust(8) not in _UNVALUED


_EXPONENT = str.maketrans("dD", "ee")
_ABSENT, _UNKNOWN = object(), object()

_MOVED = {
    "BITPIX": "ZBITPIX",
    "NAXIS": "ZNAXIS",
    "EXTEND": "ZEXTEND",
    "BLOCKED": "ZBLOCKED",
    "CHECKSUM": "ZHECKSUM",
    "DATASUM": "ZDATASUM",
    "PCOUNT": "ZPCOUNT",
    "GCOUNT": "ZGCOUNT",
    "SIMPLE": "ZSIMPLE",
}
OF_COLUMNS = (
    *("TTYPE", "TFORM", "TUNIT", "TNULL", "TSCAL", "TZERO", "TDISP", "TBCOL", "TDIM"),
    *("TCTYP", "TCUNI", "TCRPX", "TCRVL", "TCDLT", "TRPOS"),
)
"""The keywords that describe a table's columns, without the number of the column: those that astropy knows."""
_OF_THE_TABLE = re.compile(
    rf"(?:TFIELDS|THEAP|(?:{'|'.join(OF_COLUMNS)})[1-9][0-9]*|{'|'.join(_MOVED.values())}|ZTENSION"
    r"|ZIMAGE|ZCMPTYPE|ZMASKCMP|ZQUANTIZ|ZDITHER0|ZBLANK|ZSCALE|ZZERO|(?:ZNAXIS|ZTILE|ZNAME|ZVAL)[1-9][0-9]*)"
)
_AXIS = re.compile("NAXIS[1-9][0-9]*")


class CompressedImageHeader:
    """The header of a tile-compressed image, from the header of the table that holds it (FITS 4.0, section 10.1).

    Parameters
    ----------
    table : ScannedHeader
        The header of the table.
    """

    def __init__(self, table: ScannedHeader) -> None:
        self.table = table

    def __contains__(self, keyword: str) -> bool:
        try:
            return self.get(keyword, _ABSENT) is not _ABSENT
        except Exception:  # the header does have a card that cannot be parsed
            return True

    def __iter__(self) -> Iterator[str]:
        return (keyword for keyword in self.table if keyword in self)

    def __getitem__(self, keyword: str) -> Any:
        value = self.get(keyword, _ABSENT)
        if value is _ABSENT:
            raise KeyError(keyword)
        return value

    def get(self, keyword: str, default: Any = None) -> Any:
        """Return the value of a card of the uncompressed image.

        Parameters
        ----------
        keyword : str
        default : object, optional
            Returned where the image would have no such card.

        Returns
        -------
        object
            As astropy parses the value.

        Raises
        ------
        astropy.io.fits.VerifyError, ValueError
            When the card cannot be parsed.
        """
        table = self.table
        if not is_of_the_table(keyword):
            return table.get(keyword, default)
        if keyword in _MOVED:
            return self._moved(keyword, default)
        if _AXIS.fullmatch(keyword):
            count = table.get("ZNAXIS")
            exists = isinstance(count, int) and int(keyword[5:]) <= count
            return table.get("Z" + keyword, default) if exists else default
        if keyword == "XTENSION":
            return default if "ZSIMPLE" in table else "IMAGE"
        if keyword in ("BSCALE", "BZERO"):
            return table.get(keyword) or default
        if keyword == "BLANK" and keyword not in table:
            return self._blank(default)
        if _OF_THE_TABLE.fullmatch(keyword):
            return default
        value = table.get(keyword, default)
        return default if keyword == "EXTNAME" and value == "COMPRESSED_IMAGE" else value

    def _moved(self, keyword: str, default: Any) -> Any:
        if keyword in ("PCOUNT", "GCOUNT"):
            if "ZSIMPLE" in self.table:
                return default
            default = int(keyword == "GCOUNT")
        return self.table.get(_MOVED[keyword], default)

    def _blank(self, default: Any) -> Any:
        """Return BLANK of an integer image; where only the tiles have blank values, the number that astropy assumes."""
        bitpix = self.table.get("ZBITPIX")
        if not isinstance(bitpix, int) or bitpix <= 0:
            return default
        if "ZBLANK" in self.table:
            return self.table.get("ZBLANK")
        count = self.table.get("TFIELDS")
        columns = range(1, min(count if isinstance(count, int) else 0, MOST_COLUMNS) + 1)
        if any(self.table.get(f"TTYPE{n}") == "ZBLANK" for n in columns):
            return -(1 << (bitpix - 1))
        return default


@cache
def is_of_the_table(keyword: str) -> bool:
    """Return whether the card of an image may differ from that of the table which holds it.

    Parameters
    ----------
    keyword : str
        gpuanom asks for a few hundred different ones.
    """
    if keyword in _MOVED or keyword in ("XTENSION", "BSCALE", "BZERO", "BLANK", "EXTNAME"):
        return True
    return _AXIS.fullmatch(keyword) is not None or _OF_THE_TABLE.fullmatch(keyword) is not None


MOST_COLUMNS = 999
"""Most columns of a table (FITS 4.0, section 7.3.1): a damaged TFIELDS card may claim billions."""
