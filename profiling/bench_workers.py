"""A night on the workers of this machine (`score --workers`) against threads of one process, in alternation.

Two processes that know nothing of each other, each with half of the night, show what the machine itself allows: two
busy cores share caches and memory, so that these two processes do less than twice the work of one.

python profiling/bench_workers.py [--repeats 3]

Needs the extra `cluster` (Dask).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import bench
import numpy as np
from memory_run import SHAPE, write_night

import gpuanom

ALONE, APART = "one process, 1 thread", "two processes apart, 1 thread each"
THREADS, WORKER, WORKERS = "one process, 2 threads", "1 worker, 1 thread", "2 workers, 1 thread each"
CASES = {
    ALONE: {"threads": 1},
    APART: None,
    THREADS: {"threads": 2},
    WORKER: {"workers": 1, "threads": 1},
    WORKERS: {"workers": 2, "threads": 1},
}
RATIOS = (WORKERS, WORKER), (APART, ALONE), (WORKERS, APART), (WORKERS, THREADS)
SIZES = (2, 300), (16, 60)
"""CCDs of an exposure, and number of exposures. Small exposures show the cost of sending work to a worker and back."""


def score(images, out, options):
    """Score images; the times at which an exposure was done (time.perf_counter)."""
    times = []
    events = gpuanom.Events(done=lambda *_: times.append(time.perf_counter()))
    gpuanom.score(images, out, device="cpu", events=events, existing="overwrite", **options)
    return times


def score_apart(images, out):
    """The same in two processes, each with half of the images; the times of both until the first one has ended."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        halves = [
            pool.submit(score, images[part::2], out.with_name(f"half-{part}"), {"threads": 1}) for part in range(2)
        ]
        times = [half.result() for half in halves]
    begin, end = max(half[0] for half in times), min(half[-1] for half in times)
    return sorted(moment for half in times for moment in half if begin <= moment <= end)


def run(night, out, options):
    """Exposures a second once all are busy, and seconds from the command to its end."""
    images = sorted(night.iterdir())
    start = time.perf_counter()
    times = score_apart(images, out) if options is None else score(images, out, options)
    end = time.perf_counter()
    warm = len(times) // 5
    return (len(times) - warm) / (times[-1] - times[warm - 1]), end - start


def compare(ccds, exposures, repeats):
    """The lines on exposures of one size: a table of the cases, and one of ratios of their rates."""
    with tempfile.TemporaryDirectory() as folder:
        night = write_night(Path(folder), exposures, ccds)
        found = {name: [] for name in CASES}
        for _ in range(repeats):
            for name, case in CASES.items():
                found[name].append(run(night, Path(folder) / "scored", case))
    rates, seconds = ({name: np.median([r[i] for r in runs]) for name, runs in found.items()} for i in (0, 1))
    rows = [(name, f"{rates[name]:.2f}", f"{seconds[name]:.1f}") for name in CASES]
    ratios = [(of, to, [b[0] / a[0] for a, b in zip(found[to], found[of], strict=True)]) for of, to in RATIOS]
    return f"""## {exposures} exposures of {ccds} CCDs

{bench.table(("case", "exposures a second", "s in all"), rows)}

{
        bench.table(
            ("rate of", "divided by that of", "median", "each time"),
            [(of, to, f"{np.median(each):.2f}", ", ".join(f"{r:.2f}" for r in each)) for of, to, each in ratios],
        )
    }
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="rounds in which all cases are timed (default: 3)")
    options = parser.parse_args()
    load = [os.getloadavg()[0]]
    pages = [compare(ccds, exposures, options.repeats) for ccds, exposures in SIZES]
    load.append(os.getloadavg()[0])
    bench.write(
        "bench_workers.md",
        f"""# Workers of one machine against threads of one process

{bench.machine("numpy", "numba", "distributed", "gpuanom", pinned=False)}; {
            os.cpu_count()
        } cores, on which the scheduler and the client work too. Load of the machine before the first
run {load[0]:.1f}, at the end {load[1]:.1f}. On a quiet machine the first load is near 0, and the ratios below are
more reliable.

CCDs of {SHAPE[1]} x {SHAPE[0]}, from disk cache to store; all cases in alternation, {options.repeats} times,
medians. The rate leaves out the first fifth of a run. The seconds are those of the whole command, with the start and
end of workers. Two processes apart share nothing but the machine: their rate, divided by that of one process, is what
two workers could reach at best.
`python profiling/bench_workers.py --repeats {options.repeats}`

{chr(10).join(pages)}""",
    )


if __name__ == "__main__":
    main()
