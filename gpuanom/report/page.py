"""The report's page: one HTML file with everything in it, written piece by piece.

Texts from headers, file names and labels are kept as JSON in data blocks, and the page shows them by `textContent`
alone. The page's security policy forbids all other scripts and all network access. So a header can never run a script.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, TextIO

from gpuanom.backends.protocol import Backend
from gpuanom.errors import printable
from gpuanom.files import make_folder, whole_file
from gpuanom.naming import path_text
from gpuanom.records import KINDS, ExposureKey
from gpuanom.report.pictures import Pictures, pictures
from gpuanom.review import labels
from gpuanom.review.opened import ScoredNight, key_of
from gpuanom.tables.columns import EXPOSURE_COLUMNS, with_autoencoder
from gpuanom.version import __version__

NAME = "report.html"
CACHE = "report"
"""The folder in a night's folder where pictures are kept."""

PAGE_BYTES = 52_000_000
"""Most bytes of a page's pictures and details together, so that the whole page stays under 60 MB."""

MOST_BYTES = 110_000
"""Most bytes of the pictures of one exposure, if there are few exposures."""

DETAIL_BYTES = 20_000
"""Bytes of the boxes, whiskers and rows of an exposure of 61 CCDs, 18 kB, rounded up."""

_SCRIPTS = ("base.js", "labels.js", "list.js", "detail.js", "dataset.js", "keys.js")
"""The page's script, in the order in which one part needs another."""

_CCD_COLUMNS = ("ccd", "status", "n_sources", "background_z", "background_angle", "source_alignment", "source_angle")


def write_report(
    night: ScoredNight,
    output: Path,
    backend: Backend,
    *,
    top: int = 200,
    threads: int = 1,
    cache: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Write the report of a night as one HTML page.

    Parameters
    ----------
    night : ScoredNight
    output : Path
        The HTML file.
    backend : Backend
        The CPU's, which makes the pictures.
    top : int, optional
        Number of exposures from the top of the table that get pictures; the others are listed without.
    threads : int, optional
        Number of CCDs that are read at a time.
    cache : bool, optional
        Whether to keep pictures in the night's folder, and to use kept ones.
    progress : callable, optional
        Called with (exposures done, exposures) after each exposure.

    Returns
    -------
    list of str
        A line for each exposure whose pictures are not complete.

    Raises
    ------
    OutputError
        When the page cannot be written.
    """
    make_folder(output.parent)
    with whole_file(output) as partial, partial.open("w", encoding="ascii", newline="\n") as file:
        return _write(file, night, backend, top, threads, cache, progress)


def _write(
    file: TextIO,
    night: ScoredNight,
    backend: Backend,
    top: int,
    threads: int,
    cache: bool,
    progress: Callable[[int, int], None] | None,
) -> list[str]:
    style, script = _part("page.css"), "".join(_part(name) for name in _SCRIPTS)
    before, after = _part("page.html").split("{{data}}")
    title = html.escape(printable(night.folder.resolve().name), quote=True)
    fills = {"{{title}}": _ascii(title), "{{policy}}": _policy(style, script), "{{style}}": style}
    for mark, text in fills.items():
        before = before.replace(mark, text)
    file.write(before)
    shown = [i for i, row in enumerate(night.exposures[:top]) if row["n_ccd"]]
    ccds = night.ccds()
    room = max(8_000, min(MOST_BYTES, int(0.75 * (PAGE_BYTES / max(len(shown), 1) - DETAIL_BYTES))))
    pictured: list[int] = []
    troubles: list[str] = []
    for done, i in enumerate(shown, start=1):
        key = key_of(night.exposures[i])
        rows = ccds.get(key, [])
        shown_pictures = pictures(
            night.found[key],
            [row["ccd"] for row in rows],
            night.settings,
            backend,
            most_bytes=room,
            threads=threads,
            cache=night.folder / CACHE if cache else None,
        )
        _block(file, f"d{i}", _detail(shown_pictures, rows, night))
        if shown_pictures.mosaic:
            pictured.append(i)
        if shown_pictures.missing:
            troubles.append(f"exposure {key[1]}: {shown_pictures.missing[0]}")
        if progress is not None:
            progress(done, len(shown))
    _block(file, "night", _about(night, shown, pictured, ccds))
    file.write(after.replace("{{script}}", script))
    return troubles


def _part(name: str) -> str:
    """A part of the page, as it is shipped; in ASCII, so that the browser computes the same hash of it."""
    return resources.files("gpuanom.report").joinpath(name).read_text(encoding="ascii")


def _policy(style: str, script: str) -> str:
    """The page's security policy: it may show data and run this very script, and nothing else."""
    hashes = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in (style, script)]
    return (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'"
    )


def _block(file: TextIO, name: str, value: Any) -> None:
    """Write a block of data: JSON in which nothing can end the block or be taken for markup."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    file.write(f'<script type="application/json" id="{name}">{text}</script>\n')


def _ascii(text: str) -> str:
    return text.encode("ascii", "xmlcharrefreplace").decode()


def _ccd_columns(night: ScoredNight) -> tuple[str, ...]:
    """The columns that are shown of CCDs, with an autoencoder's errors where the night has them."""
    return (*_CCD_COLUMNS, "autoencoder_mse") if night.reconstructed else _CCD_COLUMNS


def _detail(shown: Pictures, rows: Sequence[dict[str, Any]], night: ScoredNight) -> dict[str, Any]:
    """The data of one exposure beyond its row of the table."""
    ccds = [[_short(row[name]) for name in _ccd_columns(night)] for row in rows]
    return {**asdict(shown), "ccds": ccds}


def _about(
    night: ScoredNight, shown: Sequence[int], pictured: Sequence[int], ccds: dict[ExposureKey, list[dict[str, Any]]]
) -> dict[str, Any]:
    """The data of all exposures."""
    datasets = list(night.datasets)
    wanted = with_autoencoder(EXPOSURE_COLUMNS) if night.reconstructed else EXPOSURE_COLUMNS
    columns = {c.name: [_short(row[c.name]) for row in night.exposures] for c in wanted}
    columns["sky"] = [_median([row["sky"] for row in ccds.get(key_of(e), [])]) for e in night.exposures]
    known = [(row["camera"], row["exposure"]) for row in night.exposures]
    kept, _ = labels.placed(labels.kept(night.folder), known)
    return {
        "version": __version__,
        "identity": night.identity(),
        "folder": printable(path_text(night.folder)),
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "kinds": list(KINDS),
        "scores": [*KINDS, *(["autoencoder"] if night.reconstructed else [])],
        "about": {c.name: [c.description, c.unit] for c in wanted},
        "columns": columns,
        "files": [_links(night, key_of(row)) for row in night.exposures],
        "counts": [[h.counts.tolist() for h in night.histograms(key_of(row))] for row in night.exposures],
        "datasets": [list(d) for d in datasets],
        "means": [[None if m is None else [round(float(v), 6) for v in m] for m in night.means(d)] for d in datasets],
        "dataset": [
            datasets.index(d) if (d := (row["camera"], row["band"])) in night.datasets else None
            for row in night.exposures
        ],
        "detailed": list(shown),
        "pictured": list(pictured),
        "labels": [asdict(label) for label in kept],
        "grades": list(labels.GRADES),
        "reasons": list(labels.REASONS),
        "ccd_columns": list(_ccd_columns(night)),
        "highest": {name: highest(ccds, name) for name in _OUTLINES},
        "settings": {
            "bins": night.settings.bins,
            "robust_rounds": night.settings.robust_rounds,
            "reference": str(night.tables.exposures.meta.get("reference", "this night")),
        },
    }


def _links(night: ScoredNight, key: ExposureKey) -> list[list[str]]:
    """The files of an exposure: the text to show and the link."""
    if key not in night.found:
        return []
    return [[printable(path_text(f)), f.absolute().as_uri()] for f in night.found[key].files[:80]]


_OUTLINES = {"background_z": 10.0, "source_alignment": 0.2}
"""The scores that outline CCDs, and the least score at which their colours end."""


def highest(ccds: dict[ExposureKey, list[dict[str, Any]]], name: str) -> float:
    """Return the score at which the colours of CCDs end: the 98th percentile of the night, with two digits.

    Parameters
    ----------
    ccds : dict
        The rows of the table of CCDs, by exposure.
    name : str
        background_z or source_alignment.

    Returns
    -------
    float
    """
    least = _OUTLINES[name]
    values = sorted(row[name] for rows in ccds.values() for row in rows if row[name] is not None)
    found = values[int(0.98 * (len(values) - 1))] if values else least
    return float(f"{max(found, least):.2g}")


def _short(value: Any) -> Any:
    """A number with the digits that a page needs."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _median(values: Sequence[float | None]) -> float | None:
    known = sorted(v for v in values if v is not None and math.isfinite(v))
    return _short(known[len(known) // 2]) if known else None
