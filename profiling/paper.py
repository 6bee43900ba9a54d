"""The paper's tables on simulated surveys of the paper's size (METHOD.md 8).

python profiling/paper.py FILE [--exposures 1171] [--ccds 36] [--processes 2] [--decals 17112]

Draws and measures 1171 exposures of 36 CCDs as of MegaCam, 13 of them anomalies that a survey would know of and 10
further ones, ranks them by the paper's scores and by the verdict, and counts what is found. The CCDs have 256 x 256
pixels in place of 2048 x 4612, and each square of four CCDs shares the stamps from which its stars and galaxies are
made, so that all of this takes less than half an hour on two cores. For DECaLS DR3
histograms are drawn, 17,112 exposures of 61 CCDs in three bands, without pixels. Writes profiling/results/paper.md,
and its section of docs/validation.md. FILE keeps the measurements: the same command goes on where it stopped.
"""

from __future__ import annotations

import bench  # isort: skip  # noqa: F401  (first: it sets the numbers of threads)

import argparse
import math
import multiprocessing
import pickle
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import paper_page
import pool
import validation as v
from realistic import Camera

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.records import BACKGROUND, KINDS, SOURCE, Dataset
from gpuanom.review.evaluate import BINS, FRACTION
from gpuanom.scoring.histograms.ranking import score_dataset
from gpuanom.settings import Settings
from gpuanom.statistics.listed import NAMES

SEED = 231_015_481
SHAPE = (256, 256)
KNOWN = (
    *[("elongation", 3)] * 2,
    *[("guiding", 3)] * 2,
    ("double", 2),
    *[("stripes", 3)] * 7,
    ("astigmatism", 2),
)
"""Class and number of the strength of the 13 anomalies: five of the sources, seven striped exposures as of one field,
and one that the orientations of a whole exposure do not show, since the paper does not find one of its 13."""
NEW = (*[("elongation", 2)] * 4, *[("guiding", 2)] * 3, *[("coma", 2)] * 3)
"""Ten weaker anomalies of the sources."""
AMONG = (0.01, 0.05, 0.1)
"""Shares of the exposures that rank highest, in which anomalies are counted. The paper looks at a tenth."""

BANDS = {"g": 3919, "r": 5712, "z": 7481}
"""Exposures of DECaLS DR3."""
CCDS, SOURCES, GRADIENTS = 61, 50, 10_000
"""CCDs of an exposure, and typical counts of a CCD."""
PROMINENT, DUBIOUS = (0.004, (0.3, 0.9)), (0.008, (0.1, 0.3))
"""Shares of the drawn exposures that are anomalous, of the sources as of the background, and the strengths of their
preferred directions: the amplitude of cos 2 theta in the distribution of orientations."""
NORMAL = {SOURCE: 0.04, BACKGROUND: 0.01}
"""Scatter of both components of that amplitude in normal exposures, whose PSFs and skies differ a little."""


def planned(exposures):
    """What each exposure is: normal ones, and the anomalies at random places among them."""
    rng = np.random.default_rng(SEED)
    odd = dict(zip(rng.permutation(exposures)[: len(KNOWN + NEW)].tolist(), KNOWN + NEW, strict=True))
    return [pool.What(i + 1, *odd.get(i, ("", 0))) for i in range(exposures)]


def measured(path, camera, plan, processes):
    """Measure what the file lacks; return the measurements as planned, how many were lacking, and the seconds."""
    about = {"camera": camera, "settings": pool.SETTINGS.fingerprint(), "statistics": NAMES.text}
    if not path.exists():
        path.write_bytes(pickle.dumps(about))
    known, found, end = pool.read(path)
    if known != about:
        raise SystemExit(f"{path} holds another survey: {known}, not {about}")
    missing = [what for what in plan if what not in found]
    start = time.perf_counter()
    with (
        path.open("r+b") as file,
        ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as workers,
    ):
        file.truncate(end)
        file.seek(end)
        done = workers.map(pool.measured, [camera] * len(missing), missing, chunksize=4)
        for i, (what, measurement) in enumerate(zip(missing, done, strict=True), 1):
            found[what] = measurement
            pickle.dump((what, measurement), file)
            file.flush()
            if i % 50 == 0 or i == len(missing):
                each = (time.perf_counter() - start) / i
                print(f"{i} of {len(missing)} measured, {each * (len(missing) - i):.0f} s left", flush=True)
    return [found[what] for what in plan], len(missing), time.perf_counter() - start


def megacam(plan, measurements):
    """How the anomalies rank, and the true-positive rates."""
    table = gpuanom.rank(measurements, pool.SETTINGS, device="cpu").exposures
    what_of = {m.exposure.exposure: what for m, what in zip(measurements, plan, strict=True)}
    exposures = [what_of[str(e)] for e in table["exposure"]]
    groups = {"13 known": KNOWN, "10 new": NEW}
    # The strengths of the two groups differ where their classes are the same.
    members = {name: np.array([(w.key, w.k) in group for w in exposures]) for name, group in groups.items()}
    kinds = np.array([v.TRIED[w.key.partition("/")[0]].kind if w.key else "" for w in exposures])
    orders = {name: np.argsort(np.ma.filled(table[f"{name}_rank"], len(table))) for name in ("source", "background")}
    orders["verdict"] = np.arange(len(table))  # the order of the tables
    found = {
        (name, share): {
            order: int(flags[ranks[: math.ceil(share * len(table))]].sum()) for order, ranks in orders.items()
        }
        | {"source or background": int(flags[_either(orders, share)].sum())}
        for name, flags in members.items()
        for share in AMONG
    }
    rates = {
        order: _rates(np.isin(kinds, [order] if order != "verdict" else ["source", "background"])[ranks])
        for order, ranks in orders.items()
    }
    verdicts = np.array([str(x) for x in np.ma.filled(table["verdict"], "")])
    said = {
        name: {verdict: int(np.count_nonzero(flags & (verdicts == verdict))) for verdict in ("bad", "check", "ok")}
        for name, flags in (members | {"normal": kinds == ""}).items()
    }
    missed = sorted(
        f"{w.key} {w.strength:g}" for w, verdict in zip(exposures, verdicts, strict=True) if w.key and verdict == "ok"
    )
    sources = np.median([sum(c.n_sources for c in m.ccds) for m in measurements])
    return {"found": found, "rates": rates, "said": said, "missed": missed, "n": len(table), "sources": sources}


def _either(orders, share):
    """The exposures that are among the highest of either of the paper's scores."""
    top = math.ceil(share * len(orders["source"]))
    return np.union1d(orders["source"][:top], orders["background"][:top])


def _rates(true):
    """The share of true positives in each bin of the highest scores, from exposures in the order of their scores."""
    top = true[: math.ceil(FRACTION * len(true))]
    return [float(part.mean()) for part in np.array_split(top, BINS) if part.size]


def drawn_band(band, n, rng):
    """Histograms of n exposures of a band, and how anomalous each is: 0, 1 (dubious) or 2 (prominent) for each kind."""
    settings = Settings()
    theta = np.pi * ((np.arange(settings.bins) + 0.5) / settings.bins - 0.5)
    counts = np.zeros((n * CCDS, len(KINDS), settings.bins), dtype=np.int64)
    grades = {}
    for kind, each in ((SOURCE, SOURCES), (BACKGROUND, GRADIENTS)):
        grade = rng.choice(3, size=n, p=[1 - DUBIOUS[0] - PROMINENT[0], DUBIOUS[0], PROMINENT[0]])
        amplitude = np.hypot(*(NORMAL[kind] * rng.standard_normal((2, n))))
        for value, (_, strengths) in ((1, DUBIOUS), (2, PROMINENT)):
            amplitude = np.where(grade == value, rng.uniform(*strengths, n), amplitude)
        direction = rng.uniform(-np.pi / 2, np.pi / 2, n)
        share = (1 + np.clip(amplitude, 0, 0.95)[:, None] * np.cos(2 * (theta - direction[:, None]))) / settings.bins
        totals = rng.poisson(each * rng.lognormal(0, 0.4, n) if kind == SOURCE else each, (CCDS, n)).T
        counts[:, kind] = rng.multinomial(totals, share[:, None, :]).reshape(n * CCDS, -1)
        grades[kind] = grade
    sums = np.zeros((n * CCDS, len(KINDS)))
    owner, names = np.repeat(np.arange(n), CCDS), tuple(f"{i:06d}" for i in range(n))
    return Dataset("DECam", band, names, owner, counts, sums, sums), grades


def decals(exposures):
    """True-positive rates of each band and kind, and the seconds that the scores took."""
    backend, result, seconds = select("cpu"), {}, 0.0
    for number, (band, of_all) in enumerate(BANDS.items()):
        dataset, grades = drawn_band(
            band, round(exposures * of_all / sum(BANDS.values())), np.random.default_rng([SEED, number])
        )
        start = time.process_time()
        scores = score_dataset(dataset, Settings(), backend)
        seconds += time.process_time() - start
        for kind in (SOURCE, BACKGROUND):
            order = np.argsort(scores[kind].rank)
            result[band, KINDS[kind]] = [_rates(grades[kind][order] >= least) for least in (2, 1)]
    return {"rates": result, "seconds": seconds, "exposures": exposures}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="file that keeps the measurements; made where it is missing")
    parser.add_argument("--exposures", type=int, default=1171, help="exposures as of MegaCam")
    parser.add_argument("--ccds", type=int, default=36, help="CCDs of an exposure (default: 36)")
    parser.add_argument("--processes", type=int, default=2, help="processes that draw and measure (default: 2)")
    parser.add_argument("--decals", type=int, default=sum(BANDS.values()), help="exposures whose histograms are drawn")
    options = parser.parse_args()
    of_decals = decals(options.decals)
    print(f"{options.decals} exposures of DECaLS scored in {of_decals['seconds']:.1f} s of CPU", flush=True)
    plan = planned(options.exposures)
    camera = Camera(options.ccds, SHAPE, SEED, four_together=True)
    measurements, n_lacking, seconds = measured(options.file, camera, plan, options.processes)
    of_megacam = megacam(plan, measurements) | {"ccds": options.ccds, "lacking": n_lacking, "seconds": seconds}
    whole = (options.exposures, options.ccds, options.decals) == (1171, 36, sum(BANDS.values()))
    paper_page.write(of_megacam, of_decals, whole=whole)


if __name__ == "__main__":
    import paper  # by its name, as the worker processes know it

    paper.main()
