# ruff: noqa: E501  (lines of a page, as long as the other pages')
"""The text of docs/validation.md around the numbers of `validation.py`; each verdict is computed from its number."""

from __future__ import annotations

import bench
import numpy as np
import validation as v
import validation_page as p
from validation_conclusions import conclusions

from gpuanom.settings import PROFILES

INTRODUCTION = """This page is about the scores of orientations: the paper's, and those that gpuanom adds. The verdict uses many more
statistics and finds more, such as rings, crosstalk and amplifier steps: [What the verdict finds](verdict-validation.md)."""

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
    """Recall at 5% false alarms and ROC area, as a cell of a table."""
    return f"{100 * f[0]:.0f}% {f[1]:.3f}"


def page(e):
    """The whole page."""
    parts = (setup, classes, unseen, local, settings, contamination, profiles, paper)
    first = ("# Validation of the paper's scores", INTRODUCTION, in_short(e), limits())
    return "\n\n".join((*first, *(part(e) for part in parts), *autoencoder(), *survey(), *real(), STATIC))


def in_short(e):
    """The section of conclusions, computed from the numbers of the other sections."""
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

This part is written by `python profiling/validation.py` (fixed seeds; the measurements took {e["seconds"]:.0f} s with {e["processes"]} process(es) on a shared machine;
`--quick` runs a smaller version). {e["machine"]}.

- **Normal exposures**: {size.normals}, of {v.CCDS} CCDs of {nx} x {ny} pixels and {e["sources"]:.0f} sources each, drawn by
  `gpuanom.simulate` and made more like a real sky by `profiling/realistic.py`. The PSF is a Moffat function
  of 2.6 to 5.5 pixels, whose shear varies by 0.012 from exposure to exposure and over the field; sky and
  density of sources vary threefold; skies have slopes of 2%; a quarter of the exposures lose light to
  cirrus, and one in 25 has a satellite's trail. There are cosmic rays, saturation and bleeding, bad
  columns, and on each CCD a step between amplifiers and what a flat field leaves, with masks like those of DECam. {v.POINTS} gradient points a CCD are
  as dense as 10,000 on 1 Mpix; histograms have {v.BINS} bins.
- **Anomalous exposures**: {size.odd} further exposures. Every anomaly of `gpuanom inject --list` is put into each of
  them in {len(size.strengths)} strengths. All rows of a table use the same scenes, so that chance affects all rows alike. Four
  anomalous exposures at a time (2% of the dataset) join the normal exposures and are ranked with them.
- **Recall**: the share of the anomalous exposures whose score is above the scores of all but 1% (or 5%) of the normal
  exposures. Of {size.normals} normal exposures, 1% are {size.normals // 100}; with {size.odd} anomalous exposures a recall near one half is known
  to about {100 * 0.5 / np.sqrt(size.odd):.0f}%.
- **ROC area**: the chance that an anomalous exposure scores above a normal one. At 0.5 the score says nothing; below
  0.5 the anomaly makes exposures look *more* normal.
- A simulated sky is simpler than a real one, and normal exposures differ less here: the recalls are the best that the
  method can reach. `gpuanom inject` measures the same on your own images."""


def classes(e):
    stripes, fringing = (e["table"][name, 1] for name in ("stripes", "fringing"))
    earlier, sooner = [], []
    for name in p.ALONG_ONE_AXIS:
        ours, theirs = (_seen_from(e, name, (column,)) for column in ("isophote_kl", "source_kl"))
        if ours and theirs and ours < theirs:
            earlier.append(theirs / ours)
            sooner.append(f"{name} {ours:g} against {theirs:g}")
    return f"""### By class and strength

The figure shows the recall at 5% false alarms of the scores of orientations. All classes, strengths and columns, with the
recall at 1% and the ROC area, are in [profiling/results/validation.md](../profiling/results/validation.md).

![Recall by class and strength](figures/validation-classes.png)

- The isophotal angles show what happens to every source at strengths {min(earlier):.1f} to {max(earlier):.0f} times lower than the
  orientations of whole stamps do (recall of 50% at 5% false alarms: {", ".join(sooner)}). Whole stamps show
  separate images that are further apart than an isophote reaches (double images of 20 pixels), and trails.
- A single straight pattern is found best by its alignment (stripes of {v.STRENGTHS["stripes"][1]:g}: {percent(stripes["background_alignment"][1])} at 5% false alarms,
  against {percent(stripes["background_kl"][1])} by background_kl), a bent pattern by its KL (fringing of {v.STRENGTHS["fringing"][1]:g}: {percent(fringing["background_alignment"][1])} by its
  alignment, against {percent(fringing["background_kl"][1])}).
- source_z is source_kl less the part that small counts explain. Both find the same anomalies here, where
  counts are alike, except where light is lost (donuts, clouds)."""


def _seen_from(e, name, columns):
    """The weakest strength at which one of the columns finds half of the exposures at 5% false alarms; 0 without one."""
    tried = sorted(k for n, k in e["table"] if n == name)
    found = [k for k in tried if max(e["table"][name, k][c][1] for c in columns) >= 0.5]
    return v.STRENGTHS[name][found[0]] if found else 0


def unseen(e):
    """The classes that no score of the paper finds, that no score finds at all, and why."""
    literal = ("source_kl", "background_kl")
    every = tuple(c for c in v.COLUMNS if c not in ("few_sources", "table_order", "table_order_and_local"))
    rows = []
    for name in v.TRIED:
        seen = [f"{s:g}" if (s := _seen_from(e, name, columns)) else "not at all" for columns in (literal, every)]
        rows.append((name, *seen))
    blind = [name for name, by_literal, _ in rows if by_literal == "not at all"]
    still = [name for name, _, by_any in rows if by_any == "not at all"]
    few = {k: f["few_sources"] for (n, k), f in e["table"].items() if n == "clouds"}
    clouds = ", ".join(f"{v.STRENGTHS['clouds'][k]:g}: {100 * f[1]:.0f}%" for k, f in sorted(few.items()))
    ring = e["table"]["ring", max(e["size"].strengths)]
    donuts = [e["table"]["donuts", k] for k in sorted(e["size"].strengths)]
    return f"""### What is not seen

Not seen by the paper's two scores at any strength tried: {", ".join(blind) or "none"}. Not seen by any score: {", ".join(still) or "none"}.

- **A single ring** lies on one CCD of {v.CCDS}, and its gradients point all ways: even at {v.STRENGTHS["ring"][max(e["size"].strengths)]:g} times the noise
  background_kl finds {percent(ring["background_kl"][1])} at 5% false alarms. Orientations without their positions cannot tell a ring
  from chance, and the positions are not stored.
- **Donuts** are round, so that their orientations say nothing (recall of source_z by strength: {", ".join(percent(d["source_z"][1]) for d in donuts)}).
  Blurred stars make isophotal angles *more* random than usual (ROC area of isophote_kl {min(d["isophote_kl"][2] for d in donuts):.2f} at the
  lowest). Large donuts are found by their effect on the gradients of the background, which has less
  starlight in it (background_kl: {", ".join(percent(d["background_kl"][1]) for d in donuts)}).
- **Clouds** leave few sources. The column `n_sources` finds them (recall at 5% by share of light lost:
  {clouds}). source_z, which allows for the high KL of few counts, does not find them, and
  should not: {", ".join(percent(e["table"]["clouds", k]["source_z"][1]) for k in sorted(few))}.
- **A smooth glow** changes gradients on a scale on which skies have gradients anyway: {", ".join(percent(e["table"]["glow", k]["background_kl"][1]) for k in sorted(e["size"].strengths))}
  by background_kl.
- **A faint streak** touches few of the points, as the figure shows."""


def local(e):
    """What the alignment CCD by CCD finds in addition."""
    rows = []
    for (name, k), f in e["table"].items():
        if name == "astigmatism":
            columns = ("source_kl", "isophote_kl", "isophote_alignment", "background_kl", "isophote_local_z")
            rows.append((f"{v.STRENGTHS[name][k]:g}", *(p.cell(f[c]) for c in columns)))
    order, more = (p.mean_over(e["table"], tuple(v.TRIED), c, 1) for c in ("table_order", "table_order_and_local"))
    better = more > order + 0.02
    verdict = "more" if better else "not more" if abs(more - order) <= 0.02 else "less"
    return f"""### Alignment CCD by CCD

Sources that are elongated radially (astigmatism, a tilted focal plane) show clearly on each CCD, but
cancel in the histogram of the whole exposure. `source_local_*` and `isophote_local_*` compare the sums of cos
and sin of twice the orientation of each CCD with the sums expected from the reference, and add the squares
([tables.md](tables.md)). Recall at 1% and at 5% false alarms and ROC area for astigmatism, by the shear at the field's edge:

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
    return f"""### How the settings change recall and ROC area

![How recall and ROC area change with the settings](figures/validation-settings.png)

Each cell gives the recall at 5% false alarms and the ROC area, both means over classes and strengths (source columns: the classes with one axis; background columns: the classes of the background).

Bins:

{bench.table(("bins", "source_kl", "isophote_kl", "background_kl", "flat_background_kl"), bins)}

Threshold of a source in sigma (means over the two middle strengths):

{bench.table(("threshold", "sources", "source_kl", "source_z", "isophote_kl", "isophote_z", "isophote_local_z"), heights)}

Number of sources in an exposure (1, 2, 4 and 8 of its CCDs):

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

In these datasets all anomalies run along one direction, which is the worst case. Each cell gives the
recall at 5% false alarms, and the median score of the normal exposures divided by their median score in a
dataset without anomalies. The columns differ in the number of rounds of the robust reference and in the
share of exposures that each round leaves out. Elongation of {strengths[0]:g} by
isophote_kl, stripes of {strengths[1]:g} by background_kl.

{bench.table(("class", "anomalous", *names), rows)}

A round leaves out the exposures that rank highest, starting from all exposures. Leaving out 10% cannot help much where a third of the exposures is anomalous; leaving out 35% can, and costs nothing where no exposure is anomalous."""


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

**10 and 30 sigma give similar rankings.** {"Holds" if r > 0.8 else "Holds in part"}: Spearman's correlation of source_kl's rankings is {r:.2f}, and the first tenths of the two rankings have {percent(common)} of their exposures in common; the mean ROC areas are {areas[0]:.3f} and {areas[1]:.3f}. The
order of normal exposures is a matter of chance, and the correlation includes these exposures; with isophotal angles the correlation is higher. Nights of {e["size"].normals} normal and {e["size"].odd} anomalous exposures:

{bench.table(("thresholds", "ranking by", "Spearman", "of the first tenth in common"), ranking)}

**Few anomalies leave the reference safe.** {"Holds" if safe else "Does not hold"}: with 2% of a dataset anomalous along one direction (the table above), all or nearly all are found and the normal exposures' median score changes by a factor of {few["elongation"][3]:.2f} (elongation) and {few["stripes"][3]:.2f} (stripes).
Where {percent(share)} of a dataset are elongated by {v.STRENGTHS["elongation"][1]:g} along one direction, {percent(e["shares"]["elongation", 0.2, 0, 0.1][2])} of the elongated exposures are found; where a third is, {percent(e["shares"]["elongation", 0.33, 0, 0.1][2])}, and {percent(e["shares"]["elongation", 0.33, 4, 0.35][2])} with the rounds of the robust profile.

**The share of true anomalies falls with rank.** {"Holds for every score" if all(verdicts) else "Does not hold for every score"}: in random nights a tenth of the exposures is anomalous (any class and strength of the kind). The table gives the percentage of true anomalies in each tenth of
the highest 10% of the ranking:

{bench.table(("score", *(str(i) for i in range(1, 11))), falls)}"""


def profiles(e):
    (paper_means, paper_alarms), (means, alarms) = e["profiles"]["paper"], e["profiles"]["robust"]
    rows = [(c, cell(paper_means[c]), cell(means[c])) for c in means]
    robust = ", ".join(f"{name} = {value:g}" for name, value in PROFILES["robust"].items())
    low, high = (e["thresholds"][t][1]["source_kl"] for t in (4.0, 30.0))
    at_100 = e["thresholds"][100.0][1]
    wrong = "; ".join(f"{c} {100 * paper_alarms[c]:.1f}% and {100 * alarms[c]:.1f}%" for c in alarms)
    return f"""### Where the paper's default is not the best: `--profile robust`

- **Threshold.** Stamps of faint sources are mostly noise: from 4 to 30 sigma source_kl's recall at 5% false alarms goes from {percent(low[0])} to {percent(high[0])}, its ROC area from {low[1]:.3f} to {high[1]:.3f}; isophotal angles gain a
  little. 100 sigma is better still for source_kl ({pair(at_100["source_kl"])}), but leaves too few sources for the alignment CCD by CCD (isophote_local_z {pair(at_100["isophote_local_z"])}; at 30 sigma {pair(e["thresholds"][30.0][1]["isophote_local_z"])}, at 4 sigma {pair(e["thresholds"][4.0][1]["isophote_local_z"])}). The sources of this simulated camera are bright;
  for a survey with few sources above 30 sigma, choose a lower threshold.
- **Reference.** The table above speaks for rounds that leave out 35%.
- **Bins.** 9 to 18 bins do equally well within chance; more bins gain next to nothing for the isophotal scores and lose recall for the background scores.

`--profile robust` is {robust}; the default profile `standard` keeps the paper's settings of the scores, as `paper` does, since these compute what the paper describes. Means over the two middle strengths, with 2% of the dataset anomalous (recall at 1% and at 5% false alarms,
ROC area):

{bench.table(("score", "paper", "robust"), rows)}

The robust profile has a price: exposures that a round leaves out are compared with a reference made without exposures like them, so their z and p are somewhat too strong. Normal exposures with z above 3, with the profile paper
and with the profile robust: {wrong}. (By their isophotes most normal exposures differ from each other far beyond counting noise, because their PSFs differ. This is why the columns `_deviation` exist.)"""


def real():
    """The section on `validation_real.py`, when that script has been run."""
    path = bench.RESULTS / "validation-real.md"
    if not path.exists():
        return ()
    return (
        """### In real images

`python profiling/validation_real.py FOLDER` puts the same anomalies into real exposures: five exposures of one detector
of VISTA's VIRCAM (the public test images of ProPane). Each exposure in turn gets the anomaly and is ranked among the
other four. Five exposures give no more than a hint, which agrees with the simulations: slight elongations are found by
isophotal scores, at the right angle, separate images and stripes by the paper's scores, and rings by none. How many of
the five come first by each score is in [profiling/results/validation-real.md](../profiling/results/validation-real.md).""",
    )


def autoencoder():
    """The section of `validation_autoencoder.py`, when that script has been run."""
    marks = "<!-- validation_autoencoder.py -->", "<!-- end of validation_autoencoder.py -->"
    sections = bench.between(bench.RESULTS / "validation-autoencoder.md", marks)
    link = "](validation-autoencoder.md)", "](../profiling/results/validation-autoencoder.md)"
    return tuple(section.replace(*link) for section in sections)


def survey():
    """The section of `paper.py`, when that script has been run."""
    return bench.between(bench.RESULTS / "paper.md", ("<!-- paper.py -->", "<!-- end of paper.py -->"))


def limits():
    return """## What this does not say

Recalls are those of one simulated camera with few, small CCDs. On real skies, with nebulae, satellites and
bright stars, recalls are lower. More CCDs and sources make weaker anomalies visible; an anomaly on a few of
sixty CCDs is diluted more than here. Strengths can be compared within a class, not between classes. A benchmark in
`tests/simulate/test_detection_power.py` fails when a change loses recall."""
