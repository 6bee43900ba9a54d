"""A night on the workers of this machine (`score --workers`) against threads of one process, in turns.

python profiling/bench_workers.py [--exposures 60] [--repeats 3]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import bench
import numpy as np
from memory_run import write_night

import gpuanom

CASES = {
    "one process, 1 thread": {"threads": 1},
    "one process, 2 threads": {"threads": 2},
    "1 worker, 1 thread": {"workers": 1, "threads": 1},
    "2 workers, 1 thread each": {"workers": 2, "threads": 1},
}


def run(night, out, options):
    """Exposures a second once all are at work, and seconds from the command to its end."""
    times = []
    start = time.perf_counter()
    events = gpuanom.Events(done=lambda *_: times.append(time.perf_counter()))
    gpuanom.score([night], out, device="cpu", events=events, existing="overwrite", **options)
    end = time.perf_counter()
    warm = len(times) // 5
    return (len(times) - warm) / (times[-1] - times[warm - 1]), end - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exposures", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        night = write_night(Path(folder), options.exposures)
        found = {name: [] for name in CASES}
        for _ in range(options.repeats):
            for name, case in CASES.items():
                found[name].append(run(night, Path(folder) / "scored", case))
    rates = {name: float(np.median([rate for rate, _ in runs])) for name, runs in found.items()}
    seconds = {name: float(np.median([whole for _, whole in runs])) for name, runs in found.items()}
    ratios = [
        b[0] / a[0] for a, b in zip(found["one process, 2 threads"], found["2 workers, 1 thread each"], strict=True)
    ]
    rows = [(name, f"{rates[name]:.2f}", f"{seconds[name]:.1f}") for name in CASES]
    bench.write(
        "bench_workers.md",
        f"""# Workers of one machine against threads of one process

{bench.machine("numpy", "numba", "distributed", "gpuanom", pinned=False)}; 2 cores.

{options.exposures} exposures of 2 CCDs of 1024 x 1024, from disk cache to store; all cases in turns, {
            options.repeats
        } times, medians. The rate leaves out the first fifth of a run, the seconds are those of the
whole command: workers start, connect and end in them. `python profiling/bench_workers.py --exposures {
            options.exposures
        } --repeats {options.repeats}`

{bench.table(("case", "exposures a second", "s in all"), rows)}

2 workers against 2 threads: {np.median(ratios):.2f} times the rate (by run: {
            ", ".join(f"{r:.2f}" for r in ratios)
        }).""",
    )


if __name__ == "__main__":
    main()
