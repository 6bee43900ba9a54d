"""The report's page: one HTML file with everything in it, written piece by piece.

Texts from headers, file names and labels are kept as JSON in data blocks, and the page shows them by `textContent`
alone. The page's security policy forbids all other scripts and all network access. So a header can never run a script.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpuanom.backends.protocol import Backend
from gpuanom.errors import printable
from gpuanom.files import make_folder, whole_file
from gpuanom.paths import path_text
from gpuanom.records import KINDS, DatasetKey, ExposureKey
from gpuanom.report import ccds
from gpuanom.report.blocks import begin, block, short
from gpuanom.report.causes import causes_in, trigger
from gpuanom.report.course import latest, limits
from gpuanom.report.explanations import EXPLANATIONS
from gpuanom.report.found import found_shapes
from gpuanom.report.pictures import Pictures, pictures
from gpuanom.report.proof import Residuals, proof
from gpuanom.review import impact, labels
from gpuanom.review.mosaic import usual_names
from gpuanom.review.opened import Row, RowsOfCcds, ScoredNight, key_of
from gpuanom.scoring.verdict.levels import ODD
from gpuanom.version import __version__

NAME = "report.html"
CACHE = "report"
"""The folder in a night's folder where pictures are kept."""

PAGE_BYTES = 52_000_000
"""Most bytes of a page's pictures and details together, so that the whole page stays under 60 MB."""

MOST_BYTES = 110_000
"""Most bytes of the pictures of one exposure, if there are few exposures."""

DETAIL_BYTES = 30_000
"""Bytes of the boxes, cells of stars and rows of an exposure of 61 CCDs, rounded up (see tests/report/test_page.py)."""

_PARTS = (
    *("dom", "charts", "base", "labels", "verdict", "list", "stars", "proof", "places", "plane", "detail", "dataset"),
    *("night", "keys"),
)
SCRIPTS = tuple(f"{name}.js" for name in _PARTS)
"""The page's script, in the order in which one part needs another."""

_NOT_SHOWN = re.compile(r"_local_|_position_angle$|^worst_ccd$")
"""Columns of exposures that the page does not hold."""


def title_of(night: ScoredNight) -> str:
    """Return the title of a night's page: the name of its folder."""
    return night.folder.resolve().name


def write_report(
    night: ScoredNight,
    output: Path,
    backend: Backend,
    *,
    top: int = 200,
    threads: int = 1,
    cache: bool = True,
    leakage: float = impact.LEAKAGE,
    reload: float | None = None,
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
        Number of exposures from the top of the table that get pictures, beside the night's last exposure; the others
        are listed without. 0: none gets a picture.
    threads : int, optional
        Number of CCDs that are read at a time.
    cache : bool, optional
        Whether to keep pictures in the night's folder, and to use kept ones.
    leakage : float, optional
        Share of the shear of an ignored PSF that is left after a model of the PSF (`gpuanom.review.impact`).
    reload : float, optional
        The page reloads itself after so many seconds, since it will be replaced; by default it does not.
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
    last = latest(night)
    shown = [i for i, row in enumerate(night.exposures) if row["n_ccd"] and (i < top or (i == last and top))]
    of_ccds = night.ccds()
    usual = usual_names(of_ccds)
    room = max(8_000, min(MOST_BYTES, int(0.75 * (PAGE_BYTES / max(len(shown), 1) - DETAIL_BYTES))))
    pictured: list[int] = []
    troubles: list[str] = []
    residuals = Residuals(night)
    make_folder(output.parent)
    with whole_file(output) as partial, partial.open("w", encoding="ascii", newline="\n") as file:
        after = begin(file, "page.html", title_of(night), SCRIPTS)
        for done, i in enumerate(shown, start=1):
            row = night.exposures[i]
            key = key_of(row)
            rows = of_ccds.get(key, [])
            shown_pictures = pictures(
                night.found[key],
                [row["ccd"] for row in rows],
                night.settings,
                backend,
                most_bytes=room,
                trails=[row["ccd"] for row in rows if (row.get("streak") or 0.0) > 0.0],
                threads=threads,
                cache=night.folder / CACHE if cache else None,
                usual=usual.get(key[0], ()),
            )
            detail = _detail(night, shown_pictures, residuals, row, of_ccds, usual.get(key[0], ()))
            block(file, f"d{i}", detail)
            if shown_pictures.mosaic:
                pictured.append(i)
            if shown_pictures.missing:
                troubles.append(f"exposure {key[1]}: {shown_pictures.missing[0]}")
            if progress is not None:
                progress(done, len(shown))
        block(file, "night", _about(night, shown, pictured, of_ccds, leakage, reload))
        file.write(after)
    return troubles


def _detail(
    night: ScoredNight, shown: Pictures, residuals: Residuals, row: Row, of_ccds: RowsOfCcds, usual: Sequence[str]
) -> dict[str, Any]:
    """The data of one exposure beyond its row of the table."""
    rows = of_ccds.get(key_of(row), [])
    names = ccds.columns(night.tables.ccds.colnames)
    numbers = [[short(ccd[name]) for name in names] for ccd in rows]
    opened_at = trigger(row) if row.get("verdict") in ODD else None
    found = residuals.of(row, of_ccds) if opened_at is not None else {}
    detail = {**vars(shown), "ccds": numbers, "verdicts": ccds.verdicts(rows)}
    if opened_at is not None and opened_at.about == "background":
        detail["proof"] = proof(found, shown, row, rows, opened_at.outline, usual)
    return {**detail, "found": found_shapes(found, shown, row, rows)}


def _about(
    night: ScoredNight,
    shown: Sequence[int],
    pictured: Sequence[int],
    of_ccds: RowsOfCcds,
    leakage: float,
    reload: float | None,
) -> dict[str, Any]:
    """The data of all exposures."""
    datasets = list(night.datasets)
    table = night.tables.exposures
    wanted = [name for name in table.colnames if not _NOT_SHOWN.search(name)]
    columns = {name: [short(row[name]) for row in night.exposures] for name in wanted}
    columns["sky"] = [_median([row["sky"] for row in of_ccds.get(key_of(e), [])]) for e in night.exposures]
    causes = [causes_in(row.get("cause") or "") for row in night.exposures]
    kept, _ = labels.placed(labels.kept(night.folder), map(key_of, night.exposures))
    return {
        "version": __version__,
        "identity": night.identity(),
        "folder": printable(path_text(night.folder)),
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "kinds": list(KINDS),
        "scores": [*KINDS, *(["autoencoder"] if night.reconstructed else [])],
        "about": {name: [table[name].description or "", str(table[name].unit or "")] for name in wanted},
        "causes": causes,
        "explained": {cause: EXPLANATIONS[cause] for cause in sorted({cause for found in causes for cause in found})},
        "triggers": [trigger(row) for row in night.exposures],
        "columns": columns,
        "files": [_links(night, key_of(row)) for row in night.exposures],
        "counts": [[h.counts.tolist() for h in night.histograms(key_of(row))] for row in night.exposures],
        "datasets": [list(d) for d in datasets],
        "means": [[None if m is None else [round(float(v), 6) for v in m] for m in night.means(d)] for d in datasets],
        "dataset": [
            datasets.index(d) if (d := (row["camera"], row["band"])) in night.datasets else None
            for row in night.exposures
        ],
        "usual": [_usual(night, d, of_ccds) for d in datasets],
        "impacts": _impacts(night, leakage),
        "leakage": leakage,
        "unmeasured": night.n_unmeasured,
        "latest": latest(night),
        "limits": limits(night),
        "reload": reload,
        "detailed": list(shown),
        "pictured": list(pictured),
        "labels": [asdict(label) for label in kept],
        "grades": list(labels.GRADES),
        "reasons": list(labels.REASONS),
        "ccd_columns": ccds.columns(night.tables.ccds.colnames),
        "outlines": ccds.OUTLINES,
        "scales": {camera: ccds.scales(of_ccds, camera) for camera in sorted(set(columns["camera"]))},
        "settings": {
            "bins": night.settings.bins,
            "robust_rounds": night.settings.robust_rounds,
            "stamp_size": night.settings.stamp_size,
            "reference": str(night.tables.exposures.meta.get("reference", "this night")),
        },
    }


def _usual(night: ScoredNight, dataset: DatasetKey, of_ccds: RowsOfCcds) -> dict[str, list[float]]:
    """The usual ellipticity of each CCD of a dataset, rounded."""
    rows = [of_ccds.get(key_of(row), []) for row in night.exposures if (row["camera"], row["band"]) == dataset]
    return {name: [round(e, 5) for e in usual] for name, usual in impact.usual_ellipticity(rows).items()}


def _impacts(night: ScoredNight, leakage: float) -> dict[int, dict[str, Any]]:
    """What keeping or dropping each exposure that is not ok would do, by its place in the table."""
    found = impact.impacts(night, leakage)
    places = {key_of(row): i for i, row in enumerate(night.exposures)}
    return {
        places[key]: {name: short(value) for name, value in asdict(of_exposure).items()}
        for key, of_exposure in found.items()
    }


def _links(night: ScoredNight, key: ExposureKey) -> list[list[str]]:
    """The files of an exposure: the text to show and the link."""
    if key not in night.found:
        return []
    return [[printable(path_text(f)), f.absolute().as_uri()] for f in night.found[key].files[:80]]


def _median(values: Sequence[float | None]) -> float | None:
    known = sorted(v for v in values if v is not None and math.isfinite(v))
    return short(known[len(known) // 2]) if known else None
