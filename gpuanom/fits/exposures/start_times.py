"""The start of an exposure and its exposure time, from cards that programs write in many forms."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from gpuanom.cameras.rules import CameraRule
from gpuanom.fits.headers.values import LONGEST_ID, Cards, card_text, number

_TIMES = ("UTC-OBS", "UT", "TIME-OBS", "UTSTART")
_MJD = ("MJD-OBS", "MJD")
"""Cards of the modified Julian date, which are read where no other card has a date that can be read."""
_LEAST_MJD, _MOST_MJD = 30_000.0, 100_000.0  # the years 1941 to 2132
_DAY_ZERO = datetime(1858, 11, 17)

_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2}):([0-9.]+)")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]*)?)?)?")
_OTHER_DAY = re.compile(
    r"(?:(?P<day>[0-9]{2})/(?P<month>[0-9]{2})/(?P<short>[0-9]{2})|"
    r"(?P<year>[0-9]{4})[/.](?P<month2>[0-9]{2})[/.](?P<day2>[0-9]{2}))(?=[T ]|$)"
)
_ZONE = re.compile(r"(?<=[0-9])\s*(?:Z|UTC?|([+-])([0-9]{2}):?([0-9]{2}))$")
_LEAP = re.compile(r"(?<=T[0-9]{2}:[0-9]{2}:)60")
_SECONDS = re.compile(r"([-+0-9.eE]+)\s*s(?:ec(?:onds?|s)?)?\.?", re.IGNORECASE)


class Start(NamedTuple):
    """When an exposure began.

    Attributes
    ----------
    date : str
        In the form YYYY-MM-DDThh:mm:ss of UTC, or the day alone; empty where no card tells.
    told_by : str
        The keyword of the card.
    unreadable : str
        A card that should tell the start and cannot be read, with its value; empty where all can be read.
    """

    date: str
    told_by: str
    unreadable: str


def find_start(rule: CameraRule, cards: Cards) -> Start:
    """Find the start of an exposure.

    Parameters
    ----------
    rule : CameraRule
        Its `date` lists the keywords.
    cards : Cards
        The headers.

    Returns
    -------
    Start
        By the modified Julian date (MJD-OBS, MJD) where the keywords of the rule tell nothing.
    """
    unreadable = ""
    for keyword in rule.date:
        value = cards.get(keyword)
        if value is None:
            continue
        if date := _from_mjd(value) if "MJD" in keyword else _iso(value, cards):
            return Start(date, keyword, unreadable)
        unreadable = unreadable or card_text(cards, keyword)
    for keyword in _MJD:
        if date := _from_mjd(cards.get(keyword)):
            return Start(date, keyword, unreadable)
    return Start("", "", unreadable)


def _iso(value: Any, cards: Cards) -> str:
    """Return the date of a card in one form; empty where the card cannot be read."""
    if not isinstance(value, str):
        return ""
    text = _with_usual_day(value.strip())
    zone = _ZONE.search(text) if ":" in text else None
    text = text[: zone.start()] if zone else text
    text = re.sub(r"^([0-9-]{10})\s+(?=[0-9])", r"\1T", text)
    text = re.sub(r"^([0-9-]{10}T)(?=[0-9]:)", r"\g<1>0", text)
    time = cards.first(_TIMES)
    if "T" not in text and isinstance(time, str) and (clock := _CLOCK.fullmatch(time)):
        whole, point, rest = clock[3].partition(".")
        text = f"{text}T{clock[1].zfill(2)}:{clock[2]}:{whole.zfill(2)}{point}{rest}"
    if not _ISO.fullmatch(text):
        return ""
    try:
        # Python does not know leap seconds.
        whole = _LEAP.sub("59", re.sub(r"\.([0-9]{0,6})[0-9]*$", lambda f: f".{f[1]:0<6}", text))
        date = datetime.fromisoformat(whole)
    except ValueError:
        return ""
    if zone is None or zone[1] is None:
        return text[:LONGEST_ID].removesuffix(".")
    ahead = timedelta(hours=int(zone[2]), minutes=int(zone[3]))
    try:
        return _written(date - ahead if zone[1] == "+" else date + ahead)
    except OverflowError:  # before the year 1, or after 9999
        return ""


def _with_usual_day(text: str) -> str:
    """Return a text with its day as YYYY-MM-DD; DD/MM/YY is a day before 2000 (FITS 4.0, section 4.4.2.1)."""
    found = _OTHER_DAY.match(text)
    if found is None:
        return text
    if found["short"]:
        day = f"19{found['short']}-{found['month']}-{found['day']}"
    else:
        day = f"{found['year']}-{found['month2']}-{found['day2']}"
    return day + text[found.end() :]


def _from_mjd(value: Any) -> str:
    days = number(value)
    if not _LEAST_MJD < days < _MOST_MJD:  # also for NaN
        return ""
    milliseconds = round(days * 86_400_000)
    return _written(_DAY_ZERO + timedelta(milliseconds=milliseconds))


def _written(moment: datetime) -> str:
    """Return a moment of UTC as FITS writes it, with as many milliseconds as it has."""
    text = moment.replace(tzinfo=UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    return text.removesuffix(".000")


def exposure_time(rule: CameraRule, cards: Cards) -> tuple[float, str]:
    """Return the exposure time in seconds, and what is odd about its card.

    Parameters
    ----------
    rule : CameraRule
        Its `exptime` lists the keywords.
    cards : Cards
        The headers.

    Returns
    -------
    seconds : float
        NaN where no card tells.
    unreadable : str
        The card and its value where this is no time; empty otherwise.
    """
    value = cards.first(rule.exptime)
    seconds = number(value)
    if isinstance(value, str) and (with_unit := _SECONDS.fullmatch(value.strip())):
        seconds = number(with_unit[1])
    if value is None or seconds >= 0:
        return seconds, ""
    return math.nan, card_text(cards, cards.told_by(rule.exptime))
