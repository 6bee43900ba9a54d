"""`gpuanom label`: several analysts' labels, kept with the night."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import click

from gpuanom.cli.options import night_argument
from gpuanom.errors import GpuanomError, printable
from gpuanom.naming import natural_key
from gpuanom.review import labels
from gpuanom.settings import Settings
from gpuanom.store.store import NAME, Store

EPILOG = """\b
Examples:
  gpuanom label scored ann.csv bob.csv    keep what both say, and report how well they agree
  gpuanom label scored                    what is kept

\b
Labels are made in the page that `gpuanom report` writes, or by hand, as CSV:
  exposure,camera,kind,label,reason,analyst,time
  845291,DECam,source,prominent,trail,ann,2026-01-02T03:04:05Z
kind is source or background; label is prominent, dubious or normal; reason is one of
elongated, double, trail, stripes, rings, ghost, focus, clouds, other, or empty.
Camera, reason, analyst (then the file's name) and time may be left out.
"""


@click.command(epilog=EPILOG)
@night_argument
@click.argument("files", nargs=-1, metavar="[LABELS.csv]...", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Forget what was kept before.")
def label(folder: Path, files: tuple[Path, ...], replace: bool) -> int:
    """Keep analysts' labels of the exposures of SCORED, in SCORED/labels.csv.

    Who said what is kept apart; of one analyst's labels of an exposure and kind the latest counts. Reports have them,
    `gpuanom evaluate` and `gpuanom export --label` go by them.
    """
    if replace and not files:
        raise GpuanomError("--replace needs files to put in the place of what is kept")
    new = [one for file in files for one in labels.read(file)]
    with Store(folder / NAME, Settings(), read_only=True) as store:
        ours, strangers = labels.placed(new, store.known())
    kept = labels.merged(([] if replace else labels.kept(folder)) + ours)
    if files:
        labels.write(folder / labels.NAME, kept)
    for stranger in strangers[:5]:
        click.echo(f"exposure {stranger.exposure} is not in {folder}, or of several cameras: left out", err=True)
    if len(strangers) > 5:
        click.echo(f"and {len(strangers) - 5} more", err=True)
    _summary(kept)
    return int(bool(strangers))


def _summary(kept: list[labels.Label]) -> None:
    """Print who said what, and how well they agree."""
    if not kept:
        click.echo("no labels")
    for analyst in sorted({a.analyst for a in kept}, key=natural_key):
        its = Counter(a.label for a in kept if a.analyst == analyst)
        counts = ", ".join(f"{its[grade]} {grade}" for grade in reversed(labels.GRADES))
        click.echo(f"{printable(analyst)}: {its.total()} labels ({counts})")
    for pair in labels.agreement(kept):
        kappa = "" if math.isnan(pair.kappa) else f", Cohen's kappa {pair.kappa:.2f}"
        click.echo(f"{pair.first} and {pair.second} agree on {pair.same:.0%} of {pair.n} in common{kappa}")
