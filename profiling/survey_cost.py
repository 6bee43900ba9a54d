"""The cost of a survey on 1, 4 and 32 GPUs, computed from measured parts: the table of docs/cluster.md.

python profiling/survey_cost.py [--write]

The parts are read from the pages under results/, so that new figures come in when a part is measured again. `--write`
puts the tables into docs/cluster.md.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "profiling" / "results"
PAGE = ROOT / "docs" / "cluster.md"
BEGIN, END = "<!-- computed by profiling/survey_cost.py -->", "<!-- end of what is computed -->"

EXPOSURES, CCDS = 17_112, 61
"""DECaLS DR3."""
GPUS = 1, 4, 32
FILE_SYSTEMS = 1, 5, 20, 100
"""GB/s."""


@dataclass(frozen=True)
class Parts:
    """What was measured.

    Attributes
    ----------
    card : str
        The card, as its page of results names it.
    exposure, start, scoring : float
        Seconds of an exposure in a long run on the card, from the command's start to the first exposure in the store,
        and of scoring the survey from its store.
    megabytes : float
        Bytes of an exposure on disk, in MB.
    client : float
        Exposures of all CCDs that one client places and stores in a second.
    load : str
        Load of the machine when the client was measured.
    """

    card: str
    exposure: float
    start: float
    scoring: float
    megabytes: float
    client: float
    load: str


def parts():
    """The measured parts, read from the pages of results."""
    night, scores, scheduler = (
        (RESULTS / name).read_text() for name in ("night-h200-standard.md", "bench_scores.md", "bench_scheduler.md")
    )

    def number(pattern, text):
        found = re.search(pattern, text)
        if found is None:
            raise SystemExit(f"survey_cost.py: no page of results has {pattern!r}")
        return float(found[1])

    return Parts(
        card=re.match(r"# A night on (.*)", night)[1],
        exposure=number(r"\| an exposure in a long run \| ([\d.]+) \|", night) / 1000,
        start=number(r"\| from the command's start to the first exposure in the store \| ([\d.]+) \|", night) / 1000,
        scoring=number(r"\| all \| ([\d.]+) \|", scores),
        megabytes=number(r"([\d.]+) MB an exposure", night),
        client=number(rf"\| all CCDs of DECam \| \d+ \| {CCDS} \| \d+ \| [\d,]+ \| ([\d.]+) \|", scheduler),
        load=re.search(r"Load of the machine when the first run began: (\d+\.\d+)", scheduler)[1],
    )


def duration(seconds):
    """Seconds in words."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def table(header, rows):
    """The rows as a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def page(p):
    """The tables, as Markdown."""
    rows = []
    for n in GPUS:
        rate = n / p.exposure
        cards = EXPOSURES / rate
        stored = EXPOSURES / p.client
        measuring = max(cards, stored)
        rows.append(
            (
                str(n), f"{rate:.0f}", duration(cards), f"{rate * p.megabytes / 1000:.1f} GB/s", duration(stored),
                duration(p.start + measuring + p.scoring), "the GPUs" if cards >= stored else "the one client",
            )
        )  # fmt: skip
    total = EXPOSURES * p.megabytes / 1000
    most = [
        (f"{speed} GB/s", duration(total / speed), f"{speed * 1000 / p.megabytes * p.exposure:.1f}")
        for speed in FILE_SYSTEMS
    ]
    header = (
        "GPUs", "exposures/s", "the GPUs' time", "which files must deliver", "one client's time", "in all",
        "limit, if files come fast enough",
    )  # fmt: skip
    return f"""{table(header, rows)}

| part | measured | on |
|---|---|---|
| an exposure in a long run | {1000 * p.exposure:.1f} ms | {p.card}, all files in the page cache |
| from the start to the first exposure | {p.start:.1f} s | the same |
| an exposure on disk | {p.megabytes:.0f} MB | RICE-compressed, {CCDS} CCDs |
| one client | {p.client:.0f} exposures/s | 2 cores, at a load of {p.load} |
| scores, verdicts and tables | {p.scoring:.1f} s | CPU time of one core |

The survey has {total / 1000:.1f} TB. A file system that delivers

{table(("all together", "reads the survey in", "and is enough for so many GPUs"), most)}"""


def with_page(text, computed):
    """The document with what is computed in its place."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{computed}\n{END}{after}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="Put the tables into docs/cluster.md.")
    options = parser.parse_args()
    computed = page(parts())
    print(computed)
    if options.write:
        PAGE.write_text(with_page(PAGE.read_text(), computed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
