"""The page of `validation_verdict.py`: what is found and missed, recall by class, rates among normal exposures."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import bench
import numpy as np
import validation as v

DOCS = Path(__file__).parent.parent / "docs" / "verdict-validation.md"
NAMES = (
    "repeated images", "donut or out of focus", "out of focus or coma", "out of focus", "donut", "elongated or doubled",
    "elongated", "tilted", "coma", "trailed",
    "fringing", "stripes", "row jitter", "column jitter", "amplifier step", "dead amplifier", "ring or ghost",
    "glow or bright sky", "glow", "shadow or dark sky", "crosstalk", "streak", "few sources",
    "many sources", "bright sky", "dark sky",
)  # fmt: skip
"""The names of causes. A cause that holds several is read as the one that comes first in it."""
RIGHT = {
    "elongation": ("elongated",),
    "guiding": ("elongated", "trailed"),
    "focus": ("elongated", "donut or out of focus", "out of focus"),
    "astigmatism": ("elongated", "tilted", "coma"),
    "tilt": ("tilted",),
    "coma": ("coma", "elongated"),
    "double": ("repeated images", "elongated", "trailed"),
    "multiple": ("repeated images", "elongated", "trailed"),
    "repeats": ("repeated images",),
    "donuts": ("donut or out of focus", "donut", "out of focus"),
    "trails": ("trailed",),
    "clouds": ("few sources",),
    "moonlight": ("bright sky",),
    "crosstalk": ("crosstalk",),
    "stripes": ("stripes",),
    "pickup": ("stripes",),
    "herringbone": ("stripes",),
    "jitter": ("row jitter",),
    "amplifier": ("amplifier step",),
    "dead": ("dead amplifier", "amplifier step"),
    "ring": ("ring or ghost",),
    "ghost": ("ring or ghost",),
    "arc": ("ring or ghost",),
    "streak": ("streak",),
    "glow": ("glow",),
    "fringing": ("fringing", "stripes"),
    "treerings": ("fringing", "stripes"),
    "shadow": ("shadow", "glow", "amplifier step"),
}
"""The names that are right for each class. A shadow's edge is a step of the background, and what lies beside it looks
like a glow; double and fourfold images closer than a few widths of a star are an elongation."""
SEEN = 0.75
"""A class and strength that is found less often, at 5% false alarms, is listed first on the page."""
BY_NAMING = "streak"
"""The class that is judged by naming: an exposure with a streak alone is ok."""


def in_short(cause):
    """The name of a cause, without numbers and places; the cause itself, without its numbers, where it is another."""
    cause = cause.strip()
    found = [(cause.find(name), -len(name), name) for name in NAMES if name in cause]
    if found:
        return min(found)[2]
    return re.sub(r"\s*\b(on|of|along|at) \S*\d\S*( px| deg)?", "", cause) or "none"


def is_right(key, cause):
    """Whether a cause names what was put in, perhaps among other names."""
    return any(name in cause for name in RIGHT[key.partition("/")[0]])


def percent(x):
    """A share in percent, a dash where there is none."""
    return "-" if x is None or not np.isfinite(x) else f"{100 * x:.0f}%"


def between(three):
    """A share and its 95% interval in percent."""
    share, low, high = (100 * x for x in three)
    return "-" if not np.isfinite(share) else f"{share:.2f}% ({low:.2f} to {high:.2f})"


def recall(found, share):
    """The share of exposures found at a share of false alarms."""
    return float(np.mean([f.within(share) for f in found]))


def overall(by_class):
    """Recall at 1% and 5% over all classes but the one judged by naming, each class and strength counting alike."""
    kinds = [found for (key, _), found in by_class.items() if key != BY_NAMING]
    return [float(np.mean([recall(found, share) for found in kinds])) for share in (0.01, 0.05)]


def classes(by_class, beside):
    """Rows of the table of recall."""
    rows = []
    for (key, k), found in by_class.items():
        flagged = [f for f in found if f.verdict in ("bad", "check")]
        given = Counter(in_short(f.cause) for f in flagged)
        others = [] if beside is None else beside["found"].get((key, k), [])
        row = [key, f"{v.STRENGTHS[key][k]:g}"]
        row += [percent(recall(found, share)) for share in (0.01, 0.05)]
        row += [percent(np.mean([f.verdict == "bad" for f in found])), percent(len(flagged) / len(found))]
        row.append(percent(np.mean([is_right(key, f.cause) for f in flagged])) if flagged else "-")
        row.append(", ".join(f"{name} {n}" for name, n in given.most_common(3)))
        if beside is not None:
            row += [percent(recall(others, share)) if others else "-" for share in (0.01, 0.05)]
        rows.append(row)
    return rows


def unseen(by_class):
    """Lines about what is not seen, the worst first."""
    lines = []
    for (key, k), found in by_class.items():
        at_5 = recall(found, 0.05)
        if key != BY_NAMING and at_5 < SEEN:
            lines.append((at_5, f"- {key} of {v.STRENGTHS[key][k]:g}: {percent(at_5)} found at 5% false alarms"))
    return [line for _, line in sorted(lines)]


def rate_rows(rates):
    """Rows of the table of rates."""
    rows = []
    for r in rates:
        odd = f"{percent(r['odd_bad'])}, {percent(r['odd_flagged'])}" if r["odd"] else "-"
        rows.append(
            (r["n"], f"{100 * r['share']:.0f}%", r["kinds"], r["nights"], r["different"], between(r["bad"]),
             between(r["flagged"]), between(r["p0.1"]), between(r["p0.01"]), odd, r["without"])
        )  # fmt: skip
    return rows


def text(e):
    """The page."""
    pooled, by_class = e["pool"], e["found"]
    ny, nx = pooled.camera.shape
    at_1, at_5 = overall(by_class)
    flagged = [(key, f) for (key, _), fs in by_class.items() for f in fs if f.verdict in ("bad", "check")]
    right = float(np.mean([is_right(key, f.cause) for key, f in flagged])) if flagged else float("nan")
    streaks = {k: fs for (key, k), fs in by_class.items() if key == BY_NAMING}
    named = "; ".join(
        f"at {v.STRENGTHS[BY_NAMING][k]:g} sigma {percent(np.mean(['streak' in f.cause for f in fs]))}"
        for k, fs in streaks.items()
    )
    lines = "\n".join(unseen(by_class)) or "- none"
    header = ["class", "strength", "recall at 1%", "at 5%", "bad", "bad or check", "cause right",
              "causes given"]  # fmt: skip
    beside = ""
    if e["beside"] is not None:
        header += ["other camera at 1%", "at 5%"]
        other = overall(e["beside"]["found"])
        o = e["beside"]["camera"]
        beside = f"""
The last two columns are those of a pool with the seed {o.seed}: {o.ccds} CCDs of {o.shape[1]} x {o.shape[0]} pixels,
{e["beside"]["normals"]} normal exposures. Recall over all classes is {percent(other[0])} at 1% and
{percent(other[1])} at 5%.
"""
    rates = ("exposures", "anomalous", "kinds", "nights", "different normal ones", "bad", "bad or check", "p < 0.1",
             "p < 0.01", "anomalous ones: bad, flagged", "no verdict")  # fmt: skip
    t = e["trails"]
    usual = "; ".join(
        f"of {r['n']:,} exposures {100 * r['bad'][0]:.2f}% and {100 * r['flagged'][0]:.2f}%"
        for r in e["rates"]
        if not r["share"]
    )
    each = " or ".join(str(n) for n in sorted({len({f.what for f in fs}) for fs in by_class.values()}))
    accused = ", ".join(f"{name} {n}" for name, n in e["accused"].most_common(8)) or "none"
    return f"""# What the verdict finds

All exposures of this page are simulated, of few and small CCDs. What the verdict says of real exposures depends on the
camera and on the sky.

## In short

- **Anomalous exposures**: {percent(at_1)} come before all but 1% of the normal exposures of their night in the order of the tables, and {percent(at_5)} before
  all but 5% (the recall at 1% and at 5% false alarms): means over classes and strengths, `{BY_NAMING}` left out.
- **Normal exposures** that are bad, and that are bad or to check, in nights without anomalies: {usual}.
- **The first 17 rows** of a night of 150, a tenth of it anomalous, hold {e["first"]:.1f} normal exposures in the mean; 15 are anomalous.
- **Causes**: {percent(right)} of the anomalous exposures that are bad or to check are given a right cause.
- **Streaks** are named: {named or "not tried"}. Of {t["n"]} normal exposures with a satellite's trail {percent(t["named"])} are named so and {percent(t["flagged"])} are bad or
  to check; of those without a trail {percent(t["others_named"])} are said to have one.

## What is missed

Less than three quarters of these exposures come before all but 5% of the normal ones:

{lines}

## How it was measured

`python profiling/pool.py FILE --seed {pooled.camera.seed}` measured {len(pooled.normals)} normal and {len(pooled.odd)} anomalous exposures of {pooled.camera.ccds} CCDs of {nx} x {ny} pixels; `python profiling/validation_verdict.py FILE`
drew {e["nights"]} nights of 150 from them for the recall, and further nights for the rates ({e["seconds"]:.0f} s). {e["machine"]}.

- Seeing, sky and density of sources of the exposures vary, the last two threefold; a quarter has cirrus, one in 25 a
  satellite's trail; CCDs have steps between amplifiers and patterns that stay (`profiling/realistic.py`).
- An anomalous exposure is found at 1% (5%) false alarms when at most 1% (5%) of its night's normal exposures come
  before it in `exposures.ecsv`.
- The strengths are the upper two of each class in `profiling/validation.py`, fixed before the statistics were
  written. Thresholds are the defaults, which come from noise alone (`profiling/verdict_thresholds.py`).
- The rules that choose a cause were written while pools of other seeds (31337, 60613) were looked at.
  Those that tell discs of light from stripes and crosstalk were written while nights of `gpuanom simulate` were looked
  at, and were compared with those before on 634 exposures of this pool, where one of them was narrowed.
{beside}
## By class and strength

Of each class and strength {each} exposures are judged in two nights each, among other normal exposures: shares and numbers
of causes are those of all these verdicts. Each verdict, with its evidence, is in
[profiling/results/verdict.md](../profiling/results/verdict.md).

{bench.table(header, classes(by_class, e["beside"]))}

## Normal exposures

Shares of the normal exposures, with 95% intervals. An exposure that is drawn in several nights is one exposure in
the intervals. p is exp(-`evidence`). {"" if any(r["n"] == 1000 for r in e["rates"]) else "Nights of 1,000 were not drawn: the pool has fewer normal exposures."}

{bench.table(rates, rate_rows(e["rates"]))}

What the flagged normal exposures of the first nights are accused of: {accused}.
"""  # noqa: E501


def write(e, quick):
    """Write docs/verdict-validation.md and the results."""
    page = text(e)
    if not quick:
        DOCS.write_text(page, encoding="utf-8")
    bench.write("verdict-quick.md" if quick else "verdict.md", everything(e))


def everything(e):
    """The page of results: each anomalous exposure once a row, with all that was said of it."""
    rows = []
    for (key, k), found in e["found"].items():
        for f in found:
            evidence = "-" if np.isnan(f.evidence) else f"{f.evidence:.1f}"
            before = f"{f.before} of {f.normals}"
            rows.append(
                (key, f"{v.STRENGTHS[key][k]:g}", f.what.number, f.verdict or "none", evidence, before, f.cause)
            )
    header = ("class", "strength", "number", "verdict", "evidence", "normal ones before", "cause")
    pooled = e["pool"]
    return f"""# Anomalous exposures and what the verdict says of them

{e["machine"]}; {len(pooled.normals)} normal and {len(pooled.odd)} anomalous exposures in the pool. What it means:
[docs/verdict-validation.md](../../docs/verdict-validation.md).

{bench.table(header, rows)}"""
