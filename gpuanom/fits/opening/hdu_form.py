"""The size and the image of an extension by its header, found out once for all HDUs whose cards are the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuanom.errors import InputError
from gpuanom.fits.headers.hdus import FileHeaders
from gpuanom.fits.headers.kept_answers import once_for_same_cards
from gpuanom.fits.headers.scanned import CompressedImageHeader, ScannedHeader
from gpuanom.fits.headers.values import card, number
from gpuanom.fits.opening.first_headers import axis_lengths, whole_card

TABLES = ("BINTABLE", "A3DTABLE")
"""XTENSION of the tables that may hold a compressed image."""


@dataclass(frozen=True)
class HduForm:
    """The size and the image of an extension by its header, without PCOUNT, which is another one for each CCD.

    Attributes
    ----------
    pixels : int or None
        Number of elements of the data; None where the HDU has no data.
    group_bytes : int
        The data have so many bytes for each of the elements and of PCOUNT.
    compressed : bool
        Whether the HDU holds a tile-compressed image.
    shape : tuple of int
        (..., ny, nx) of the image; empty where the HDU has no image, or an image without pixels.
    bitpix : float
        BITPIX of the image; NaN where it makes no sense, or where the HDU has no image.
    """

    pixels: int | None
    group_bytes: int
    compressed: bool
    shape: tuple[int, ...]
    bitpix: float = math.nan


@once_for_same_cards
def form_of(header: ScannedHeader) -> HduForm | None:
    """Return the form of an extension; None where a card makes no sense: the caller finds out which.

    Parameters
    ----------
    header : ScannedHeader
        Of an HDU that is not the first one of its file.
    """
    try:
        sizes = axis_lengths(header, Path(), 0)
        bits, groups = (abs(whole_card(header, key, Path(), 0, n)) for key, n in (("BITPIX", 8), ("GCOUNT", 1)))
    except InputError:
        return None
    pixels = 1
    for size in sizes:
        pixels *= size
    kind = card(header, "XTENSION")
    compressed = kind in TABLES and bool(card(header, "ZIMAGE"))
    if not compressed and "ZIMAGE" in header:
        return None
    shape: tuple[int, ...] | None = ()
    bits_of_image = math.nan
    if compressed or kind == "IMAGE":
        image = CompressedImageHeader(header) if compressed else header
        shape, bits_of_image = claimed_shape(image), number(card(image, "BITPIX"))
    if shape is None:
        return None
    return HduForm(pixels if sizes else None, bits // 8 * groups, compressed, shape, bits_of_image)


@once_for_same_cards
def forms_of(headers: FileHeaders) -> list[HduForm | None]:
    """Return what `form_of` returns for each of several headers."""
    return [form_of(header) for header in headers.headers if isinstance(header, ScannedHeader)]


def claimed_shape(header: ScannedHeader | CompressedImageHeader) -> tuple[int, ...] | None:
    """Return the shape (..., ny, nx) that the header of an image claims.

    Parameters
    ----------
    header : ScannedHeader or CompressedImageHeader

    Returns
    -------
    tuple of int, or None
        Empty where there are no pixels; None where the NAXIS cards make no sense.
    """
    count = card(header, "NAXIS")
    sizes = [card(header, f"NAXIS{axis}") for axis in range(1, count + 1)] if _is_count(count, 999) else [None]
    if not all(_is_count(size) for size in sizes):
        return None
    return tuple(int(size) for size in reversed(sizes) if size is not None) if all(sizes) else ()


def _is_count(value: Any, most: int = 2**62) -> bool:
    return type(value) is int and 0 <= value <= most
