"""How often the kernels of METHOD.md Part II ask for memory, counted by the test device on an ordinary CCD.

    python profiling/roofline_statistics.py            prints the table and keeps it in results/roofline_statistics.md
    python profiling/roofline_statistics.py --check    a small CCD, and nothing is kept: for the tests

Nothing here was run on a GPU, and no time follows. A stack is the bytes of the image, so that a kernel which asks once
for every pixel asks for one stack. A warp's request counts each 32-byte sector once; different requests for a sector
count again, as if there were no cache. `different` counts each sector once for each launch, as with a perfect cache.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

SECTOR = 32
SHAPE, SMALL = (4094, 2046), (512, 520)
PAGE = Path(__file__).parent / "results" / "roofline_statistics.md"


def counted(shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Count what each kernel of the steps asks for: bytes loaded and stored, sectors requested and different ones."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import device

    device.install()
    import scene
    from cpudevice import counting

    from gpuanom import sampling
    from gpuanom.backends.gpu import GpuBackend
    from gpuanom.records import Ccd
    from gpuanom.settings import Settings

    settings, gpu = Settings(), GpuBackend()
    stack = gpu.prepare([Ccd("1", scene.ccd(shape))], 1)

    def drawn(purpose: sampling.Purpose, wanted: int):
        return gpu.points(sampling.keys(1, ["e"], ["1"], purpose), 2 * wanted, *shape, 0)

    points = drawn("background", settings.background_points), drawn("sigma", settings.sigma_points)
    background = gpu.background(stack, *points, settings)
    sources = gpu.sources(stack, background, settings)
    gpu.stream.synchronize()
    with counting() as records:
        _, profile_sums, bins = gpu.patterns(stack, background, settings)
        gpu.profiles(profile_sums)
        gpu.lines(bins)
        gpu.shapes(stack, background, sources, settings)
        gpu.repeats(stack, background, sources, *np.zeros((2, 1), np.int64), settings)
        gpu.stream.synchronize()
    found: dict[str, np.ndarray] = {}
    for one in records:
        numbers = np.array([one.load_bytes, one.store_bytes, one.sectors_requested, one.sectors_touched])
        found[one.kernel] = found.get(one.kernel, np.zeros(4, dtype=np.int64)) + numbers
    return found


def table(found: dict[str, np.ndarray], shape: tuple[int, int]) -> str:
    """The counts as a table of Markdown, in stacks."""
    stack = 4 * shape[0] * shape[1]
    lines = [
        "| kernel | loaded | stored | requested | different |",
        "|---|---|---|---|---|",
    ]
    for name, numbers in [*found.items(), ("all", sum(found.values()))]:
        stacks = numbers * np.array([1, 1, SECTOR, SECTOR]) / stack
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in stacks) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="a small CCD; nothing is kept")
    shape = SMALL if parser.parse_args().check else SHAPE
    text = table(counted(shape), shape)
    print(text)
    if shape == SHAPE:
        size = f"{shape[1]} x {shape[0]}"
        PAGE.write_text(
            "# What the kernels of the statistics ask of the memory\n\n"
            f"`python profiling/roofline_statistics.py`: one CCD of {size} float32 pixels, without a mask.\n"
            "Numbers are in stacks, which are the bytes of the image. Counted on a test device, not measured: the\n"
            "caches of a card answer a part of what is requested, at most so much that `different` is left.\n"
            "`residual_steps` alone reads the whole image; the others read its residuals in 16 bits, or the\n"
            "surroundings of sources.\n\n"
            f"{text}\n"
        )


if __name__ == "__main__":
    main()
