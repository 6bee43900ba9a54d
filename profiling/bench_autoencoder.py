"""The autoencoder on a CPU: training, scoring a night with a model, and reading the stamps of a measured night again.

python profiling/bench_autoencoder.py NIGHT [--epochs 500] [--threads 2]

NIGHT is a folder of FITS files, for example `gpuanom simulate night --exposures 60 --ccds 8 --shape 512,512`. Every
command is run from the command line, as by a user; times are wall-clock times and include the start of Python. Writes
results/autoencoder.md. Needs the extra `autoencoder` (PyTorch).
"""

from __future__ import annotations

import bench  # isort: skip  (first, since this import sets the number of threads)

import argparse
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in bench.THREADS}


def timed(*arguments):
    """Wall-clock seconds of a gpuanom command."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "gpuanom", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT)
    return time.perf_counter() - start


def per_stamp(rows=64, batches=200):
    """Microseconds for which one stamp occupies one thread in the network, in float64 and in float32."""
    import numpy as np
    import torch

    from gpuanom.autoencoder.model import shapes
    from gpuanom.autoencoder.network import layers_of, reconstruct

    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    weights = {name: rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes(64)}
    doubles = layers_of(weights, 64, torch.device("cpu"))
    stamps = torch.from_numpy(rng.normal(0, 1, (rows, 4096)))
    found = []
    for layers, inputs in ((doubles, stamps), ([(w.float(), b.float()) for w, b in doubles], stamps.float())):

        def run(layers=layers, inputs=inputs):
            with torch.inference_mode():
                for _ in range(batches):
                    torch.square(reconstruct(layers, inputs)[0] - inputs).mean(dim=1)

        found.append(run)
    seconds = np.median(bench.interleaved(found, 5), axis=1)
    return [1e6 * s / (rows * batches) for s in seconds]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("night", type=Path, help="folder of FITS files")
    parser.add_argument("--epochs", type=int, default=500, help="epochs of the training (default: 500)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each command (default: 2)")
    options = parser.parse_args()
    shared_options = ("--device", "cpu", "--threads", options.threads, "-q")
    with tempfile.TemporaryDirectory() as folder:
        out, model = Path(folder) / "out", Path(folder) / "model.pt"
        plain = timed("score", options.night, "-o", out, *shared_options)
        training = timed("train", out, "-o", model, "--epochs", options.epochs, *shared_options)
        again = timed("score", "-o", out, "--model", model, *shared_options)
        whole = timed("score", options.night, "-o", Path(folder) / "whole", "--model", model, *shared_options)
        ranking = timed("score", "-o", out, *shared_options)
        with sqlite3.connect(out / "measurements.sqlite") as db:
            n_ccd, n_sources = db.execute("SELECT count(*), sum(n_sources) FROM ccds").fetchone()
        db.close()
    doubles, floats = per_stamp()
    machine = bench.machine("numpy", "torch", "gpuanom", pinned=False)
    rows = [
        ["`gpuanom score NIGHT -o out`", f"{plain:.1f}"],
        [
            f"`gpuanom train out -o model.pt --epochs {options.epochs}` (10,000 stamps, or all there are)",
            f"{training:.1f}",
        ],
        ["`gpuanom score -o out --model model.pt` (the stamps of the measured night read again)", f"{again:.1f}"],
        ["`gpuanom score NIGHT -o whole --model model.pt` (measured with the model)", f"{whole:.1f}"],
        ["`gpuanom score -o out` (ranked again, nothing read)", f"{ranking:.1f}"],
    ]
    bench.write(
        "autoencoder.md",
        f"""# The autoencoder on a CPU

{machine}; {options.threads} threads; wall clock, with the start of Python.

`python profiling/bench_autoencoder.py NIGHT --epochs {options.epochs}`: {n_ccd} CCDs, {n_sources} sources.

{bench.table(["command", "seconds"], rows)}

A stamp through the network, 64 at a time, one thread: {doubles:.0f} us in float64, {floats:.0f} us in float32.""",
    )


if __name__ == "__main__":
    main()
