"""Whether the memory of a long run stays flat: 300 small exposures through the pipeline, resident memory after each.

python profiling/memory_run.py [--exposures 300]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import bench
import numpy as np
from astropy.io import fits
from matplotlib import pyplot as plt

import gpuanom
from gpuanom.simulate import simulate_night

DRAWN = 6  # exposures that are drawn; the others are copies of them under other numbers
SHAPE = (1024, 1024)
CCDS = 2


def write_night(folder, exposures):
    """A night of many exposures, quickly: a few are drawn, and copied with a number of their own."""
    drawn = folder / "drawn"
    simulate_night(drawn, exposures=DRAWN, ccds=CCDS, shape=SHAPE, bands=("r",), seed=1)
    night = folder / "night"
    night.mkdir()
    for i in range(exposures):
        path = night / f"sim_{i + 1:06d}.fits"
        shutil.copyfile(drawn / f"sim_{i % DRAWN + 1:06d}.fits", path)
        fits.setval(path, "EXPNUM", value=i + 1)
    shutil.rmtree(drawn)
    return night


def resident():
    """Resident memory of this process, MiB."""
    line = next(ln for ln in Path("/proc/self/status").read_text().splitlines() if ln.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exposures", type=int, default=300)
    options = parser.parse_args()
    samples = []
    with tempfile.TemporaryDirectory() as folder:
        night = write_night(Path(folder), options.exposures)
        start = resident()
        events = gpuanom.Events(done=lambda *_: samples.append(resident()))
        result = gpuanom.score([night], Path(folder) / "scored", device="cpu", threads=2, events=events)
        end = resident()
    assert result.n_exposures == options.exposures
    assert not result.failed
    memory = np.array(samples)
    warm = len(memory) // 10
    number = np.arange(1, len(memory) + 1)
    slope, intercept = np.polyfit(number[warm:], memory[warm:], 1)
    thirds = [float(np.mean(part)) for part in np.array_split(memory[warm:], 3)]
    image = SHAPE[0] * SHAPE[1] * 4 / 2**20
    draw(number, memory, slope, intercept, warm)
    bench.write(
        "memory_run.md",
        f"""# Memory of a long run

{bench.machine("numpy", "astropy", "gpuanom", pinned=False)}.

{options.exposures} exposures of {CCDS} CCDs of {SHAPE[1]} x {SHAPE[0]} ({
            image:.0f} MiB each as float32) through `gpuanom.score`, two
threads, store on disk. Resident memory after each exposure, in MiB; the first tenth is left out below.

{
            bench.table(
                ("before the run", "first third", "second third", "last third", "highest", "after the tables", "trend"),
                [
                    (
                        f"{start:.0f}",
                        *(f"{t:.1f}" for t in thirds),
                        f"{memory.max():.0f}",
                        f"{end:.0f}",
                        f"{1024 * slope:+.1f} KiB an exposure",
                    )
                ],
            )
        }

![Resident memory](../../docs/figures/memory.png)""",
    )


def draw(number, memory, slope, intercept, warm):
    """Resident memory against the exposure's number."""
    figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
    axes.plot(number, memory, ".", markersize=3, color="#0072B2", label="after each exposure")
    axes.plot(
        number[warm:],
        intercept + slope * number[warm:],
        color="#D55E00",
        label=f"trend {1024 * slope:+.1f} KiB an exposure",
    )
    axes.set(xlabel="exposures measured", ylabel="resident memory [MiB]", ylim=(0, 1.3 * memory.max()))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    path = Path(__file__).parent.parent / "docs" / "figures" / "memory.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
