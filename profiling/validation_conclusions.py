"""The first section of docs/validation.md: what is found and what is not, by the numbers of the page."""

from __future__ import annotations

import re

from gpuanom.simulate import INJECTORS

NOT_SCORES = ("few_sources", "table_order", "table_order_and_local")
"""Columns of the results that are not scores of the method."""
WORTH_TELLING = 0.05
"""A difference of two recalls that may be more than chance, with 20 exposures of each kind."""
HEADER = "| anomaly | found from | by | the paper's scores find it from |\n|---|---|---|---|"


def first_found(table, strengths, name, columns):
    """The weakest strength at which a column finds half of the exposures, and the best column at that strength."""
    for k in sorted(k for n, k in table if n == name):
        row = table[name, k]
        # Areas are compared as the results print them, so that the page can be checked against the printed results.
        best = max(columns, key=lambda c: (row[c][1], round(row[c][2], 2)))
        if row[best][1] >= 0.5:
            return strengths[name][k], best
    return None, ""


def found_from(table, strengths):
    """The table of the section: from which strength each class of anomaly is found, and by which score."""
    scores = [c for c in next(iter(table.values())) if c not in NOT_SCORES]
    rows = []
    for name in strengths:
        injector = INJECTORS[name.partition("/")[0]]
        strength, best = first_found(table, strengths, name, scores)
        literal, _ = first_found(table, strengths, name, ("source_kl", "background_kl"))
        if strength is None:
            rows.append(f"| {name} | at no strength that was tried |  |  |")
        else:
            paper = f"{literal:g}" if literal is not None else "at no strength that was tried"
            rows.append(f"| {name} | {strength:g} ({injector.unit}) | `{best}` | {paper} |")
    return "\n".join([HEADER, *rows])


def conclusions(table, strengths, recalls, false_alarms, autoencoder):
    """The section of conclusions, as Markdown.

    Parameters
    ----------
    table : dict of (str, int) to dict of str to tuple of float
        By class and index of the strength, then by column: recall at 1%, recall at 5%, ROC area.
    strengths : dict of str to tuple of float
        The strengths tried of each class.
    recalls : dict of str to float
        Recall at 5% false alarms of exposures that are elongated along one direction: `few` where they are 2% of a
        dataset, `third` where they are a third of it, `third_robust` the same with the robust profile; and the mean
        recall of source_kl with sources from 4 sigma, `faint`, and from 30 sigma, `bright`.
    false_alarms : float
        The share of the normal exposures whose isophote_z is above 3.
    autoencoder : str
        The autoencoder's section, or nothing where it was not measured.
    """
    share = {name: f"{100 * value:.0f}%" for name, value in recalls.items()}
    scores = [c for c in next(iter(table.values())) if c not in NOT_SCORES]
    lost = [name for name in strengths if first_found(table, strengths, name, scores)[0] is None]
    alone = re.search(r"nor by the number of sources: (.*?)\. The autoencoder needs", autoencoder)
    more = ""
    if alone and alone.group(1) != "none":
        more = f"""
- **The autoencoder finds what has no direction.** Found by the autoencoder and by no score of
  orientations: {alone.group(1)}."""
    serve = "hardly change the paper's source score"
    if recalls["bright"] - recalls["faint"] >= WORTH_TELLING:
        serve = "serve the paper's source score better"
    return f"""## In short

The figures are those of simulated nights, made by the commands named below. Normal exposures differ
less there than on a real sky, so these are the weakest anomalies that the method can find at best.
"Found" means that a score finds at least half of the exposures, with 5% false alarms.

{found_from(table, strengths)}

- **Not found by any score of orientations: {", ".join(lost) or "none"}.** The gradients of a ring point all
  ways, and the scores do not know where on the CCD they were measured.
- **Slight elongations of all sources are found by the isophotal scores**, much sooner than by the
  paper's source score. The paper's source score finds separate images and trails.
- **What cancels over the focal plane, such as astigmatism, is found CCD by CCD** (`isophote_local_z`),
  and by no score of the whole exposure.
- **Donuts and clouds have no direction.** Orientations show them only when strong, by what they do to
  the background; under clouds, look at `n_sources`.{more}
- **p is calibrated for counting noise alone.** Even normal exposures differ by more: {100 * false_alarms:.1f}% of
  them have an `isophote_z` above 3. So go by `_deviation` on real data.
- **A few anomalous exposures do not spoil the reference.** With 2% of a dataset elongated along one
  direction, {share["few"]} of them are found; with a third, {share["third"]}, and {share["third_robust"]}
  with `--profile robust`.
- **Brighter sources {serve}**: its mean recall goes from {share["faint"]} with
  sources from 4 sigma to {share["bright"]} with sources from 30 sigma.
- **Real images have been tried little**: five exposures of one detector, with the same tendency."""
