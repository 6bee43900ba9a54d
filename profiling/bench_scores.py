"""A survey scored from its store: 17,112 exposures of 61 CCDs in three bands, as in DECaLS DR3, with verdicts.

The null is made anew each time, so that the first score after a change and the next one cost the same.

python profiling/bench_scores.py [--folder FOLDER] [--exposures 17112] [--linear]

The store holds drawn counts and statistics (`synthetic_survey.py`) and is made in FOLDER where it is missing. What is
timed is `gpuanom score -o SURVEY` in a process of its own, with the share of each part. Needs the extra `parquet`, 1 GB
of disk for the store and 1.4 GiB of memory; --linear takes another 1 GB of disk.
"""

from __future__ import annotations

import bench  # isort: skip  (first, since this import sets the number of threads)

import argparse
import contextvars
import functools
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import synthetic_survey

from gpuanom.settings import Settings
from gpuanom.store.store import Store

BAR, MEMORY = 8.0, 2048.0
"""Seconds of the clock for the whole command on two cores, and MiB."""
PARTS = {
    "reading the store": (
        ("gpuanom.store.store:Store", ("dataset", "statistics", "ccds", "exposures", "pattern_values", "failures")),
        ("gpuanom.store.store:Store", ("holds_statistics", "reconstructed")),
    ),
    "scores": (
        ("gpuanom.tables.dataset_ranking", ("compared_with",)),
        ("gpuanom.scoring.histograms.ranking", ("scores_by",)),
    ),
    "columns of CCDs and exposures": (("gpuanom.tables.dataset_ranking", ("columns_of_dataset",)),),
    "what verdicts are made of": (("gpuanom.tables.verdicts", ("measured",)),),
    "null and verdicts": (("gpuanom.tables.verdicts", ("judged", "add_columns")),),
    "printed digits, order, tables": (
        ("gpuanom.tables.dataset_ranking", ("printed_columns", "plain_columns")),
        ("gpuanom.tables.build", ("joined_columns", "order_of_exposures")),
    ),
    "writing the tables": (("gpuanom.tables.writing", ("write",)),),
}


def timed_command(folder):
    """Run the command, and print the CPU seconds of each part and the largest memory."""
    import importlib

    from gpuanom import side_by_side

    spent, lock, here = dict.fromkeys([*PARTS, None], 0.0), threading.Lock(), threading.local()
    current = contextvars.ContextVar("part", default=None)

    def timed(part, function, arguments, options):
        """Call a function, and count the CPU seconds of its thread without those of parts inside."""
        inner = here.__dict__.setdefault("inner", [])
        start, before = time.thread_time(), current.set(part)
        inner.append(0.0)
        try:
            return function(*arguments, **options)
        finally:
            took = time.thread_time() - start
            current.reset(before)
            with lock:
                spent[part] += took - inner.pop()
            if inner:
                inner[-1] += took

    def watched(function, part):
        return functools.wraps(function)(lambda *arguments, **options: timed(part, function, arguments, options))

    def do(work, item):
        """What threads do for a part belongs to this part."""
        return work.context.copy().run(lambda: timed(current.get(), work.function, (item,), {}))

    side_by_side._Work.do = do
    import gpuanom.cli.score  # noqa: F401 (all that the command imports, which is a part of its own)
    from gpuanom.cli import cli

    imports = time.process_time()
    for part, functions in PARTS.items():
        for where, names in functions:
            module, _, owner = where.partition(":")
            holder = importlib.import_module(module)
            holder = getattr(holder, owner) if owner else holder
            for name in names:
                setattr(holder, name, watched(getattr(holder, name), part))
    cli.main(["score", "-q", "--device", "cpu", "-o", folder], standalone_mode=False)
    total = time.process_time()
    del spent[None]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    parts = {"starting Python and imports": imports, **spent}
    parts["the rest"] = total - sum(parts.values())
    for part, seconds in parts.items():
        print(f"{part}|{seconds:.2f}|{100 * seconds / total:.0f}")
    print(f"all|{total:.2f}|100")
    print(f"memory|{memory:.0f}")


def linear(folder):
    """Size of the store and CPU seconds to open it, for 1,000, 10,000 and 100,000 exposures of 4 CCDs."""
    rows = []
    for n in (1000, 10_000, 100_000):
        path = synthetic_survey.build(Path(folder) / f"linear{n}", n, n_ccds=4, drawn=500)
        seconds = []
        for _ in range(3):
            start = time.process_time()
            with Store(path, Settings(), read_only=True):
                seconds.append(time.process_time() - start)
        size = path.stat().st_size
        rows.append((f"{n:,}", f"{size / 2**20:.1f}", f"{size / n / 1024:.2f}", f"{min(seconds):.3f}"))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="Where the stores are made (default: a temporary folder).")
    parser.add_argument(
        "--exposures", type=int, default=synthetic_survey.EXPOSURES, help="exposures of the survey (default: 17112)"
    )
    parser.add_argument("--linear", action="store_true", help="Also stores of 1,000 to 100,000 exposures.")
    parser.add_argument("--timed", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.timed:
        timed_command(options.timed)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        store = synthetic_survey.build(folder / f"n{options.exposures}", options.exposures)
        command = [sys.executable, __file__, "--timed", str(store.parent)]
        load = os.getloadavg()[0]
        start = time.perf_counter()
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        wall = time.perf_counter() - start
        rows = [line.split("|") for line in lines]
        total, memory = float(rows[-2][1]), float(rows[-1][1])
        text = f"""# A survey scored from its store

{bench.machine("numpy", "scipy", "pyarrow", "gpuanom", pinned=False)}; CPU seconds.
Load of the machine when the command began: {load:.1f} on {os.cpu_count()} cores. (Other jobs share caches and memory,
so that CPU seconds are then too high.)

`gpuanom score -o SURVEY`: {options.exposures:,} exposures of {synthetic_survey.CCDS} CCDs in three bands, with verdicts
and all statistics of METHOD.md Part II (drawn, and what the static patterns give is kept already);
the store has {store.stat().st_size / 2**20:.0f} MiB. exposures.ecsv and ccds.parquet are written.

{bench.table(("part", "CPU [s]", "share [%]"), rows[:-1])}

The whole command, with the start of Python: {wall:.2f} s by the clock on {os.cpu_count()} cores; bar: at most {BAR:g} s
on two idle cores: {"held" if wall <= BAR else "NOT held"}. CPU seconds of all threads: {total:.2f}.
Largest memory {memory:.0f} MiB; bar: at most {MEMORY:.0f} MiB: {"held" if memory <= MEMORY else "NOT held"}."""
        if options.linear:
            header = ("exposures of 4 CCDs", "store [MiB]", "an exposure [KiB]", "opening [CPU s]")
            text += f"\n\nStores of a growing number of exposures:\n\n{bench.table(header, linear(folder))}"
        bench.write("bench_scores.md", text, whole=options.exposures == synthetic_survey.EXPOSURES)


if __name__ == "__main__":
    main()
