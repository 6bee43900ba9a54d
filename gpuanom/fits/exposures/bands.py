"""The band of an exposure: which card names the filter, and which part of the card's value is the band."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from gpuanom.cameras.rules import CameraRule
from gpuanom.fits.headers.values import Cards, clean

BAND_CARDS: tuple[str, ...] = (
    *("FILTER", "BAND", "FILTNAME", "FILTNAM", "FILTERNM", "FLTRNAM", "FILTBAND", "WFFBAND"),
    *("INSFLNAM", "ESO INS FILT NAME", "FILTER01", "FILTERID", "FILTID", "FILT_ID", "IRAFFILT", "PHYSFILT"),
)
"""Keywords of the filter, in the order in which they are tried after those of the camera's rule."""

WHEELS: tuple[tuple[str, ...], ...] = (
    tuple(f"FILTER{n}" for n in range(1, 7)),
    tuple(f"FILTER{letter}" for letter in "ABCD"),
    tuple(f"FILTER{n:02d}" for n in range(1, 7)),
    tuple(f"FILT{n}" for n in range(1, 7)),
    tuple(f"FILTNAM{n}" for n in range(1, 5)),
    tuple(f"FWNAME{n}" for n in range(1, 5)),
    tuple(f"ESO INS FILT{n} NAME" for n in range(1, 7)),
)
"""Filter wheels in one beam, tried last: the wheels that are not open count."""

_OPEN = re.compile(
    r"(?:no[ _-]?filter|no|none|null|nil|clear[0-9]*[a-z]?|open[0-9]*|empty[0-9]*|free|air|blank|hole|out|unfiltered|"
    r"not ?used|nofilt|-+)"
)
_UNKNOWN = re.compile(r"_*(?:unknown|undefined|undef|n[/_]?a|nan|notset|not set|invalid|\?+)_*|#+.*|")
_SEPARATORS = re.compile(r"[,;|+&]")
_NUMBER = re.compile(r"[0-9]+(?:\.0*)?")


class Band(NamedTuple):
    """A band, and the cards that name it.

    Attributes
    ----------
    name : str
        The band as tables show it; empty where no card names a band.
    told_by : str
        The keywords of these cards, joined by ``+``; empty where no card names a band.
    known : bool
        Whether the name is a band. A value such as ``UNKNOWN`` names the dataset, but is no band.
    """

    name: str
    told_by: str
    known: bool


def band_of(rule: CameraRule, cards: Cards) -> Band:
    """Find the band by the keywords of the rule, then by those of other cameras, then by filter wheels.

    A value such as ``NO_FILTER`` or ``CLEAR`` is the band only where no other card names a filter.
    A bare number, which is the position of a wheel, is the band only where no other card has a
    name.

    Parameters
    ----------
    rule : CameraRule
        The camera's rule, which names keywords of the filter.
    cards : Cards
        The headers.
    """
    kept: list[Band] = []
    of_rule = [entry.partition(":")[0] for entry in rule.band]
    for entry in (*rule.band, *(keyword for keyword in BAND_CARDS if keyword not in of_rule)):
        keyword, _, part = entry.partition(":")
        name = _filters(_part(cards.get(keyword), part))
        if not name:
            continue
        band = Band(name, keyword, not _UNKNOWN.fullmatch(name.lower()))
        if band.known and not _OPEN.fullmatch(name.lower()) and not _NUMBER.fullmatch(name):
            return band
        kept.append(band)
    return _by_wheels(cards) or min(kept, key=lambda band: not band.known, default=Band("", "", False))


def _part(value: Any, part: str) -> Any:
    """The part of a card's value that a rule asks for.

    ``word`` is the first word. ``letter`` is the part of the first word before a point: ``i`` of ``i.MP9702``, but
    ``gri`` of ``gri.MP9605`` and ``Ha`` of ``Ha.MP7605``, whose first letters are the names of other bands.
    """
    if value is None or part not in ("word", "letter"):
        return value
    word = str(value).split()[0]
    return (word.partition(".")[0] or word) if part == "letter" else word


def _filters(value: Any) -> str:
    """Return a value as the name of a band; of a list such as ``CLEAR, r`` only the filters that are not open."""
    name = clean(value)
    parts = [part.strip(" '\"()[]{}") for part in _SEPARATORS.split(name)]
    real = [part for part in parts if part and not _OPEN.fullmatch(part.lower())]
    return "+".join(real) if real and len(real) < len([part for part in parts if part]) else name


def _by_wheels(cards: Cards) -> Band | None:
    for wheels in WHEELS:
        found: dict[str, str] = {}
        for keyword in wheels:
            name = _filters(cards.get(keyword))
            usable = not any(pattern.fullmatch(name.lower()) for pattern in (_OPEN, _UNKNOWN, _NUMBER))
            if usable and name not in found:
                found[name] = keyword
        if found:
            return Band(clean("+".join(found)), "+".join(found.values()), True)
    return None
