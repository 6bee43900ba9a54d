"""Reading pixels with astropy, with the fitsio wheel and with gpuanom, on one core and on two threads, in one run.

python profiling/bench_read.py [--repeats 7]
"""

from __future__ import annotations

import bench  # isort: skip  (first, since this import sets the number of threads)

import argparse
import os
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import fitsio
import numpy as np
from astropy.io import fits

from gpuanom.fits import discover, open_ccds
from gpuanom.settings import Settings

SHAPE = (2000, 2046)
N_CCD = 4
READERS = ("astropy", "fitsio", "gpuanom")
KINDS = ("RICE f32 dither 1", "RICE u16", "GZIP_2 f32", "uncompressed f32")


def make(folder):
    """Write one file of a few CCDs for each kind, noisy as DECam CCDs are: 4.9 and 7.7 bits a pixel when compressed."""
    rng = np.random.default_rng(0)
    sky = [rng.normal(1000, 10, SHAPE).astype(np.float32) for _ in range(N_CCD)]
    raw = [rng.normal(2000, 30, SHAPE).round().astype(np.uint16) for _ in range(N_CCD)]
    makers = {
        "RICE f32 dither 1": lambda n: fits.CompImageHDU(
            sky[n], compression_type="RICE_1", quantize_method=1, quantize_level=4, dither_seed=n + 1, name=f"C{n}"
        ),
        "RICE u16": lambda n: fits.CompImageHDU(raw[n], compression_type="RICE_1", name=f"C{n}"),
        "GZIP_2 f32": lambda n: fits.CompImageHDU(
            sky[n], compression_type="GZIP_2", quantize_method=1, quantize_level=4, dither_seed=n + 1, name=f"C{n}"
        ),
        "uncompressed f32": lambda n: fits.ImageHDU(sky[n], name=f"C{n}"),
    }
    paths = {}
    for kind, maker in makers.items():
        paths[kind] = folder / (kind.replace(" ", "_") + ".fits")
        fits.HDUList([fits.PrimaryHDU(), *(maker(n) for n in range(N_CCD))]).writeto(paths[kind])
    return paths


def by_astropy(path, n):
    with fits.open(path, memmap=False) as hdus:
        return hdus[n + 1].data.astype(np.float32)


def by_fitsio(path, n):
    return fitsio.read(str(path), ext=n + 1).astype(np.float32, copy=False)


def opened(path):
    """The CCDs of a file as gpuanom opens them, with headers read and pixels not."""
    settings = Settings()
    (exposure,) = discover([path], settings).exposures
    return list(open_ccds(exposure, settings))


def calls_of(path, buffers):
    """For each reader, a function of (CCD, thread) that reads one CCD."""
    items = opened(path)
    return {
        "astropy": lambda n, _: by_astropy(path, n),
        "fitsio": lambda n, _: by_fitsio(path, n),
        "gpuanom": lambda n, thread: items[n].load(out=buffers[thread]).image,
    }


def check(paths, buffers):
    """Check that all readers give the same bits."""
    for path in paths.values():
        calls = calls_of(path, buffers)
        for n in range(N_CCD):
            wanted = calls["astropy"](n, 0)
            for name in READERS:
                np.testing.assert_array_equal(calls[name](n, 0), wanted)


def on_one_core(paths, buffers, repeats):
    """Median CPU seconds to read one CCD by (kind, reader), and to copy the same number of bytes."""
    keys, calls = [], []
    for kind, path in paths.items():
        for name, call in calls_of(path, buffers).items():
            keys.append((kind, name))
            calls.append(partial(call, 0, 0))
    source = np.ones(SHAPE, np.float32)
    keys.append(("memcpy", ""))
    calls.append(lambda: np.copyto(buffers[0], source))
    medians = np.median(bench.interleaved(calls, repeats), axis=1)
    return dict(zip(keys, medians, strict=True))


def on_threads(call, threads):
    """Wall-clock seconds to read all CCDs of a file with this number of threads."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda thread: call(0, thread), range(threads)))  # starts the threads
        begun = time.perf_counter()
        shares = [range(t, N_CCD, threads) for t in range(threads)]
        list(pool.map(lambda t: [call(n, t) for n in shares[t]], range(threads)))
        return time.perf_counter() - begun


def speed_up(paths, buffers, repeats):
    """Wall time on one thread over wall time on two, by (kind, reader).

    The best time of each is used, since other programs use the machine.
    """
    result = {}
    for kind, path in paths.items():
        for name, call in calls_of(path, buffers).items():
            seconds = {1: [], 2: []}
            for _ in range(repeats if name == "gpuanom" else 3):
                for threads in seconds:
                    seconds[threads].append(on_threads(call, threads))
            result[kind, name] = min(seconds[1]) / min(seconds[2])
    return result


def control():
    """The speed-up of two processes that only count: what this machine, beside its other users, allows at all."""
    program = "for _ in range(10_000_000): pass"
    seconds = []
    for processes in (1, 2):
        begun = time.perf_counter()
        running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(processes)]
        for process in running:
            process.wait()
        seconds.append((time.perf_counter() - begun) / processes)
    return seconds[0] / seconds[1]


def headers(folder):
    """CPU milliseconds to list 61 CCDs from their headers, with gpuanom and with astropy."""
    path = folder / "headers.fits"
    cards = fits.Header({f"KEY{n}": n * 1.5 for n in range(120)})
    small = np.zeros((64, 64), np.int16)
    hdus = [fits.CompImageHDU(small, cards, name=f"C{n}", compression_type="RICE_1") for n in range(61)]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    settings = Settings()
    (exposure,) = discover([path], settings).exposures

    def by_astropy():
        with fits.open(path) as hdus:
            return [hdu.header["NAXIS"] for hdu in hdus]

    calls = [lambda: list(open_ccds(exposure, settings)), by_astropy]
    return 1e3 * np.median(bench.interleaved(calls, 5), axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="rounds in which all readers are timed (default: 7)")
    repeats = parser.parse_args().repeats
    warnings.simplefilter("ignore")
    buffers = [np.empty(SHAPE, np.float32) for _ in range(2)]
    cores = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make(folder)
        check(paths, buffers)
        free = control()
        threads = speed_up(paths, buffers, repeats)
        free = free, control()
        bench.pin()
        seconds = on_one_core(paths, buffers, repeats)
        ours, theirs = headers(folder)
        os.sched_setaffinity(0, cores)
    megapixels = SHAPE[0] * SHAPE[1] / 1e6
    rows = []
    for kind in KINDS:
        this_reader = seconds[kind, "gpuanom"]
        rows.append(
            [
                kind,
                *(f"{megapixels / seconds[kind, name]:.0f}" for name in READERS),
                *(f"{seconds[kind, name] / this_reader:.1f}" for name in ("astropy", "fitsio")),
                *(f"{threads[kind, name]:.2f}" for name in READERS),
            ]
        )
    copy = seconds["memcpy", ""]
    header = ["kind", *(f"{name}, Mpix/s" for name in READERS), "x astropy", "x fitsio"]
    header += [f"{name}: 2 threads" for name in READERS]
    lines = [
        "# Reading pixels",
        "",
        bench.machine("gpuanom", "numpy", "numba", "astropy", "fitsio"),
        f"CCDs of {SHAPE[1]} x {SHAPE[0]} from the page cache; medians of {repeats}, all readers in turn.",
        "Threads: wall time on one over that on two, best of each. Two processes that only count, before and after: "
        f"{free[0]:.2f} and {free[1]:.2f}; where that is far below 2, the machine was busy and threads say nothing.",
        "",
        bench.table(header, rows),
        "",
        f"Uncompressed float32: {seconds['uncompressed f32', 'gpuanom'] / copy:.2f} x a copy in memory "
        f"({1e3 * copy:.1f} ms).",
        f"Headers of 61 compressed CCDs: {ours:.0f} ms, astropy {theirs:.0f} ms.",
    ]
    bench.write("read.txt", "\n".join(lines))


if __name__ == "__main__":
    main()
