"""Which cards a header has and where, found once for all headers that have the same names of cards in the same order.

The CCDs of an exposure, and those of the next exposures of the same camera, differ in the values of a few cards. Their
names and places are therefore looked for once, and headers with the same names share one `Layout`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import Any

import numpy as np

WIDTH = 80
"""Bytes of a card."""
NAME = 8
"""Bytes of a card's name."""

_NOT_NAMES = re.compile("[^A-Z0-9_ -]")
_MOST_KEPT = 512  # a camera has a few: with and without astrometry, by the number of HISTORY cards


@dataclass(frozen=True, eq=False)
class Layout:
    """The names of a header's cards; headers with the same names share one, so that `is` compares them.

    Attributes
    ----------
    places : dict of str to int
        First letter of the first card of each name, by the name of 8 letters; up to the END card.
    unusual : bool
        Whether there are names that only astropy understands.
    """

    places: dict[str, int]
    unusual: bool
    parts: dict[Any, Any] = field(default_factory=dict)
    """Kept by `gpuanom.fits.headers.scanned.ScannedHeader.part`: where the cards of some names are."""

    @cached_property
    def lines(self) -> str:
        """The names, each behind a line feed, so that one search tells whether any begins with some letters."""
        return "\n" + "\n".join(self.places)


def layout_of(text: bytes) -> Layout:
    """Return the layout of a header.

    Parameters
    ----------
    text : bytes
        Cards of 80 bytes each.
    """
    if len(text) % WIDTH:
        text = text + b" " * (-len(text) % WIDTH)
    names = np.ndarray((len(text) // WIDTH, NAME), np.uint8, text, 0, (WIDTH, 1))
    return _layout(names.tobytes())


@lru_cache(maxsize=_MOST_KEPT)
def _layout(names: bytes) -> Layout:
    text = as_text(names)
    places: dict[str, int] = {}
    for number, at in enumerate(range(0, len(text), NAME)):
        name = text[at : at + NAME]
        if name not in places:
            places[name] = number * WIDTH
            if name == "END     ":
                break
    # One search in all names at a time: only a name that begins with blanks is looked for one by one.
    unusual = bool(_NOT_NAMES.search("".join(places))) or any(n[0] == " " and n.strip() for n in places)
    return Layout(places, unusual)


def cards_at(places: Iterable[int]) -> itemgetter[Any]:
    """Return a function that takes some cards out of the text of a header; those that follow each other as one piece.

    Parameters
    ----------
    places : iterable of int
        First letter of each card, one or more.
    """
    pieces: list[slice] = []
    for at in sorted(places):
        begin = pieces.pop().start if pieces and pieces[-1].stop == at else at
        pieces.append(slice(begin, at + WIDTH))
    return itemgetter(*pieces)


def as_text(header: bytes) -> str:
    """Return the bytes of a header as text; bytes that are no ASCII become question marks, as in astropy."""
    return header.decode("ascii", errors="replace").replace("\ufffd", "?")
