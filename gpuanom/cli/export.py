"""`gpuanom export`: a night's anomalies as lists that other programs and surveys read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpuanom.backends.choice import select
from gpuanom.cli.options import kinds_of, night_argument, reference_option
from gpuanom.cli.screen import Screen
from gpuanom.errors import OutputError
from gpuanom.files import require_no_fits, write_text
from gpuanom.records import KINDS
from gpuanom.review import export as lists
from gpuanom.review import labels
from gpuanom.review.opened import open_night

EPILOG = """\b
Formats:
  exclude    EXPNUM,CCDNUM,REASON,ANALYST, a row a CCD: the exclude tables of DES and DELVE
  bad_expid  EXPNUM[-CCDNAME] reason, a line an exposure: the bad_expid files of the Legacy Surveys
  list       the files of the exposures that were NOT chosen, for the next program: gpuanom score @good.txt
  regions    DS9 regions of the chosen exposures' sources, a file a CCD, into the folder --output

\b
Examples:
  gpuanom export scored --format exclude --fdr 0.01 -o exclude.csv
  gpuanom export scored --format bad_expid --deviation 5 --by isophote,flat_background
  gpuanom export scored --format exclude --by background --rank 10 --ccd-z 5    only the CCDs that show it
  gpuanom export scored --format list --label prominent > good.txt
  gpuanom export scored --format regions --rank 3 -o regions

\b
What chooses an exposure (give one):
  --rank N       the N highest scores of each dataset
  --deviation D  how far from the other exposures: the safest on real data
  --z Z, --p P   how far above counting noise: real exposures differ by more than that
  --fdr Q        p by Benjamini-Hochberg, over all exposures and kinds
  --label WORD   what people said (`gpuanom label`): prominent, or dubious and graver
"""


@click.command(epilog=EPILOG)
@night_argument
@click.option("--format", "form", required=True, type=click.Choice(lists.FORMATS), help="What to write.")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="File, or folder of regions (default: print).")
@click.option(
    "--by",
    "kinds",
    default=",".join(KINDS),
    show_default=True,
    callback=kinds_of(KINDS),
    help="Kinds of score, any of which chooses an exposure.",
)
@click.option("--rank", type=click.IntRange(1), help="Choose ranks 1 to N.")
@click.option("--z", type=float, help="Choose z at or above this.")
@click.option("--p", type=click.FloatRange(0, 1), help="Choose p at or below this.")
@click.option("--deviation", type=float, help="Choose deviations at or above this.")
@click.option("--fdr", type=click.FloatRange(0, 1), help="Choose at this false-discovery rate.")
@click.option("--label", type=click.Choice(["prominent", "dubious"]), help="Choose what is labelled so, or graver.")
@click.option(
    "--analysts",
    "how",
    type=click.Choice(labels.CONSENSUS),
    default="majority",
    show_default=True,
    help="With --label: how many of those who labelled it must say so.",
)
@click.option("--ccd-z", type=float, help="Of background anomalies, only CCDs whose own z is at or above this.")
@reference_option
def export(
    folder: Path,
    form: str,
    output: Path | None,
    kinds: tuple[str, ...],
    how: labels.Consensus,
    ccd_z: float | None,
    reference: Path | None,
    **criterion: Any,
) -> int:
    """Write the anomalies of SCORED as a list that surveys exchange.

    SCORED is a folder that `gpuanom score` made. The list goes to standard output, or to --output.
    """
    if form == "regions" and output is None:
        raise click.UsageError("regions are a file a CCD: give their folder, --output")
    chooses = lists.Criterion(**criterion)
    _ = chooses.name  # that one is given is said before anything is read
    if output is not None and form != "regions":
        require_no_fits(output)
    night = open_night(folder, reference=reference)
    said, _ = labels.placed(labels.kept(folder), night.found)
    if chooses.label and not said:
        raise OutputError(f"{folder}: holds no labels (import some: gpuanom label {folder} labels.csv)")
    chosen = lists.choose(night, chooses, kinds, said, how)
    if form == "regions" and output is not None:
        return _regions(night, chosen, output, "source" if "isophote" not in kinds else "isophote")
    if form == "exclude":
        text = lists.exclude_table(night, chosen, ccd_z)
    elif form == "bad_expid":
        text = lists.bad_expid(night, chosen, ccd_z)
    else:
        text = lists.good_files(night, chosen)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)
    unmeasured = sum(not row["n_ccd_used"] for row in night.exposures)
    click.echo(
        f"{len(chosen)} of {len(night.exposures)} exposures chosen; {unmeasured} could not be measured", err=True
    )
    return 0


def _regions(night: Any, chosen: lists.Chosen, output: Path, kind: str) -> int:
    """Write region files; 1 when an exposure has none."""
    failed = False
    with Screen(quiet=False, verbose=False) as screen:
        count = screen.count("finding sources")
        for done, (key, n, missing) in enumerate(lists.regions(night, chosen, output, select("cpu"), kind), start=1):
            count(done, len(chosen))
            screen.line(f"exposure {key[1]}: {n} sources" + "".join(f"; {reason}" for reason in missing[:3]))
            failed = failed or bool(missing)
    return int(failed)
