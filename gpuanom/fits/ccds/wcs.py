"""How the pixel axes of a CCD lie on the sky, from the cards of its celestial WCS."""

from __future__ import annotations

import math
from typing import Any

from gpuanom.fits.headers.hdus import FileHeaders
from gpuanom.fits.headers.kept_answers import once_for_same_cards
from gpuanom.fits.headers.values import Cards, number

_ELEMENTS = ("1_1", "1_2", "2_1", "2_2")


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


def cd_columns(headers: FileHeaders) -> list[list[float]] | None:
    """Return the columns of CD1_1, CD1_2, CD2_1, CD2_2 of a file's images, if all images plainly have these cards."""
    columns = [column for n in _ELEMENTS if (column := headers.numbers(f"CD{n}")) is not None]
    return columns if len(columns) == len(_ELEMENTS) else None


def reference_point(cards: Cards) -> tuple[float, float] | None:
    """Return longitude and latitude of a CCD's reference point in degrees; None where the header has none."""
    values = [number(cards.get(f"CRVAL{axis}")) for axis in (1, 2)]
    if not all(math.isfinite(value) for value in values):
        return None
    if latitude_is_first(cards):
        values.reverse()
    return values[0], values[1]


def _or(value: Any, default: float) -> float:
    return default if value is None else number(value)
