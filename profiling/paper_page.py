# ruff: noqa: E501  (lines of a page, as long as the other pages')
"""The page of `paper.py`: its result, and the section of docs/validation.md between its marks."""

from __future__ import annotations

from pathlib import Path

import bench

DOCS = Path(__file__).parent.parent / "docs" / "validation.md"
MARKS = ("<!-- paper.py -->", "<!-- end of paper.py -->")
PAPER = {"13 known": "12", "10 new": "10"}
"""How many the paper finds."""


def _percent(rates):
    return [f"{100 * rate:.0f}%" for rate in rates]


def section(megacam, decals):
    """The section of docs/validation.md."""
    columns = ("source or background", "source", "background", "verdict")
    found = [
        [f"{100 * share:g}%", name, *(str(row[c]) for c in columns), PAPER[name] if share == 0.1 else ""]
        for (name, share), row in megacam["found"].items()
    ]
    said = [[name, *(str(n) for n in row.values())] for name, row in megacam["said"].items()]
    rates = [[name, *_percent(of_bins)] for name, of_bins in megacam["rates"].items()]
    of_decals = [
        [band, kind, "prominent" if k == 0 else "prominent or dubious", *_percent(of_bins)]
        for (band, kind), both in decals["rates"].items()
        for k, of_bins in enumerate(both)
    ]
    bins = [f"{i}-{i + 1}%" for i in range(10)]
    missed = ", ".join(megacam["missed"]) or "none"
    return f"""### Surveys of the paper's size

`python profiling/paper.py FILE` drew {megacam["n"]} exposures of {megacam["ccds"]} CCDs as of MegaCam, which has CCDs of 2048 x 4612
pixels; these have 256 x 256, and {megacam["sources"]:.0f} sources in a typical exposure. Each square of four CCDs shares the
drawn stamps from which its stars and galaxies are made. Of the paper's anomalies we have no images: 13 "known" ones are {_kinds("KNOWN")}; the 10 "new" ones {_kinds("NEW")}. How many of them are among the exposures that rank highest:

{bench.table(["highest", "anomalies", *(f"by {c}" for c in columns), "the paper, by its scores"], found)}

The paper looks at the highest tenth of both of its rankings; "by verdict" is the order of our tables. The paper's numbers are
those of real images, which people judged, so that the columns can be compared in kind only.

{bench.table(["", "bad", "check", "ok"], said)}

Anomalies that the verdict calls ok: {missed}.

True-positive rates in ten bins of the highest tenth, as in the paper's figure 5, by its scores and by the order of the tables.
With 23 anomalies among {megacam["n"]} exposures the first two bins have room for all of them:

{bench.table(["ranking", *bins], rates)}

The same for {decals["exposures"]} exposures of 61 CCDs, the size of DECaLS DR3, whose histograms were drawn: no pixels, a
preferred direction of known strength in 0.4% (prominent) and 0.8% (dubious) of the exposures, for sources and background
apart. The paper shows these rates in its figures 7 and 9, without a table to copy from:

{bench.table(["band", "kind", "true positives", *bins], of_decals)}"""


def _kinds(name):
    """The anomalies in words: how many of which class and strength."""
    import paper
    import validation as v

    counted = {}
    for key, k in getattr(paper, name):
        counted[key, k] = counted.get((key, k), 0) + 1
    return ", ".join(f"{n} of {key} {v.STRENGTHS[key][k]:g}" for (key, k), n in counted.items())


def write(megacam, decals, *, whole):
    """Write the result, and docs/validation.md's section where the surveys have the paper's size."""
    text = section(megacam, decals)
    took = (
        f"{megacam['seconds']:.0f} s for drawing and measuring the {megacam['lacking']} exposures that were lacking,"
        f" {decals['seconds']:.1f} s of CPU for"
    )
    bench.write(
        "paper.md" if whole else "paper-quick.md",
        f"""# The paper's tables on simulated surveys

{bench.machine("numpy", pinned=False)}; {took} the scores of DECaLS.

{MARKS[0]}
{text}
{MARKS[1]}""",
    )
    if whole:
        bench.put_between(DOCS, MARKS, text)
