"""The values of header cards, and the saturation level and axes that they give by the camera's rule.

Headers may hold anything, so every text that becomes an id passes through `clean`.
"""

from __future__ import annotations

import fnmatch
import functools
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuanom.cameras.rules import CameraRule
from gpuanom.errors import printable
from gpuanom.fits.headers.astropy_warnings import ignore_astropy_warnings
from gpuanom.fits.headers.kept_answers import once_for_same_cards
from gpuanom.fits.headers.scanned import CompressedImage, Scanned
from gpuanom.records import Turn

if TYPE_CHECKING:
    from astropy.io import fits

    from gpuanom.fits.headers.hdus import FileHeaders

SUFFIXES: tuple[str, ...] = tuple(
    kind + packed for kind in (".fits", ".fit", ".fts") for packed in ("", ".fz", ".gz", ".bz2", ".xz")
)
"""Endings of the names of FITS files, in lower case."""

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
        tables = (h.table if isinstance(h, CompressedImage) else h for h in self.headers)
        return any(not isinstance(h, Scanned) or h.may_have(beginning) for h in tables)

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
        if isinstance(header, Scanned | CompressedImage):
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
    return said(keyword, cards.get(keyword))


def said(keyword: str, value: Any) -> str:
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


def stem(path: Path) -> str:
    """Return a file's name without its FITS ending."""
    lower = path.name.lower()
    ending = max((s for s in SUFFIXES if lower.endswith(s)), key=len, default="")
    return path.name[: len(path.name) - len(ending)]


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


@once_for_same_cards
def saturation(rule: CameraRule, cards: Cards) -> float:
    """Return the level at which pixels saturate.

    Parameters
    ----------
    rule : CameraRule
        Its `saturation` lists the keywords.
    cards : Cards
        The headers of the CCD.

    Returns
    -------
    float
        In the image's unit; NaN when unknown.
    """
    for entry in rule.saturation:
        levels = [number(cards.get(keyword)) for keyword in entry.split("+")]
        known = [level for level in levels if level > 0]
        if known:
            return min(known)
    return math.nan


def saturations(rule: CameraRule, headers: FileHeaders) -> list[float]:
    """Return the level at which the pixels of each image of a file saturate.

    Parameters
    ----------
    rule : CameraRule
    headers : FileHeaders

    Returns
    -------
    list of float
        See `saturation`.
    """
    # The level of a CCD may change with each exposure, so that what was found before is of no use.
    columns = [headers.numbers(keyword) for entry in rule.saturation[:1] for keyword in entry.split("+")]
    known = [column for column in columns if column is not None and min(column) > 0]
    if not known or len(known) < len(columns):
        return _each_saturation(rule, headers)
    return [min(levels) for levels in zip(*known, strict=True)] if len(known) > 1 else known[0]


@once_for_same_cards
def _each_saturation(rule: CameraRule, headers: FileHeaders) -> list[float]:
    return [saturation(rule, cards) for cards in headers.cards()]


@once_for_same_cards
def sky_axes(cards: Cards) -> tuple[float, float, float, float] | None:
    """Return CD1_1, CD1_2, CD2_1, CD2_2 in degrees per pixel; None without a celestial WCS.

    The matrix is that of the CD cards, else PC times CDELT, else CDELT turned by CROTA2 (FITS WCS
    paper II, section 6).
    """
    latitude_first = latitude_is_first(cards)
    if latitude_first is None:
        return None
    names = _ELEMENTS
    if any(cards.get(f"CD{n}") is not None for n in names):
        matrix = [_or(cards.get(f"CD{n}"), 0.0) for n in names]
    else:
        dx, dy = (_or(cards.get(f"CDELT{axis}"), 1.0) for axis in (1, 2))
        if any(cards.get(f"PC{n}") is not None for n in names):
            a, b, c, d = (_or(cards.get(f"PC{n}"), one) for n, one in zip(names, (1.0, 0.0, 0.0, 1.0), strict=True))
            matrix = [dx * a, dx * b, dy * c, dy * d]
        else:
            turned = cards.get("CROTA2")
            angle = math.radians(_or(cards.get("CROTA1") if turned is None else turned, 0.0))
            matrix = [dx * math.cos(angle), -dy * math.sin(angle), dx * math.sin(angle), dy * math.cos(angle)]
    if latitude_first:
        matrix = matrix[2:] + matrix[:2]  # put the longitude first
    c11, c12, c21, c22 = matrix
    determinant = c11 * c22 - c12 * c21
    return (c11, c12, c21, c22) if math.isfinite(determinant) and determinant != 0 else None


def latitude_is_first(cards: Cards) -> bool | None:
    """Return whether the first axis of a celestial WCS is the latitude, not the longitude; None without such a WCS."""
    kinds = [str(cards.get(f"CTYPE{axis}") or "")[:4] for axis in (1, 2)]
    if sorted(kinds) not in (["DEC-", "RA--"], ["GLAT", "GLON"], ["ELAT", "ELON"]):
        return None
    return kinds[0] in ("DEC-", "GLAT", "ELAT")


_ELEMENTS = ("1_1", "1_2", "2_1", "2_2")


def all_cd_cards(headers: FileHeaders) -> list[list[float]] | None:
    """Return the columns of CD1_1, CD1_2, CD2_1, CD2_2 of a file's images, if all images plainly have these cards."""
    columns = [column for n in _ELEMENTS if (column := headers.numbers(f"CD{n}")) is not None]
    return columns if len(columns) == len(_ELEMENTS) else None


def _or(value: Any, default: float) -> float:
    return default if value is None else number(value)


def turn(rule: CameraRule, name: str, matrix: tuple[float, float, float, float] | None) -> Turn:
    """Return how the axes of a CCD are turned to those of the focal plane, by the camera's rule alone.

    Parameters
    ----------
    rule : CameraRule
        Its `quarter_ccds` and `turn`. For the turn ``wcs``, the axes of the focal plane are those
        of a CCD with CD1_2 > 0, CD2_1 < 0 and no diagonal terms.
    name : str
        Name of the CCD.
    matrix : tuple of 4 floats, or None
        CD1_1, CD1_2, CD2_1, CD2_2 of the CCD, degrees per pixel.

    Returns
    -------
    Turn
        For ``wcs``, the nearest combination of quarter turns and reflections.
    """
    if matches(name, rule.quarter_ccds):
        return Turn.QUARTER
    if rule.turn != "wcs" or matrix is None:
        return Turn.NONE
    c11, c12, c21, c22 = matrix
    # Focal-plane axes from CCD axes: the inverse of [[0, 1], [-1, 0]] times CD.
    return nearest_turn(-c21, -c22, c11, c12)


def nearest_turn(m11: float, m12: float, m21: float, m22: float) -> Turn:
    """Return the combination of quarter turns and reflections that is nearest to a matrix."""
    return Turn(number_of_turn(m11, m12, m21, m22))


def number_of_turn(m11: Any, m12: Any, m21: Any, m22: Any) -> Any:
    """Return the number of `nearest_turn`; of several matrices where the elements are arrays."""
    quarter = abs(m12) + abs(m21) > abs(m11) + abs(m22)
    mirrored = m11 * m22 - m12 * m21 < 0
    return quarter + 2 * mirrored
