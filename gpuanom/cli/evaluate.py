"""`gpuanom evaluate`: how well scores find the anomalies that people labelled, or that a list names."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from gpuanom.cli.figures import figure_class, require_figure, require_table, save, write_table
from gpuanom.cli.given_path import GivenPath
from gpuanom.cli.options import kinds_of, night_argument, reference_option
from gpuanom.cli.screen import tell_unfinished
from gpuanom.cli.summary import print_table, summary_console
from gpuanom.errors import GpuanomError, printable
from gpuanom.records import KINDS
from gpuanom.review import evaluate as judging
from gpuanom.review import known_anomalies, labels
from gpuanom.review.analysts import CONSENSUS, Consensus
from gpuanom.review.known_anomalies import Recalled
from gpuanom.review.opened import ScoredNight, key_of, open_night
from gpuanom.scoring.verdict.levels import VERDICTS

EPILOG = """\b
Examples:
  gpuanom evaluate scored                             with the labels kept in SCORED (gpuanom label)
  gpuanom evaluate scored --labels ann.csv --labels bob.csv --figure rates.pdf --table rates.csv
  gpuanom evaluate scored --analysts all --score z    labels on which all analysts agree; exposures ranked by z
  gpuanom evaluate scored --known my-list.csv         ranks of known anomalies (columns: exposure, kind)
  gpuanom evaluate scored --known night/truth.ecsv    ranks of simulated anomalies, and the verdicts on them

An anomaly counts as found by the paper's scores when one of --by has it in the highest --fraction. Verdicts go by far
more than these scores: an exposure in no highest 10% may well be bad.

\b
The "12 of 13" of the paper, if you have the 1171 exposures of CFHTLenS in the i band, each in a folder with the name of
its field (the field w2p2p2 is recognised by this name alone):
  gpuanom score CFHTLENS/ -o cfhtlens
  gpuanom evaluate cfhtlens --known cfhtlens
"""


@click.command(epilog=EPILOG)
@night_argument
@click.option(
    "--labels",
    "files",
    multiple=True,
    type=GivenPath(dir_okay=False),
    help="CSV file of labels; may be repeated (default: the labels kept in SCORED).",
)
@click.option(
    "--known",
    help="List of known anomalies: cfhtlens (the paper's), the truth.ecsv of a simulated night, or a CSV file with a "
    "column exposure.",
)
@click.option(
    "--score",
    type=click.Choice(judging.SCORES),
    default="kl",
    show_default=True,
    help="The column that ranks the exposures; for the autoencoder, kl means autoencoder_mse.",
)
@click.option(
    "--by",
    "kinds",
    default="source,background",
    show_default=True,
    callback=kinds_of(judging.JUDGED),
    help="With --known: the kinds of score of which one must find an anomaly: source, isophote, background, "
    "flat_background, autoencoder.",
)
@click.option(
    "--fraction",
    type=click.FloatRange(0, 1, min_open=True),
    default=judging.FRACTION,
    show_default=True,
    help="Which fraction of each dataset counts as found: the exposures with the highest scores.",
)
@click.option("--bins", type=click.IntRange(1), default=judging.BINS, show_default=True, help="Bins of that fraction.")
@click.option(
    "--analysts",
    "how",
    type=click.Choice(CONSENSUS),
    default="majority",
    show_default=True,
    help="How many of the analysts must agree, in the figure and the summary; the table has all three choices.",
)
@click.option("--figure", type=GivenPath(dir_okay=False), help="Figure of the labels to write: .png, .pdf or .svg.")
@click.option("--table", type=GivenPath(dir_okay=False), help="Table of the labels to write: .csv or .ecsv.")
@click.option("--quiet", "-q", is_flag=True, help="Print no summary: only write --figure and --table.")
@reference_option
def evaluate(
    folder: Path,
    files: tuple[Path, ...],
    known: str | None,
    kinds: tuple[str, ...],
    how: Consensus,
    figure: Path | None,
    table: Path | None,
    quiet: bool,
    reference: Path | None,
    **options: Any,
) -> int:
    """Compare the scores of a night with people's labels.

    SCORED is a folder that `gpuanom score` made. Prints, for each camera and band, which share of the exposures with
    the highest scores people call prominent, and prominent or dubious (figures 5, 7 and 9 of the paper); with --known,
    the ranks of known anomalies, how many of them are among the highest scores, and the verdicts on them.
    """
    if quiet and figure is None and table is None:
        raise click.UsageError("--quiet prints nothing: give --figure or --table too")
    if figure is not None:
        require_figure(figure)
    if table is not None:
        require_table(table)
    anomalies = known_anomalies.read_known(known) if known else []
    given_labels = [label for file in files for label in labels.read(file)] if files else labels.kept(folder)
    night = open_night(folder, reference=reference)
    tell_unfinished(night)
    given_labels, strangers = labels.placed(given_labels, night.found)
    given_labels, strangers = labels.merged(given_labels), labels.merged(strangers)
    if not given_labels and not anomalies:
        raise GpuanomError(f"{folder}: no labels (give --labels or --known, or import them: gpuanom label)")
    wanted = [name for name, file in (("--figure", figure), ("--table", table)) if file is not None]
    if wanted and not given_labels:
        remedy = "give --labels, or import them: gpuanom label"
        raise GpuanomError(f"{folder}: {' and '.join(wanted)} show labels, and there are none ({remedy})")
    judging.require_scores(night, kinds if anomalies else KINDS, options["score"])
    if strangers:
        click.echo(f"{len(strangers)} labels belong to no exposure of this night", err=True)
    if given_labels:
        every: tuple[Consensus, ...] = ("any", "majority", "all")
        rates: dict[str, judging.Rates] = {
            consensus: judging.true_positive_rates(night, given_labels, how=consensus, **options) for consensus in every
        }
        if not quiet:
            _print_rates(rates[how], how, len({a.analyst for a in given_labels}))
        if table is not None:
            write_table(judging.rates_table(rates), table)
        if figure is not None:
            _draw(rates[how], figure)
    if anomalies and not quiet:
        found = known_anomalies.recall(
            night, anomalies, kinds=kinds, score=options["score"], fraction=options["fraction"]
        )
        _print_recall(night, found, options["fraction"])
        absent = [r.known.exposure for r in found if r.key is None and r.known.exposure]
        if known not in known_anomalies.SHIPPED:
            for exposure in absent[:5]:
                click.echo(printable(known_anomalies.nearest(night, exposure)), err=True)
            if len(absent) > 5:
                click.echo(f"and {len(absent) - 5} more", err=True)
    return 0


def _print_rates(rates: judging.Rates, how: str, n_analysts: int) -> None:
    console = summary_console()
    agree = f", {how} of {n_analysts} analysts" if n_analysts > 1 else ""
    numbers = ("exposures", "labelled", "prominent", "with dubious", "rate", "rate with dubious", "rate by bin")
    rows: list[list[str | Text]] = []
    for (camera, band, kind), bins in rates.items():
        n, labelled = (sum(getattr(b, name) for b in bins) for name in ("n", "labelled"))
        if not labelled:
            continue
        prominent, dubious = (sum(getattr(b, name) for b in bins) for name in ("prominent", "dubious"))
        counts = (str(n), str(labelled), str(prominent), str(prominent + dubious))
        share = (f"{prominent / labelled:.2f}", f"{(prominent + dubious) / labelled:.2f}")
        by_bin = " ".join("-" if math.isnan(b.prominent_rate) else f"{b.prominent_rate:.1f}" for b in bins)
        names = (Text(printable(text)) for text in (camera, band, kind))
        rows.append([*names, *counts, *share, by_bin])
    title = f"true-positive rates of the highest scores{agree}"
    columns, drop = ("camera", "band", "score", *numbers), ("rate by bin", "with dubious", "prominent", "camera")
    print_table(console, title, columns, rows, numbers=numbers, drop=(*drop, "exposures", "labelled"))


def _print_recall(night: ScoredNight, found: list[Recalled], fraction: float) -> None:
    console = summary_console()
    kinds = [kind for kind in judging.JUDGED if any(kind in r.ranks for r in found)]
    judged = {key_of(row): str(row["verdict"] or "-") for row in night.exposures if "verdict" in row}
    verdict = ("verdict",) if judged else ()
    highest = f"highest {fraction:.0%} by"
    columns = ("list", "exposure", "field", *kinds, highest, *verdict, "paper")
    rows = []
    for r in found:
        ranks = [f"{r.ranks[kind][0]} of {r.ranks[kind][1]}" if kind in r.ranks else "-" for kind in kinds]
        name = r.key[1] if r.key else r.known.exposure
        by = ", ".join(r.by) or ("none" if r.key else "not in this night")
        verdict_of = (judged.get(r.key, "-") if r.key else "-",) if judged else ()
        texts = (r.known.group, name, r.known.field, *ranks, by, *verdict_of, r.known.paper)
        rows.append([Text(printable(text)) for text in texts])
    empty = [name for k, name in enumerate(columns) if not any(str(row[k]) for row in rows)]
    drop = (*empty, "field", highest, *reversed(kinds))
    print_table(console, "known anomalies and their ranks", columns, rows, numbers=kinds, drop=drop)
    if judged:
        verdicts = [verdict for key, verdict in judged.items() if key in {r.key for r in found}]
        counts = ", ".join(f"{verdicts.count(name)} {name}" for name in VERDICTS)
        none = f", {verdicts.count('-')} without a verdict" if "-" in verdicts else ""
        console.print(Text(f"verdicts on the known anomalies of this night: {counts}{none}"))
    for group in dict.fromkeys(r.known.group for r in found):
        members = [r for r in found if r.known.group == group]
        absent = sum(r.key is None for r in members)
        missing = f"; {absent} are not in {night.folder}" if absent else ""
        paper = [r for r in members if r.known.paper]
        published = f"; the paper finds {sum(r.known.paper == 'found' for r in paper)}" if paper else ""
        n = sum(bool(r.by) for r in members)
        console.print(Text(f"{group}: {n} of {len(members)} in the highest {fraction:.0%}{missing}{published}"))


def _draw(rates: judging.Rates, path: Path) -> None:
    """Draw a figure with a row for each kind of score and a column for each dataset."""
    Figure = figure_class()
    from gpuanom.review import plots

    datasets = list(dict.fromkeys((camera, band) for camera, band, _ in rates))
    kinds = [kind for kind in judging.JUDGED if any(kind == k for _, _, k in rates)]
    figure = Figure(figsize=(max(4.0, 3.6 * len(datasets)), 2.8 * len(kinds)), layout="constrained")
    axes = figure.subplots(len(kinds), len(datasets), squeeze=False)
    for i, kind in enumerate(kinds):
        for j, (camera, band) in enumerate(datasets):
            bins = rates.get((camera, band, kind), [])
            title = printable(f"{camera} {band}, {kind.replace('_', ' ')}").replace("$", r"\$")
            plots.true_positive_rate(axes[i, j], bins, title=title, legend=False)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2, frameon=False)
    save(figure, path)
