# ruff: noqa: E501  (lines of a page, as long as the other pages')
"""The page of `validation_autoencoder.py`: tables, and the section of docs/validation.md between its marks."""

from __future__ import annotations

from pathlib import Path

import bench
import numpy as np
import validation as v

from gpuanom.simulate import INJECTORS

DOCS = Path(__file__).parent.parent / "docs" / "validation.md"
RESULT = "validation-autoencoder.md"
MARKS = ("<!-- validation_autoencoder.py -->", "<!-- end of validation_autoencoder.py -->")
SOURCE = tuple(n for n, i in INJECTORS.items() if i.kind == "source")
BACKGROUND = tuple(n for n, i in INJECTORS.items() if i.kind == "background")
AT_4 = ("source_kl", "source_z", "isophote_kl", "background_kl", "autoencoder_mse")
AT_30 = ("source_kl", "isophote_kl", "autoencoder_mse")


def cell(found):
    """Recall at 1% and at 5% false alarms in percent, ROC area."""
    return f"{100 * found[0]:.0f} {100 * found[1]:.0f} {found[2]:.2f}"


def pair(found):
    """Recall at 5% and ROC area."""
    return f"{100 * found[1]:.0f}% {found[2]:.2f}"


def mean(table, names, column):
    return tuple(np.mean([f[column] for (name, _), f in table.items() if name in names], axis=0))


def section(e):
    """The section of docs/validation.md."""
    about, size, table, bright = e["about"], e["size"], e["table"], e["bright"]
    some = size.population
    exposures = sum(d["exposures"] for d in about["datasets"])
    summary = []
    for title, names in (("sources", SOURCE), ("background", BACKGROUND)):
        summary.append(
            [f"anomalies of the {title}, sources from 4 sigma", *(pair(mean(table, names, c)) for c in AT_4)]
        )
    of_bright = ["anomalies of the sources, sources from 30 sigma", *(pair(mean(bright, SOURCE, c)) for c in AT_4)]
    rows = [
        [name, f"{v.STRENGTHS[name][k]:g}", *(pair(f[c]) for c in AT_4), *(pair(bright[name, k][c]) for c in AT_30)]
        for (name, k), f in table.items()
        if name in SOURCE
    ]
    header = ["class", "strength", *AT_4, *(f"{c}, 30 sigma" for c in AT_30)]
    judged = [
        [name, f"{100 * x[:, 0].mean():.0f}% {x[:, 1].mean():.3f}", f"{x[:, 1].std() / np.sqrt(len(x)):.3f}"]
        for name, x in sorted(e["supervised"].items(), key=lambda item: -item[1][:, 1].mean())
    ]
    moved = {t: ", ".join(f"{name} {r:+.2f}" for name, r in its.items()) for t, its in e["moved"].items()}
    return f"""### The autoencoder (the paper's section 4)

`python profiling/validation_autoencoder.py MODEL`: the exposures of the tables above; every stamp went through an autoencoder that `gpuanom train` made with its defaults
({about["stamps"]} stamps, {about["epochs"]} epochs, number {about["best_epoch"]} kept) of another night that `gpuanom simulate` made, {exposures} exposures with some anomalous ones among them, as in the paper.
Recall at 5% false alarms and ROC area; {some.normals} normal exposures, {some.odd} anomalous ones a class and strength (one is {100 / some.odd:.0f}%). Means over classes and strengths:

{bench.table(["", *AT_4], [*summary, of_bright])}

By class and strength, anomalies of the sources; everything else in [profiling/results/{RESULT}](../profiling/results/{RESULT}):

{bench.table(header, rows)}

{findings(e, moved)}

With labels (`gpuanom train --supervised`): nights of half of the normal exposures and {some.odd // 2} anomalous ones, each of a random class and strength, are labelled by the truth; the classifier is fitted to them and
judged on the other half, {size.nights} times. Recall at 5% false alarms, ROC area, and the error of the mean area:

{bench.table(["score", "held out", "error"], judged)}

{labelled(e)}"""


def findings(e, moved):
    """What the numbers say, from the numbers."""
    table, bright = e["table"], e["bright"]

    def wins(its, column):
        pairs = [(f["autoencoder_mse"][2], f[column][2]) for (name, _), f in its.items() if name in SOURCE]
        return sum(a > b for a, b in pairs), sum(a < b for a, b in pairs), len(pairs)

    at_4, at_30 = wins(table, "source_kl"), wins(bright, "source_kl")
    isophote = wins(bright, "isophote_kl")
    return f"""- Against the paper's source score: of {at_4[2]} classes and strengths of source anomalies autoencoder_mse has the larger ROC area in {at_4[0]} and the smaller in {at_4[1]}; with sources from 30 sigma, where both
  gain, in {at_30[0]} and {at_30[1]}, and against isophote_kl there in {isophote[0]} and {isophote[1]}.
- Most of an error is the noise of faint sources and their neighbours. Rank correlation of normal exposures' errors with what they have in common: from 4 sigma {moved[4.0]}; from 30 sigma {moved[30.0]}."""


def labelled(e):
    """Whether the classifier is better than every single score, beyond the error of the difference."""
    some = e["supervised"]
    areas = {name: x[:, 1] for name, x in some.items()}
    best = max((name for name in areas if name != "classifier"), key=lambda name: areas[name].mean())
    difference = areas["classifier"] - areas[best]
    error = difference.std() / np.sqrt(len(difference))
    far = difference.mean() / error
    verdict = "better than" if far > 2 else "worse than" if far < -2 else "within chance of"
    return f"The classifier is {verdict} the best of the others ({best}): its area differs by {difference.mean():+.3f} (error {error:.3f})."


def write(e, quick):
    """Write the result, and docs/validation.md's section."""
    text = section(e)
    some = e["size"].population
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

{some.normals} normal exposures, {some.odd} anomalous ones a class and strength. Recall at 1% and at 5% false alarms in percent, ROC area.
The model: {", ".join(f"{name} {value}" for name, value in about.items())}.

{bench.table(header, rows)}

{MARKS[0]}
{text}
{MARKS[1]}""",
    )
    if not quick:
        put_into_docs(text)


def put_into_docs(text):
    """Replace the section of docs/validation.md."""
    page = DOCS.read_text(encoding="utf-8")
    before, _, rest = page.partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    DOCS.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}", encoding="utf-8")
