"""The order of ids: numbers in them count as numbers, so that CCD2 comes before CCD10."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(\d+)")


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key of an exposure's or CCD's id; distinct ids never tie."""
    parts = _NUMBER.split(name)
    return tuple((1, int(part), "") if i % 2 else (0, 0, part) for i, part in enumerate(parts)), name
