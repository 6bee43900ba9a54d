"""The order of the ids of exposures and CCDs: numbers within them count as numbers."""

from __future__ import annotations

import re
from functools import lru_cache

_NUMBER = re.compile(r"(\d+)")


@lru_cache(maxsize=65_536)  # a survey's ids are sorted several times
def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Return the sort key of an exposure's or CCD's id: CCD2 comes before CCD10, and distinct ids never tie."""
    if name.isdecimal():  # most ids are numbers, and a survey has many
        return ((0, 0, ""), (1, int(name), ""), (0, 0, "")), name
    parts = _NUMBER.split(name)
    return tuple((1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts)), name
