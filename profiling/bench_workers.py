"""A night on the workers of this machine (`score --workers`) against threads of one process, in alternation.

python profiling/bench_workers.py [--repeats 3]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import bench
import numpy as np
from memory_run import SHAPE, write_night

import gpuanom

CASES = {
    "one process, 1 thread": {"threads": 1},
    "one process, 2 threads": {"threads": 2},
    "1 worker, 1 thread": {"workers": 1, "threads": 1},
    "2 workers, 1 thread each": {"workers": 2, "threads": 1},
}
COMPARED = "one process, 2 threads", "2 workers, 1 thread each"
SIZES = (2, 80), (16, 30)
"""CCDs of an exposure, and number of exposures. Small exposures show the cost of sending work to a worker and back."""


def run(night, out, options):
    """Exposures a second once all workers are busy, and seconds from the command to its end."""
    times = []
    start = time.perf_counter()
    events = gpuanom.Events(done=lambda *_: times.append(time.perf_counter()))
    gpuanom.score([night], out, device="cpu", events=events, existing="overwrite", **options)
    end = time.perf_counter()
    warm = len(times) // 5
    return (len(times) - warm) / (times[-1] - times[warm - 1]), end - start


def compare(ccds, exposures, repeats):
    """The lines on exposures of one size: a table, and the ratio of the two rates."""
    with tempfile.TemporaryDirectory() as folder:
        night = write_night(Path(folder), exposures, ccds)
        found = {name: [] for name in CASES}
        for _ in range(repeats):
            for name, case in CASES.items():
                found[name].append(run(night, Path(folder) / "scored", case))
    rates, seconds = ({name: np.median([r[i] for r in runs]) for name, runs in found.items()} for i in (0, 1))
    ratios = [b[0] / a[0] for a, b in zip(*(found[name] for name in COMPARED), strict=True)]
    rows = [(name, f"{rates[name]:.2f}", f"{seconds[name]:.1f}") for name in CASES]
    return f"""## {exposures} exposures of {ccds} CCDs

{bench.table(("case", "exposures a second", "s in all"), rows)}

2 workers against 2 threads: {np.median(ratios):.2f} times the rate (by run: {", ".join(f"{r:.2f}" for r in ratios)}).
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
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
end of workers.
`python profiling/bench_workers.py --repeats {options.repeats}`

{chr(10).join(pages)}""",
    )


if __name__ == "__main__":
    main()
