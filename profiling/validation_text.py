# ruff: noqa: E501  (lines of a page, as long as the other pages')
"""The words of docs/validation.md around the numbers of `validation.py`; what is said of a number follows from it."""

from __future__ import annotations

import bench
import numpy as np
import validation as v
import validation_page as p
from validation_conclusions import conclusions

from gpuanom.settings import PROFILES

STATIC = """## p-values

The p-values were tried on simulated normal exposures, whose histograms are drawn from one
distribution: datasets of 3, 8, 30 and 300 exposures, sparse exposures, a saved reference, and
backgrounds of several CCDs. If nothing is wrong, p is uniform, and z has mean 0 and deviation 1.
`python profiling/calibration.py` makes the figure (fixed seeds); its numbers are in
[profiling/results/calibration.md](../profiling/results/calibration.md). `tests/test_significance.py` holds
the same on other draws, and `tests/test_local_alignment.py` does so for alignment CCD by CCD.

![Distributions of p on simulated normal exposures](figures/calibration.png)

## The steps

`tests/naive.py` is the method in plain float64 loops, written from docs/METHOD.md alone. Every step
is compared with it: source positions and counts exactly, sums within tolerances that carry their
reason. The images are simulated scenes, random ones from Hypothesis, and crops of real images. Some
answers are also known from theory: ellipses of known angle, the gradient of a plane, stripes of known
direction, quarter turns, added constants, pure patterns of rows and of columns."""


def percent(x):
    return f"{100 * x:.0f}%"


def cell(f):
    return p.cell(f)


def pair(f):
    """Recall at 5% and ROC area."""
    return f"{100 * f[0]:.0f}% {f[1]:.3f}"


def page(e):
    """The whole page."""
    parts = (setup, classes, unseen, local, settings, contamination, profiles, paper)
    first = ("# Validation", in_short(e), STATIC)
    return "\n\n".join((*first, *(part(e) for part in parts), *autoencoder(), *real(), limits()))


def in_short(e):
    """The conclusions, from the numbers of the other sections."""
    recalls = {
        "few": e["shares"]["elongation", 0.02, 0, 0.1][2],
        "third": e["shares"]["elongation", 0.33, 0, 0.1][2],
        "third_robust": e["shares"]["elongation", 0.33, 4, 0.35][2],
        "faint": e["thresholds"][4.0][1]["source_kl"][0],
        "bright": e["thresholds"][30.0][1]["source_kl"][0],
    }
    _, alarms = e["profiles"]["paper"]
    return conclusions(e["table"], v.STRENGTHS, recalls, alarms["isophote_z"], "".join(autoencoder()))


def setup(e):
    size = e["size"]
    ny, nx = v.SHAPE
    return f"""## What is found

Everything below is written by `python profiling/validation.py` (fixed seeds; {e["seconds"]:.0f} s of measuring with {e["processes"]} process(es) on a shared machine;
`--quick` is a small form). {e["machine"]}.

- **Normal exposures**: {size.normals}, of {v.CCDS} CCDs of {nx} x {ny} pixels and {e["sources"]:.0f} sources each, drawn by
  `gpuanom.simulate` and made more like a real sky by `profiling/realistic.py`. The PSF is a Moffat function
  of 2.6 to 5.5 pixels, whose shear varies by 0.012 from exposure to exposure and over the field; sky and
  density of sources vary threefold; skies have slopes of 2%; a quarter of the exposures lose light to
  cirrus, and one in 25 has a satellite's trail. There are cosmic rays, saturation and bleeding, bad
  columns, and on each CCD a step between amplifiers and what a flat field leaves, with masks as DECam's. {v.POINTS} gradient points a CCD are
  as dense as 10,000 on 1 Mpix; {v.BINS} bins.
- **Anomalous exposures**: {size.odd} further ones. Every anomaly of `gpuanom inject --list` is put into each of
  them in {len(size.strengths)} strengths. The scenes are the same, so that chance is shared by the rows of a table. They
  join the normal ones four at a time (2% of the dataset) and are ranked with them.
- **Recall**: the share of the anomalous exposures whose score is above all but 1% (or 5%) of the normal
  ones'. With {size.normals} normal exposures, 1% are {size.normals // 100}; with {size.odd} anomalous ones a recall near one half is known
  to about {100 * 0.5 / np.sqrt(size.odd):.0f}%.
- **ROC area**: the chance that an anomalous exposure scores above a normal one. 0.5 is no knowledge; below
  0.5 the anomaly makes exposures look *more* normal.
- A simulated sky is simpler than a real one, and normal exposures differ less here: recalls are what the
  method can reach at best. `gpuanom inject` measures the same on your own images."""


def classes(e):
    stripes, fringing = (e["table"][name, 1] for name in ("stripes", "fringing"))
    earlier, sooner = [], []
    for name in p.ALONG_ONE_AXIS:
        ours, theirs = (_seen_from(e, name, (column,)) for column in ("isophote_kl", "source_kl"))
        if ours and theirs and ours < theirs:
            earlier.append(theirs / ours)
            sooner.append(f"{name} {ours:g} against {theirs:g}")
    source = bench.table(("class", "strength", *p.SOURCE_COLUMNS), p.class_rows(e["table"], p.SOURCE, p.SOURCE_COLUMNS))
    back = ("class", "strength", *p.BACKGROUND_COLUMNS)
    background = bench.table(back, p.class_rows(e["table"], p.BACKGROUND, p.BACKGROUND_COLUMNS))
    units = "; ".join(f"{n}: {i.unit}" for n, i in v.TRIED.items())
    return f"""### By class and strength

Each cell: recall at 1% and at 5% false alarms in percent, ROC area. Every class by every column: [profiling/results/validation.md](../profiling/results/validation.md).

![Recall by class and strength](figures/validation-classes.png)

{source}

{background}

Strengths: {units}.

- The isophotal angles show what happens to every source at strengths {min(earlier):.1f} to {max(earlier):.0f} times lower than the
  orientations of whole stamps do (recall of 50% at 5% false alarms: {", ".join(sooner)}). Whole stamps show
  separate images that are further apart than an isophote reaches (double images of 20 pixels), and trails.
- One straight pattern is seen best by its alignment (stripes of {v.STRENGTHS["stripes"][1]:g}: {percent(stripes["background_alignment"][1])} at 5% false alarms,
  against {percent(stripes["background_kl"][1])} by background_kl), a bent one by its KL (fringing of {v.STRENGTHS["fringing"][1]:g}: {percent(fringing["background_alignment"][1])} by its
  alignment, against {percent(fringing["background_kl"][1])}).
- source_z is source_kl without what few counts explain. The two find the same here, where counts are
  alike, except where light is lost (donuts, clouds)."""


def _seen_from(e, name, columns):
    """The weakest strength tried that one of the columns finds half of at 5% false alarms; 0 when none does."""
    its = sorted(k for n, k in e["table"] if n == name)
    found = [k for k in its if max(e["table"][name, k][c][1] for c in columns) >= 0.5]
    return v.STRENGTHS[name][found[0]] if found else 0


def _best(e, name, k, columns):
    return max(columns, key=lambda c: (e["table"][name, k][c][1], e["table"][name, k][c][2]))


def unseen(e):
    """The classes that no score of the paper sees, and from which strength the others are seen."""
    literal = ("source_kl", "background_kl")
    every = tuple(c for c in v.COLUMNS if c not in ("few_sources", "table_order", "table_order_and_local"))
    rows = []
    for name in v.TRIED:
        its = sorted(k for n, k in e["table"] if n == name)
        seen = [f"{s:g}" if (s := _seen_from(e, name, columns)) else "not at all" for columns in (literal, every)]
        top = its[-1]
        best = _best(e, name, top, every)
        rows.append((name, f"{v.STRENGTHS[name][top]:g}", *seen, best if seen[1] != "not at all" else ""))
    blind = [r[0] for r in rows if r[2] == "not at all"]
    still = [r[0] for r in rows if r[3] == "not at all"]
    table = bench.table(
        (
            "class",
            "highest strength tried",
            "source_kl or background_kl sees it from",
            "any score sees it from",
            "best at the highest",
        ),
        rows,
    )
    few = {k: f["few_sources"] for (n, k), f in e["table"].items() if n == "clouds"}
    clouds = ", ".join(f"{v.STRENGTHS['clouds'][k]:g}: {100 * f[1]:.0f}%" for k, f in sorted(few.items()))
    ring = e["table"]["ring", max(e["size"].strengths)]
    donuts = [e["table"]["donuts", k] for k in sorted(e["size"].strengths)]
    return f"""### What is not seen

"Sees it from": the weakest strength tried with a recall of at least 50% at 5% false alarms.

{table}

Not seen by the paper's two scores at any strength tried: {", ".join(blind) or "none"}. Not seen by any score: {", ".join(still) or "none"}.

- **A single ring** lies on one CCD of {v.CCDS}, and its gradients point all ways: even at {v.STRENGTHS["ring"][max(e["size"].strengths)]:g} times the noise
  background_kl finds {percent(ring["background_kl"][1])} at 5% false alarms. Orientations without their places cannot tell a ring
  from chance, and the places are not stored.
- **Donuts** are round, and their orientations say nothing (recall of source_z by strength: {", ".join(percent(d["source_z"][1]) for d in donuts)}).
  Blurred stars make isophotal angles *more* random than usual (ROC area of isophote_kl {min(d["isophote_kl"][2] for d in donuts):.2f} at the
  lowest). Large donuts are found by their effect on the gradients of the background, which has less
  starlight in it (background_kl: {", ".join(percent(d["background_kl"][1]) for d in donuts)}).
- **Clouds** leave few sources. The column `n_sources` finds them (recall at 5% by share of light lost:
  {clouds}). source_z, which allows for the high KL of few counts, does not find them, and
  should not: {", ".join(percent(e["table"]["clouds", k]["source_z"][1]) for k in sorted(few))}.
- **A smooth glow** changes gradients on a scale on which skies have gradients anyway: {", ".join(percent(e["table"]["glow", k]["background_kl"][1]) for k in sorted(e["size"].strengths))}
  by background_kl.
- **A faint streak** touches few of the points, as the table shows."""


def local(e):
    """What alignment CCD by CCD adds."""
    rows = []
    for (name, k), f in e["table"].items():
        if name == "astigmatism":
            columns = ("source_kl", "isophote_kl", "isophote_alignment", "background_kl", "isophote_local_z")
            rows.append((f"{v.STRENGTHS[name][k]:g}", *(p.cell(f[c]) for c in columns)))
    order, more = (p.mean_over(e["table"], tuple(v.TRIED), c, 1) for c in ("table_order", "table_order_and_local"))
    better = more > order + 0.02
    verdict = "more" if better else "not more" if abs(more - order) <= 0.02 else "less"
    return f"""### Alignment CCD by CCD

Sources that are elongated radially (astigmatism, a tilted focal plane) are plain on every CCD, and
cancel in the exposure's one histogram. `source_local_*` and `isophote_local_*` compare the sums of cos
and sin of twice the orientation of each CCD with what the reference would give, and add the squares
([tables.md](tables.md)). Recall at 1%, at 5%, and ROC area, on astigmatism by shear at the field's edge:

{bench.table(("shear", "source_kl", "isophote_kl", "isophote_alignment", "background_kl", "isophote_local_z"), rows)}

These columns do not change the order of the tables. If the local deviations joined those by which the
tables are ordered, the recall at 5% over all classes and strengths would be {percent(more)} instead of {percent(order)}:
{verdict} (a shift of 2% is within chance)."""


def settings(e):
    bins = [
        (n, *(pair(e["bins"][n][c]) for c in ("source_kl", "isophote_kl", "background_kl", "flat_background_kl")))
        for n in p.BINS
    ]
    columns = ("source_kl", "source_z", "isophote_kl", "isophote_z", "isophote_local_z")
    heights = [(f"{t:g}", f"{s:.0f}", *(pair(f[c]) for c in columns)) for t, (s, f) in e["thresholds"].items()]
    columns = ("source_kl", "source_z", "isophote_kl", "isophote_local_z")
    counts = [(n, *(pair(f[c]) for c in columns)) for n, f in sorted(e["counts"].items())]
    return f"""### How settings move it

![How recall and ROC area move](figures/validation-settings.png)

Cells: recall at 5% false alarms and ROC area, means over classes and strengths (source columns: the classes with one axis; background columns: those of the background).

Bins:

{bench.table(("bins", "source_kl", "isophote_kl", "background_kl", "flat_background_kl"), bins)}

Height of a source (the two middle strengths):

{bench.table(("threshold", "sources", "source_kl", "source_z", "isophote_kl", "isophote_z", "isophote_local_z"), heights)}

Sources an exposure (1, 2, 4 and 8 of its CCDs):

{bench.table(("sources", *columns), counts)}"""


def contamination(e):
    rows = []
    for (name, _, rounds, _), (n_odd, n_normal, recall, raised) in e["shares"].items():
        if rounds == 0:
            rows.append([name, f"{n_odd} of {n_odd + n_normal}"])
        rows[-1].append(f"{100 * recall:.0f}% {raised:.2f}")
    names = [f"{rounds} rounds" + (f" of {100 * fraction:.0f}%" if rounds else "") for rounds, fraction in p.ROUNDS]
    strengths = [v.STRENGTHS[name][1] for name in ("elongation", "stripes")]
    return f"""### Anomalous exposures in the reference

In these datasets all anomalies run along one direction, which is the worst case. Cells: recall at 5%
false alarms, and the median score of the normal exposures over that of a clean dataset; by the rounds of
the robust reference, and the share of exposures that each round leaves out. Elongation of {strengths[0]:g} by
isophote_kl, stripes of {strengths[1]:g} by background_kl.

{bench.table(("class", "anomalous", *names), rows)}

A round leaves out what ranks highest, starting from all: leaving out 10% cannot help much where a third is anomalous, leaving out 35% can, and costs nothing where all is well."""


def paper(e):
    ranking = [
        (f"{a:g} and {b:g} sigma", column, f"{r:.2f}", percent(common))
        for (a, b, column), (r, common) in e["rankings"].items()
    ]
    r, common = e["rankings"][10.0, 30.0, "source_kl"]
    areas = [e["thresholds"][t][1]["source_kl"][1] for t in (10.0, 30.0)]
    few = {n: e["shares"][n, 0.02, 0, 0.1] for n in ("elongation", "stripes")}
    share = 0.2
    safe = all(f[3] < 1.1 for f in few.values())
    falls = []
    verdicts = []
    for column, shares in e["falls"].items():
        falls.append((column, *(f"{100 * s:.0f}" for s in shares)))
        verdicts.append(np.corrcoef(np.arange(10), shares)[0, 1] < -0.7)
    return f"""### The paper's findings, one by one

**10 and 30 sigma give similar rankings.** {"Holds" if r > 0.8 else "Holds in part"}: Spearman's correlation of source_kl's rankings is {r:.2f}, and {percent(common)} of the first tenth is common; mean ROC areas are {areas[0]:.3f} and {areas[1]:.3f}. The
order of normal exposures is chance and is part of the correlation; by isophotal angles it is higher. Nights of {e["size"].normals} normal and {e["size"].odd} anomalous exposures:

{bench.table(("thresholds", "ranking by", "Spearman", "of the first tenth in common"), ranking)}

**Few anomalies leave the reference safe.** {"Holds" if safe else "Does not hold"}: with 2% of a dataset anomalous along one direction (the table above), all or nearly all are found and the normal exposures' median score changes by a factor of {few["elongation"][3]:.2f} (elongation) and {few["stripes"][3]:.2f} (stripes).
With {percent(share)} in one direction, elongation of {v.STRENGTHS["elongation"][1]:g} is found in {percent(e["shares"]["elongation", 0.2, 0, 0.1][2])}, with a third in {percent(e["shares"]["elongation", 0.33, 0, 0.1][2])}; the rounds of the robust profile find {percent(e["shares"]["elongation", 0.33, 4, 0.35][2])} there.

**The share of true anomalies falls with rank.** {"Holds for every score" if all(verdicts) else "Does not hold for every score"}: random nights, a tenth of their exposures anomalous (any class and strength of the kind); percent of true anomalies in each tenth of
the first 10%:

{bench.table(("score", *(str(i) for i in range(1, 11))), falls)}"""


def profiles(e):
    (paper_means, paper_alarms), (means, alarms) = e["profiles"]["paper"], e["profiles"]["robust"]
    rows = [(c, cell(paper_means[c]), cell(means[c])) for c in means]
    robust = ", ".join(f"{name} = {value:g}" for name, value in PROFILES["robust"].items())
    low, high = (e["thresholds"][t][1]["source_kl"] for t in (4.0, 30.0))
    at_100 = e["thresholds"][100.0][1]
    wrong = "; ".join(f"{c} {100 * paper_alarms[c]:.1f}% and {100 * alarms[c]:.1f}%" for c in alarms)
    return f"""### Where the paper's default is not the best: `--profile robust`

- **Threshold.** Stamps of faint sources are mostly noise: from 4 to 30 sigma source_kl's recall at 5% false alarms goes from {percent(low[0])} to {percent(high[0])}, ROC area {low[1]:.3f} to {high[1]:.3f}; isophotal angles gain a
  little. 100 sigma is better still for source_kl ({pair(at_100["source_kl"])}) and costs alignment CCD by CCD its sources (isophote_local_z {pair(at_100["isophote_local_z"])}; at 30 sigma {pair(e["thresholds"][30.0][1]["isophote_local_z"])}, at 4 {pair(e["thresholds"][4.0][1]["isophote_local_z"])}). This camera's sources are bright;
  where a survey has few above 30 sigma, stay lower.
- **Reference.** See the table above: rounds that leave out 35%.
- **Bins.** 9 to 18 do equally well within chance; more buy isophotes next to nothing and cost the background.

`--profile robust` is {robust}; `paper` stays the default, being what the paper computes. Means over the two middle strengths, anomalies 2% of the dataset (recall at 1%, at 5%,
ROC area):

{bench.table(("score", "paper", "robust"), rows)}

A price: exposures that a round leaves out are compared with a reference that lacks what is like them, so their z and p are somewhat too strong. Normal exposures with z above 3, paper
and robust: {wrong}. (By isophotes most normal exposures differ from each other far beyond counting noise: their PSFs differ. Hence `_deviation`.)"""


def real():
    """The table of `validation_real.py`, where it was run."""
    path = bench.RESULTS / "validation-real.md"
    if not path.exists():
        return ()
    table = path.read_text(encoding="utf-8").partition("| class |")
    return (
        f"""### In real images

`python profiling/validation_real.py FOLDER` puts the same anomalies into real exposures. Five of VISTA's VIRCAM, one detector each (the public test images of ProPane): each in turn gets the
anomaly and is ranked among the other four as they are. How many of the five come first by each score (by chance: 1), and by how many degrees the direction found is off, in the median. With
five exposures this is a hint, but the same one: slight elongations by isophotes at the right angle, separate images and stripes by the paper's scores, no ring.

{table[1]}{table[2].rstrip()}""",
    )


def autoencoder():
    """The section of `validation_autoencoder.py`, where it was run."""
    path = bench.RESULTS / "validation-autoencoder.md"
    if not path.exists():
        return ()
    first, last = "<!-- validation_autoencoder.py -->", "<!-- end of validation_autoencoder.py -->"
    text = path.read_text(encoding="utf-8").partition(first)[2].partition(last)[0]
    return (f"{first}\n\n{text.strip()}\n\n{last}",)


def limits():
    return """### What this does not say

Recalls are those of one simulated camera with few, small CCDs. On real skies, with nebulae, satellites and
bright stars, they are lower. More CCDs and sources make weaker anomalies visible; an anomaly on a few of
sixty CCDs is diluted more. Strengths can be compared within a class, not between classes. A benchmark in
`tests/simulate/test_detection_power.py` fails when a change loses recall."""
