"""What an autoencoder finds beyond the scores of orientations, and whether labels help (METHOD.md 7, the paper's 4.3).

gpuanom simulate night --exposures 60 --ccds 8 --shape 512,512
gpuanom score night -o scored
gpuanom train scored -o model.pt
python profiling/validation_autoencoder.py model.pt [--quick] [--processes 2] [--keep FILE]

The exposures are those of `validation.py`; the model has seen none of them. Writes
profiling/results/validation-autoencoder.md, and copies its section to docs/validation.md. Needs the extra `autoencoder`
(PyTorch).
"""

from __future__ import annotations

import bench  # isort: skip  (first, since this import sets the number of threads)

import argparse
import importlib
import multiprocessing
import pickle
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import realistic
import validation as v
from validation_autoencoder_page import write

from gpuanom.autoencoder import classifier
from gpuanom.autoencoder.model import load
from gpuanom.autoencoder.scoring import Scorer
from gpuanom.autoencoder.validation import roc
from gpuanom.backends.choice import select
from gpuanom.measuring.exposure import measure_ccds
from gpuanom.records import Exposure, Measurement
from gpuanom.store.store import Store

BRIGHT = 30.0
"""The second threshold of sources, in sigma."""
BINS = 18
MORE = 4
"""In a second trial of the classifier, the number of labelled anomalous exposures is larger by this factor."""


@dataclass(frozen=True)
class Size:
    """The number of exposures, and of pairs of nights for the classifier."""

    population: v.Size
    nights: int


FULL = Size(v.FULL, 40)
QUICK = Size(v.Size(24, 12, (1, 3), 4), 4)


# Measuring


_SCORERS = {}


def measured(name, ccds, model, bright):
    """{threshold: CCDs} of one exposure."""
    if model not in _SCORERS:
        _SCORERS[model] = Scorer(load(model))
    thresholds = (4.0, BRIGHT) if bright else (4.0,)
    return {t: measure_ccds(name, ccds, v.settings(t), select("cpu"), _SCORERS[model]) for t in thresholds}


def normal(number, model):
    about = realistic.weather(v.CAMERA, number)
    ccds = realistic.ccds(v.CAMERA, about, realistic.scenes(v.CAMERA, about))
    return measured(str(number), ccds, model, bright=True)


def odd(task, model):
    """{(class, strength): {threshold: CCDs}} of one exposure with every anomaly in turn."""
    number, strengths = task
    about = realistic.weather(v.CAMERA, number)
    scenes, result = realistic.scenes(v.CAMERA, about), {}
    for name, injector in v.TRIED.items():
        for k in strengths:
            anomaly = realistic.anomaly_of(v.CAMERA, name, v.STRENGTHS[name][k], about)
            drawn = realistic.scenes(v.CAMERA, about, anomaly) if injector.shear else scenes
            ccds = realistic.ccds(v.CAMERA, about, drawn, anomaly)
            result[name, k] = measured(str(number), ccds, model, bright=injector.kind == "source")
    return result


def population(size, model, processes):
    """All measurements: (normal exposures, anomalous exposures)."""
    counts = size.population
    tasks = [(counts.normals + 1 + i, counts.strengths) for i in range(counts.odd)]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        normals = list(pool.map(partial(normal, model=model), range(1, counts.normals + 1), chunksize=4))
        return normals, list(pool.map(partial(odd, model=model), tasks))


# Judging


def mse(ccds):
    """Eq. 9 over an exposure; NaN without stamps."""
    n = sum(c.reconstruction.n_stamps for c in ccds)
    return sum(c.reconstruction.error for c in ccds) / n if n else float("nan")


def _as_validation(ccds):
    """An exposure in the form that `validation.scores` takes."""
    arrays = (np.stack([getattr(c, name) for c in ccds]) for name in ("counts", "cosine", "sine"))
    return (*arrays, sum(c.n_sources for c in ccds))


COLUMNS = ("source_kl", "source_z", "isophote_kl", "background_kl", "few_sources")


def compared(normals, odds, threshold):
    """{(class, strength): {column: (recall at 1%, at 5%, ROC area)}} of the measurements at one threshold."""
    at = [_as_validation(n[threshold]) for n in normals]
    normal_mse = np.array([mse(n[threshold]) for n in normals])
    table = {}
    for key in odds[0]:
        if threshold not in odds[0][key]:
            continue
        anomalous = [o[key][threshold] for o in odds]
        found = v.found(at, [_as_validation(ccds) for ccds in anomalous], columns=COLUMNS)
        odd_mse = np.array([mse(ccds) for ccds in anomalous])
        both = normal_mse, odd_mse
        found["autoencoder_mse"] = (v.recall(*both, 0.01), v.recall(*both, 0.05), v.roc_area(*both))
        table[key] = found
    return table


def _night(exposures):
    """The classifier's sample of exposures that are scored together as one night."""
    settings = v.settings().replace(bins=BINS)
    with Store(None, settings) as store:
        for i, ccds in enumerate(exposures):
            about = Exposure(f"{i:05d}", "SIM", "r", "", 30.0, (), (), "", "")
            rebinned = (replace(c, counts=c.counts.reshape(len(c.counts), BINS, -1).sum(axis=-1)) for c in ccds)
            store.add(Measurement(about, tuple(rebinned), settings.fingerprint(), "model"))
        sample = classifier._sample(store, select("cpu"))
    order = np.argsort([int(key[1]) for key in sample.keys])
    scores = {name: values[order] for name, values in sample.scores.items()}
    return replace(sample, keys=[sample.keys[i] for i in order], features=sample.features[order], scores=scores)


def supervised(normals, odds, size, times=1):
    """{column: (n, 2)}: recall at 5% and ROC area over pairs of nights, one labelled, one held out.

    Each night has half of the normal and half of the anomalous exposures. Each anomalous exposure gets a class and a
    strength at random; in the labelled night each is used `times` times, with different anomalies.
    """
    keys, results = list(odds[0]), []
    for i in range(size.nights):
        rng = np.random.default_rng([v.SEED, 8, i])
        n, m = rng.permutation(len(normals)), rng.permutation(len(odds))
        parts = []
        for half in (0, 1):
            which = np.repeat(m[half::2], 1 if half else times)
            chosen = [odds[b][keys[rng.integers(len(keys))]][4.0] for b in which]
            normal_half = [normals[j][4.0] for j in n[half::2]]
            truth = np.repeat([0, 1], [len(normal_half), len(chosen)])
            parts.append((_night([*normal_half, *chosen]), truth))
        (labelled, truth), (held_out, answer) = parts
        probability = classifier.fit(labelled, truth).probabilities(held_out.features)
        deviations = [held_out.scores[f"{kind}_deviation"] for kind in v.KINDS]
        columns = {
            "classifier": probability,
            "largest deviation": np.fmax.reduce(deviations),
            "largest deviation, the autoencoder's among them": np.fmax.reduce(
                [*deviations, held_out.scores["autoencoder_deviation"]]
            ),
            **{name: held_out.scores[name] for name in ("source_kl", "source_z", "isophote_kl", "background_kl")},
            "autoencoder_mse": held_out.scores["autoencoder_mse"],
        }
        judged = {}
        for name, x in columns.items():
            judged[name] = v.recall(x[answer == 0], x[answer == 1], 0.05), roc(x, answer)[2]
        results.append(judged)
    return {name: np.array([r[name] for r in results]) for name in results[0]}


def what_moves_it(normals):
    """Spearman's correlation of the errors of normal exposures with the number of sources, the sky and the noise."""
    from scipy.stats import spearmanr

    found = {}
    for threshold in (4.0, BRIGHT):
        exposures = [n[threshold] for n in normals]
        errors = [mse(ccds) for ccds in exposures]
        numbers = {
            "sources": [sum(c.n_sources for c in ccds) for ccds in exposures],
            "sky": [np.median([c.sky for c in ccds]) for ccds in exposures],
            "noise": [np.median([c.sigma for c in ccds]) for ccds in exposures],
        }
        found[threshold] = {name: float(spearmanr(errors, values)[0]) for name, values in numbers.items()}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model that `gpuanom train` made")
    parser.add_argument("--quick", action="store_true", help="a smaller version; writes results/..-quick.md only")
    parser.add_argument("--processes", type=int, default=2, help="processes that draw and measure (default: 2)")
    parser.add_argument("--keep", type=Path, help="file that keeps the measurements")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    start = time.perf_counter()
    if options.keep and options.keep.exists():
        kept, normals, odds, seconds = pickle.loads(options.keep.read_bytes())
        assert kept == size, "measured in another size"
    else:
        normals, odds = population(size, options.model, options.processes)
        seconds = time.perf_counter() - start
        if options.keep:
            options.keep.write_bytes(pickle.dumps((size, normals, odds, seconds)))
    experiments = {
        "size": size,
        "about": load(options.model).about,
        "table": compared(normals, odds, 4.0),
        "bright": compared(normals, odds, BRIGHT),
        "supervised": supervised(normals, odds, size),
        "more_labels": supervised(normals, odds, size, times=MORE),
        "times": MORE,
        "moved": what_moves_it(normals),
        "seconds": seconds,
        "processes": options.processes,
        "machine": bench.machine("numpy", "galsim", "torch", "gpuanom", pinned=False),
        "date": time.strftime("%Y-%m-%d"),
    }
    write(experiments, quick=options.quick)
    print(f"measured in {seconds:.0f} s, all in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    # Imported by its name, as the worker processes and the page import this module.
    importlib.import_module("validation_autoencoder").main()
