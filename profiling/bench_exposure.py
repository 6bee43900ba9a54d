"""A 61-CCD RICE exposure from disk to scores on two cores, against fitsio + SEP in two processes on the same cores.

python profiling/bench_exposure.py [--ccds 61] [--repeats 3] [--threads 2]
"""

from __future__ import annotations

import bench  # isort: skip  (first, since this import sets the number of threads)

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import scene
from astropy.io import fits

CCDS = 61
BARS = {"against": 0.35, "busy": 1.25}
DISTINCT = 4
"""Number of scenes that are drawn. The other CCDs are flipped copies of these scenes, each with new noise, so that no
two of them compress alike.
"""

THEIRS = """
import sys, time
import fitsio, sep
path, part, parts = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with fitsio.FITS(path) as file:
    numbers = [i for i, hdu in enumerate(file) if hdu.get_info()["hdutype"] in (0, 2) and i > 0]
for i in numbers[part::parts]:
    image = fitsio.read(path, ext=i)
    background = sep.Background(image)
    sep.extract(image - background, 4.0, err=background.globalrms)
"""
OURS = """
import sys, tempfile
import gpuanom
night = gpuanom.score(sys.argv[1], None, device="cpu", threads=int(sys.argv[2]))
assert not night.failed, night.failed
"""
DECODE = """
import sys
import numpy as np
from gpuanom.fits import discover, open_ccds
from gpuanom.workspace import workspace
from gpuanom.records import Ccd
from gpuanom.settings import Settings
for exposure in discover([sys.argv[1]], Settings()).exposures:
    for ccd in open_ccds(exposure, Settings()):
        assert isinstance(ccd.load(out=workspace("image", ccd.shape, np.float32)), Ccd)
"""
NOTHING = """
import sys
import gpuanom
from gpuanom.fits import discover
from gpuanom.settings import Settings
discover([sys.argv[1]], Settings())
"""
SCORE = """
import sys
import numpy as np
import gpuanom
from gpuanom.fits import discover, read_ccds
from gpuanom.settings import Settings
import time
ccds = []
for exposure in discover([sys.argv[1]], Settings()).exposures:
    for ccd in read_ccds(exposure, Settings()):
        start = time.process_time()
        gpuanom.measure([ccd], exposure=exposure.exposure, device="cpu")
        ccds.append(time.process_time() - start)
print(sum(ccds))
"""

# Wall-clock seconds of decoding, and of scoring the decoded CCDs, on one thread divided by those on several threads.
SPEEDUP = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
import numpy as np
import gpuanom
from gpuanom.fits import discover, open_ccds
from gpuanom.workspace import workspace
from gpuanom.settings import Settings
(exposure,) = discover([sys.argv[1]], Settings()).exposures
ccds = [ccd.load() for ccd in islice(open_ccds(exposure, Settings()), 12)]
tasks = {
    "decode": lambda: [
        lambda ccd=ccd: ccd.load(out=workspace("image", ccd.shape, np.float32)).name
        for ccd in islice(open_ccds(exposure, Settings()), 12)
    ],
    "score": lambda: [lambda ccd=ccd: gpuanom.measure([ccd], device="cpu") for ccd in ccds],
}
for make in tasks.values():
    seconds = []
    for threads in (1, int(sys.argv[2])):
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda task: task(), make()))
            start = time.perf_counter()
            list(pool.map(lambda task: task(), make()))
            seconds.append(time.perf_counter() - start)
    print(seconds[0] / seconds[1])
"""


def exposure(path: Path, n_ccds: int) -> None:
    """Write an exposure in the format of the Community Pipeline: tiles of one row, RICE, subtractive dither, q = 4."""
    rng = np.random.default_rng(1)
    scenes = [scene.ccd(seed=seed) for seed in range(DISTINCT)]
    primary = fits.PrimaryHDU()
    for name, value in {"INSTRUME": "BENCH", "EXPNUM": 1, "FILTER": "r", "OBSTYPE": "object"}.items():
        primary.header[name] = value
    hdus = [primary]
    for i in range(n_ccds):
        image = scenes[i % DISTINCT][:: -1 if i // DISTINCT % 2 else 1] + rng.normal(0, 1, scene.SHAPE)
        hdu = fits.CompImageHDU(
            image.astype(np.float32),
            name=f"N{i + 1}",
            compression_type="RICE_1",
            quantize_level=4.0,
            quantize_method=1,
            dither_seed=i + 1,
            tile_shape=(1, scene.SHAPE[1]),
        )
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path)


def run(code: str, *arguments: object) -> tuple[float, float, str]:
    """Wall-clock seconds, CPU seconds and output of a Python process."""
    return together([(code, arguments)])


def together(jobs: list[tuple[str, tuple[object, ...]]]) -> tuple[float, float, str]:
    """Wall-clock seconds, CPU seconds and outputs of several processes that run at the same time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    running = [
        subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
        for code, arguments in jobs
    ]
    said = "".join(process.communicate()[0] for process in running)
    wall = time.perf_counter() - start
    if any(process.returncode for process in running):
        raise SystemExit("a benchmarked process failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ccds", type=int, default=CCDS, help=f"CCDs of the exposure (default: {CCDS})")
    parser.add_argument("--repeats", type=int, default=3, help="rounds in which all are timed (default: 3)")
    parser.add_argument("--threads", type=int, default=2, help="threads of gpuanom (default: 2)")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    os.sched_setaffinity(0, set(cores))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "exposure.fits.fz"
        exposure(path, options.ccds)
        size = path.stat().st_size
        run(OURS, path, options.threads)  # compiles the loops, and brings the file into memory
        for _ in range(options.repeats):
            ours = run(OURS, path, options.threads)
            theirs = together([(THEIRS, (path, part, options.threads)) for part in range(options.threads)])
            start_up = run(NOTHING, path)
            decode = run(DECODE, path)[1] - start_up[1]
            score = float(run(SCORE, path)[2])
            speedups = [float(s) for s in run(SPEEDUP, path, options.threads)[2].split()]
            rows.append((ours[0], ours[1], theirs[0], theirs[1], start_up[0], decode, score, *speedups))
    ours, ours_cpu, theirs, theirs_cpu, start_up, decode, score, faster, scored = np.median(rows, axis=0)
    against = float(np.median([r[0] / r[2] for r in rows]))
    busy = float(np.median([(r[0] - r[4]) / ((r[5] + r[6]) / options.threads) for r in rows]))
    pixels = options.ccds * scene.SHAPE[0] * scene.SHAPE[1]
    text = [
        "# An exposure from disk",
        "",
        f"`python profiling/bench_exposure.py`: {options.ccds} CCDs of {scene.SHAPE[1]} x {scene.SHAPE[0]} pixels,"
        f" RICE_1, SUBTRACTIVE_DITHER_1, q = 4, {8 * size / pixels:.2f} bits a pixel, in memory;"
        f" {options.threads} cores; medians of {options.repeats} rounds. Whole processes, with Python's start.",
        "",
        bench.machine("numpy", "astropy", "numba", "fitsio", "sep", pinned=False),
        "",
        bench.table(
            ["what", "wall [s]", "CPU [s]"],
            [
                [
                    "gpuanom.score, 2 threads" if options.threads == 2 else "gpuanom.score",
                    f"{ours:.2f}",
                    f"{ours_cpu:.2f}",
                ],
                [f"fitsio + SEP, {options.threads} processes", f"{theirs:.2f}", f"{theirs_cpu:.2f}"],
                ["start of Python, imports and discovery (of gpuanom.score)", f"{start_up:.2f}", ""],
                ["decoding alone", "", f"{decode:.2f}"],
                ["scoring alone", "", f"{score:.2f}"],
            ],
        ),
        "",
        f"One process, {options.threads} threads against one: decoding {faster:.2f} times as fast,"
        f" scoring {scored:.2f} times.",
        "",
        bench.table(
            ["bar", "measured", "at most", "held"],
            [
                [
                    "wall clock against fitsio + SEP",
                    f"{against:.3f}",
                    BARS["against"],
                    "yes" if against <= BARS["against"] else "NO",
                ],
                [
                    "wall clock without start, against (decoding + scoring) / cores",
                    f"{busy:.3f}",
                    BARS["busy"],
                    "yes" if busy <= BARS["busy"] else "NO",
                ],
            ],
        ),
    ]
    bench.write("bench_exposure.md", "\n".join(text), whole=options.ccds == CCDS)


if __name__ == "__main__":
    main()
