"""What a cause in words is about, and which number of the CCDs shows it: what the page opens at.

The cause of a verdict is a text for people ("stripes of 32 px along -81 deg"). The page needs the cause without its
numbers, to filter by; whether the cause is about the sources or the background; and the column of the CCDs that shows
where the cause lies.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from gpuanom.review.opened import Row
from gpuanom.scoring.judged.judged_statistics import EVERY, WIDE_AND_FLAT
from gpuanom.scoring.verdict.cause_words import STREAK


class Trigger(NamedTuple):
    """What the page opens at.

    Attributes
    ----------
    about : str
        ``source`` or ``background``: what a label of this exposure is about at first.
    outline : str
        The column by which CCDs are outlined.
    """

    about: str
    outline: str


TRIGGERS: dict[str, Trigger] = {
    "stripes": Trigger("background", "stripe_power"),
    "stripes or waves": Trigger("background", "stripe_power"),
    "waves": Trigger("background", "stripe_power"),
    "waves or stripes": Trigger("background", "background_z"),
    "waves or stripes of the background": Trigger("background", "background_z"),
    "a slope, waves or stripes": Trigger("background", "background_z"),
    "a slope, waves or stripes of the background": Trigger("background", "background_z"),
    "bright sky": Trigger("background", "sky"),
    "dark sky": Trigger("background", "sky"),
    "glow or bright sky": Trigger("background", "sky"),
    "shadow or dark sky": Trigger("background", "sky"),
    "noise": Trigger("background", "sigma"),
    "dead amplifier": Trigger("background", "sigma"),
    "row jitter": Trigger("background", "row_jitter"),
    "column jitter": Trigger("background", "column_jitter"),
    "amplifier step": Trigger("background", "column_step"),
    "a large bright area": Trigger("background", "masked_share"),
    "ring or ghost, or a bright star": Trigger("background", "masked_patch"),
    "uneven background": Trigger("background", "map_rms"),
    "glow": Trigger("background", "glow"),
    "ring or ghost": Trigger("background", "edge"),
    "crosstalk": Trigger("background", "crosstalk"),
    STREAK: Trigger("source", "streak"),
    "elongated": Trigger("source", "ellipticity"),
    "elongated or trailed": Trigger("source", "ellipticity"),
    "elongated, trailed or repeated": Trigger("source", "source_alignment"),
    "tilted": Trigger("source", "ellipticity"),
    "tilted or coma": Trigger("source", "ellipticity"),
    "repeated images": Trigger("source", "source_alignment"),
    "many sources": Trigger("source", "n_sources"),
    "few sources": Trigger("source", "n_sources"),
    "few stars among the sources": Trigger("source", "n_sources"),
    "sources of an unusual form": Trigger("source", "autoencoder_mse"),
    "like the exposures that were labelled prominent": Trigger("source", "source_alignment"),
    "out of focus": Trigger("source", "fwhm"),
    "out of focus or poor seeing": Trigger("source", "fwhm"),
    "donut or out of focus": Trigger("source", "kurtosis"),
    "out of focus or coma": Trigger("source", "kurtosis"),
    "elongated or doubled": Trigger("source", "kurtosis"),
}
"""What each cause is about, by the cause without its numbers."""

_LONGEST_FIRST = sorted(TRIGGERS, key=len, reverse=True)


def without_numbers(words: str) -> str:
    """Return a cause as the statistics name it, before the numbers and the CCD are filled in.

    Parameters
    ----------
    words : str
        `gpuanom.scoring.judged.judged_statistics.JudgedStatistic.above` or ``below``.
    """
    return re.split(r"\s*\[", words)[0]


def named_causes() -> set[str]:
    """Return every cause that a verdict can name, without numbers."""
    texts = (text for judged in EVERY for text in (judged.above, judged.below) if text)
    return {without_numbers(text) for text in texts} | {STREAK, WIDE_AND_FLAT}


def causes_in(cause: str) -> list[str]:
    """Return the causes that a text names, without their numbers.

    Parameters
    ----------
    cause : str
        The column `cause` of an exposure.

    Returns
    -------
    list of str
        Of the keys of `TRIGGERS`; empty where the text names none, as where it says why there is no verdict.
    """
    found = []
    for part in cause.split("; "):
        stem = next((stem for stem in _LONGEST_FIRST if part == stem or part.startswith(f"{stem} ")), None)
        if stem is not None:
            found.append(stem)
    return found


def trigger(row: Row) -> Trigger | None:
    """Return what an exposure is shown at first; None where no verdict says.

    Parameters
    ----------
    row : mapping
        The row of the exposure.
    """
    found = causes_in(row.get("cause") or "")
    if not found:
        return None
    first = TRIGGERS[found[0]]
    if first.outline == "column_step" and (row.get("row_step") or 0.0) > (row.get("column_step") or 0.0):
        return first._replace(outline="row_step")
    return first
