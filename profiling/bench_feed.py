"""What the host does for a GPU: a night through the real code of the CUDA backend and a device that computes nothing.

python profiling/bench_feed.py [--headers wcs|decam|same] [--night FOLDER] [--exposures 12] [--readers 4]
                               [--package FOLDER] [--instructions]

Wall clock, CPU time, time with the interpreter's lock held (by py-spy), and the number of launches, copies and
allocations of an exposure. On a busy machine a thread that has the lock may wait for a core, which py-spy counts: there
the CPU time outside of native loops and reads says more. Uploads are dropped once the bytes are in pinned memory, and
kernels return at once; the results that come home are those of the CPU backend for one exposure (`null_answers.py`).
`--package` measures the gpuanom of another checkout, so that before and after are of one machine and one hour. Exits
with 1 where a bar is missed. `--instructions` counts what Python's interpreter executes for an exposure in place of
measuring times, on a night of small CCDs unless `--night` is given (`instructions.py`).

The headers of the night (`--headers`, `night_headers.py`) differ from exposure to exposure, as those of real nights do,
and the exposures that the process measures first, before clocks run, are others than the measured ones: what follows
from a header is remembered, so that a file which is read for the second time costs less than one of a real night does.
The figures of the log that name no headers are of a night with the same headers in each exposure, without a WCS and
without masks. `--headers same` makes that night, for comparisons with these figures.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import night_headers
import numpy as np

if TYPE_CHECKING:
    from gpuanom.records import Exposure

BARS = {"lock held [ms]": 8.0, "CPU beyond preadv alone [ms]": 25.0}
DISTINCT = 4
"""Scenes that are drawn and compressed; the other CCDs hold the bytes of these."""
RATE = 1000
"""Samples a second of py-spy."""
PIECE = 8 * 2**20
"""Bytes of a read of the floor: preadv alone."""
SMALL = (256, 512)
"""Rows and columns of the CCDs where instructions are counted, which hardly depend on them."""
MASKED = 0.002
"""Share of the pixels that the masks of DECam's night name bad."""
WARM_UP = 6
"""Exposures that are measured before the others: at least as many as are under way at a time."""
FEW = 10
"""CCDs of the exposure whose launches must be as many as those of the full one."""


# ---- the night ----


def night(
    folder: Path, numbers: range, n_ccds: int, shape: tuple[int, int] | None = None, headers: str = "wcs"
) -> None:
    """Write RICE exposures of these numbers whose tables carry DATASUM; those that are there already are kept.

    The CCDs have so many rows and columns; by default those of DECam. The headers are one of `night_headers.HEADERS`.
    """
    import scene
    from astropy.io import fits

    folder.mkdir(parents=True, exist_ok=True)
    if all((folder / night_headers.name(headers, number)).exists() for number in numbers):
        return
    rng, shape = np.random.default_rng(1), shape or scene.SHAPE
    tables, masks = [], []
    for seed in range(DISTINCT):
        image = (scene.ccd(shape, seed=seed) + rng.normal(0, 1, shape)).astype(np.float32)
        floats = {"quantize_level": 4.0, "quantize_method": 1, "dither_seed": seed + 1}
        tables.append(_table(image, shape, **floats))
        codes = np.where(rng.random(shape) < MASKED, rng.choice([1, 3, 4, 5], shape), 0).astype(np.int32)
        masks.append(_table(codes, shape))
    for number in numbers:
        for mask in (False, True) if headers == "decam" else (False,):
            cards = night_headers.primary(headers, number, mask=mask)
            with (folder / night_headers.name(headers, number, mask=mask)).open("wb") as file:
                fits.HDUList([fits.PrimaryHDU(header=fits.Header(cards))]).writeto(file)
                for i in range(n_ccds):
                    header, data = (masks if mask else tables)[i % DISTINCT]
                    table = header.copy()
                    table["EXTNAME"] = night_headers.ccd(headers, i)
                    table.extend(night_headers.of_ccd(headers, number, i))
                    file.write(table.tostring().encode("ascii") + data)


def _table(image: np.ndarray, shape: tuple[int, int], **how: float) -> tuple[Any, bytes]:
    """Compress an image: the header of the table, and the table's data with what fills the last block."""
    from astropy.io import fits

    hdu = fits.CompImageHDU(image, name="N00", compression_type="RICE_1", tile_shape=(1, shape[1]), **how)
    with tempfile.TemporaryFile() as file:
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(file, checksum="datasum")
        file.seek(0)
        whole = file.read()[2880:]
    header = fits.Header.fromstring(whole)
    return header, whole[len(header.tostring()) :]


# ---- the measured process ----


def child(folder: Path, first: Path, few: Path, readers: int, repeats: int, *, spied: bool) -> None:
    """Measure in this process: "ready" is said, and the night begins when a line comes.

    The exposures in `first` are measured before.

    While py-spy watches, native loops and reads are not timed: a clock that is asked twice in each of them would be
    counted as time with the lock held.
    """
    import null_answers
    import null_device

    null_device.install()
    import gpuanom
    from gpuanom.backends.gpu import GpuBackend
    from gpuanom.fits import discover
    from gpuanom.measuring.threads import Threads
    from gpuanom.nights.events import Events
    from gpuanom.nights.storing import fill
    from gpuanom.settings import Settings
    from gpuanom.store.store import Store

    settings, backend = Settings(), GpuBackend(0)

    def run(found: Sequence[Exposure], times: int = 1) -> None:
        # One long night: the files are gone through again under other names of exposures.
        exposures = [replace(e, exposure=f"{e.exposure}-{i}") for i in range(times) for e in found]
        with tempfile.TemporaryDirectory() as out, Store(Path(out) / "measurements.sqlite", settings) as store:
            fill(store, exposures, Threads(settings, [backend], readers, print), Events())

    def counted(exposures: Sequence[Exposure]) -> dict[str, int]:
        null_device.COUNTS.clear()
        run(exposures)
        return dict(null_device.COUNTS)

    def found_in(night: Path) -> Sequence[Exposure]:
        return discover(sorted(night.glob("*.fz")), settings).exposures

    warm_up, everything = found_in(first), found_in(folder)
    run(warm_up[:1])
    counts = {"all": counted(warm_up[:1]), "few": counted(found_in(few))}
    null_answers.answer(GpuBackend, null_answers.recorded(warm_up[0], settings))
    # As many exposures under way as in the measured night, so that pinned memory is there already.
    run(warm_up)
    unlocked = [] if spied else without_lock()
    print("ready", flush=True)
    sys.stdin.readline()
    unlocked.clear()
    wall, cpu = time.perf_counter(), time.process_time()
    run(everything, repeats)
    n = repeats * len(everything)
    print(
        json.dumps(
            {
                "wall": 1e3 * (time.perf_counter() - wall) / n,
                "cpu": (cpu := 1e3 * (time.process_time() - cpu) / n),
                "python": cpu - 1e3 * sum(unlocked) / n,
                "counts": counts,
                "exposures": len(everything),
                "package": str(Path(gpuanom.__file__).parent),
            }
        ),
        flush=True,
    )
    sys.stdin.readline()
    os._exit(0)  # without Python's own end, which holds the interpreter's lock for as long as many exposures


def without_lock() -> list[float]:
    """Note from now on the CPU seconds of each native loop and each read, which run without the interpreter's lock."""
    from gpuanom.native import native

    seconds: list[float] = []

    def timed(function):
        def call(*arguments):
            start = time.thread_time()
            try:
                return function(*arguments)
            finally:
                seconds.append(time.thread_time() - start)

        return call

    for loop in native.made:
        if loop._compiled is not None:
            loop._compiled = timed(loop._compiled)
    os.preadv, os.pread = timed(os.preadv), timed(os.pread)
    ctypes.memmove, ctypes.memset = timed(ctypes.memmove), timed(ctypes.memset)  # the device that computes nothing
    return seconds


def watched(options: argparse.Namespace, folder: Path, first: Path, few: Path, spy: str | None) -> dict:
    """Run `child`; where py-spy is given, with the samples that held the lock."""
    command = [sys.executable, __file__, "--child", "--night", str(folder)]
    command += ["--first", str(first), "--few", str(few)]
    command += ["--readers", str(options.readers), "--repeats", str(options.repeats)]
    command += ["--package", str(options.package)] if options.package else []
    command += ["--spied"] if spy else []
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout.readline().strip() != "ready":
            raise SystemExit("the measured process failed")
        samples, of_device = None, 0
        with tempfile.TemporaryDirectory() as temporary:
            profile = Path(temporary) / "profile.txt"
            watcher = None
            if spy:
                arguments = [spy, "record", "--gil", "--rate", str(RATE), "--format", "raw", "-o", str(profile)]
                arguments += ["--pid", str(process.pid), "--nonblocking", "--duration", "600"]
                watcher = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(3)
            process.stdin.write("\n")
            process.stdin.flush()
            result = json.loads(process.stdout.readline())
            process.stdin.write("\n")
            process.stdin.flush()
            process.wait()
            if watcher:
                watcher.wait(60)
                if profile.exists():
                    lines = profile.read_text().splitlines()
                    counted = [(line, int(line.rpartition(" ")[2])) for line in lines]
                    samples = sum(n for _, n in counted)
                    of_device = sum(n for line, n in counted if "null_device.py" in line)
                    if options.profile:
                        shutil.copy(profile, options.profile)
        of_exposure = 1e3 / RATE / (options.repeats * result["exposures"])
        result["lock"] = None if samples is None else samples * of_exposure
        result["lock of the device"] = of_device * of_exposure
        return result
    finally:
        process.kill()
        process.wait()


def preadv_alone(folder: Path, readers: int) -> tuple[float, float]:
    """Wall and CPU milliseconds of a night whose bytes are only read, from memory to memory."""
    paths = sorted(folder.glob("*.fz"))
    buffers = [bytearray(PIECE) for _ in range(readers)]

    def read(part: int) -> None:
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY)
            size = os.fstat(descriptor).st_size
            for at in range(part * PIECE, size, readers * PIECE):
                os.preadv(descriptor, [buffers[part]], at)
            os.close(descriptor)

    with ThreadPoolExecutor(readers) as pool:
        list(pool.map(read, range(readers)))
        wall, cpu = time.perf_counter(), time.process_time()
        list(pool.map(read, range(readers)))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return 1e3 * wall, 1e3 * cpu


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--night", type=Path, help="folder of the night, made if missing and kept")
    parser.add_argument(
        "--headers",
        choices=night_headers.HEADERS,
        default="wcs",
        help="what the CCDs' headers hold: a WCS, gain, saturation level and times that are others in each exposure"
        " (wcs); what the DECam Community Pipeline writes, with files of masks (decam); or the same in each exposure"
        " (same), as in all earlier figures of the log, which lack what real headers cost",
    )
    parser.add_argument(
        "--exposures", type=int, help="12 by default; with --instructions 6, of which the first half is not counted"
    )
    parser.add_argument("--ccds", type=int, default=61)
    parser.add_argument("--readers", type=int, help="threads that read; 4 by default, 1 with --instructions")
    parser.add_argument("--instructions", action="store_true", help="count the interpreter's instructions")
    parser.add_argument(
        "--repeats",
        type=int,
        default=1,
        help="how often the night is gone through; from the second time on, headers are known already",
    )
    parser.add_argument("--package", type=Path, help="folder that holds the gpuanom to measure")
    parser.add_argument("--profile", type=Path, help="keep py-spy's samples in this file")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--first", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--few", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--spied", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        if options.package:
            sys.path.insert(0, str(options.package))  # before any folder that the environment puts first
        child(options.night, options.first, options.few, options.readers, options.repeats, spied=options.spied)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.night or Path(temporary) / "night"
        options.exposures = options.exposures or (6 if options.instructions else 12)
        if options.instructions:
            return count(options, folder)
        options.readers = options.readers or 4
        everything, first, few = (in_folder(folder, part, options.headers) for part in ("all", "first", "few"))
        night(everything, range(options.exposures), options.ccds, headers=options.headers)
        night(first, range(options.exposures, options.exposures + WARM_UP), options.ccds, headers=options.headers)
        night(few, range(1), FEW, headers=options.headers)
        return report(options, everything, first, few)


def in_folder(folder: Path, part: str, headers: str) -> Path:
    """Return the folder of a night with such headers, which may be kept beside others."""
    return folder / (part if headers == "same" else f"{part}-{headers}")


def count(options: argparse.Namespace, folder: Path) -> int:
    """Count instructions of the interpreter, of the night in `folder` or of a small night that is made there."""
    import instructions

    folder = in_folder(folder, "all", options.headers)
    if not folder.exists():
        night(folder, range(options.exposures), options.ccds, SMALL, options.headers)
    (found,) = instructions.counted([folder], options.readers or 1, options.package)
    instructions.report(found)
    return 0


def report(options: argparse.Namespace, folder: Path, first: Path, few: Path) -> int:
    """Measure, print, and return 1 where a bar is missed."""
    spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    plain = watched(options, folder, first, few, None)
    read_wall, read_cpu = (of_all / plain["exposures"] for of_all in preadv_alone(folder, options.readers))
    spied = watched(options, folder, first, few, spy) if spy else {"lock": None}
    lock = spied["lock"]
    beyond = plain["cpu"] - read_cpu
    print(
        f"{plain['exposures']} exposures of {options.ccds} CCDs, headers '{options.headers}',"
        f" {options.readers} readers, {len(os.sched_getaffinity(0))} cores, {plain['package']};"
        " milliseconds an exposure:"
    )
    print(f"  wall clock            {plain['wall']:8.1f}   (preadv alone {read_wall:.1f})")
    print(f"  CPU                   {plain['cpu']:8.1f}   (preadv alone {read_cpu:.1f}, beyond it {beyond:.1f})")
    print(f"  CPU of Python         {plain['python']:8.1f}   (all but native loops, reads and a card's copies)")
    if lock is None:
        print("  lock held                    ?   (py-spy is not installed or may not watch: pip install py-spy)")
    else:
        print(f"  lock held             {lock:8.1f}   (py-spy record --gil --rate {RATE})")
        print(f"    of which            {spied['lock of the device']:8.1f}   in the device that computes nothing")
    missed = [f"CPU beyond preadv alone: {beyond:.1f} ms"] if beyond > BARS["CPU beyond preadv alone [ms]"] else []
    if lock is not None and lock > BARS["lock held [ms]"]:
        missed.append(f"lock held: {lock:.1f} ms")
    counts = plain["counts"]
    for what in sorted({*counts["all"], *counts["few"]}):
        full, part = counts["all"].get(what, 0), counts["few"].get(what, 0)
        print(f"  {what:<21} {full:8d}   ({part} for an exposure of {FEW} CCDs)")
    if counts["all"]["launches"] != counts["few"]["launches"]:
        missed.append(
            f"launches: {counts['all']['launches']} for {options.ccds} CCDs, {counts['few']['launches']} for {FEW}"
        )
    for line in missed:
        print(f"bar missed: {line}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
