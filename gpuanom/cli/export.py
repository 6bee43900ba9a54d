"""`gpuanom export`: the anomalies of a night as lists that surveys and other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gpuanom.backends.choice import select
from gpuanom.cli.given_path import GivenPath
from gpuanom.cli.options import kinds_of, night_argument, reference_option, relocate_option
from gpuanom.cli.screen import Screen, tell_unfinished
from gpuanom.errors import OutputError
from gpuanom.files import require_replaceable, write_text
from gpuanom.records import KINDS
from gpuanom.review import export as lists
from gpuanom.review import labels
from gpuanom.review.analysts import CONSENSUS, Consensus
from gpuanom.review.opened import open_night
from gpuanom.review.regions import regions

EPILOG = """\b
Formats:
  exclude          a row for each bad CCD, EXPNUM,CCDNUM,REASON,ANALYST: the exclude tables of DES and DELVE
  bad_expid        a line for each bad exposure, EXPNUM[-CCDNAME] reason: the bad_expid files of the Legacy Surveys
  excluded_visits  ECSV with the columns exposure and comment, as Rubin's list of excluded visits; whole exposures only
  list             the files of the GOOD exposures (those not chosen), for the next program: gpuanom score @good.txt
  regions          the sources of the bad exposures and CCDs as DS9 regions, a file for each CCD, in the folder --output

\b
Examples:
  gpuanom export scored --format exclude -o exclude.csv                         what the verdict calls bad
  gpuanom export scored --format bad_expid --verdict bad,check
  gpuanom export scored --format excluded_visits -o bad.ecsv                    gpuanom label reads such lists too
  gpuanom export scored --format bad_expid --deviation 5 --by isophote,flat_background
  gpuanom export scored --format exclude --by background --rank 10 --ccd-z 5    only CCDs that show it themselves
  gpuanom export scored --format list --label prominent > good.txt
  gpuanom export scored --format regions --rank 3 -o regions

\b
Which exposures are chosen as bad (give one criterion at most):
  --verdict V    those with this verdict, by default bad, and single CCDs with this verdict of other exposures
  --deviation D  those that differ at least so much from their dataset by one of the paper's scores
  --rank N       the N highest scores of each camera and band
  --label WORD   those that people labelled so, or worse (`gpuanom label`): prominent, or dubious
  --fdr Q        those that counting noise does not explain, at a false-discovery rate of Q (Benjamini-Hochberg)
  --z Z, --p P   those that counting noise explains badly; on real data many good exposures, too
"""


@click.command(epilog=EPILOG)
@night_argument
@click.option(
    "--format", "form", required=True, type=click.Choice(lists.FORMATS), help="Format of the list, see below."
)
@click.option(
    "--output",
    "-o",
    type=GivenPath(),
    help="File to write; for regions, a folder (default: print the list).",
)
@click.option(
    "--by",
    "kinds",
    default=",".join(KINDS),
    show_default=True,
    callback=kinds_of(KINDS),
    help="Kinds of score; one of them is enough to choose an exposure.",
)
@click.option("--verdict", metavar="bad[,check]", help="Choose what has one of these verdicts (default: bad).")
@click.option("--deviation", type=float, help="Choose exposures with a deviation at or above this.")
@click.option("--rank", type=click.IntRange(1), help="Choose exposures of ranks 1 to this.")
@click.option("--label", type=click.Choice(["prominent", "dubious"]), help="Choose exposures labelled so, or worse.")
@click.option("--fdr", type=click.FloatRange(0, 1), help="Choose exposures at this false-discovery rate.")
@click.option("--z", type=float, help="Choose exposures with a z at or above this.")
@click.option("--p", type=click.FloatRange(0, 1), help="Choose exposures with a p at or below this.")
@click.option(
    "--analysts",
    "how",
    type=click.Choice(CONSENSUS),
    default="majority",
    show_default=True,
    help="With --label: how many of the analysts who labelled an exposure must agree.",
)
@click.option("--ccd-z", type=float, help="Of background anomalies, list only CCDs with a z at or above this.")
@reference_option
@relocate_option
def export(
    folder: Path,
    form: str,
    output: Path | None,
    kinds: tuple[str, ...],
    how: Consensus,
    ccd_z: float | None,
    reference: Path | None,
    relocate: dict[str | Path, str | Path],
    **criterion: Any,
) -> int:
    """Write a list of bad (or good) exposures, as surveys use it.

    SCORED is a folder that `gpuanom score` made. The list is printed, or written to --output.
    """
    if form == "regions" and output is None:
        raise click.UsageError("regions are written into a folder, a file for each CCD: give it by --output")
    if all(value is None for value in criterion.values()):
        if set(kinds) != set(KINDS) or ccd_z is not None:
            raise click.UsageError("--by and --ccd-z choose by scores: give --deviation, --rank, --z, --p or --fdr too")
        criterion["verdict"] = "bad"
    elif criterion["verdict"] is not None and (ccd_z is not None or (form != "regions" and set(kinds) != set(KINDS))):
        raise click.UsageError("--by and --ccd-z choose by scores, and --verdict does not: leave them out")
    elif criterion["label"] is not None and not {"source", "background"} & set(kinds):
        raise click.UsageError("labels are of source or background: with --label, --by names one of these or both")
    chosen_by = lists.Criterion(**criterion)
    _ = chosen_by.name  # refuses none or several criteria before anything is read
    if output is not None and form != "regions":
        require_replaceable(output)
    night = open_night(folder, reference=reference, relocate=relocate)
    tell_unfinished(night)
    kept_labels, _ = labels.placed(labels.kept(folder), night.found)
    if chosen_by.label and not kept_labels:
        raise OutputError(f"{folder}: holds no labels (import them: gpuanom label {folder} labels.csv)")
    chosen = lists.choose(night, chosen_by, kinds, kept_labels, how)
    if form == "regions" and output is not None:
        return _regions(night, chosen, output, "source" if "isophote" not in kinds else "isophote")
    if form == "exclude":
        text = lists.exclude_table(night, chosen, ccd_z)
    elif form == "bad_expid":
        text = lists.bad_expid(night, chosen, ccd_z)
    elif form == "excluded_visits":
        text = lists.visit_list(chosen)
    else:
        text = lists.good_files(night, chosen)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)
    unmeasured = sum(not row["n_ccd_used"] for row in night.exposures)
    bad, ccds = lists.whole(chosen), len(chosen) - len(lists.whole(chosen))
    single = f", single CCDs of {ccds} more" if ccds else ""
    if ccds and form == "excluded_visits":
        single += " (left out of this list)"
    click.echo(
        f"chosen as bad: {len(bad)} of {len(night.exposures)} exposures{single}; {unmeasured} could not be measured",
        err=True,
    )
    return 0


def _regions(night: Any, chosen: lists.Chosen, output: Path, kind: str) -> int:
    """Write region files, and return the exit code: 1 when sources of an exposure are missing."""
    failed = False
    with Screen(quiet=False, verbose=False) as screen:
        count = screen.count("finding sources")
        for done, (key, n, missing) in enumerate(regions(night, chosen, output, select("cpu"), kind), start=1):
            count(done, len(chosen))
            screen.line(f"exposure {key[1]}: {n} sources" + "".join(f"; {reason}" for reason in missing[:3]))
            failed = failed or bool(missing)
    return int(failed)
