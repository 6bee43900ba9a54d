"""An exposure more in a survey of 17,112 exposures of 61 CCDs: what `gpuanom watch` spends on it beside its pixels.

python profiling/bench_watch.py [--folder FOLDER] [--exposures 17112] [--new 20]

The store holds drawn counts and statistics (`synthetic_survey.py`), and is made and scored in FOLDER where it is
missing. Then files of 61 tiny CCDs arrive one by one in a watched folder, and the exposures get drawn measurements:
what is timed is the watch without the pixels. New exposures are taken out of the store again at the end. Needs 1 GB of
disk for the store, and 1.4 GiB of memory to score it.
"""

from __future__ import annotations

import bench  # isort: skip  (first, since this import sets the number of threads)

import argparse
import dataclasses
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import synthetic_survey
from astropy.io import fits

from gpuanom.backends.choice import select
from gpuanom.measuring.threads import Threads
from gpuanom.nights.arrivals import Pace
from gpuanom.nights.events import WatchEvents
from gpuanom.nights.watch import watch
from gpuanom.settings import Settings
from gpuanom.store.store import Store
from gpuanom.tables import build
from gpuanom.tables.kept_null import read_null

BAR = 0.5
"""Seconds of CPU time for each exposure: a tenth of a core where one comes every 5 s."""
MEMORY = 2048.0
FIRST = 9_000_000


def drawn(n_ccds=synthetic_survey.CCDS):
    """A replacement for `Threads.measured`: drawn measurements of the exposures that were found; their CPU seconds."""
    rng, settings, spent = np.random.default_rng(7), Settings(), [0.0]

    def measured(_threads, found):
        for exposure in found:
            start = time.process_time()
            (made,) = synthetic_survey.measurements(exposure.band, 0, 1, settings, rng, n_ccds)
            made = dataclasses.replace(made, exposure=exposure)
            spent[0] += time.process_time() - start
            yield exposure, made, 0.0

    return measured, spent


def write_exposure(path, number, n_ccds=synthetic_survey.CCDS):
    """A file like those of DECam's InstCal, with tiny CCDs."""
    primary = fits.PrimaryHDU()
    cards = {"INSTRUME": "DECam", "TELESCOP": "CTIO 4.0-m telescope", "OBSTYPE": "object", "PROCTYPE": "InstCal"}
    cards |= {"PRODTYPE": "image", "EXPNUM": number, "FILTER": "r DECam SDSS c0002 6415.0 1480.0", "EXPTIME": 90.0}
    for name, value in {**cards, "DATE-OBS": "2026-11-26T04:05:06.7"}.items():
        primary.header[name] = value
    names = [f"{'NS'[c % 2]}{c // 2 + 1}" for c in range(n_ccds)]
    pixels = np.zeros((8, 8), np.float32)
    planes = [fits.ImageHDU(pixels, name=name) for name in names]
    for i, plane in enumerate(planes):
        plane.header["CCDNUM"] = i + 1
    fits.HDUList([primary, *planes]).writeto(path)


def watched(survey, n_new):
    """Watch while exposures arrive one by one; CPU seconds and the notice of each."""
    seconds, told = [], []
    measured, spent = drawn()
    Threads.measured, real = measured, Threads.measured
    pace = Pace(every=0.2, settle=0.5)
    with tempfile.TemporaryDirectory() as temporary:
        folder, last = Path(temporary), [0.0]

        def arrives(number):
            path = folder / f".part{number}"
            write_exposure(path, FIRST + number)
            path.rename(folder / f"c4d_{number:06d}_ooi_r_v1.fits")
            last[0] = time.process_time() - spent[0]

        def scored(about):
            told.append(about)
            seconds.append(time.process_time() - spent[0] - last[0])
            if len(told) == n_new:
                pace.stop.set()
            else:
                arrives(len(told))

        arrives(0)
        events = WatchEvents(scored=scored)
        watch(folder, survey, settings=Settings(), device="cpu", pace=pace, events=events, threads=1)
    Threads.measured = real
    return seconds, told


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="Where the store is made (default: a temporary folder).")
    parser.add_argument(
        "--exposures", type=int, default=synthetic_survey.EXPOSURES, help="exposures of the survey (default: 17112)"
    )
    parser.add_argument(
        "--new", type=int, default=20, help="exposures that come while the survey is watched (default: 20)"
    )
    parser.add_argument("--rank", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rank:
        with Store(options.rank, Settings()) as store:
            build.build(store, Settings(), select("cpu"))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        path = synthetic_survey.build(folder / f"n{options.exposures}", options.exposures)
        settings = Settings()
        with Store(path, settings) as store:
            keys = store.dataset_keys()
            lacking = any(read_null(store, *key, settings).null is None for key in keys)
        if lacking:
            # In a process of its own, since a full pass takes much more memory than the watch does.
            subprocess.run([sys.executable, __file__, "--rank", str(path)], check=True)
        with Store(path, settings, read_only=True) as store:
            sizes = [sum(map(len, store.null(*key))) for key in keys]
        seconds, told = watched(path.parent, options.new)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        with Store(path, settings) as store:
            store.remove({(about["camera"], about["exposure"]) for about in told})
        first, rest = seconds[0], np.array(seconds[1:])
        assert all("null" in about for about in told), "an exposure was not judged by the kept null"
        median = float(np.median(rest))
        rows = [
            ("each exposure, median", f"{median:.2f}"),
            ("largest", f"{rest.max():.2f}"),
            ("the first exposure of a watch, which reads the nulls and looks over the store", f"{first:.2f}"),
        ]
        text = f"""# An exposure more in a survey that is watched

{bench.machine("numpy", "scipy", "gpuanom", pinned=False)}; CPU seconds.
Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores. (Other jobs share caches and memory, so that
CPU seconds are then too high.)

`gpuanom watch` on a survey of {options.exposures:,} exposures of {synthetic_survey.CCDS} CCDs in three bands, with
statistics and verdicts; {options.new} exposures came one by one, and each was judged by the null that the survey keeps.
Included: looking at the folder, reading and sorting the headers of {synthetic_survey.CCDS} CCDs, comparing with what
the store holds, keeping the measurement, judging it, telling of it. Not included: pixels, and what maps show beyond
the static patterns (the drawn exposures have no maps).

{bench.table(("what", "CPU [s]"), rows)}

Bar: at most {BAR:g} s for each, a tenth of a core where one comes every 5 s: {"held" if median <= BAR else "NOT held"}.
The nulls of the three bands take {sum(sizes) / 2**20:.1f} MiB in the store.
Largest memory {memory:.0f} MiB; bar: at most {MEMORY:.0f} MiB: {"held" if memory <= MEMORY else "NOT held"}."""
        bench.write("bench_watch.md", text, whole=options.exposures == synthetic_survey.EXPOSURES)


if __name__ == "__main__":
    main()
