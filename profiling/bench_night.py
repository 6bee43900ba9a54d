"""How long an exposure takes in a long run on a GPU, beside the floor of the same machine.

    python profiling/bench_night.py --device 0
    python profiling/bench_night.py --device 0 --night FOLDER

The night has 96 exposures, 31 GB; with --night it is that in FOLDER, which is written if it is missing.
A run of a third of the night and a run of all of it are timed; the difference, divided by the exposures between the
two, is an exposure's time without what happens once. Start is the time from the command until the first exposure is in
the store. The floor is measured in the same run: the files' bytes read into pinned memory and uploaded by eight
threads, without anything else; decoding alone; and all kernels of the steps alone. An exposure cannot take less than
the longest of these. The result is kept under results/, with the card's name.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import bench_feed
import bench_kernels
import numpy as np

from gpuanom.backends.choice import select
from gpuanom.errors import GpuanomError
from gpuanom.fits import discover, open_ccds
from gpuanom.settings import Settings

RESULTS = Path(__file__).parent / "results"
PIECE = 8 * 2**20
"""Bytes of a read of the floor."""
READERS = 8


def scored(folder: Path, device: str, more: list[str]) -> tuple[float, float]:
    """Seconds of `gpuanom score` of a folder, and seconds until its first exposure is in the store."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "gpuanom", "score", str(folder), "-o", out, "--device", device, "-q", *more]
        began, first = time.perf_counter(), None
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            time.sleep(0.005 if first is None else 0.02)
            if first is None and stored(Path(out) / "measurements.sqlite"):
                first = time.perf_counter() - began
        whole = time.perf_counter() - began
        if process.returncode not in (0, 1):
            raise SystemExit(f"gpuanom score ended with {process.returncode}")
        return whole, whole if first is None else first


def stored(path: Path) -> bool:
    """Whether a store holds an exposure."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=0)) as store:
            return bool(store.execute("select count(*) from exposures").fetchone()[0])
    except sqlite3.Error:
        return False


def uploaded(paths: list[Path]) -> float:
    """Seconds of an exposure whose bytes are only read and uploaded."""
    import cupy
    import cupyx

    size = max(path.stat().st_size for path in paths)
    target = cupy.empty(size, np.uint8)
    ring = [cupyx.empty_pinned(PIECE, np.uint8) for _ in range(READERS)]
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(READERS)]

    def part(which: int, path: Path) -> None:
        file = os.open(path, os.O_RDONLY)
        for at in range(which * PIECE, path.stat().st_size, READERS * PIECE):
            n = os.preadv(file, [memoryview(ring[which])], at)
            target[at : at + n].set(ring[which][:n], stream=streams[which])
            streams[which].synchronize()
        os.close(file)

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(part, range(READERS), [paths[0]] * READERS))
        began = time.perf_counter()
        for path in paths:
            list(pool.map(part, range(READERS), [path] * READERS))
        return (time.perf_counter() - began) / len(paths)


def kernels(path: Path, device: str) -> tuple[float, float, int]:
    """Seconds of decoding an exposure, seconds of the kernels of all steps, and the number of launches."""
    gpu, settings = select(device), Settings()
    (exposure,) = discover([path], settings).exposures
    ccds = [ccd.load(encoded=True) for ccd in open_ccds(exposure, settings)]
    # Copies of an upload lie between the launches of decoding, and are not timed.
    reading = bench_kernels.timed(lambda: gpu.prepare(ccds, len(ccds)), gpu, 5)
    stack = gpu.prepare(ccds, len(ccds))
    times = bench_kernels.timed(lambda: bench_kernels.steps(gpu, stack, ccds, settings), gpu, 20)
    wanted = [spent for name, spent in times.items() if name not in bench_kernels.NOT_IN_A_SCORE]
    decoding = sum(spent.device for spent in reading.values())
    return decoding, sum(t.device for t in wanted), sum(t.launches for t in (*wanted, *reading.values()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="0", help="the GPU's number (default: 0)")
    parser.add_argument("--night", type=Path, help="folder of RICE exposures of 61 CCDs; written if it is missing")
    parser.add_argument("--exposures", type=int, default=96, help="exposures of the night (default: 96)")
    parser.add_argument("--profile", default="standard", help="profile of the scores (default: standard)")
    options = parser.parse_args()
    try:
        select(options.device)
    except GpuanomError as error:
        print(f"no benchmark: {error}", file=sys.stderr)
        return bench_kernels.NO_GPU
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.night or Path(temporary) / "night"
        if not any(folder.glob("*.fits.fz")):
            bench_feed.night(folder, range(options.exposures), 61)
        paths = sorted(folder.glob("*.fits.fz"))[: options.exposures]
        parts = {n: Path(temporary) / f"first-{n}" for n in sorted({1, len(paths) // 3, len(paths)})}
        for n, part in parts.items():
            part.mkdir()
            for path in paths[:n]:
                (part / path.name).symlink_to(path.resolve())
        more = ["--profile", options.profile]
        scored(parts[1], options.device, more)  # fills the caches
        runs = {n: scored(part, options.device, more) for n, part in parts.items()}
        floor = uploaded(paths[:8])
        decoding, steps, n_launches = kernels(paths[0], options.device)
        size = paths[0].stat().st_size
    few, many = len(paths) // 3, len(paths)
    exposure = (runs[many][0] - runs[few][0]) / max(1, many - few)
    name, about, is_test_device = bench_kernels.machine(int(options.device))
    rows = [
        ("an exposure in a long run", exposure),
        ("read and uploaded, nothing else (floor)", floor),
        ("decoding and sums alone (floor)", decoding),
        (f"kernels of the steps alone, {n_launches} launches with decoding (floor)", steps),
        ("from the command's start to the first exposure in the store", runs[1][1]),
        ("whole command, 1 exposure", runs[1][0]),
        (f"whole command, {few} exposures", runs[few][0]),
        (f"whole command, {many} exposures", runs[many][0]),
    ]
    text = "\n".join(
        [
            f"# A night on {name}", "", about, "",
            f"Profile {options.profile}; {os.cpu_count()} cores; {size / 1e6:.0f} MB an exposure.", "",
            "| what | ms |", "|---|---|", *(f"| {what} | {1e3 * seconds:.1f} |" for what, seconds in rows),
        ]
    )  # fmt: skip
    print(text)
    if not is_test_device:
        words = "".join(c if c.isalnum() else "-" for c in name.removeprefix("NVIDIA ").lower())
        (RESULTS / f"night-{words}-{options.profile}.md").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
