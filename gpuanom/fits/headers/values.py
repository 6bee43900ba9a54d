"""The values of header cards: looked up, compared with patterns, and made into numbers, ids and texts for messages.

Headers may hold anything, so every text that becomes an id passes through `clean`.
"""

from __future__ import annotations

import fnmatch
import functools
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gpuanom.errors import printable
from gpuanom.fits.headers.astropy_warnings import ignore_astropy_warnings
from gpuanom.fits.headers.scanned import CompressedImageHeader, ScannedHeader

if TYPE_CHECKING:
    from astropy.io import fits

LONGEST_ID = 80
"""Largest number of characters of an id."""

_NO_NAMES = ("COMPRESSED_IMAGE", "PRIMARY", "IMAGE", "SCI")
_UNSAFE = re.compile(r'[/\\:*?"<>|]')


class Cards:
    """Several headers, of which the first with a card counts; a card that cannot be parsed counts as absent.

    Parameters
    ----------
    *headers : Header or None
        Usually the header of an HDU and the primary header.

    Attributes
    ----------
    headers : tuple of Header
        Those that are not None.
    """

    def __init__(self, *headers: fits.Header | None) -> None:
        self.headers = tuple(h for h in headers if h is not None)
        self.comparable: Any = None  # of gpuanom.fits.headers.kept_answers

    def get(self, keyword: str) -> Any:
        """Return the value of a keyword in the first header where it is not blank; None without any."""
        for header in self.headers:
            value = card(header, keyword)
            if keyword == "EXTNAME" and str(value).upper() in _NO_NAMES:
                continue
            if value is not None and value != "":
                return value
        return None

    def may_have(self, beginning: str) -> bool:
        """Whether a keyword of these headers may begin with these letters; False is certain."""
        tables = (h.table if isinstance(h, CompressedImageHeader) else h for h in self.headers)
        return any(not isinstance(h, ScannedHeader) or h.may_have(beginning) for h in tables)

    def first(self, keywords: Sequence[str]) -> Any:
        """Return the value of the first of several keywords that the headers have; None without any."""
        return next((value for value in map(self.get, keywords) if value is not None), None)

    def told_by(self, keywords: Sequence[str]) -> str:
        """Return the keyword whose value `first` returns; empty where the headers have none of them."""
        return next((keyword for keyword in keywords if self.get(keyword) is not None), "")


def card(header: fits.Header, keyword: str) -> Any:
    """Return the value of a card.

    Parameters
    ----------
    header : Header
    keyword : str

    Returns
    -------
    object
        Texts without leading and trailing blanks. None where the card is absent, has no value or
        cannot be parsed.
    """
    try:
        if isinstance(header, ScannedHeader | CompressedImageHeader):
            value = header.get(keyword)  # it sees to astropy's warnings itself, where it needs astropy
        else:
            with ignore_astropy_warnings():
                value = header.get(keyword)
    except Exception:  # parsing a damaged card may raise anything
        return None
    if isinstance(value, str):
        return value.strip()
    # "Undefined" is astropy's word for a card without a value; astropy may not be imported.
    return None if type(value).__name__ == "Undefined" else value


def clean(value: Any) -> str:
    """Make an id from a header value: printable, without path separators, at most 80 characters; empty for None."""
    text = "" if value is None else _UNSAFE.sub("_", printable(str(value)))
    return " ".join(text.split()).lstrip(". ")[:LONGEST_ID].strip()


def card_text(cards: Cards, keyword: str) -> str:
    """Return a card as messages quote it, such as ``DATE-OBS is '2026-01-01T00:30:00'``."""
    return quoted_card(keyword, cards.get(keyword))


def quoted_card(keyword: str, value: Any) -> str:
    """Return a keyword and its value as messages quote them."""
    return f"{keyword} is '{quoted(value)}'"


def quoted(value: Any) -> str:
    """Return a header value as messages quote it: as the card has it, but printable and at most 80 characters."""
    return " ".join(printable(str(value)).split())[:LONGEST_ID]


def number(value: Any) -> float:
    """Return a header value as a finite float; NaN where the value is no finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return result if math.isfinite(result) else math.nan


def matches(value: Any, patterns: Sequence[str]) -> bool:
    """Whether a header value fits one of several shell patterns; case is ignored.

    Parameters
    ----------
    value : object
        The value; None, for a card that is absent, fits no pattern.
    patterns : sequence of str
    """
    text = "" if value is None else str(value).lower()
    return bool(text) and bool(patterns) and _one_of(tuple(patterns)).fullmatch(text) is not None


@functools.lru_cache(maxsize=256)
def _one_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """Return one regular expression for many patterns: a rule has hundreds, which are tried on each HDU."""
    return re.compile("|".join(fnmatch.translate(pattern.lower()) for pattern in patterns))


@functools.lru_cache(maxsize=64)
def plver(value: Any) -> tuple[tuple[int, ...], str]:
    """Return the numbers and letters of a PLVER card: 'V4.8.2a' is ((4, 8, 2), 'a'); ((), '') where it has none."""
    found = re.search(r"([0-9]{1,6}(?:\.[0-9]{1,6})+|[0-9]{1,6})([a-z]*)", str(value or ""), re.IGNORECASE)
    if not found:
        return (), ""
    return tuple(int(n) for n in found[1].split(".")), found[2].lower()
