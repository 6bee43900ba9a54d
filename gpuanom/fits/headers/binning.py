"""The binning of an image, from the many cards by which cameras tell it."""

from __future__ import annotations

import re
from typing import Any

from gpuanom.fits.headers.values import Cards

_PAIRS = ("CCDSUM", "BINNING", "CCDBIN", "DETBIN")
"""Cards with the binning along both axes: '2 2', '2x2', '2,2', or one number."""
_AXES = (
    ("XBINNING", "YBINNING"),
    ("CCDBIN1", "CCDBIN2"),
    ("CCDXBIN", "CCDYBIN"),
    ("CCDBINX", "CCDBINY"),
    ("BIN-FCT1", "BIN-FCT2"),
    ("BINX", "BINY"),
    ("XBIN", "YBIN"),
    ("DETBIN1", "DETBIN2"),
    ("DETBINX", "DETBINY"),
    ("HBIN", "VBIN"),
    ("HBINNING", "VBINNING"),
    ("COLBIN", "ROWBIN"),
    ("BINAXIS1", "BINAXIS2"),
    ("BINNING1", "BINNING2"),
    ("ESO DET WIN1 BINX", "ESO DET WIN1 BINY"),
)
_NUMBERS = re.compile(r"[\[(]?\s*([0-9]{1,3})(?:\.0*)?\s*(?:[xX*,: ]\s*([0-9]{1,3})(?:\.0*)?\s*)?[\])]?")
_MOST = 64


def binning(cards: Cards) -> tuple[int, int]:
    """Return how many detector pixels make one image pixel along x and y; (1, 1) where no card says otherwise.

    Of several cards the first with a number above 1 counts: cards that were left at 1 in binned
    images are more common than cards that claim a binning wrongly. Numbers that cannot be a
    binning count as absent.
    """
    for keyword in _PAIRS:
        found = _pair(cards.get(keyword))
        if found and found != (1, 1):
            return found
    for along_x, along_y in _AXES:
        if along_x.startswith("ESO ") and not str(cards.get("ORIGIN") or "").upper().startswith("ESO"):
            continue  # looking for these cards would mean parsing the whole header
        x, y = (_pair(cards.get(keyword)) for keyword in (along_x, along_y))
        found = (x or y or (1, 1))[0], (y or x or (1, 1))[0]
        if found != (1, 1):
            return found
    return 1, 1


def binning_label(cards: Cards) -> str:
    """Return the text that is appended to the name of the camera, such as ``bin2x2``; empty without binning."""
    x, y = binning(cards)
    return "" if (x, y) == (1, 1) else f"bin{x}x{y}"


def _pair(value: Any) -> tuple[int, int] | None:
    """Return the two whole numbers of a card's value; a single number counts for both axes."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    found = _NUMBERS.fullmatch(str(value).strip())
    if not found:
        return None
    x = int(found[1])
    y = int(found[2]) if found[2] else x
    return (x, y) if 1 <= x <= _MOST and 1 <= y <= _MOST else None
