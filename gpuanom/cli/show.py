"""`gpuanom show`: one exposure as a picture, and as text on a terminal."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from gpuanom.backends.choice import select
from gpuanom.cameras.focalplane import places
from gpuanom.cli.figures import figure_class, require_figure, save
from gpuanom.cli.given_path import GivenPath
from gpuanom.cli.options import night_argument, reference_option, relocate_option
from gpuanom.cli.screen import tell_unfinished
from gpuanom.cli.summary import KIND_NAMES, filled, print_table, summary_console
from gpuanom.display import counted
from gpuanom.errors import InputError, printable
from gpuanom.paths import absolute, path_text, resolved
from gpuanom.records import KINDS, ExposureKey
from gpuanom.report.ccds import scales
from gpuanom.review import plots
from gpuanom.review.mosaic import level, mosaic, usual_names
from gpuanom.review.opened import Histogram, ScoredNight, key_of, open_night
from gpuanom.review.quicklook import Look, binning_for, look
from gpuanom.review.whiskers import whisker_cells
from gpuanom.scoring.verdict.levels import ODD, OK

EPILOG = """\b
Examples:
  gpuanom show scored 845291                    print its scores and the distributions of its orientations
  gpuanom show scored 845291 -o 845291.png      also draw its focal plane, orientations and brightest sources
  gpuanom show scored 12 --camera DECam         where several cameras have an exposure 12
  gpuanom show scored night/exp17.fits          the exposure of this file
"""

NUMBERS = {
    **{"fwhm": ".2f", "ellipticity": ".3f", "kurtosis": ".2f", "n_sources": ".0f", "sky": ".6g", "sigma": ".4g"},
    **{"stripe_power": ".1f", "row_jitter": ".2f", "column_jitter": ".2f", "map_rms": ".3f"},
}
"""What the cause of a verdict is mostly seen in, and how it is printed."""

CCDS = 5
"""At most so many bad CCDs have a line of their own."""

WIDTH = 40
"""Characters of a bar."""

FULL = 0.6
"""The alignment of the longest stick."""


@click.command(epilog=EPILOG)
@night_argument
@click.argument("exposure")
@click.option("--camera", help="Camera of the exposure, where several cameras have one of this id.")
@click.option("--output", "-o", type=GivenPath(dir_okay=False), help="Picture to write: .png, .pdf or .svg.")
@reference_option
@relocate_option
def show(
    folder: Path,
    exposure: str,
    camera: str | None,
    output: Path | None,
    reference: Path | None,
    relocate: dict[str | Path, str | Path],
) -> int:
    """Show one exposure: scores, orientations, and its focal plane.

    SCORED is a folder that `gpuanom score` made, and EXPOSURE an id in its table exposures.ecsv, or one of the files of
    an exposure. The histograms of orientations are shown beside those of the reference. The exit code is 1 when CCDs
    are missing from the picture.
    """
    figure = figure_class() if output is not None else None
    if output is not None:
        require_figure(output)
    night = open_night(folder, reference=reference, relocate=relocate)
    tell_unfinished(night)
    row = _row(night, exposure, camera)
    _print(night, row, summary_console())
    if output is None:
        return 0
    missing = _draw(night, row, figure, output)
    for reason in missing[:5]:
        click.echo(reason, err=True)
    click.echo(f"picture: {output}")
    return int(bool(missing))


def _row(night: ScoredNight, exposure: str, camera: str | None) -> dict[str, Any]:
    """The exposure's row of the table."""
    rows = [row for row in night.exposures if camera in (None, row["camera"])]
    found = [row for row in rows if row["exposure"] == exposure] or _of_file(night, rows, exposure)
    if not found:
        ids = [row["exposure"] for row in night.exposures if row["exposure"]]
        near = difflib.get_close_matches(exposure, ids, 3)
        known = f"do you mean {' or '.join(near)}?" if near else f"which holds {', '.join(ids[:5]) or 'none'} ..."
        raise InputError(f"no exposure '{exposure}' in {night.folder} ({known})")
    if len({row["exposure"] for row in found}) > 1:
        named = ", ".join(row["exposure"] for row in found[:5])
        raise InputError(f"several exposures have a file {exposure}: {named} (name one by its id, or by its path)")
    if len(found) > 1:
        cameras = ", ".join(row["camera"] for row in found)
        raise InputError(f"several exposures '{exposure}': give --camera, one of {cameras}")
    return found[0]


def _of_file(night: ScoredNight, rows: list[dict[str, Any]], given: str) -> list[dict[str, Any]]:
    """The rows of the exposures that a file belongs to: the file of this path, or else any file of this name."""
    files = {id(row): {path_text(f) for f in _files(night, row)} for row in rows}
    paths = {path_text(absolute(given)), path_text(resolved(given))}
    if of_path := [row for row in rows if files[id(row)] & paths]:
        return of_path
    return [row for row in rows if given in {Path(file).name for file in files[id(row)]}]


def _files(night: ScoredNight, row: dict[str, Any]) -> list[Path]:
    """The files of an exposure; of one that failed, what its row names."""
    if key_of(row) in night.found:
        return list(night.found[key_of(row)].files_and_masks)
    return [Path(row["file"])] if row["file"] else []


def judged_as(row: Mapping[str, Any]) -> str:
    """Say the verdict on an exposure and its cause, or why there is no verdict.

    Parameters
    ----------
    row : mapping
        Of the table of exposures.

    Returns
    -------
    str
        The verdict, cause and evidence; the status where the exposure has another one than ``ok``.
    """
    status = "" if row["status"] == "ok" else str(row["status"])
    verdict, cause = str(row.get("verdict") or ""), str(row.get("cause") or "")
    if not verdict:
        why = f"no verdict: {cause.removeprefix('no verdict: ')}" if cause else ""
        return ", ".join(filter(None, (status, why))) or "measured, without a verdict"
    evidence = row.get("evidence")
    strength = "" if evidence is None or verdict == OK else f" (evidence {evidence:.0f})"
    return ", ".join(filter(None, (status, f"{verdict}{f': {cause}' if cause else ''}{strength}")))


def _print(night: ScoredNight, row: dict[str, Any], console: Console) -> None:
    facts = (row["camera"], row["band"], row["date_obs"], f"{row['n_ccd_used']} of {row['n_ccd']} CCDs")
    console.print(Text(printable(f"exposure {row['exposure']}: " + ", ".join(str(f) for f in facts if f))))
    console.print(Text(printable(judged_as(row))))
    if row.get("verdict") not in (None, "", OK) and row.get("score") and row.get("deviation") is not None:
        by = f"{row['deviation']:.1f} robust standard deviations from what is expected"
        console.print(Text(f"{row['score']} stands out most, {by}"))
    for line in _bad_ccds(night, row):
        console.print(Text(printable(line)))
    if row["note"]:
        console.print(Text(printable(row["note"])))
    columns = {"KL": ".4f", "floor": ".4f", "z": ".1f", "p": ".1g", "rank": "d", "deviation": ".1f", "angle": ".0f"}
    columns["alignment"] = ".2f"
    rows = []
    for kind in KINDS:
        values = [(row.get(f"{kind}_{name.lower()}"), spec) for name, spec in columns.items()]
        rows.append([KIND_NAMES[kind], *("-" if value is None else format(value, spec) for value, spec in values)])
    drop = ("floor", "KL", "p", "rank", "alignment", "angle")
    print_table(console, "", ("", *columns), rows, numbers=tuple(columns), drop=drop, pad_edge=False)
    _print_numbers(night, row, console)
    if row.get("autoencoder_mse") is not None:
        numbers = {"mse": ".4g", "rank": "d", "deviation": ".1f"}
        values_of_model = ((name, row[f"autoencoder_{name}"], spec) for name, spec in numbers.items())
        text = ", ".join(f"{name} {format(value, spec)}" for name, value, spec in values_of_model if value is not None)
        console.print(Text(f"reconstruction of {row['n_stamps']} stamps: {text}"))
    for histogram in night.histograms(key_of(row)):
        console.print()
        for line in text_histogram(histogram, ascii_only=not (console.encoding or "").lower().startswith("utf")):
            console.print(Text(line))


def _bad_ccds(night: ScoredNight, row: dict[str, Any]) -> list[str]:
    """A line for each of the CCDs that are bad or to be checked, the worst first, or one for all CCDs."""
    ccds = night.tables.plain[1]
    if "verdict" not in ccds.colnames:
        return []
    rows = np.flatnonzero((ccds["camera"] == row["camera"]) & (ccds["exposure"] == row["exposure"]))
    evidence = np.nan_to_num(filled(ccds["evidence"][rows])).tolist()
    every = zip(evidence, (ccds[i] for i in rows.tolist()), strict=True)
    odd = [(ODD.index(str(ccd["verdict"])), -known, ccd) for known, ccd in every if str(ccd["verdict"]) in ODD]
    bad = [ccd for _, _, ccd in sorted(odd, key=itemgetter(0, 1))]
    # CCDs without a cause of their own have that of the exposure, which may name the worst CCD.
    for verdicts in (
        {_verdict_without_name(ccd) for ccd in bad},
        {(str(ccd["verdict"]), str(ccd["cause"])) for ccd in bad},
    ):
        if len(rows) > 1 and len(bad) == len(rows) and len(verdicts) == 1:
            verdict, cause = verdicts.pop()
            is_told = cause in str(row.get("cause") or "")
            return [f"all {len(rows)} CCDs: {verdict}{'' if is_told else f', {cause}'}"]
    lines = [f"CCD {ccd['ccd']}: {ccd['verdict']}, {ccd['cause']}" for ccd in bad[:CCDS]]
    more = len(bad) - len(lines)
    return lines + ([f"and {counted(more, 'more CCD')} (gpuanom tables {night.folder} --table ccds)"] if more else [])


def _verdict_without_name(ccd: Mapping[str, Any]) -> tuple[str, str]:
    """What is said of a CCD, without its name."""
    return str(ccd["verdict"]), str(ccd["cause"]).replace(f" on {ccd['ccd']}", "")


def _print_numbers(night: ScoredNight, row: dict[str, Any], console: Console) -> None:
    """Print what was measured of the exposure beside the median of the exposures of its camera and band."""
    exposures, ccds = night.tables.plain
    alike = (exposures["camera"] == row["camera"]) & (exposures["band"] == row["band"])
    alike &= filled(exposures["n_ccd_used"]) > 0  # others have 0 sources, which nobody counted
    is_exposure = exposures["exposure"] == row["exposure"]
    of_camera = ccds["camera"] == row["camera"]
    alike_ccds = of_camera & np.isin(ccds["exposure"], exposures["exposure"][alike])
    this_ccds = of_camera & (ccds["exposure"] == row["exposure"])
    n = int(np.count_nonzero(alike))
    grid = Grid(box=None, pad_edge=False)
    for name in ("", "here", "usual") if n > 1 else ("", "here"):
        grid.add_column(name, justify="right" if name else "left")
    for name, spec in NUMBERS.items():
        table, here, others = (exposures, alike & is_exposure, alike) if name not in ("sky", "sigma") else (
            ccds, this_ccds, alike_ccds
        )  # fmt: skip
        if name == "ellipticity" and "e1" in table.colnames:
            values = np.hypot(filled(table["e1"]), filled(table["e2"]))
        elif name in table.colnames:
            values = filled(table[name])
        else:
            continue
        found = [values[here], values[others]][: 2 if n > 1 else 1]
        if np.isfinite(found[0]).any():
            grid.add_row(name, *(format(np.nanmedian(numbers), spec) for numbers in found))
    if grid.row_count:
        console.print()
        console.print(grid)
    if grid.row_count and n > 1:
        console.print(Text(f"usual: the median of {n} exposures of this camera and band; sky and sigma: of their CCDs"))


def text_histogram(histogram: Histogram, *, ascii_only: bool = False) -> list[str]:
    """Draw an orientation histogram as lines of text.

    Each bin is a bar; a mark shows the reference, and a star the bins that differ from it by more than their noise.

    Parameters
    ----------
    histogram : Histogram
    ascii_only : bool, optional
        For terminals that know no other characters.

    Returns
    -------
    list of str
        A title, a line for each bin, and the key of the marks.
    """
    n = int(histogram.counts.sum())
    lines = [f"{KIND_NAMES[histogram.kind]}, n = {n}"]
    if not n:
        return lines
    share = histogram.counts / n
    bins = share.size
    mean, noise = histogram.mean, histogram.noise()
    highest = max(share.max(), 0.0 if mean is None else float(mean.max()))
    full, mark = ("#", "|") if ascii_only else ("█", "│")
    for b in range(bins):
        cells = [" "] * (WIDTH + 1)
        length = round(WIDTH * float(share[b]) / highest)
        cells[:length] = full * length
        beyond = " "
        if mean is not None:
            cells[min(WIDTH, round(WIDTH * float(mean[b]) / highest))] = mark
            beyond = "*" if abs(share[b] - mean[b]) > noise[b] else " "
        low, high = -90 + 180 * b / bins, -90 + 180 * (b + 1) / bins
        lines.append(f"{low:4.0f} to {high:3.0f} deg {''.join(cells)} {100 * share[b]:5.1f}% {beyond}".rstrip())
    if mean is not None:
        lines.append(f"{mark} the reference; * a bin that differs from it by more than 2 sigma of counting noise")
    return lines


def _draw(night: ScoredNight, row: dict[str, Any], figure_type: Any, output: Path) -> list[str]:
    """Draw the exposure, and return the reasons why CCDs are missing."""
    key = key_of(row)
    of_ccds = night.ccds()
    ccds = of_ccds.get(key, [])
    names = [ccd["ccd"] for ccd in ccds]
    images, stamps, whiskers, missing = _look(night, key, names)
    top = scales(of_ccds).get("background_z", [0.0, 10.0])[1]
    figure = figure_type(figsize=(13.0, 8.0), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.0, 1.0))
    rows = left.subfigures(2, 1, height_ratios=(5.0, 1.2)) if stamps else [left]
    ax = rows[0].subplots()
    picture = mosaic(key[0], images, names, usual_names(of_ccds).get(key[0], ()))
    z = {ccd["ccd"]: ccd["background_z"] for ccd in ccds if ccd["background_z"] is not None}
    plots.focal_plane(ax, picture, z, highest=top)
    at = [(*picture.boxes[name], *cell) for name, cells in whiskers for cell in cells]
    if at:
        left_, bottom, width, height, u, v, angle, alignment, _ = np.array(at).T
        size = float(np.median(np.sqrt(width * height))) / math.sqrt(max(len(at) / max(len(whiskers), 1), 1.0))
        length = np.minimum(alignment / FULL, 1.0)
        plots.whiskers(ax, left_ + u * width, bottom + v * height, angle, length, scale=0.9 * size)
    ax.set_title(f"outlines: background z, yellow from {top:g} on; sticks: isophotal orientations", fontsize="small")
    for axes, (snr, stamp) in zip(
        rows[-1].subplots(1, len(stamps), squeeze=False)[0] if stamps else [], stamps, strict=True
    ):
        plots.stamp(axes, stamp, text=f"{snr:.0f} sigma")
    for axes, histogram in zip(right.subplots(2, 2).flat, night.histograms(key), strict=False):
        plots.orientations(axes, histogram, angle=row[f"{histogram.kind}_angle"])
        axes.set_title(KIND_NAMES[histogram.kind], fontsize="small")
    title = f"{row['exposure']}  {row['camera']} {row['band']}  {row['date_obs']}  {judged_as(row)}"
    figure.suptitle(printable(title).replace("$", r"\$"))
    save(figure, output)
    return missing


def _look(night: ScoredNight, key: ExposureKey, names: list[str]) -> tuple[list[Any], list[Any], list[Any], list[str]]:
    """The CCDs' pictures, the stamps of the brightest sources, the whiskers, and why CCDs are missing."""
    if key not in night.found:
        return [], [], [], ["the exposure could not be measured: there is nothing to draw"]
    images: list[tuple[str, Any]] = []
    stamps: list[tuple[float, Any]] = []
    whiskers: list[tuple[str, list[list[float]]]] = []
    missing: list[str] = []
    positions = places(key[0], names)
    exposure = night.found[key]
    threads = min(4, os.cpu_count() or 1)
    binning = binning_for(exposure, names, night.settings)
    n_stamps = max(2, math.ceil(6 / max(len(names), 1)))
    for seen in look(exposure, night.settings, select("cpu"), binning=binning, stamps=n_stamps, threads=threads):
        if isinstance(seen, Look) and seen.image is not None:
            images.append((seen.name, seen.image))
            upside_down = seen.name in positions and positions[seen.name].upside_down
            whiskers.append((seen.name, whisker_cells(seen, upside_down)))
            stamps += zip(seen.sources.stamp_snr.tolist(), seen.sources.stamps, strict=True)
        elif not isinstance(seen, Look):
            missing.append(seen.reason)
    stamps.sort(key=lambda pair: -pair[0])
    return level(images)[0], stamps[:6], whiskers, missing
