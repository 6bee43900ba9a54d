"""The level at which the pixels of a CCD saturate, from the cards that the camera's rule names."""

from __future__ import annotations

import math

from gpuanom.cameras.rules import CameraRule
from gpuanom.fits.headers.hdus import FileHeaders
from gpuanom.fits.headers.kept_answers import once_for_same_cards
from gpuanom.fits.headers.values import Cards, number


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
