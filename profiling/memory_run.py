"""Whether a long run stays fast and small: 2,000 small exposures through `score`, then through `watch`, in one process.

Resident memory, time and the size of the store are noted after each exposure.

python profiling/memory_run.py [--exposures 2000]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import bench
import numpy as np
from astropy.io import fits
from matplotlib import pyplot as plt

import gpuanom
from gpuanom.nights.arrivals import Pace
from gpuanom.nights.events import WatchEvents
from gpuanom.nights.watch import watch
from gpuanom.simulate import simulate_night
from gpuanom.store.store import NAME

EXPOSURES = 2000
DRAWN = 6  # number of exposures that are drawn; the other exposures are copies of these under other numbers
SHAPE = (256, 256)
CCDS = 2
SETTLED = 0.1  # share of the exposures after which all imports, compiling and lasting allocations are done


def write_night(folder, exposures, ccds=CCDS):
    """Write a night of many exposures quickly: a few are drawn, and copies of them get numbers of their own."""
    drawn = folder / "drawn"
    simulate_night(drawn, exposures=DRAWN, ccds=ccds, shape=SHAPE, bands=("r",), seed=1)
    night = folder / "night"
    night.mkdir()
    for i in range(exposures):
        path = night / f"sim_{i + 1:06d}.fits"
        shutil.copyfile(drawn / f"sim_{i % DRAWN + 1:06d}.fits", path)
        fits.setval(path, "EXPNUM", value=i + 1)
    shutil.rmtree(drawn)
    return night


def resident():
    """Resident memory of this process, in MiB."""
    line = next(ln for ln in Path("/proc/self/status").read_text().splitlines() if ln.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


class Samples:
    """The figures that are noted after each exposure."""

    def __init__(self, store):
        self.store = store
        self.before = resident()
        self.begun = time.perf_counter()
        self.rows = []

    def note(self, *_):
        """Note memory, time and size of the store after an exposure."""
        size = self.store.stat().st_size / 1024 if self.store.exists() else 0.0
        self.rows.append((resident(), time.perf_counter() - self.begun, size))

    def arrays(self):
        """Memory in MiB, time in seconds and size in KiB, each of shape (n,)."""
        return np.array(self.rows).T


def quarters(memory, seconds, size):
    """The rows of the table on one run: a heading, then the figures of each quarter."""
    n = len(memory)
    early, quarter = int(SETTLED * n), n // 4
    number = np.arange(n)
    slope = np.polyfit(number[early:], memory[early:], 1)[0]
    first = quarter / (seconds[early + quarter - 1] - seconds[early - 1])
    last = quarter / (seconds[-1] - seconds[-quarter - 1])
    line = np.polyfit(number, size, 1)
    off = float(np.abs(size - np.polyval(line, number)).max() / size[-1])
    return (
        f"{memory[early]:.1f}", f"{memory[-1]:.1f}", f"{1024 * slope:+.2f}", f"{first:.1f}", f"{last:.1f}",
        f"{line[0]:.2f}", f"{off:.1%}",
    )  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exposures", type=int, default=EXPOSURES, help=f"exposures of the run (default: {EXPOSURES})")
    options = parser.parse_args()
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        night = write_night(Path(folder), options.exposures)
        for word in ("score", "watch"):
            out = Path(folder) / word
            samples = Samples(out / NAME)
            if word == "score":
                events = gpuanom.Events(done=samples.note)
                result = gpuanom.score([night], out, device="cpu", threads=2, events=events)
                assert result.n_exposures == options.exposures
                assert not result.failed
            else:
                pace = Pace(every=0.1, settle=0.0, once=True)
                watch(night, out, device="cpu", threads=2, pace=pace, events=WatchEvents(done=samples.note))
            assert len(samples.rows) == options.exposures
            runs[word] = samples
        names = ("exposures.ecsv", "ccds.ecsv")
        same = all(len({(Path(folder) / word / name).read_bytes() for word in runs}) == 1 for name in names)
    whole = options.exposures == EXPOSURES
    if whole:
        draw({word: samples.arrays() for word, samples in runs.items()})
    early = int(SETTLED * options.exposures)
    header = (
        "command", f"MiB after {early}", "MiB at the end", "trend [KiB an exposure]", "exposures/s, first quarter",
        "last quarter", "store [KiB an exposure]", "farthest from that line",
    )  # fmt: skip
    bench.write(
        "memory_run.md",
        f"""# A long run

{bench.machine("numpy", "astropy", "gpuanom", pinned=False)}.

`python profiling/memory_run.py`: {options.exposures} exposures of {CCDS} CCDs of {SHAPE[1]} x {SHAPE[0]} in one process
and two threads, first through `gpuanom.score`, then all of them again through `gpuanom.nights.watch`, which ranks them
again and again as they come. Resident memory, time and size of the store after each exposure; the trend is fitted
without the first {SETTLED:.0%}, and the first quarter begins after them.
The tables of both runs are {"the same" if same else "NOT the same"}.

{bench.table(header, [(word, *quarters(*samples.arrays())) for word, samples in runs.items()])}

![Resident memory, time and size of the store](../../docs/figures/memory.png)""",
        whole=whole,
    )


def draw(runs):
    """Draw memory, time and size of the store against the number of the exposure."""
    figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    for (word, arrays), color in zip(runs.items(), ("#0072B2", "#D55E00"), strict=True):
        for ax, values in zip(axes, arrays, strict=True):
            ax.plot(np.arange(1, len(values) + 1), values, ".", markersize=2, color=color, label=word)
    labels = ("resident memory [MiB]", "time [s]", "size of the store [KiB]")
    for ax, label in zip(axes, labels, strict=True):
        ax.set(xlabel="exposures measured", ylabel=label)
        ax.set_ylim(0, 1.2 * ax.get_ylim()[1])
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, loc="lower right", markerscale=4)
    path = Path(__file__).parent.parent / "docs" / "figures" / "memory.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
