"""Each CUDA kernel on one exposure: its time, the bytes a second that it requests, and their share of the copy rate.

    python profiling/bench_kernels.py                 a DECam exposure, 61 CCDs of 2046 x 4094
    python profiling/bench_kernels.py --ccds 8        fewer of them

First every step is compared with the step of the CPU. Then an exposure goes through all steps --repeats times, and
each launch is timed where it belongs, by CUDA events and by the clock of the host; medians are given. For a kernel of
microseconds the time on the device is mostly the time of the launch itself. The bytes are counted by
profiling/roofline.py: requested 32-byte sectors, as if there were no cache, so that a share may exceed 1. The result is
kept under results/, unless the device is the test device. No file is read here: the kernels that decode files are not
among the timed kernels.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import roofline

from gpuanom import sampling
from gpuanom.backends.choice import select
from gpuanom.backends.protocol import Backend
from gpuanom.doctor import selftest
from gpuanom.errors import GpuanomError
from gpuanom.records import Array, Ccd, CcdStack, Sources
from gpuanom.settings import Settings
from gpuanom.version import __version__

RESULTS = Path(__file__).parent / "results"
DENSITY = 800 / (2046 * 4094)
"""Stars in a pixel: about 800 on a DECam CCD."""
BUSY_BYTES, BUSY_COPIES = 2**28, 40
"""What the device copies before each run, for about 5 ms, so that launches wait for the device from the beginning."""
NOT_IN_A_SCORE = ("stamps_cut", "divergence")
"""Kernels that `exposure` runs too, of which a score without an autoencoder has none for each exposure."""
NO_GPU = 2
"""Exit code on a machine without a GPU."""


@dataclass(frozen=True)
class Time:
    """The launches of one kernel for one exposure: their number, and their total seconds, medians over the repeats."""

    launches: int
    device: float
    host: float


def ccds(n: int, ny: int, nx: int) -> list[Ccd]:
    """An exposure in memory. Every fourth CCD has the same pixels, which takes the card no less time."""
    rng = np.random.default_rng(1)
    gy, gx = np.mgrid[-8:9, -8:9]
    images = []
    for _ in range(min(n, 4)):
        image = rng.normal(1000.0, 10.0, (ny, nx)).astype(np.float32)
        stars = max(1, round(DENSITY * ny * nx))
        for y, x in zip(rng.integers(40, ny - 40, stars), rng.integers(40, nx - 40, stars), strict=True):
            image[y - 8 : y + 9, x - 8 : x + 9] += rng.uniform(100, 3000) * np.exp(-(gy**2 + gx**2) / 8)
        images.append(image)
    return [Ccd(str(i + 1), images[i % len(images)], saturation=60000.0) for i in range(n)]


def exposure(gpu: Backend, exposure_ccds: list[Ccd], settings: Settings) -> int:
    """Pass an exposure through all steps; the number of sources in it."""
    stack = gpu.prepare(exposure_ccds, len(exposure_ccds))
    return len(gpu.to_host(steps(gpu, stack, exposure_ccds, settings)).y)


def steps(gpu: Backend, stack: CcdStack, exposure_ccds: list[Ccd], settings: Settings) -> Sources:
    """Pass an exposure that is on the device through all steps; its sources."""
    _, ny, nx = stack.shape

    def drawn(purpose: sampling.Purpose, wanted: int, margin: int = 0) -> Array:
        names = [ccd.name for ccd in exposure_ccds]
        keys = sampling.keys(1, ["e"] * len(names), names, purpose)
        return gpu.points(keys, wanted * settings.draws, ny, nx, margin)

    fit, noise = drawn("background", settings.background_points), drawn("sigma", settings.sigma_points)
    background = gpu.background(stack, fit, noise, settings)
    sources = gpu.sources(stack, background, settings)
    points = drawn("gradients", settings.gradient_points, settings.patch_size // 2)
    gradients = gpu.gradients(stack, points, background, settings)
    turns = np.zeros(len(exposure_ccds), np.int64)
    for moments in (sources.moments, sources.isophote_moments):
        counted = gpu.histogram(gpu.orientation(moments), sources.ccd, turns, settings.bins)
    for dx, dy in ((gradients.dx, gradients.dy), (gradients.flat_dx, gradients.flat_dy)):
        counted = gpu.histogram(gpu.gradient_orientation(dx, dy), gradients.ccd, turns, settings.bins)
    gpu.divergence(counted.counts, gpu.to_device(np.full(settings.bins, 1 / settings.bins)))
    gpu.stamps(stack, background, sources, settings)
    _, profile_sums, bins = gpu.patterns(stack, background, settings)
    gpu.profiles(profile_sums)
    gpu.lines(bins)
    gpu.shapes(stack, background, sources, settings)
    gpu.repeats(stack, background, sources, turns, np.zeros_like(turns), settings)
    return sources


def timed(run: Callable[[], object], gpu: Backend, repeats: int) -> dict[str, Time]:
    """The time of each kernel that a run launches, in the order in which the kernels first run.

    Each launch is timed where it belongs, between two events in the stream: a kernel that was launched again on its own
    results would do other work. The device is kept busy at first, so that it never waits for the host.
    """
    import cupy

    from gpuanom.backends.gpu.kernel import Kernel

    launch = Kernel.__call__
    events: list[tuple[str, Any, Any, float]] = []

    def note(self: Kernel, grid: tuple, block: tuple, *arguments: object, shared: int = 0) -> None:
        before, after = cupy.cuda.Event(), cupy.cuda.Event()
        began = time.perf_counter()
        before.record()
        launch(self, grid, block, *arguments, shared=shared)
        after.record()
        events.append((self.name, before, after, time.perf_counter() - began))

    with gpu.working():
        busy = [cupy.zeros(BUSY_BYTES, np.uint8) for _ in range(2)]
    found: dict[str, list[Time]] = {}
    Kernel.__call__ = note  # type: ignore[method-assign]
    try:
        for again in range(-2, repeats):
            events.clear()
            with gpu.working():
                for _ in range(BUSY_COPIES):
                    cupy.copyto(busy[0], busy[1])
            run()
            with gpu.working():
                cupy.cuda.get_current_stream().synchronize()
            of_run: dict[str, Time] = {}
            for name, before, after, host in events:
                spent = of_run.get(name, Time(0, 0.0, 0.0))
                device = 1e-3 * cupy.cuda.get_elapsed_time(before, after)
                of_run[name] = Time(spent.launches + 1, spent.device + device, spent.host + host)
            if again >= 0:  # the first two compile the kernels and fill the memory pool
                for name, spent in of_run.items():
                    found.setdefault(name, []).append(spent)
    finally:
        Kernel.__call__ = launch  # type: ignore[method-assign]
    return {
        name: Time(
            runs[0].launches,
            float(np.median([spent.device for spent in runs])),
            float(np.median([spent.host for spent in runs])),
        )
        for name, runs in found.items()
    }


def copy_rate(gpu: Backend, n_bytes: int, repeats: int) -> float:
    """Bytes a second, read and written, of a copy within the memory of the card."""
    import cupy
    from cupyx.profiler import benchmark

    with gpu.working():
        source, target = cupy.zeros(n_bytes, np.uint8), cupy.zeros(n_bytes, np.uint8)
        result = benchmark(cupy.copyto, (target, source), n_repeat=repeats, n_warmup=10)
    return 2 * n_bytes / float(np.median(result.gpu_times))


def report(case: roofline.Case, times: dict[str, Time], rate: float, about: str) -> str:
    """The page of results: on what machine the kernels ran, and a row for each kernel."""
    costs = roofline.costs(case)
    lines = [
        "# CUDA kernels on one exposure",
        "",
        about,
        "",
        f"{case.n_ccd} CCDs of {case.ny} x {case.nx}, {4 * case.pixels / 1e9:.3f} GB; {case.candidates} sources and"
        f" {case.points} gradient points a CCD. Copy within the card's memory: {rate / 1e9:.0f} GB/s read and written.",
        "Times are those of all launches of an exposure, in their order; bytes are requested sectors, counted.",
        "",
        "| kernel | launches | device [us] | host [us] | requested [MB] | GB/s | share of copy |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, spent in times.items():
        row = [name, str(spent.launches), f"{1e6 * spent.device:.1f}", f"{1e6 * spent.host:.1f}"]
        if name in costs:
            requested = (costs[name].pixels + costs[name].other) * roofline.SECTOR
            speed = requested / spent.device
            row += [f"{requested / 1e6:.1f}", f"{speed / 1e9:.1f}", f"{speed / rate:.2f}"]
        else:
            row += ["", "", ""]
        lines.append(f"| {' | '.join(row)} |")
    counted = [spent.device for name, spent in times.items() if name in costs]
    lines += ["", f"Kernels of a score, one after the other: {1e3 * sum(counted):.3f} ms an exposure."]
    return "\n".join(lines)


def machine(number: int) -> tuple[str, str, bool]:
    """The name of the card; card, driver and versions in one line; and whether this is the test device."""
    import cupy

    from gpuanom.backends.gpu import devices
    from gpuanom.doctor import diagnosis

    card = diagnosis.device(number)
    driver = ", ".join(
        filter(None, (devices.driver_version(), f"CUDA {devices.version(cupy.cuda.runtime.driverGetVersion())}"))
    )
    nvrtc = ".".join(str(part) for part in cupy.cuda.nvrtc.getVersion())
    text = (
        f"{time.strftime('%Y-%m-%d')}; {card.name}, compute capability {card.capability},"
        f" {card.memory / 2**30:.0f} GiB; NVIDIA driver {driver}; CuPy {cupy.__version__},"
        f" CUDA {devices.version(devices.built_for())}, NVRTC {nvrtc}; gpuanom {__version__}."
    )
    return card.name, text, "test device" in card.name


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=int, default=0, help="the GPU's number (default: 0)")
    parser.add_argument("--ccds", type=int, default=61, help="CCDs of the exposure (default: 61)")
    parser.add_argument("--shape", type=int, nargs=2, default=(2046, 4094), metavar=("NY", "NX"), help="size of a CCD")
    parser.add_argument("--repeats", type=int, default=50, help="timed launches of each kernel (default: 50)")
    parser.add_argument("--points", type=int, default=10_000, help="gradient points a CCD (default: 10000)")
    parser.add_argument("--once", action="store_true", help="run one exposure for a profiler, and time nothing")
    chosen = parser.parse_args(arguments)
    try:
        gpu = select(str(chosen.device))
    except GpuanomError as error:
        print(f"no benchmark: {error}", file=sys.stderr)
        return NO_GPU
    wrong = [
        f"{step.step} {step.what} {step.error}".strip()
        for step in selftest.check(gpu, select("cpu"))
        if not step.passed
    ]
    if wrong:
        print(f"no benchmark of wrong kernels: {'; '.join(wrong)} (gpuanom doctor says more)", file=sys.stderr)
        return 1
    name, about, is_test_device = machine(chosen.device)
    ny, nx = chosen.shape
    n = min(chosen.ccds, gpu.group_size(ny, nx))
    if n < chosen.ccds:
        about += f" The memory holds {n} of {chosen.ccds} CCDs at a time."
    if is_test_device:
        about += " **A test device, which is a CPU: its times mean nothing.**"
    settings = Settings(gradient_points=chosen.points, sigma_points=min(10_000, chosen.points))
    if chosen.once:
        from cupyx.profiler import profile

        exposure_ccds = ccds(n, ny, nx)
        exposure(gpu, exposure_ccds, settings)  # compiles the kernels, and fills the memory pool
        with profile():
            exposure(gpu, exposure_ccds, settings)
        return 0
    exposure_ccds = ccds(n, ny, nx)
    n_sources = exposure(gpu, exposure_ccds, settings)
    # Uploaded once: copies between the launches would have the device wait.
    stack = gpu.prepare(exposure_ccds, n)
    times = timed(lambda: steps(gpu, stack, exposure_ccds, settings), gpu, chosen.repeats)
    case = roofline.Case(
        n_ccd=n,
        ny=ny,
        nx=nx,
        candidates=round(n_sources / n),
        fit=settings.background_points,
        sigma=settings.sigma_points,
        points=settings.gradient_points,
        bins=settings.bins,
    )
    rate = copy_rate(gpu, 4 * case.pixels, chosen.repeats)
    text = report(case, times, rate, about)
    print(text)
    if not is_test_device:
        RESULTS.mkdir(exist_ok=True)
        words = "".join(c if c.isalnum() else "-" for c in name.removeprefix("NVIDIA ").lower())
        (RESULTS / f"kernels-{words}.md").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
