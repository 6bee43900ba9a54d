"""What the kernels of one exposure must move and compute, counted from their code: nothing here was run on a GPU.

    python profiling/roofline.py            the table of a DECam exposure, 61 CCDs of 2046 x 4094
    python profiling/roofline.py --check    the same counts for a small CCD, beside those of the test device

A warp's request for memory counts each 32-byte sector once. Requests of one kernel for the same sector count again, as
if there were no cache. `pixels` are the sectors of the images; `other` are the sectors of points, weights, keys, slots
and results. The limit of 2.1 stacks is for the sectors of the images that all scoring kernels together request, without
a mask. With a perfect cache in each kernel 1.82 stacks would remain: 1, and 1 - exp(-s) for each of the two random
kinds that request s. All other requests stand beside these, with a limit of their own; most of that memory is small
enough to stay in the L2 cache. Floating point is float64, and an FMA counts as two operations; atan, sincos and log are
counted as 40 each.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SECTOR = 32

# Memory bandwidth and float64 rate of NVIDIA's data sheets "A100 Tensor Core GPU" (SXM with 40 and with 80 GB,
# nvidia-a100-datasheet-nvidia-us-2188504) and "H100 Tensor Core GPU" (SXM, nvidia-h100-datasheet-2430615). The rates of
# the data sheets count an FMA as two operations; these kernels use hardly any.
CARDS = {"A100-40": (1555e9, 9.7e12 / 2), "A100-80": (2039e9, 9.7e12 / 2), "H100": (3350e9, 34e12 / 2)}
BAR, OTHER_BAR = 2.1, 0.25
TOLERANCE = 1.4
"""Largest ratio allowed between table and test device, whose compiler merges some loads and repeats others."""


@dataclass(frozen=True)
class Case:
    """An exposure. All numbers are those of one CCD, except the number of CCDs."""

    n_ccd: int = 61
    ny: int = 2046
    nx: int = 4094
    candidates: int = 800
    fit: int = 1000
    sigma: int = 10_000
    points: int = 10_000
    draws: int = 2
    bins: int = 18

    @property
    def pixels(self) -> int:
        """Pixels of all CCDs together."""
        return self.n_ccd * self.ny * self.nx

    @property
    def slots(self) -> int:
        """Slots for sources: one for each tile."""
        return (self.ny // 32) * (self.nx // 32)


@dataclass(frozen=True)
class Cost:
    """The cost of one kernel for one exposure.

    Sectors requested of the stack and of other arrays, bytes used, and operations.
    """

    pixels: float
    other: float
    read: float
    written: float
    operations: float


def spanned(n_bytes: int, item: int) -> float:
    """Average number of sectors of a run of bytes that begins at any multiple of an item."""
    starts = np.arange(0, SECTOR, item)
    return float(np.mean((starts + n_bytes - 1) // SECTOR - starts // SECTOR + 1))


def pass_sectors(case: Case, width: int) -> int:
    """Sectors of one pass over the stack in runs of `width` pixels of a row, with rows at their true addresses."""
    first = np.arange(case.n_ccd * case.ny, dtype=np.int64) * case.nx * 4
    total = 0
    for left in range(0, case.nx, width):
        begin, end = first + 4 * left, first + 4 * min(left + width, case.nx)
        total += int(((end - 1) // SECTOR - begin // SECTOR + 1).sum())
    return total


def costs(case: Case) -> dict[str, Cost]:
    """The cost of each kernel for an exposure, in the order in which the kernels run."""
    n, drawn = case.n_ccd, case.fit + case.sigma
    slots, stamps, points, angles = n * case.slots, n * case.candidates, n * case.points, n * case.points
    table: dict[str, Cost] = {}
    # Ten rounds of two products of 64 bits for four points; whole numbers are no floating point.
    places = n * case.draws * (drawn + case.points)
    table["points_draw"] = Cost(0, 2 * places * 8 / SECTOR, 0, 8 * places, 0)
    # Each pixel is read once. The selections by rank read the keys until one key is left, in about 5 passes for each of
    # the 3 ranks of the fit and of the 3 medians. The number of passes is that of the test device, whose sky is as
    # smooth as most.
    passes = 23
    table["background_fit"] = Cost(
        n * drawn,
        n * drawn * (8 * passes + 8 + 8) / SECTOR,
        n * drawn * (4 + 8 * passes + 8 + 8),
        n * drawn * 16,
        n * 60 * drawn,
    )
    # The tiles are read in runs of 24. Coefficients and levels are read once for each block, and the results of a block
    # are written together.
    blocks = n * -(-case.ny // 32) * -(-case.nx // 768)
    table["sources_tiles"] = Cost(pass_sectors(case, 768), blocks * 16, 4 * case.pixels, 12 * slots, 160 * slots)
    # Each candidate looks at the tiles around its own tile.
    table["sources_list"] = Cost(0, slots * 12 / SECTOR + 9 * stamps, 12 * slots + 108 * stamps, 4 * stamps, 9 * stamps)
    # Beside the stamp: its position and results, and the values that each of the 256 blocks of a CCD reads before its
    # first stamp.
    rows = 64 * spanned(256, 4)
    table["moments_check"] = Cost(
        stamps * rows, 12 * stamps + n * 256 * 30, stamps * 4 * 4096, 88 * stamps, 4096 * 15 * stamps
    )
    # cupy.full fills the slots, 7 float64 and 4 int64 arrays, and the CCDs of the slots.
    table["(fills of slots)"] = Cost(0, slots * 96 / SECTOR, 0, 96 * slots, 0)
    # Beside the patch: positions, coefficients, weights and results of 8 points together.
    patch = 20 * spanned(80, 4)
    table["gradients_first"] = Cost(
        points * patch, points / 8 * (2 + 6 + 9 + 1 + 8), points * (1600 + 8), 32 * points, 1750 * points
    )
    table["gradients_rest"] = Cost(0, points * 16 / SECTOR, 8 * points, 8 * points, 0)
    # Both moments: the three loads of a warp lie 24 bytes apart and share no request (g++ compiles two of the three).
    table["orientation_moments"] = Cost(0, 2 * slots * 80 / SECTOR, 48 * slots, 16 * slots, 2 * 50 * slots)
    table["orientation_gradients"] = Cost(0, 2 * angles * 24 / SECTOR, 32 * angles, 16 * angles, 2 * 45 * angles)
    counted = 2 * slots + 2 * angles
    table["histogram_count"] = Cost(0, counted * 17 / SECTOR, 16 * counted, 0, 60 * counted)
    return table


def reading(case: Case, bits: float = 4.93) -> dict[str, Cost]:
    """The kernels that make a stack from the bytes of a file; the form of the file decides which of the two is used.

    Neither counts for a limit, since the user's files decide.
    `bits` a pixel are those of a DECam InstCal CCD, compressed at q = 4 in tiles of a row.
    """
    tiles, steps = case.n_ccd * case.ny, case.n_ccd * case.ny * -(-case.nx // 32)
    words = tiles * case.nx * bits / 32
    table: dict[str, Cost] = {}
    # Each lane of a warp asks for a word of its own tile: of 8 requests for a sector the cache answers 7. Every 32
    # pixels need their random numbers; scale, zero and blank are read once for each tile.
    table["rice"] = Cost(
        pass_sectors(case, 32),
        words + steps * spanned(128, 4) + 6 * tiles,
        tiles * (case.nx * bits / 8 + 40),
        4 * case.pixels,
        4 * case.pixels,
    )
    # All bytes of the file once more, and 36 bytes of each image.
    table["checksum_add"] = Cost(0, words * 4 / SECTOR, words * 4, 0, 0)
    table["checksum_compare"] = Cost(0, case.n_ccd * 3, 36 * case.n_ccd, 0, 0)
    # float32 pixels, which are only copied
    table["prepare_pixels"] = Cost(pass_sectors(case, case.nx), case.pixels / 8, 4 * case.pixels, 4 * case.pixels, 0)
    return table


def report(case: Case) -> str:
    """The table, as text."""
    table, stack = costs(case), case.pixels * 4
    lines = [
        f"{case.n_ccd} CCDs of {case.ny} x {case.nx}, {stack / 1e9:.2f} GB; {case.candidates} candidate stamps and "
        f"{case.points} gradient points a CCD. Counted, not measured.",
        "",
        f"{'kernel':22} {'read':>8} {'written':>8} {'pixels':>7} {'other':>7} {'operations':>11}"
        + "".join(f" {card:>8}" for card in CARDS),
        f"{'':22} {'MB':>8} {'MB':>8} {'stacks':>7} {'stacks':>7} {'1e9':>11}" + " us".rjust(9) * len(CARDS),
    ]
    total = np.zeros(5 + len(CARDS))
    for name, cost in table.items():
        row = _numbers(cost, stack)
        total += row
        lines.append(_row(name, row))
    lines.append(_row("all", total))
    lines += [
        "",
        "From a file's bytes to the stack: RICE tiles of a row, 4.93 bits a pixel, or uncompressed float32.",
    ]
    lines += [_row(name, _numbers(cost, stack)) for name, cost in reading(case).items()]
    lines += [
        "",
        f"Sectors of the images: {total[2]:.3f} stacks (bar {BAR}); of all else {total[3]:.3f} (limit {OTHER_BAR}); "
        f"together {total[2] + total[3]:.3f}.",
        "Times: for each kernel the time of all requested sectors at the published bandwidth of the card, or of the",
        "operations at half the published float64 rate, whichever is longer. Caches shorten these times; latency and",
        "other instructions lengthen them.",
    ]
    return "\n".join(lines)


def _numbers(cost: Cost, stack: int) -> np.ndarray:
    requested = (cost.pixels + cost.other) * SECTOR
    times = [1e6 * max(requested / speed, cost.operations / rate) for speed, rate in CARDS.values()]
    shares = [cost.pixels * SECTOR / stack, cost.other * SECTOR / stack]
    return np.array([cost.read / 1e6, cost.written / 1e6, *shares, cost.operations / 1e9, *times])


def _row(name: str, row: np.ndarray) -> str:
    times = "".join(f" {t:8.0f}" for t in row[5:])
    return f"{name:22} {row[0]:8.1f} {row[1]:8.1f} {row[2]:7.3f} {row[3]:7.3f} {row[4]:11.3f}{times}"


def counted_by_device(case: Case) -> tuple[Case, dict[str, int]]:
    """The same kernels on the test device, for one small CCD: requested sectors, and the case with its candidates."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    import device

    device.install()
    from cpudevice import counting

    from gpuanom import sampling
    from gpuanom.backends.gpu import GpuBackend
    from gpuanom.records import Array, Ccd
    from gpuanom.settings import Settings

    settings = Settings(background_points=case.fit, sigma_points=case.sigma, gradient_points=case.points)
    rng = np.random.default_rng(1)
    image = rng.normal(1000.0, 10.0, (case.ny, case.nx))
    gy, gx = np.mgrid[-8:9, -8:9]
    for y, x in zip(rng.integers(40, case.ny - 40, 260), rng.integers(40, case.nx - 40, 260), strict=True):
        image[y - 8 : y + 9, x - 8 : x + 9] += rng.uniform(100, 3000) * np.exp(-(gy**2 + gx**2) / 8)
    gpu = GpuBackend()

    def drawn(purpose: sampling.Purpose, wanted: int, margin: int = 0) -> Array:
        return gpu.points(sampling.keys(1, ["e"], ["1"], purpose), case.draws * wanted, case.ny, case.nx, margin)

    stack = gpu.prepare([Ccd("1", image.astype(np.float32))], 1)
    with counting() as records:
        fit, noise = drawn("background", case.fit), drawn("sigma", case.sigma)
        background = gpu.background(stack, fit, noise, settings)
        sources = gpu.sources(stack, background, settings)
        gradients = gpu.gradients(stack, drawn("gradients", case.points, 10), background, settings)
        turns = np.zeros(1, np.int64)
        for moments in (sources.moments, sources.isophote_moments):
            gpu.histogram(gpu.orientation(moments), sources.ccd, turns, case.bins)
        for dx, dy in ((gradients.dx, gradients.dy), (gradients.flat_dx, gradients.flat_dy)):
            gpu.histogram(gpu.gradient_orientation(dx, dy), gradients.ccd, turns, case.bins)
        gpu.stream.synchronize()
    found: dict[str, int] = {}
    for record in records:
        found[record.kernel] = found.get(record.kernel, 0) + record.sectors_requested
    # The sky is so smooth that nearly every candidate is a source.
    n_sources = len(gpu.to_host(sources).y)
    return Case(**{**case.__dict__, "candidates": n_sources}), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the counters of the test device")
    if not parser.parse_args().check:
        print(report(Case()))
        return
    case, found = counted_by_device(Case(n_ccd=1, ny=512, nx=4094, fit=250, sigma=2500, points=2500, draws=4))
    print(f"{'kernel':22} {'here':>9} {'device':>9} {'ratio':>6}   sectors requested, one CCD of {case.ny} x {case.nx}")
    off = []
    for name, cost in costs(case).items():
        if name in found:
            here = cost.pixels + cost.other
            ratio = found[name] / here
            print(f"{name:22} {here:9.0f} {found[name]:9d} {ratio:6.2f}")
            if not 1 / TOLERANCE <= ratio <= TOLERANCE:
                off.append(name)
    if off:
        sys.exit(f"the table is off by more than {TOLERANCE} for {', '.join(off)}")


if __name__ == "__main__":
    main()
