"""One CCD in memory on one core: the whole measurement against SEP and against the straightforward version.

python profiling/bench_ccd.py [--repeats 15]
"""

from __future__ import annotations

import bench  # isort: skip  (first, since this import sets the number of threads)

import argparse
import subprocess
import sys
import time
import tracemalloc
from collections import defaultdict
from functools import partial
from pathlib import Path

import numpy as np
import scene
import sep
import straightforward

import gpuanom
from gpuanom.backends.choice import select
from gpuanom.measuring.exposure import measure_ccds
from gpuanom.records import Ccd
from gpuanom.settings import Settings

EXPOSURE = "memory"

BARS = {"SEP": 0.35, "straightforward": 0.1, "memory": 1.2}


def measure(image):
    return gpuanom.measure([image], exposure=EXPOSURE, device="cpu").ccds[0]


def sep_measure(image):
    """SEP as SEP's documentation uses it; the subtraction between SEP's two steps is timed too."""
    background = sep.Background(image)
    return sep.extract(image - background, 4.0, err=background.globalrms)


class Timed:
    """A backend whose steps add the seconds that they take to `seconds`."""

    def __init__(self, backend):
        self._backend = backend
        self.seconds = defaultdict(float)

    def __getattr__(self, name):
        value = getattr(self._backend, name)
        if not callable(value):
            return value

        def timed(*args, **kwargs):
            start = time.process_time()
            result = value(*args, **kwargs)
            self.seconds[name] += time.process_time() - start
            return result

        return timed


def breakdown(image, repeats):
    """Median milliseconds of each step of the measurement, and of the work between the steps."""
    settings, ccd = Settings(), [Ccd("1", image)]
    steps = defaultdict(list)
    for _ in range(repeats):
        backend = Timed(select("cpu"))
        start = time.process_time()
        measure_ccds(EXPOSURE, ccd, settings, backend)
        whole = time.process_time() - start
        for name, seconds in backend.seconds.items():
            steps[name].append(seconds)
        steps["between the steps (drawing points, records)"].append(whole - sum(backend.seconds.values()))
    return {name: 1e3 * float(np.median(seconds)) for name, seconds in steps.items() if np.median(seconds) > 1e-5}


def resident(key):
    """VmRSS or VmHWM of this process, in bytes."""
    line = next(ln for ln in Path("/proc/self/status").read_text().splitlines() if ln.startswith(key))
    return int(line.split()[1]) * 1024


def extra_memory(how):
    """Peak memory that one measurement adds, in sizes of the image: resident memory, and memory allocated by Python."""
    image = scene.ccd()
    # A first, small measurement: imports and caches that are made once do not count as memory of the measurement.
    measure(scene.ccd((256, 256), 1.0))
    if how == "allocated":
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        measure(image)
        peak = tracemalloc.get_traced_memory()[1]
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        before = resident("VmRSS")
        measure(image)
        peak = resident("VmHWM")
    print((peak - before) / image.nbytes)


def in_fresh_process(how):
    done = subprocess.run(
        [sys.executable, __file__, "--memory", how], check=True, capture_output=True, text=True, cwd=Path.cwd()
    )
    return float(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="rounds in which all are timed (default: 15)")
    parser.add_argument("--memory", choices=["resident", "allocated"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory:
        extra_memory(options.memory)
        return
    bench.pin()
    image = scene.ccd()
    ours = measure(image)
    theirs, found = straightforward.measure(image, exposure=EXPOSURE)
    if ours.n_sources != len(found) or not np.array_equal(ours.counts, theirs):
        raise SystemExit("the straightforward version and the package do not give the same histograms")

    background = sep.Background(image)
    flat = image - background
    noise_map = background.rms()
    calls = {
        "gpuanom.measure": partial(measure, image),
        "straightforward SciPy": partial(straightforward.measure, image, exposure=EXPOSURE),
        "SEP Background, subtraction, extract(4 sigma)": partial(sep_measure, image),
        "SEP Background": partial(sep.Background, image),
        "SEP extract(4 sigma)": partial(sep.extract, flat, 4.0, err=background.globalrms),
        "SEP extract(4 sigma) over its noise map": partial(sep.extract, flat, 4.0, err=noise_map),
    }
    seconds = dict(zip(calls, bench.interleaved(list(calls.values()), options.repeats), strict=True))
    median = {name: float(np.median(s)) for name, s in seconds.items()}
    ours_s = median["gpuanom.measure"]
    rows = [
        (name, f"{1e3 * m:.1f}", f"{1e3 * seconds[name].min():.1f}", f"{ours_s / m:.3f}") for name, m in median.items()
    ]
    to_sep = ours_s / median["SEP Background, subtraction, extract(4 sigma)"]
    to_bare_sep = ours_s / (median["SEP Background"] + median["SEP extract(4 sigma)"])
    to_plain = ours_s / median["straightforward SciPy"]
    memory = {how: in_fresh_process(how) for how in ("resident", "allocated")}
    steps = breakdown(image, options.repeats)
    checks = [
        ("time against SEP", to_sep, BARS["SEP"]),
        ("time against SEP, the subtraction between its steps not counted", to_bare_sep, BARS["SEP"]),
        ("time against straightforward", to_plain, BARS["straightforward"]),
        ("extra memory, resident, in images", memory["resident"], BARS["memory"]),
        ("extra memory, allocated, in images", memory["allocated"], BARS["memory"]),
    ]
    verdicts = [(name, f"{value:.3f}", bar, "yes" if value <= bar else "NO") for name, value, bar in checks]
    n_sep = len(sep_measure(image))
    text = f"""# One CCD in memory

{bench.machine("numpy", "scipy", "sep", "gpuanom")}.

{image.shape[1]} x {image.shape[0]} float32, {ours.n_sources} sources of the method ({n_sep} of SEP), all histograms:
source, isophote, background and flat background. {options.repeats} interleaved repeats; ratios are of medians.
The straightforward version gave the same histograms, count for count.

{bench.table(("what", "median [ms]", "fastest [ms]", "gpuanom / it"), rows)}

{bench.table(("bar", "measured", "at most", "held"), verdicts)}

Steps of the measurement:

{bench.table(("step", "median [ms]"), [(name, f"{ms:.2f}") for name, ms in steps.items()])}"""
    bench.write("bench_ccd.md", text)


if __name__ == "__main__":
    main()
