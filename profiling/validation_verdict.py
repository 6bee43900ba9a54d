"""What the verdict finds, how often it accuses normal exposures, and whether the cause that it names is the right one.

python profiling/pool.py FILE
python profiling/validation_verdict.py FILE [--quick] [--beside FILE]

Draws nights from the pool of measured exposures, judges each as `gpuanom.rank` does, and writes
docs/verdict-validation.md and profiling/results/verdict.md. Nothing is fitted to these nights: thresholds are the
settings' defaults. --beside is a pool with another seed and other CCDs, whose recall is given beside the first one's.
--quick writes nothing but profiling/results/verdict-quick.md.
"""

from __future__ import annotations

import bench  # isort: skip

import argparse
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pool
import realistic
import verdict_page
from pool import What
from scipy import stats

import gpuanom
from gpuanom.records import Measurement
from gpuanom.statistics.listed import NAMES

SHARES = (0.0, 0.02, 0.1)
NIGHTS = {30: 20, 150: 10, 1000: 2}
"""Nights of each size and share of anomalous exposures."""
P = (0.1, 0.01)
ROUNDS = 2
"""How often each anomalous exposure is put into a night of 150 whose recall is reported."""


@dataclass(frozen=True)
class Found:
    """An exposure of a night, judged.

    Attributes
    ----------
    what : What
    verdict, cause : str
    evidence : float
    before : int
        Number of normal exposures that come before the exposure in the order of the tables.
    normals : int
        Number of normal exposures of the night.
    """

    what: What
    verdict: str
    cause: str
    evidence: float
    before: int
    normals: int

    def within(self, share: float) -> bool:
        """Whether the exposure comes before all but a share of the normal ones."""
        return self.before <= int(share * self.normals)


@dataclass
class Pool:
    """A pool that was read: its camera, its exposures, and their kinds."""

    camera: realistic.Camera
    measurements: dict[What, Measurement]
    normals: list[What] = field(init=False)
    odd: list[What] = field(init=False)

    def __post_init__(self) -> None:
        self.normals = [what for what in self.measurements if not what.key]
        self.odd = [what for what in self.measurements if what.key]

    @classmethod
    def read(cls, path: Path) -> Pool:
        """Read a pool and check that its measurements can be ranked by this version."""
        about, measurements, _ = pool.read(path)
        if (about["settings"], about["statistics"]) != (pool.SETTINGS.fingerprint(), NAMES.text):
            raise SystemExit(f"{path} was measured with other settings or statistics; measure the pool again")
        camera = about["camera"]
        assert isinstance(camera, realistic.Camera)
        return cls(camera, measurements)

    def trail(self, what: What) -> bool:
        """Whether a satellite's trail crosses the exposure, which is no anomaly."""
        return realistic.weather(self.camera, what.number).trail is not None


def judged(pooled: Pool, chosen: Sequence[What]) -> list[Found]:
    """Rank a night and read what its table says, in its order."""
    table = gpuanom.rank([pooled.measurements[what] for what in chosen], pool.SETTINGS, device="cpu").exposures
    by_id = {pooled.measurements[what].exposure.exposure: what for what in chosen}
    normals, before, result = sum(not what.key for what in chosen), 0, []
    for row in table:
        what = by_id[str(row["exposure"])]
        text = {name: "" if row[name] is np.ma.masked else str(row[name]) for name in ("verdict", "cause")}
        evidence = math.nan if row["evidence"] is np.ma.masked else float(row["evidence"])
        result.append(Found(what, text["verdict"], text["cause"], evidence, before, normals))
        before += not what.key
    return result


def some_normals(pooled: Pool, n: int, rng: np.random.Generator) -> list[What]:
    """Normal exposures, each once."""
    return [pooled.normals[i] for i in rng.permutation(len(pooled.normals))[:n]]


def recall_nights(pooled: Pool, rounds: int, n: int = 150, share: float = 0.1) -> Iterator[list[Found]]:
    """Nights in which every anomalous exposure of the pool comes `rounds` times, among others of all kinds.

    The exposures that are drawn more often than others, for nights of one kind, are left out.
    """
    each: dict[tuple[str, int], list[What]] = defaultdict(list)
    for what in pooled.odd:
        each[what.key, what.k].append(what)
    usual = sorted(len(some) for some in each.values())[len(each) // 2]
    odd = [what for some in each.values() for what in some[:usual]]
    at_once = max(1, round(share * n))
    for i in range(rounds):
        rng = np.random.default_rng([7, i])
        order = [odd[j] for j in rng.permutation(len(odd))]
        for first in range(0, len(order), at_once):
            part = order[first : first + at_once]
            yield judged(pooled, [*some_normals(pooled, n - len(part), rng), *part])


def rate_nights(pooled: Pool, n: int, share: float, one_kind: bool, nights: int) -> Iterator[list[Found]]:
    """Nights of n exposures, a share of them anomalous."""
    for i in range(nights):
        rng = np.random.default_rng([8, n, round(1000 * share), one_kind, i])
        kinds = pooled.odd
        if one_kind:
            key, k = pool.ONE_KIND[i % len(pool.ONE_KIND)]
            kinds = [what for what in pooled.odd if (what.key, what.k) == (key, k)]
        # With few of a kind in the pool, the share of a large night cannot be reached.
        n_odd = min(round(share * n), len(kinds))
        odd = [kinds[j] for j in rng.permutation(len(kinds))[:n_odd]]
        yield judged(pooled, [*some_normals(pooled, n - n_odd, rng), *odd])


def bounds(k: float, n: float) -> tuple[float, float, float]:
    """A share, and the limits of its 95% interval (Clopper and Pearson)."""
    if not n:
        return math.nan, math.nan, math.nan
    low = stats.beta.ppf(0.025, k, n - k + 1) if k > 0 else 0.0
    high = stats.beta.ppf(0.975, k + 1, n - k) if k < n else 1.0
    return k / n, float(low), float(high)


def rates(pooled: Pool, nights: dict[int, int]) -> list[dict[str, object]]:
    """How often normal and anomalous exposures are flagged, by size of the night, share and kinds of anomalies."""
    rows = []
    for n, count in nights.items():
        if n > len(pooled.normals):
            continue
        for share in SHARES:
            for one_kind in (False, True) if share else (False,):
                found = [f for night in rate_nights(pooled, n, share, one_kind, count) for f in night]
                normals, odd = [f for f in found if not f.what.key], [f for f in found if f.what.key]
                # Exposures that are drawn again are no new ones: the bounds are those of different exposures.
                different = min(len(normals), len({f.what for f in normals}))
                judged_ones = [f for f in normals if f.verdict]
                row: dict[str, object] = {
                    "n": n,
                    "share": share,
                    "kinds": "one" if one_kind else "many" if share else "none",
                    "nights": count,
                    "normals": len(normals),
                    "different": different,
                    "without": len(normals) - len(judged_ones),
                    "odd": len(odd),
                }
                for name, verdicts in (("bad", ("bad",)), ("flagged", ("bad", "check"))):
                    row[name] = bounds(different * _share(normals, verdicts), different)
                    row[f"odd_{name}"] = _share(odd, verdicts)
                for p in P:
                    above = np.mean([f.evidence > -math.log(p) for f in normals]) if normals else math.nan
                    row[f"p{p:g}"] = bounds(different * float(above), different)
                rows.append(row)
    return rows


def _share(found: Sequence[Found], verdicts: tuple[str, ...]) -> float:
    return sum(f.verdict in verdicts for f in found) / len(found) if found else math.nan


def by_class(found: Sequence[Found]) -> dict[tuple[str, int], list[Found]]:
    """The anomalous exposures by class and strength, in the order of the strengths."""
    result: dict[tuple[str, int], list[Found]] = {}
    for key in pool.v.STRENGTHS:
        for k in range(len(pool.v.STRENGTHS[key])):
            if some := [f for f in found if (f.what.key, f.what.k) == (key, k)]:
                result[key, k] = some
    return result


def first_rows(nights: Sequence[Sequence[Found]], n: int = 17) -> float:
    """How many of the first n exposures of a table are normal, in the mean."""
    return float(np.mean([sum(not f.what.key for f in night[:n]) for night in nights]))


def trails(pooled: Pool, found: Sequence[Found]) -> dict[str, float]:
    """What becomes of normal exposures that a satellite's trail crosses."""
    crossed = [f for f in found if not f.what.key and pooled.trail(f.what)]
    return {
        "n": len(crossed),
        "named": float(np.mean(["streak" in f.cause for f in crossed])) if crossed else math.nan,
        "flagged": _share(crossed, ("bad", "check")),
        "bad": _share(crossed, ("bad",)),
        "others_named": float(np.mean(["streak" in f.cause for f in found if not f.what.key and f not in crossed])),
    }


def causes_of_normals(found: Sequence[Found]) -> Counter[str]:
    """What flagged normal exposures are accused of."""
    return Counter(verdict_page.in_short(f.cause) for f in found if not f.what.key and f.verdict in ("bad", "check"))


def main() -> None:
    """Draw the nights, judge them, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="pool of measured exposures, made by pool.py")
    parser.add_argument("--quick", action="store_true", help="few nights; writes results/verdict-quick.md alone")
    parser.add_argument("--beside", type=Path, help="another pool, whose recall is given beside the first one's")
    options = parser.parse_args()
    start = time.perf_counter()
    pooled = Pool.read(options.file)
    nights = list(recall_nights(pooled, 1 if options.quick else ROUNDS))
    found = [f for night in nights for f in night]
    counts = {n: max(2, count // 10) for n, count in NIGHTS.items()} if options.quick else NIGHTS
    beside = None
    if options.beside:
        other = Pool.read(options.beside)
        beside = {
            "camera": other.camera,
            "normals": len(other.normals),
            "found": by_class([f for night in recall_nights(other, 1) for f in night]),
        }
    verdict_page.write(
        {
            "pool": pooled,
            "found": by_class(found),
            "nights": len(nights),
            "first": first_rows(nights),
            "rates": rates(pooled, counts),
            "trails": trails(pooled, found),
            "accused": causes_of_normals(found),
            "beside": beside,
            "seconds": time.perf_counter() - start,
            "machine": bench.machine("numpy", "galsim", "gpuanom", pinned=False),
        },
        quick=options.quick,
    )
    print(f"{len(nights)} nights judged; all in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
