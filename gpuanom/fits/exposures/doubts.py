"""What is read from a file's headers in another way than its observer may expect, in lines for people.

Nothing here decides anything: `gpuanom explain` says it of each file, `gpuanom score` and `watch` once a run.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from gpuanom.cameras.rules import AMPLIFIERS, ESO_OUTPUT, SUBARU_CHANNELS, CameraRule
from gpuanom.cameras.user_rules import own_keywords, trims_in_its_own_way
from gpuanom.fits.exposures.calibration_names import word_of_calibration
from gpuanom.fits.headers.values import Cards, card_text, number
from gpuanom.fits.opening.file_names import stem

_ZERO = re.compile(r"[+-]?0+(?:\.0*)?")


class Doubt(NamedTuple):
    """Something about a file that may surprise.

    Attributes
    ----------
    kind : str
        What it is, in words that are the same for many files.
    card : str
        The card of this file and its value; empty where the kind says all.
    """

    kind: str
    card: str = ""

    def __str__(self) -> str:
        return f"{self.card}: {self.kind}" if self.card else self.kind


def missing_keywords(rule: CameraRule, cards: Cards, told_by: str) -> list[Doubt]:
    """Tell of which keywords that a user's camera rule names the headers have none.

    Parameters
    ----------
    rule : CameraRule
        The rule of the file.
    cards : Cards
        The first headers of the file.
    told_by : str
        The keyword that tells the exposure; empty where the name of the file does.

    Returns
    -------
    list of Doubt
        One for each key of the rule of which no keyword is in the headers: a wrong keyword is seldom meant.
    """
    found = []
    for key in ("exposure", "band", "date", "exptime", "ccd", "saturation"):
        of_user = own_keywords(rule, key)
        parts = [entry.partition(":")[0].split("+") for entry in of_user]
        if not of_user or any(cards.get(keyword) is not None for part in parts for keyword in part):
            continue
        names = " or ".join("+".join(part) for part in parts)
        instead = f"; {told_by or 'the name of the file'} tells the exposure" if key == "exposure" else ""
        found.append(Doubt(f"camera rule '{rule.name}': no card {names} for '{key}'{instead}"))
    ways = rule.trim if trims_in_its_own_way(rule) else ()
    keywords = [keyword for way in ways for keyword in way.split("+")]
    by_name = not {AMPLIFIERS, ESO_OUTPUT, SUBARU_CHANNELS} & set(keywords)
    if keywords and by_name and all(cards.get(keyword) is None for keyword in keywords):
        found.append(Doubt(f"camera rule '{rule.name}': no card {' or '.join(ways)} for 'trim'; taken whole"))
    return found


def perhaps_calibration(rule: CameraRule, cards: Cards, path: Path) -> list[Doubt]:
    """Tell what a calibration would have and an exposure of the sky seldom has, of a file that is scored.

    Parameters
    ----------
    rule : CameraRule
        The rule of the file.
    cards : Cards
        The first headers of the file.
    path : Path
        The file, whose name counts where no card tells what the file is.

    Returns
    -------
    list of Doubt
        About an exposure time of 0, and a word of calibrations in the name of the file.
    """
    found = []
    exptime = cards.told_by(rule.exptime)
    if number(cards.get(exptime)) == 0:
        found.append(Doubt("an exposure time of 0 s, as a bias has, but scored as an exposure of the sky",
                           card_text(cards, exptime)))  # fmt: skip
    kinds = (*(keyword for keyword, _ in rule.not_sky), "OBJECT")  # cards that tell what kind of file this is
    if (word := word_of_calibration(stem(path))) and all(cards.get(keyword) is None for keyword in kinds):
        found.append(Doubt("the name of the file has a word of calibrations, and no card tells what the file is: "
                           "scored as an exposure of the sky", f"'{word}'"))  # fmt: skip
    return found


def unread_times(start: str, told_by: str, exptime: str) -> list[Doubt]:
    """Tell which cards of times cannot be read.

    Parameters
    ----------
    start : str
        The card that should tell the start, as messages quote it; empty where there is no such card, or it can be read.
    told_by : str
        The keyword of the card that tells the start instead; empty where none does.
    exptime : str
        The same for the exposure time.
    """
    found = []
    if start:
        otherwise = f"{told_by} tells the start" if told_by else "the start is unknown"
        found.append(Doubt(f"no date of the form YYYY-MM-DDThh:mm:ss, so {otherwise}", start))
    if exptime:
        found.append(Doubt("no number of seconds, so the exposure time is unknown", exptime))
    return found


def number_of_zero(rule: CameraRule, cards: Cards, told_by: str) -> list[Doubt]:
    """Tell of an exposure number of 0, which is no number of an exposure, for surveys that begin to count at 0.

    Parameters
    ----------
    rule : CameraRule
        Its `exposure` lists the keywords of the number.
    cards : Cards
        The first headers of the file.
    told_by : str
        The keyword that tells the exposure; empty where the name of the file does.
    """
    if told_by in rule.exposure:
        return []
    zeros = (k for k in rule.exposure if cards.get(k) is not None and _ZERO.fullmatch(str(cards.get(k))))
    otherwise = told_by or "the name of the file"
    return [
        Doubt(f"0 is taken for no number of an exposure, so {otherwise} tells the exposure", card_text(cards, keyword))
        for keyword in zeros
    ][:1]
