"""What the method finds: recall and ROC area by class and strength of anomaly, and how settings move them.

python profiling/validation.py [--quick] [--processes 2] [--keep FILE]

Writes docs/validation.md, its figures and profiling/results/validation.md. A population of normal exposures is measured
once; every anomaly is put, in several strengths, into further exposures whose scenes are drawn once. Settings that
change only the ranking rank the stored histograms again. --keep stores what was measured and reads it the next time.
"""

from __future__ import annotations

import bench  # isort: skip  # noqa: F401  (first, since this import sets the number of threads)

import argparse
import importlib
import multiprocessing
import pickle
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import realistic
from realistic import Camera

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.records import KINDS, Dataset
from gpuanom.scoring.histograms.ranking import score_dataset
from gpuanom.settings import Settings
from gpuanom.simulate import INJECTORS

SEED = 20_231
CCDS, SHAPE = 8, (512, 512)
POINTS = 2500  # the density of 10,000 points on a CCD of 1 Mpix, so that patches overlap as little
FINE = 72  # bins in which orientations are counted; histograms of 36, 18, 12 and 9 bins are sums of these
BINS = 18
THRESHOLDS = (4.0, 10.0, 30.0, 100.0)
STRENGTHS = {
    "elongation": (0.02, 0.05, 0.12, 0.4),
    "guiding": (0.75, 1.5, 3.0, 8.0),
    "focus": (1.0, 2.0, 4.0, 12.0),
    "astigmatism": (0.025, 0.05, 0.1, 0.3),
    "coma": (1.0, 2.0, 4.0, 12.0),
    "double": (1.5, 3.0, 8.0, 20.0),
    "multiple": (0.75, 1.5, 3.0, 8.0),
    "donuts": (4.0, 8.0, 16.0, 32.0),
    "trails": (0.003, 0.01, 0.03, 0.3),
    "clouds": (0.3, 0.6, 0.9, 0.97),
    "stripes": (0.03, 0.06, 0.12, 0.3),
    "ring": (1.0, 3.0, 10.0, 30.0),
    "arc": (0.3, 1.0, 3.0, 10.0),
    "streak": (0.3, 1.0, 3.0, 10.0),
    "glow": (1.0, 3.0, 10.0, 30.0),
    "fringing": (0.06, 0.12, 0.3, 0.6),
    "shadow": (0.01, 0.03, 0.1, 0.3),
    # Fixed before any statistic of patterns, shapes or repeated stars was there to look at them.
    "tilt": (0.02, 0.05, 0.12, 0.3),
    "repeats/20": (0.03, 0.1, 0.3, 0.5),
    "repeats/40": (0.03, 0.1, 0.3, 0.5),
    "repeats/70": (0.03, 0.1, 0.3, 0.5),
    "repeats/100": (0.03, 0.1, 0.3, 0.5),
    "moonlight": (0.3, 1.0, 3.0, 10.0),
    "crosstalk": (0.0003, 0.001, 0.003, 0.01),
    "stripes/6": (0.03, 0.06, 0.12, 0.3),
    "stripes/200": (0.03, 0.06, 0.12, 0.3),
    "pickup": (0.03, 0.06, 0.12, 0.3),
    "herringbone": (0.03, 0.06, 0.12, 0.3),
    "jitter": (0.03, 0.1, 0.3, 1.0),
    "amplifier": (0.1, 0.3, 1.0, 3.0),
    "dead": (0.003, 0.03, 0.3, 1.0),
    "ghost": (0.1, 0.3, 1.0, 3.0),
    "treerings": (0.03, 0.06, 0.12, 0.3),
}
"""Strengths that are tried of each class, ``class/size`` where the size is not the usual one."""
TRIED = {name: INJECTORS[name.partition("/")[0]] for name in STRENGTHS}
"""The injector of each."""
AGAIN = (1, 2)  # strengths of the source classes that are measured at every threshold
SCORES = tuple(f"{kind}_{what}" for kind in KINDS for what in ("kl", "z", "alignment"))
LOCAL = ("source_local_z", "isophote_local_z")
COLUMNS = (*SCORES, *LOCAL, "few_sources", "table_order", "table_order_and_local")
CAMERA = Camera(CCDS, SHAPE, SEED)


@dataclass(frozen=True)
class Size:
    """The number of exposures, and how much is tried."""

    normals: int
    odd: int
    strengths: tuple[int, ...]
    mixes: int


FULL = Size(200, 20, (0, 1, 2, 3), 200)
QUICK = Size(60, 6, (1, 3), 40)


# Measuring


def settings(threshold=4.0):
    return Settings(threshold=threshold, bins=FINE, gradient_points=POINTS, sparse_counts=0)


def measured(exposure, ccds, thresholds):
    """{threshold: (counts (ccd, 4, FINE), cosine, sine, sources)} of one exposure."""
    result = {}
    for threshold in thresholds:
        found = gpuanom.measure(ccds, settings(threshold), "cpu", exposure=exposure).ccds
        assert all(ccd.status == "ok" for ccd in found)
        result[threshold] = (
            np.stack([ccd.counts for ccd in found]).astype(np.int32),
            np.stack([ccd.cosine for ccd in found]),
            np.stack([ccd.sine for ccd in found]),
            sum(ccd.n_sources for ccd in found),
        )
    return result


def normal(number):
    about = realistic.weather(CAMERA, number)
    return measured(str(number), realistic.ccds(CAMERA, about, realistic.scenes(CAMERA, about)), THRESHOLDS)


def odd(task):
    """{(class, strength): {threshold: ...}} of one exposure with every anomaly in turn, and their direction."""
    number, strengths = task
    about = realistic.weather(CAMERA, number)
    scenes = realistic.scenes(CAMERA, about)
    result = {}
    for name, injector in TRIED.items():
        for k in strengths:
            anomaly = realistic.anomaly_of(CAMERA, name, STRENGTHS[name][k], about)
            drawn = realistic.scenes(CAMERA, about, anomaly) if injector.shear else scenes
            ccds = realistic.ccds(CAMERA, about, drawn, anomaly)
            again = injector.kind == "source" and k in AGAIN
            result[name, k] = measured(str(number), ccds, THRESHOLDS if again else THRESHOLDS[:1])
    return result, about.direction


def population(size, processes):
    """All measurements: (normal exposures, anomalous exposures)."""
    numbers = range(1, size.normals + 1)
    tasks = [(size.normals + 1 + i, size.strengths) for i in range(size.odd)]
    if processes == 1:
        return [normal(n) for n in numbers], [odd(t) for t in tasks]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(normal, numbers, chunksize=4)), list(pool.map(odd, tasks))


# Ranking


BACKEND = select("cpu")


def scores(exposures, *, bins=BINS, rounds=0, fraction=0.1, ccds=CCDS):
    """{column: (n,)} of measured exposures ranked as one dataset."""
    counts = np.concatenate([e[0][:ccds] for e in exposures])
    counts = counts.reshape(*counts.shape[:2], bins, FINE // bins).sum(axis=-1)
    cosine, sine = (np.concatenate([e[i][:ccds] for e in exposures]) for i in (1, 2))
    owner = np.repeat(np.arange(len(exposures)), ccds)
    ids = tuple(f"{i:06d}" for i in range(len(exposures)))
    options = settings().replace(bins=bins, robust_rounds=rounds, robust_fraction=fraction)
    columns, deviations, local = {}, [], []
    ranked = score_dataset(Dataset("", "", ids, owner, counts, cosine, sine), options, BACKEND)
    for kind, s in zip(KINDS, ranked, strict=True):
        columns |= {f"{kind}_{what}": getattr(s, what) for what in ("kl", "z", "alignment", "rank")}
        columns[f"{kind}_local_z"] = s.local.z
        deviations.append(s.deviation)
        local.append(s.local.deviation)
    columns["table_order"] = np.fmax.reduce(deviations)
    columns["table_order_and_local"] = np.fmax.reduce([*deviations, *local[:2]])
    columns["few_sources"] = -np.array([e[3] for e in exposures], dtype=float)
    return columns


def recall(normal_values, odd_values, share):
    """Share of anomalous scores above all but `share` of the normal scores; without a score none is found."""
    high = np.sort(np.nan_to_num(normal_values, nan=-np.inf))[::-1][int(share * len(normal_values))]
    return float(np.mean(np.nan_to_num(odd_values, nan=-np.inf) > high))


def roc_area(normal_values, odd_values):
    a, b = (np.nan_to_num(v, nan=-np.inf) for v in (normal_values, odd_values))
    order = np.sort(a)
    below = np.searchsorted(order, b, side="left") + np.searchsorted(order, b, side="right")
    return float(below.mean() / (2 * len(order)))


def found(normals, odds, at_once=4, columns=COLUMNS, **options):
    """{column: (recall at 1%, at 5%, ROC area)}; the anomalous exposures join the normal exposures a few at a time."""
    n = len(normals)
    parts = [odds[i : i + at_once] for i in range(0, len(odds), at_once)]
    ranked = [(len(part), scores([*normals, *part], **options)) for part in parts]
    result = {}
    for column in columns:
        each = [
            (recall(s[column][:n], s[column][n:], 0.01), recall(s[column][:n], s[column][n:], 0.05),
             roc_area(s[column][:n], s[column][n:]))
            for _, s in ranked
        ]  # fmt: skip
        result[column] = tuple(np.average(each, axis=0, weights=[k for k, _ in ranked]).tolist())
    return result


def turned(exposure, direction):
    """A measured exposure with its histograms turned by -direction, as if its anomaly ran along 0 degrees."""
    bins = round(direction / 180 * FINE)
    return (np.roll(exposure[0], -bins, axis=-1), *exposure[1:])


def mixed_nights(normals, odds, keys, size, **options):
    """Random nights with a tenth of the exposures anomalous: columns, and which exposures are anomalous."""
    for i in range(size.mixes):
        rng = np.random.default_rng([SEED, 7, i])
        chosen = [odds[b][0][keys[rng.integers(len(keys))]][4.0] for b in range(len(odds))]
        n = min(len(normals), 9 * len(odds))
        drawn = [normals[j][4.0] for j in rng.permutation(len(normals))[:n]]
        yield scores([*drawn, *chosen], **options), np.arange(n + len(odds)) >= n


def main():
    import validation_page

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller version, for results/validation-quick.md")
    parser.add_argument("--processes", type=int, default=2, help="processes that draw and measure (default: 2)")
    parser.add_argument("--keep", type=Path, help="file that keeps the measurements")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    start = time.perf_counter()
    if options.keep and options.keep.exists():
        kept, *both, seconds = pickle.loads(options.keep.read_bytes())
        assert kept == size, "measured in another size"
    else:
        both = population(size, options.processes)
        seconds = time.perf_counter() - start
        if options.keep:
            options.keep.write_bytes(pickle.dumps((size, *both, seconds)))
    validation_page.write(size, *both, seconds, options.processes, quick=options.quick)
    print(f"measured in {seconds:.0f} s, all in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    # Imported by its name, as the worker processes and the page import this module.
    importlib.import_module("validation").main()
