"""Whether a verdict names the right cause: the table of cause given against cause put in, from pools of exposures.

python profiling/pool.py FILE --normals 300 --odd 3 --seed SEED
python profiling/verdict_causes.py FILE [FILE ...] [--normals 130]

Puts every anomalous exposure of each pool into one night among normal exposures, ranks the nights as `gpuanom.rank`
does, and prints the share of right causes and the table, over the exposures that are bad or to check; nothing is
written. It takes about a second for each 15 anomalous exposures. Rules are looked at with other pools than those whose
figures are reported.
"""

from __future__ import annotations

import bench  # isort: skip  # noqa: F401  (first: it sets the numbers of threads)

import argparse
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import verdict_page
from validation_verdict import Found, Pool, by_class, judged, some_normals

AT_ONCE = 15
"""Anomalous exposures of a night."""


def nights(pooled: Pool, normals: int) -> Iterator[list[Found]]:
    """Nights that hold every anomalous exposure once."""
    rng = np.random.default_rng([9, len(pooled.odd)])
    order = [pooled.odd[j] for j in rng.permutation(len(pooled.odd))]
    for first in range(0, len(order), AT_ONCE):
        yield judged(pooled, [*some_normals(pooled, normals, rng), *order[first : first + AT_ONCE]])


def table(found: dict[tuple[str, int], list[Found]]) -> str:
    """Lines of the table, and of the shares below it."""
    lines, shares = [], []
    for (key, k), some in found.items():
        flagged = [f for f in some if f.verdict in ("bad", "check")]
        right = [verdict_page.is_right(key, f.cause) for f in flagged]
        given = Counter(verdict_page.in_short(f.cause) for f in flagged)
        causes = ", ".join(f"{name} {n}" for name, n in given.most_common())
        bad = sum(f.verdict == "bad" for f in some)
        strength = f"{verdict_page.v.STRENGTHS[key][k]:g}"
        lines.append(f"{key:12s} {strength:>6s}  {bad:2d} bad {len(flagged):2d} of {len(some):2d} flagged, "
                     f"{sum(right):2d} right: {causes}")  # fmt: skip
        shares += right
    total = sum(len(some) for some in found.values())
    percent = 100 * np.mean(shares) if shares else math.nan
    lines.append(f"right cause: {sum(shares)} of {len(shares)} flagged ({percent:.1f}%), {total} anomalous")
    return "\n".join(lines)


def main() -> None:
    """Judge the nights and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--normals", type=int, default=130, help="normal exposures of a night")
    options = parser.parse_args()
    every: list[Found] = []
    normal: list[Found] = []
    for file in options.files:
        pooled = Pool.read(file)
        for night in nights(pooled, options.normals):
            every += [f for f in night if f.what.key]
            normal += [f for f in night if not f.what.key]
    print(table(by_class(every)))
    flagged = Counter(f.verdict for f in normal)
    print(f"normal exposures: {len(normal)}, {flagged['bad']} bad, {flagged['check']} to check")


if __name__ == "__main__":
    main()
