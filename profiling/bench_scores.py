"""KL, z, p and ranks of a survey from stored counts: 17,112 exposures of 61 CCDs in three bands, as in DECaLS DR3.

python profiling/bench_scores.py [--repeats 5]
"""

from __future__ import annotations

import bench  # isort: skip  (first, since this import sets the number of threads)

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from gpuanom.backends.choice import select
from gpuanom.records import KINDS, CcdMeasurement, Dataset, Exposure, Measurement
from gpuanom.scoring.ranking import score_dataset
from gpuanom.settings import Settings
from gpuanom.store.store import NAME, Store
from gpuanom.tables import build as tables

EXPOSURES = {"g": 3919, "r": 5712, "z": 7481}
CCDS = 61
BAR = 2.0  # seconds for scoring alone
WHOLE_BAR = 5.0  # seconds for reading and scoring
SMALL, SPARSE = 200, 10  # exposures of a dataset that shows the cost of sparse exposures, and its sparse exposures


def dataset(band, n_exposures, bins, rng, sparse=0):
    """Histograms of normal exposures: about 50 sources and 10,000 gradients a CCD; 1 source in sparse exposures."""
    n_ccd = n_exposures * CCDS
    owner = np.repeat(np.arange(n_exposures), CCDS)
    density = rng.lognormal(np.log(50), 0.7, n_exposures)
    density[:sparse] = 1.0
    sources = rng.poisson(density[owner])
    counts = np.empty((n_ccd, len(KINDS), bins), dtype=np.int32)
    # Each bin has Poisson counts, which is the same as a multinomial distribution of a Poisson total.
    for kind, n in enumerate((sources, 0.8 * sources, 10_000.0, 10_000.0)):
        counts[:, kind] = rng.poisson(np.broadcast_to(np.asarray(n) / bins, n_ccd)[:, None], (n_ccd, bins))
    theta = np.pi * ((np.arange(bins) + 0.5) / bins - 0.5)
    return Dataset(
        camera="DECam",
        band=band,
        exposures=tuple(f"{i:06d}" for i in range(n_exposures)),
        owner=owner,
        counts=counts,
        cosine=counts @ np.cos(2 * theta),
        sine=counts @ np.sin(2 * theta),
    )


def fill(store, data, settings):
    """Put the exposures of a dataset into a store."""
    nan = float("nan")
    store._db.execute("PRAGMA synchronous = OFF")  # this survey can be made again, if it is lost
    for i in range(len(data.exposures)):
        ccds = tuple(
            CcdMeasurement(
                name=f"N{c + 1}",
                status="ok",
                reason="",
                coefficients=np.zeros(6),
                sky=1000.0,
                sigma=30.0,
                n_points=1000,
                n_sigma_points=10_000,
                n_sources=int(data.counts[k, 0].sum()),
                n_without_orientation=0,
                n_isophote=int(data.counts[k, 1].sum()),
                n_gradients=int(data.counts[k, 2].sum()),
                masked_fraction=0.0,
                saturated_fraction=nan,
                counts=data.counts[k].astype(np.int64),
                cosine=data.cosine[k],
                sine=data.sine[k],
                sky_axes=None,
            )
            for c, k in enumerate(range(i * CCDS, (i + 1) * CCDS))
        )
        name = f"{data.band}{data.exposures[i]}"
        about = Exposure(name, data.camera, data.band, "", 90.0, (Path(f"{name}.fits"),), (None,), "", "generic")
        store.add(Measurement(about, ccds, settings.fingerprint()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    bench.pin()
    settings, backend = Settings(), select("cpu")
    rng = np.random.default_rng(1)
    survey = [dataset(band, n, settings.bins, rng) for band, n in EXPOSURES.items()]
    rows, whole = [], np.zeros(options.repeats)
    for data in survey:
        seconds = bench.interleaved([lambda data=data: score_dataset(data, settings, backend)], options.repeats, 1)[0]
        whole += seconds
        rows.append((data.band, len(data.exposures), len(data.owner), f"{np.median(seconds):.2f}"))
    total = float(np.median(whole))
    few = [dataset("Y", SMALL, settings.bins, np.random.default_rng(2), sparse) for sparse in (0, SPARSE)]
    without, with_sparse = bench.interleaved(
        [lambda data=data: score_dataset(data, settings, backend) for data in few], options.repeats, 1
    )
    each = (np.median(with_sparse) - np.median(without)) / SPARSE
    rows.append(("all", sum(EXPOSURES.values()), sum(EXPOSURES.values()) * CCDS, f"{total:.2f}"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / NAME
        with Store(path, settings) as store:
            for data in survey:
                fill(store, data, settings)
        size = path.stat().st_size / 2**20
        reading, scoring, building = np.zeros((3, options.repeats))
        for i in range(options.repeats):
            with Store(path, settings, read_only=True) as store:
                times = [time.process_time()]
                read = store.datasets(settings.bins)
                times.append(time.process_time())
                scores = [score_dataset(data, settings, backend) for data in read]
                times.append(time.process_time())
                reading[i], scoring[i] = np.diff(times)
                del scores
        assert all(np.array_equal(a.counts, b.counts) for a, b in zip(read, survey, strict=True))
        del read
        with Store(path, settings, read_only=True) as store:
            start = time.process_time()
            built = tables.build(store, settings, backend)
            building = time.process_time() - start
        del built
        subprocess.run([sys.executable, "-m", "gpuanom", "score", "-q", "--device", "cpu", "-o", folder], check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = used.ru_utime + used.ru_stime
    median = float(np.median(reading + scoring))
    bench.write(
        "bench_scores.md",
        f"""# Scores of a survey from stored counts

{bench.machine("numpy", "scipy", "gpuanom")}.

`gpuanom.scoring.ranking.score_dataset`: KL, floor, z, p, deviation, rank, angle and alignment of all four kinds,
background KL and z of every CCD; {settings.bins} bins, normal exposures of about 3,000 sources. {
            options.repeats
        } repeats.
None of them is sparse; an exposure of about {CCDS} sources, whose source and isophote p are simulated, takes
{1e3 * each:.0f} ms more ({SPARSE} such among {SMALL}).

{bench.table(("band", "exposures", "CCDs", "median [s]"), rows)}

Bar: at most {BAR:g} s for all: {"held" if total <= BAR else "NOT held"}.

The same from a store on disk ({size:.0f} MiB, in the system's cache): reading {np.median(reading):.2f} s,
scoring {np.median(scoring):.2f} s, together {median:.2f} s. Bar: at most {WHOLE_BAR:g} s: {
            "held" if median <= WHOLE_BAR else "NOT held"
        }.

With the rows of {sum(EXPOSURES.values()):,} exposures and {sum(EXPOSURES.values()) * CCDS:,} CCDs made as well
(`tables.build`): {
            building:.1f} s. `gpuanom score -o NIGHT`, which starts, does all that and writes both tables as ECSV:
{command:.1f} s.""",
    )


if __name__ == "__main__":
    main()
