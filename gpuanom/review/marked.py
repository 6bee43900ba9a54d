"""Places that an analyst marked on the CCDs of an exposure, as the column `places` of a file of labels keeps them.

A place is written ``CCD X Y``: X and Y are image coordinates as DS9 shows them (the centre of the first pixel of the
file's image is 1, 1). Places are separated by semicolons. In the name of a CCD, all characters except letters,
digits, ``-``, ``.``, ``_`` and ``~`` are percent-encoded, as in addresses: ``%20`` is a space.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, unquote

MOST = 200
"""The largest number of places that an analyst marks on an exposure."""

_FAR = 1e6
"""No image has so many pixels along a side."""


class Place(NamedTuple):
    """A marked place.

    Attributes
    ----------
    ccd : str
        Name of the CCD.
    x, y : float
        Image coordinates of DS9 in the file, from 1.
    """

    ccd: str
    x: float
    y: float


def from_text(text: str) -> list[Place]:
    """Return the places that a text names.

    Parameters
    ----------
    text : str
        For example ``N4 1023.5 2045; S3 12 40.25``; empty for no place.

    Returns
    -------
    list of Place

    Raises
    ------
    ValueError
        When a part of the text is no place, or there are more than `MOST`.
    """
    parts = [part.split() for part in text.split(";") if part.strip()]
    if len(parts) > MOST:
        raise ValueError(f"{len(parts)} places are marked (at most {MOST})")
    return [_place(part) for part in parts]


def _place(part: list[str]) -> Place:
    comment = " ".join(part)
    try:
        name, *numbers = part
        x, y = (float(number) for number in numbers)
    except ValueError:
        raise ValueError(f"'{comment}' is no place (CCD X Y)") from None
    if not all(math.isfinite(v) and abs(v) < _FAR for v in (x, y)):
        raise ValueError(f"'{comment}' is a place outside of every image")
    return Place(unquote(name), x, y)


def to_text(places: Iterable[Place]) -> str:
    """Return places as the text that `from_text` reads.

    Parameters
    ----------
    places : iterable of Place
        Coordinates are written to a hundredth of a pixel.
    """
    return "; ".join(f"{quote(place.ccd, safe='')} {_number(place.x)} {_number(place.y)}" for place in places)


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
