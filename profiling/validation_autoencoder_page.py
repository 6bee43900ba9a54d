# ruff: noqa: E501  (lines of a page, as long as the other pages')
"""The page of `validation_autoencoder.py`: tables, and the section of docs/validation.md between its marks."""

from __future__ import annotations

from pathlib import Path

import bench
import numpy as np
import validation as v

DOCS = Path(__file__).parent.parent / "docs" / "validation.md"
RESULT = "validation-autoencoder.md"
MARKS = ("<!-- validation_autoencoder.py -->", "<!-- end of validation_autoencoder.py -->")
SOURCE = tuple(n for n, i in v.TRIED.items() if i.kind == "source")
BACKGROUND = tuple(n for n, i in v.TRIED.items() if i.kind == "background")
AT_4 = ("source_kl", "source_z", "isophote_kl", "background_kl", "autoencoder_mse")
AT_30 = ("source_kl", "isophote_kl", "autoencoder_mse")


def cell(found):
    """Recall at 1% and at 5% false alarms in percent, and ROC area, as a cell of a table."""
    return f"{100 * found[0]:.0f} {100 * found[1]:.0f} {found[2]:.2f}"


def pair(found):
    """Recall at 5% false alarms and ROC area, as a cell of a table."""
    return f"{100 * found[1]:.0f}% {found[2]:.2f}"


def mean(table, names, column):
    return tuple(np.mean([f[column] for (name, _), f in table.items() if name in names], axis=0))


def section(e):
    """The section of docs/validation.md."""
    about, size, table, bright = e["about"], e["size"], e["table"], e["bright"]
    population = size.population
    exposures = sum(d["exposures"] for d in about["datasets"])
    summary = []
    for title, names in (("sources", SOURCE), ("background", BACKGROUND)):
        summary.append(
            [f"anomalies of the {title}, sources from 4 sigma", *(pair(mean(table, names, c)) for c in AT_4)]
        )
    of_bright = ["anomalies of the sources, sources from 30 sigma", *(pair(mean(bright, SOURCE, c)) for c in AT_4)]
    labels = population.odd // 2
    judged = [
        [name, f"{100 * x[:, 0].mean():.0f}% {x[:, 1].mean():.3f}", f"{x[:, 1].std() / np.sqrt(len(x)):.3f}"]
        for name, x in sorted(both(e).items(), key=lambda item: -item[1][:, 1].mean())
    ]
    moved = {
        t: ", ".join(f"{name} {r:+.2f}" for name, r in correlations.items()) for t, correlations in e["moved"].items()
    }
    return f"""### The autoencoder (the paper's section 4)

`python profiling/validation_autoencoder.py MODEL` passes the stamps of all these exposures through an autoencoder. `gpuanom train` made that autoencoder with its default settings
({about["stamps"]} stamps, {about["epochs"]} epochs, of which epoch {about["best_epoch"]} was kept) from another night by `gpuanom simulate`: {exposures} exposures, some of them anomalous, as in the paper.
The table gives the recall at 5% false alarms and the ROC area, for {population.normals} normal exposures and {population.odd} anomalous exposures of each class and strength (one exposure is {100 / population.odd:.0f}%), measured on {e["date"]}. Means over classes and strengths:

{bench.table(["", *AT_4], [*summary, of_bright])}

All classes and strengths are in [profiling/results/{RESULT}](../profiling/results/{RESULT}).

{findings(e, moved)}

With labels (`gpuanom train --supervised`): a night of half of the normal exposures and {labels} anomalous exposures, each of a random class and strength of any kind, is labelled by the truth; the classifier is fitted to that night and
judged on a night of the other half. This is done {size.nights} times, and then again with {e["times"] * labels} anomalous exposures to learn from. The table gives the recall at 5% false alarms, the ROC area, and the error of the mean area:

{bench.table(["score", "held out", "error"], judged)}

{labelled(e)}"""


def both(e):
    """All scores, and the classifier with few and with more labels."""
    scores = dict(e["supervised"])
    few = e["size"].population.odd // 2
    scores[f"classifier, {few} anomalies labelled"] = scores.pop("classifier")
    scores[f"classifier, {e['times'] * few} anomalies labelled"] = e["more_labels"]["classifier"]
    return scores


def seen_first(e):
    """Classes of sources, and strengths, where the autoencoder's recall is half or more, and none of the others' is."""
    found = []
    for name in SOURCE:
        for k in sorted(k for n, k in e["table"] if n == name):
            found_by = e["table"][name, k]
            others = max(found_by[c][1] for c in (*AT_4, "few_sources") if c != "autoencoder_mse")
            if found_by["autoencoder_mse"][1] >= 0.5 > others:
                found.append(f"{name} of {v.STRENGTHS[name][k]:g}")
    return ", ".join(found) or "none"


def findings(e, moved):
    """What the numbers say, from the numbers."""
    table, bright = e["table"], e["bright"]

    def wins(results, column):
        pairs = [(f["autoencoder_mse"][2], f[column][2]) for (name, _), f in results.items() if name in SOURCE]
        return f"larger in {sum(a > b for a, b in pairs)} and smaller in {sum(a < b for a, b in pairs)}"

    n = sum(name in SOURCE for name, _ in table)
    area = {c: (mean(table, SOURCE, c)[2], mean(bright, SOURCE, c)[2]) for c in ("autoencoder_mse", "source_kl")}
    changed = {c: f"{a:.2f} to {b:.2f}" for c, (a, b) in area.items()}
    gained = ", ".join(
        f"{name} {v.STRENGTHS[name][k]:g}: {100 * table[name, k]['autoencoder_mse'][1]:.0f}% to"
        f" {100 * bright[name, k]['autoencoder_mse'][1]:.0f}%"
        for name, k in (("elongation", 3), ("double", 1), ("astigmatism", 3))
        if (name, k) in bright
    )
    return f"""- Of {n} classes and strengths of source anomalies the ROC area of autoencoder_mse is {wins(table, "source_kl")} than source_kl's, {wins(table, "source_z")} than source_z's, {wins(table, "isophote_kl")} than isophote_kl's.
- Found in half of the exposures or more (5% false alarms) by the autoencoder, but neither by another score of this table nor by the number of sources: {seen_first(e)}. The autoencoder needs no direction: it is best at round donuts, which orientations cannot show.
- Slight elongations of every source are found better by isophote_kl: the error of a reconstruction does not tell a slightly elongated star from a slightly wider star.
- With sources from 30 sigma instead of 4 the mean ROC area of source_kl goes from {changed["source_kl"]}, that of autoencoder_mse from {changed["autoencoder_mse"]}. Anomalies that distort bright stars are then found more often (recall of {gained}); clouds and trails are no longer found.
  Most of an error comes from the noise of faint sources and from their neighbours, and whatever dims every source raises the error: under clouds autoencoder_mse shows the loss of light, not shapes. The errors of normal exposures have these rank
  correlations with the exposures' own properties: from 4 sigma {moved[4.0]}; from 30 sigma {moved[30.0]}."""


def labelled(e):
    """Whether the classifier is better than every single score, beyond the error of the difference."""
    areas = {name: x[:, 1] for name, x in both(e).items()}
    others = [name for name in areas if not name.startswith("classifier")]
    best = max(others, key=lambda name: areas[name].mean())
    said = []
    for name in areas:
        if name in others:
            continue
        difference = areas[name] - areas[best]
        error = difference.std() / np.sqrt(len(difference))
        far = difference.mean() / error
        verdict = "better than" if far > 2 else "worse than" if far < -2 else "within chance of"
        said.append(
            f"The {name}, is {verdict} the best of the others ({best}): {difference.mean():+.3f} (error {error:.3f})."
        )
    return " ".join(said)


def write(e, quick):
    """Write the result, and docs/validation.md's section."""
    text = section(e)
    population = e["size"].population
    rows = [
        [name, f"{v.STRENGTHS[name][k]:g}", *(cell(f[c]) for c in (*AT_4, "few_sources"))]
        + [cell(e["bright"][name, k][c]) if (name, k) in e["bright"] else "" for c in AT_30]
        for (name, k), f in e["table"].items()
    ]
    header = ["class", "strength", *AT_4, "few_sources", *(f"{c}, 30 sigma" for c in AT_30)]
    about = {
        name: value
        for name, value in e["about"].items()
        if name not in ("settings", "kind", "format", "nights", "datasets")
    }
    bench.write(
        "validation-autoencoder-quick.md" if quick else RESULT,
        f"""# What an autoencoder finds

{e["machine"]}; measured in {e["seconds"]:.0f} s by {e["processes"]} process(es), wall clock, beside other jobs.

{population.normals} normal exposures, {population.odd} anomalous ones a class and strength. Recall at 1% and at 5% false alarms in percent, ROC area.
The model: {", ".join(f"{name} {value}" for name, value in about.items())}.

{bench.table(header, rows)}

{MARKS[0]}
{text.replace("](../profiling/results/", "](")}
{MARKS[1]}""",
    )
    if not quick:
        bench.put_between(DOCS, MARKS, text)
