"""The history of many nights as one page: trends of each camera and band, the record of each CCD, odd exposures.

Everything is read from the stores of scored nights; no image is opened.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from gpuanom.display import counted
from gpuanom.errors import GpuanomError, OutputError, printable
from gpuanom.files import make_folder, whole_file
from gpuanom.natural_order import natural_key
from gpuanom.paths import path_text
from gpuanom.records import DatasetKey, ExposureKey
from gpuanom.report.blocks import begin, block, short
from gpuanom.report.ccds import outline_value
from gpuanom.review.opened import ScoredNight, is_named, key_of, open_night
from gpuanom.scoring.verdict.levels import VERDICTS
from gpuanom.store.store import NAME as STORE_NAME
from gpuanom.version import __version__

NAME = "history.html"

_SCRIPTS = ("dom.js", "charts.js", "history.js")

TRENDS = ("fwhm", "fwhm_arcsec", "ellipticity", "sky", "n_sources")
"""The numbers of exposures whose medians are shown against time."""

DAYTIME = 4.0 / 24.0
"""The least hours of every day without any exposure that tell one night from the next, in days."""

OFTEN = 0.5
"""A CCD is often bad in a night where this share of its exposures or more show it bad."""


def scored_nights(paths: Sequence[Path]) -> list[Path]:
    """Return the folders of scored nights that paths name.

    Parameters
    ----------
    paths : sequence of Path
        Folders of scored nights, and folders that hold such folders.

    Returns
    -------
    list of Path
        Each once, in natural order of their names.

    Raises
    ------
    OutputError
        When a path is no scored night and holds none.
    """
    found: dict[Path, None] = {}
    for path in paths:
        inside = [path] if (path / STORE_NAME).is_file() else sorted(p.parent for p in path.glob(f"*/{STORE_NAME}"))
        if not inside:
            raise OutputError(f"{path}: is no scored night and holds none (gpuanom score makes one)")
        found.update(dict.fromkeys(folder.resolve() for folder in inside))
    return sorted(found, key=lambda folder: natural_key(path_text(folder)))


def _together(gathered: list[dict[str, Any]], n_not_opened: int) -> dict[str, Any]:
    """The history as values for JSON, from what `_of_night` kept of each night; see `write_history`."""
    gathered.sort(key=lambda night: (night["time"] or "", natural_key(night["name"])))
    cameras = sorted({camera for night in gathered for camera in night["ccds"]})
    exposures = [(row, i) for i, night in enumerate(gathered) for row in night["exposures"]]
    exposures.sort(key=lambda pair: (pair[0]["date_obs"] or "", natural_key(pair[0]["exposure"])))
    names = ("exposure", "camera", "band", "date_obs", "verdict", "cause", "status", *TRENDS)
    return {
        "version": __version__,
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "often": OFTEN,
        "not_opened": n_not_opened,
        "nights": [{"name": night["name"], "time": night["time"]} for night in gathered],
        "trends": [{"night": i, **trend} for i, night in enumerate(gathered) for trend in night["trends"]],
        "ccds": {camera: _record([night["ccds"].get(camera, {}) for night in gathered]) for camera in cameras},
        "exposures": {
            **{name: [short(row[name]) for row, _ in exposures] for name in names},
            "night": [i for _, i in exposures],
        },
    }


def nights_of(starts: Sequence[str]) -> list[list[int]]:
    """Put exposures into nights: the days begin in the middle of the hours in which nothing was ever observed.

    Parameters
    ----------
    starts : sequence of str
        The start of each exposure, ISO 8601; exposures of an unknown start come with the first night.

    Returns
    -------
    list of list of int
        Indices of the exposures of each night, the nights in order of time. One night where no `DAYTIME` of every day
        is empty, as with telescopes all around the world.
    """
    days = [_days(start) for start in starts]
    known = sorted(day for day in days if day is not None)
    times_of_day = sorted({day % 1.0 for day in known})
    if not times_of_day:
        return [list(range(len(starts)))]
    gaps = [after - before for before, after in pairwise([*times_of_day, times_of_day[0] + 1.0])]
    longest = max(range(len(gaps)), key=gaps.__getitem__)
    if gaps[longest] < DAYTIME:
        return [list(range(len(starts)))]
    noon = times_of_day[longest] + 0.5 * gaps[longest]
    found: dict[int, list[int]] = {}
    for i, day in enumerate(days):
        found.setdefault(math.floor((known[0] if day is None else day) - noon), []).append(i)
    return [found[day] for day in sorted(found)]


def _days(start: str) -> float | None:
    """A start in days; None where it is not known."""
    try:
        moment = datetime.fromisoformat(start)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() / 86_400.0


def _of_folder(night: ScoredNight) -> list[dict[str, Any]]:
    """What the history keeps of the nights that a scored folder holds: one, or those of a survey."""
    of_ccds = night.ccds()
    exposures: list[dict[str, Any]] = []
    for row in night.exposures:
        skies = [ccd["sky"] for ccd in of_ccds.get(key_of(row), []) if ccd["sky"] is not None]
        exposures.append({
            **{name: row.get(name) for name in ("fwhm", "fwhm_arcsec", "n_sources", "date_obs", "status")},
            **{name: row.get(name) or "" for name in ("exposure", "camera", "band", "verdict", "cause")},
            "ellipticity": outline_value(row, "ellipticity"),
            "sky": statistics.median(skies) if skies else None,
        })  # fmt: skip
    name = printable(path_text(Path(night.folder.resolve().name)))
    nights = [[exposures[i] for i in members] for members in nights_of([row["date_obs"] or "" for row in exposures])]
    return [_of_night(name if len(nights) == 1 else _dated(name, rows), rows, of_ccds) for rows in nights]


def _dated(name: str, exposures: Sequence[Mapping[str, Any]]) -> str:
    """The name of a survey with the day on which one of its nights began."""
    return f"{name} {min(row['date_obs'] for row in exposures if row['date_obs'])[:10]}"


def _of_night(
    name: str, exposures: list[dict[str, Any]], of_ccds: Mapping[ExposureKey, list[dict[str, Any]]]
) -> dict[str, Any]:
    """What the history keeps of one night."""
    groups: dict[DatasetKey, list[dict[str, Any]]] = {}
    for row in exposures:
        groups.setdefault((row["camera"], row["band"]), []).append(row)
    ccds: dict[str, dict[str, list[int]]] = {}
    for row in exposures:
        for ccd in filter(is_named, of_ccds.get(key_of(row), [])):
            counts = ccds.setdefault(row["camera"], {}).setdefault(ccd["ccd"], [0, 0])
            counts[0] += 1
            # An exposure that is bad as a whole says nothing of a CCD.
            alone = ccd.get("verdict") == "bad" and row["verdict"] != "bad"
            counts[1] += int(alone or ccd["status"] != "ok")
    times = sorted(row["date_obs"] for row in exposures if row["date_obs"])
    return {
        "name": name,
        "time": times[0] if times else None,
        "exposures": exposures,
        "trends": [_trend(camera, band, rows) for (camera, band), rows in sorted(groups.items())],
        "ccds": ccds,
    }


def _trend(camera: str, band: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The medians and verdicts of one night's exposures of a camera and band."""
    found: dict[str, Any] = {"camera": camera, "band": band, "n": len(rows)}
    found["verdicts"] = [sum(row["verdict"] == verdict for row in rows) for verdict in (*VERDICTS, "")]
    for name in TRENDS:
        known = [row[name] for row in rows if row[name] is not None and math.isfinite(row[name])]
        found[name] = short(float(statistics.median(known))) if known else None
    return found


def _record(nights: Sequence[Mapping[str, Sequence[int]]]) -> list[dict[str, Any]]:
    """The record of each CCD of a camera: the share of exposures with the CCD bad, and since when it often is."""
    names = sorted({name for night in nights for name in night}, key=natural_key)
    records = []
    for name in names:
        counts = [night.get(name, (0, 0)) for night in nights]
        shares = [bad / n if n else None for n, bad in counts]
        since: int | None = None
        for i, share in enumerate(shares):
            if share is not None:
                since = None if share < OFTEN else i if since is None else since
        n, bad = (sum(column) for column in zip(*counts, strict=True))
        records.append({
            "ccd": name, "n": n, "bad": bad, "since": since,
            "shares": [None if share is None else round(share, 3) for share in shares],
        })  # fmt: skip
    return sorted(records, key=lambda record: -record["bad"] / max(record["n"], 1))


def repeated(gathered: Mapping[str, Any]) -> int:
    """Return how many exposures are in several of the nights, as in a survey and in one of its nights.

    Parameters
    ----------
    gathered : mapping
        What `write_history` returns.
    """
    columns = gathered["exposures"]
    started = zip(columns["camera"], columns["exposure"], columns["date_obs"], strict=True)
    return sum(n > 1 for n in Counter(key for key in started if key[-1]).values())


def write_history(
    folders: Sequence[Path],
    output: Path,
    progress: Callable[[int, int], None] | None = None,
    not_opened: Callable[[GpuanomError], None] | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """Write the history of scored nights as one HTML page.

    Parameters
    ----------
    folders : sequence of Path
        Folders of scored nights, see `scored_nights`; a survey counts as the nights that it holds.
    output : Path
        The HTML file.
    progress : callable, optional
        Called with (nights done, nights) after each night.
    not_opened : callable, optional
        Called with the error of each night that cannot be opened; the page is written without that night. By default
        the error is raised.
    say : callable, optional
        Takes a line on a night whose run was ended early.

    Returns
    -------
    dict
        The history, as the page holds it. ``nights``: name and time of each, in order of time; ``trends``: a row for
        each night, camera and band; ``ccds``: by camera, the record of each CCD; ``exposures``: columns of all
        exposures in order of time; ``not_opened``: number of nights that could not be opened.

    Raises
    ------
    GpuanomError
        When no night can be opened, or one cannot and `not_opened` is not given.
    OutputError
        When the page cannot be written.
    """
    nights: list[dict[str, Any]] = []
    n_not_opened = 0
    for done, folder in enumerate(folders, start=1):
        try:
            night = open_night(folder)
            nights += _of_folder(night)
            if line := night.unfinished():
                say(line)
        except GpuanomError as error:
            n_not_opened += 1
            if not_opened is None or n_not_opened == len(folders):
                raise
            not_opened(error)
        if progress is not None:
            progress(done, len(folders))
    gathered = _together(nights, n_not_opened)
    make_folder(output.parent)
    with whole_file(output) as partial, partial.open("w", encoding="ascii", newline="\n") as file:
        after = begin(file, "history.html", counted(len(nights), "night"), _SCRIPTS)
        block(file, "history", gathered)
        file.write(after)
    return gathered
