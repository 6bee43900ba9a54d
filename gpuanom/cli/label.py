"""`gpuanom label`: several analysts' labels, kept with the night."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpuanom.cli.given_path import GivenPath
from gpuanom.cli.options import night_argument
from gpuanom.errors import GpuanomError, printable
from gpuanom.natural_order import natural_key

if TYPE_CHECKING:
    from gpuanom.review import labels

EPILOG = """\b
Examples:
  gpuanom label scored ann.csv bob.csv    keep the labels of two people, and print how well they agree
  gpuanom label scored                    print which labels are kept

\b
Labels are made in the page that `gpuanom report` writes, or by hand as a CSV file:
  exposure,camera,kind,label,reason,analyst,time,places
  845291,DECam,source,prominent,trail,ann,2026-01-02T03:04:05Z,N4 1023.5 2045; S3 12 40
kind is source or background; label is prominent, dubious or normal; reason is one of
elongated, double, trail, stripes, rings, ghost, focus, clouds, other, or empty. places are marked places: the CCD,
then x and y as DS9 shows them in the file's image, separated by semicolons.
The columns camera, reason, analyst, time and places may be left out; the analyst is then the name of the file.

\b
Lists of excluded visits as Rubin keeps them (ECSV with the columns exposure and comment) are labels too:
  gpuanom label scored bad.ecsv
Each exposure of the list is prominent. The words of its comment (stripes, out of focus, ...) tell the reason, and
whether the label is about the sources or the background. Exposures of other nights are passed over.
`gpuanom export --format excluded_visits` writes such lists.
"""


@click.command(epilog=EPILOG)
@night_argument
@click.argument("files", nargs=-1, metavar="[LABELS]...", type=GivenPath(dir_okay=False))
@click.option("--replace", is_flag=True, help="Delete the labels that were kept before.")
def label(folder: Path, files: tuple[Path, ...], replace: bool) -> int:
    """Keep people's labels of the exposures of a night.

    SCORED is a folder that `gpuanom score` made; the labels are kept in SCORED/labels.csv, those of each analyst
    separately. If an analyst labelled the same exposure and kind of anomaly several times, the latest label counts.
    Reports show the labels, and `gpuanom evaluate` and `gpuanom export --label` use them.
    """
    from gpuanom.review import labels
    from gpuanom.settings import Settings
    from gpuanom.store.planned import unfinished_line
    from gpuanom.store.store import NAME, Store

    if replace and not files:
        raise GpuanomError("--replace needs files of labels, which take the place of the kept ones")
    new = [(one, labels.is_visit_list(file)) for file in files for one in labels.read(file)]
    with Store(folder / NAME, Settings(), read_only=True) as store:
        known, n_unmeasured = store.known(), store.n_unmeasured()
    if line := unfinished_line(folder, n_unmeasured):
        click.echo(line, err=True)
    ours, strangers = labels.placed([one for one, listed in new if not listed], known)
    visits, others = labels.placed([one for one, listed in new if listed], known)
    ours += visits
    if n_others := len({one.exposure for one in others}):
        click.echo(f"{n_others} of the excluded visits are not in {folder}: passed over", err=True)
    if replace and not ours:
        raise GpuanomError(f"no label of these files belongs to an exposure of {folder}: the kept labels stay")
    for one in ours:
        if one.time and labels.moment(one.time) == labels.moment(""):
            click.echo(
                f"exposure {one.exposure}: '{printable(one.time)}' is no time as 2026-01-02T03:04:05Z: the label of "
                f"{printable(one.analyst)} counts as older than those with a time",
                err=True,
            )
    kept = labels.keep(folder, ours, replace=replace) if files else labels.merged(labels.kept(folder))
    for stranger in strangers[:5]:
        click.echo(f"exposure {stranger.exposure} is not in {folder}, or of several cameras: label left out", err=True)
    if len(strangers) > 5:
        click.echo(f"and {len(strangers) - 5} more", err=True)
    _summary(kept)
    return int(bool(strangers))


def _summary(kept: list[labels.Label]) -> None:
    """Print how many labels each analyst gave, and how well the analysts agree."""
    from gpuanom.review import analysts, labels

    if not kept:
        click.echo("no labels (make some in the page of gpuanom report, or as a CSV file: gpuanom label --help)")
    for analyst in sorted({a.analyst for a in kept}, key=natural_key):
        grades = Counter(a.label for a in kept if a.analyst == analyst)
        counts = ", ".join(f"{grades[grade]} {grade}" for grade in reversed(labels.GRADES))
        click.echo(f"{printable(analyst)}: {grades.total()} labels ({counts})")
    for pair in analysts.agreement(kept):
        kappa = "" if math.isnan(pair.kappa) else f", Cohen's kappa {pair.kappa:.2f}"
        click.echo(f"{pair.first} and {pair.second} agree on {pair.same:.0%} of {pair.n} in common{kappa}")
