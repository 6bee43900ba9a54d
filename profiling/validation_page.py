"""The page of `validation.py`: experiments on the measured exposures, tables, figures and text."""

from __future__ import annotations

from pathlib import Path

import bench
import numpy as np
import validation as v
from matplotlib import pyplot as plt
from scipy import stats
from validation_text import page

from gpuanom.settings import PROFILES

FIGURES = Path(__file__).parent.parent / "docs" / "figures"
SOURCE = tuple(n for n, i in v.TRIED.items() if i.kind == "source")
BACKGROUND = tuple(n for n, i in v.TRIED.items() if i.kind == "background")
ALONG_ONE_AXIS = tuple(n for n in SOURCE if v.TRIED[n].directed) + ("trails",)
"""Source classes that orientations pooled over the field can show."""
BINS = (9, 12, 18, 36, 72)
ROUNDS = ((0, 0.1), (2, 0.1), (4, 0.1), (4, 0.35))
"""Number of robust rounds, and the share of exposures that each round leaves out."""
COLOURS = {
    "source_kl": "#0072B2",
    "isophote_kl": "#D55E00",
    "isophote_local_z": "#CC79A7",
    "background_kl": "#009E73",
    "flat_background_kl": "#E69F00",
}


def write(size, normals, odds, seconds, processes, quick):
    """Do the experiments and write all pages and figures."""
    at_4 = [n[4.0] for n in normals]
    table = {key: v.found(at_4, [o[0][key][4.0] for o in odds]) for key in odds[0][0]}
    experiments = {
        "size": size,
        "table": table,
        "sources": float(np.mean([n[3] for n in at_4])),
        "bins": bins(at_4, odds),
        "thresholds": thresholds(normals, odds),
        "counts": counts(at_4, odds),
        "shares": shares(at_4, odds),
        "rankings": rankings(normals, odds),
        "falls": falls(normals, odds, size),
        "profiles": profiles(normals, odds),
        "seconds": seconds,
        "processes": processes,
        "machine": bench.machine("numpy", "galsim", "gpuanom", pinned=False),
    }
    FIGURES.mkdir(parents=True, exist_ok=True)
    if not quick:
        draw_classes(table)
        draw_settings(experiments)
        (Path(__file__).parent.parent / "docs" / "validation.md").write_text(page(experiments) + "\n", encoding="utf-8")
    bench.write("validation-quick.md" if quick else "validation.md", everything(experiments))


def mean_over(table, names, column, what):
    """The mean over classes and their strengths of recall at 1% (`what` 0), recall at 5% (1) or ROC area (2)."""
    return float(np.mean([f[column][what] for (name, _), f in table.items() if name in names]))


def _of(odds, names, strengths=None):
    return [k for k in odds[0][0] if k[0] in names and (strengths is None or k[1] in strengths)]


def _means(at_4, odds, columns, **options):
    """{column: (recall at 5%, ROC area)} over the classes to which a column responds."""
    result = {}
    for names, wanted in ((ALONG_ONE_AXIS, columns[0]), (BACKGROUND, columns[1])):
        if wanted:
            table = {
                k: v.found(at_4, [o[0][k][4.0] for o in odds], columns=wanted, **options) for k in _of(odds, names)
            }
            for column in wanted:
                result[column] = tuple(mean_over(table, names, column, what) for what in (1, 2))
    return result


def bins(at_4, odds):
    """How recall depends on the number of bins."""
    columns = (("source_kl", "isophote_kl"), ("background_kl", "flat_background_kl"))
    return {n: _means(at_4, odds, columns, bins=n) for n in BINS}


def counts(at_4, odds):
    """How recall depends on the number of sources in an exposure, from some of the CCDs alone."""
    columns = (("source_kl", "source_z", "isophote_kl", "isophote_local_z"), ())
    total = float(np.mean([n[0][:, 0].sum() for n in at_4]))
    found = {}
    for ccds in (1, 2, 4, 8):
        part = float(np.mean([n[0][:ccds, 0].sum() for n in at_4]))
        found[round(part)] = _means(at_4, odds, columns, ccds=ccds)
    assert max(found) <= total + 1
    return found


def thresholds(normals, odds):
    """How recall depends on the threshold of a source, over the strengths that were measured at every threshold."""
    keys = _of(odds, ALONG_ONE_AXIS, v.AGAIN)
    columns = ("source_kl", "source_z", "isophote_kl", "isophote_z", "isophote_local_z")
    result = {}
    for t in v.THRESHOLDS:
        table = {k: v.found([n[t] for n in normals], [o[0][k][t] for o in odds], columns=columns) for k in keys}
        sources = float(np.mean([n[t][3] for n in normals]))
        result[t] = (sources, {c: tuple(mean_over(table, ALONG_ONE_AXIS, c, w) for w in (1, 2)) for c in columns})
    return result


def shares(at_4, odds):
    """Recall at 5% and median score of normal exposures, by share of anomalous exposures and number of robust rounds.

    All anomalies of a dataset run along one direction, which is the worst case: all move the reference the same way.
    """
    result = {}
    for name, column in (("elongation", "isophote_kl"), ("stripes", "background_kl")):
        k = 1
        odd = [v.turned(o[0][name, k][4.0], o[1]) for o in odds]
        clean = float(np.median(v.scores(at_4)[column]))
        for share in (0.02, 0.05, 0.1, 0.2, 0.33):
            n_odd = max(1, min(len(odd), round(len(at_4) * share / (1 - share))))
            n_normal = min(len(at_4), round(n_odd * (1 - share) / share))
            for rounds, fraction in ROUNDS:
                each = []
                for i in range(8):
                    rng = np.random.default_rng([v.SEED, i])
                    drawn = [at_4[j] for j in rng.permutation(len(at_4))[:n_normal]]
                    mixed = [*drawn, *(odd[j] for j in rng.permutation(len(odd))[:n_odd])]
                    s = v.scores(mixed, rounds=rounds, fraction=fraction)[column]
                    each.append((v.recall(s[:n_normal], s[n_normal:], 0.05), np.median(s[:n_normal]) / clean))
                result[name, share, rounds, fraction] = (n_odd, n_normal, *np.mean(each, axis=0).tolist())
    return result


def profiles(normals, odds):
    """The paper's settings and the profile `robust`: {profile: {column: means}}, and the false alarms by z."""
    result = {}
    for name, t, options in (
        ("paper", 4.0, {}),
        ("robust", PROFILES["robust"]["threshold"],
         {"rounds": PROFILES["robust"]["robust_rounds"], "fraction": PROFILES["robust"]["robust_fraction"]}),
    ):  # fmt: skip
        measured = [n[t] for n in normals]
        columns = (
            ("source_kl", "source_z", "isophote_kl", "isophote_local_z"),
            ("background_kl", "flat_background_kl"),
        )
        means = {}
        for names, wanted in ((ALONG_ONE_AXIS, columns[0]), (BACKGROUND, columns[1])):
            keys = _of(odds, names, v.AGAIN)
            # No threshold enters the background scores: they were measured with the first threshold only.
            threshold = t if names is ALONG_ONE_AXIS else 4.0
            table = {
                k: v.found(
                    [n[threshold] for n in normals], [o[0][k][threshold] for o in odds], columns=wanted, **options
                )
                for k in keys
            }
            for column in wanted:
                means[column] = tuple(mean_over(table, names, column, what) for what in (0, 1, 2))
        s = v.scores(measured, **options)
        alarms = {c: float(np.mean(s[c] > 3)) for c in ("source_z", "isophote_z", "background_z")}
        result[name] = (means, alarms)
    return result


def rankings(normals, odds):
    """Spearman's correlation of rankings at two thresholds, and the share that their first tenths have in common."""
    keys = _of(odds, ALONG_ONE_AXIS, v.AGAIN)
    result = {}
    for pair in ((4.0, 10.0), (10.0, 30.0), (30.0, 100.0)):
        for column in ("source_kl", "isophote_kl"):
            each = []
            for i in range(20):
                rng = np.random.default_rng([v.SEED, 8, i])
                chosen = [o[0][keys[rng.integers(len(keys))]] for o in odds]
                a, b = (v.scores([e[t] for e in (*normals, *chosen)])[column] for t in pair)
                top = max(1, len(a) // 10)
                both = set(np.argsort(-a)[:top].tolist()) & set(np.argsort(-b)[:top].tolist())
                each.append((stats.spearmanr(a, b).statistic, len(both) / top))
            result[(*pair, column)] = tuple(np.mean(each, axis=0).tolist())
    return result


def falls(normals, odds, size):
    """Share of true anomalies in each tenth of the first 10% of random nights, by column."""
    result = {}
    for column, names in (
        ("source_kl", ALONG_ONE_AXIS), ("isophote_kl", ALONG_ONE_AXIS),
        ("background_kl", BACKGROUND), ("flat_background_kl", BACKGROUND),
    ):  # fmt: skip
        hits, seen = np.zeros(10), np.zeros(10)
        for columns, truth in v.mixed_nights(normals, odds, _of(odds, names), size):
            top = len(truth) // 10
            order = np.argsort(-columns[column], kind="stable")[:top]
            np.add.at(hits, np.arange(top) * 10 // top, truth[order])
            np.add.at(seen, np.arange(top) * 10 // top, 1)
        result[column] = np.divide(hits, seen, out=np.full(10, np.nan), where=seen > 0).tolist()
    return result


def cell(f):
    """Recall at 1% and at 5% in percent, and the ROC area, as a cell of a table."""
    return f"{100 * f[0]:.0f} {100 * f[1]:.0f} {f[2]:.2f}"


def class_rows(table, names, columns):
    """The rows of a table: class, strength, and a cell for each column."""
    return [
        (name, f"{v.STRENGTHS[name][k]:g}", *(cell(found[c]) for c in columns))
        for (name, k), found in table.items()
        if name in names
    ]


def everything(e):
    """The page of results: every class and every column."""
    size = e["size"]
    header = ("class", "strength", *v.COLUMNS)
    return f"""# What is found

{e["machine"]}; measured in {e["seconds"]:.0f} s by {e["processes"]} process(es), wall clock.

{size.normals} normal exposures, {size.odd} of each class and strength; each cell: recall at 1% and at 5% false alarms
in percent, and the area under the ROC curve. What it means: [docs/validation.md](../../docs/validation.md).

{bench.table(header, class_rows(e["table"], tuple(v.TRIED), v.COLUMNS))}"""


def draw_classes(table):
    """Draw recall at 5% false alarms against strength, a panel for each class."""
    figure, panels = plt.subplots(6, 6, figsize=(14, 14), sharey=True, layout="constrained")
    for axes, name in zip(panels.flat, v.TRIED, strict=False):
        tried = sorted(k for n, k in table if n == name)
        for column, colour in COLOURS.items():
            recalls = [100 * table[name, k][column][1] for k in tried]
            axes.plot([v.STRENGTHS[name][k] for k in tried], recalls, "o-", ms=4, lw=1.4, color=colour, label=column)
        axes.axhline(5, color="0.6", lw=0.8, ls=":")
        axes.set_xscale("linear" if name == "clouds" else "log")
        axes.set_xticks(
            [v.STRENGTHS[name][k] for k in tried],
            ["" if v.STRENGTHS[name][k] == 0.97 else f"{v.STRENGTHS[name][k]:g}" for k in tried],
        )
        axes.minorticks_off()
        axes.set_title(name, fontsize=10)
        axes.set_xlabel(v.TRIED[name].unit, fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels.flat[len(v.TRIED) :]:
        axes.set_axis_off()
    handles, labels = panels[0, 0].get_legend_handles_labels()
    panels.flat[-1].legend(handles, labels, frameon=False, fontsize=9, loc="center")
    figure.supylabel("recall at 5% false alarms [%]", fontsize=10)
    figure.savefig(FIGURES / "validation-classes.png", dpi=110)
    plt.close(figure)


def draw_settings(e):
    """Draw ROC areas by bins, threshold and sources, recall by contamination, and true anomalies by rank."""
    figure, panels = plt.subplots(1, 5, figsize=(15, 3.3), layout="constrained")
    for column in ("source_kl", "isophote_kl", "background_kl", "flat_background_kl"):
        panels[0].plot(BINS, [e["bins"][n][column][1] for n in BINS], "o-", color=COLOURS[column], label=column)
        panels[4].plot(np.arange(10) + 0.5, [100 * f for f in e["falls"][column]], "o-", color=COLOURS[column])
    for column in ("source_kl", "isophote_kl", "isophote_local_z"):
        areas = [e["thresholds"][t][1][column][1] for t in v.THRESHOLDS]
        panels[1].plot(v.THRESHOLDS, areas, "o-", color=COLOURS[column], label=column)
        found = sorted(e["counts"])
        panels[2].plot(found, [e["counts"][n][column][1] for n in found], "o-", color=COLOURS[column])
    panels[1].legend(frameon=False, fontsize=8)
    for name, colour in (("elongation", COLOURS["isophote_kl"]), ("stripes", COLOURS["background_kl"])):
        every = sorted({key[1] for key in e["shares"] if key[0] == name})
        for (rounds, fraction), style in zip((ROUNDS[0], ROUNDS[1], ROUNDS[3]), ("-", "--", ":"), strict=True):
            recalls = [100 * e["shares"][name, s, rounds, fraction][2] for s in every]
            label = f"{name}, {rounds} rounds" + (f" of {100 * fraction:.0f}%" if rounds else "")
            panels[3].plot([100 * s for s in every], recalls, "o", ls=style, ms=4, color=colour, label=label)
    panels[3].legend(frameon=False, fontsize=7)
    panels[0].legend(frameon=False, fontsize=7, loc="upper right")
    panels[0].set_ylim(top=0.86)
    for axes, x, y in zip(
        panels,
        ("bins", "threshold [sigma]", "sources an exposure", "anomalous exposures [%]", "tenth of the first 10%"),
        ("mean ROC area", "mean ROC area", "mean ROC area", "recall at 5% [%]", "true anomalies [%]"),
        strict=True,
    ):
        axes.set(xlabel=x, ylabel=y)
        axes.spines[["top", "right"]].set_visible(False)
    for axes, ticks in zip(panels, (BINS, v.THRESHOLDS, sorted(e["counts"])), strict=False):
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
    figure.savefig(FIGURES / "validation-settings.png", dpi=110)
    plt.close(figure)
