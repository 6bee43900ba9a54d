"""Damages the kernels of gpuanom and sees whether the test device notices: a slow test of the tests.

    python -m tests.device.mutants [--sample N] [--steps STEP,...] [--jobs N] [--launches FOLDER] [pytest arguments]

The tests run once, and small launches of each kernel are kept (or taken from FOLDER). Then each mutant runs these
launches again: in several orders, then with a search for races between blocks. A mutant that passes these meets the
tests of its step, with the damaged kernel in place of the right kernel; then the launches under the sanitizers, and at
last the tests under a sanitizer. A mutant that nothing notices makes the job fail, unless EQUIVALENT gives the reason
why it changes nothing. --sample takes some of all mutants, always the same ones.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.device import environment, install
from tests.device.sanitize import DEFAULT, ROOT, command

ORDERS = "forward,reverse,2,3"
SECONDS, SECONDS_OF_TESTS = 120, 600  # seconds, since a mutant may wait for ever
SWAP = "GPUANOM_DEVICE_SWAP"  # names the file that holds a source and its mutant
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# Barriers get their numbers from __COUNTER__, so a removed barrier leaves __COUNTER__ behind: the numbers of all later
# barriers stay as they were.
KINDS = [
    ("barrier removed", re.compile(r"\b__sync(?:threads|warp)\(\);"), "(void)__COUNTER__;"),
    ("plain update", re.compile(r"\batomicAdd\(([^,;]+), ([^;]+)\);"), r"(void)(*(\1) += \2);"),
    ("one more", re.compile(r" < "), " <= "),
    ("one more", re.compile(r" >= "), " > "),
]
# Steps whose kernels are also tested by the tests of another step.
TOGETHER = {
    "moments": ("moments", "sources"),
    "sources": ("sources", "moments"),
    "residual": ("patterns",),
    "spectrum": ("patterns",),
    "contrasts": ("lines",),
}

NOTHING_LEFT = "one round more, in which no thread has anything to do"
EQUIVALENT = {
    "rice.cu: for (int done = 0; done <= most; done += WARP) {": "once more, no tile has pixels left",
    "rice.cu: if (left > 0 && j + 1 < stop) {": "a second code that ends with the window is read in the next round",
    "rice.cu: if (place > RANDOM) {": "the lanes find that the numbers go on elsewhere, and the next round wraps",
    "rice.cu: if (tile0 > n_tiles) return;": "a warp none of whose lanes has a tile",
    "rice.cu: } else if (kept > 0) {": "a code as long as the window is read as longer ones are",
    "select.cuh: for (int step = 1; step <= WARP; step *= 2) {": "no lane is as high as 32: nothing is added",
    "background.cu: for (int start = 0; start <= n_drawn && n < wanted; start += THREADS) {": NOTHING_LEFT,
    "background.cu: for (int start = 0; start < n_drawn && n <= wanted; start += THREADS) {": (
        "what is chosen beyond the wanted ones is not kept, and not counted"
    ),
    "background.cu: for (int start = 0; start <= n; start += THREADS) {": NOTHING_LEFT,
    "background.cu: for (int sweep = 0; sweep <= 30; sweep++) {": "a well-spread draw needs some six",
    "background.cu: for (int p = 0; p <= 6; p++) { [2 of 2]": "of the rotations: p = 6 has no q above it",
    "background.cu: (theta <= 0.0 ? -1.0 : 1.0) / (fabs(theta) + sqrt(theta * theta + 1.0));": (
        "at theta = 0 both turns of 45 degrees make the term zero"
    ),
    "background.cu: for (int j = 0; j <= order; j++) power[at + j] = power[last + j] * X;": (
        "the one too many is set again in the next line"
    ),
    "background.cu: const int from_low = equal_low + block_rank(i <= n && key == low, s->bins, &total);": (
        "at n the key is 0, which no number has"
    ),
    "background.cu: const int from_high = equal_high + block_rank(i <= n && key == high, s->bins, &total);": (
        "at n the key is 0, which no number has"
    ),
    "background.cu: s->bin = condition(copy) <= 1e12;": "no condition number is 1e12 to the last bit",
    "gradients.cu: for (int left = 0; left <= size; left += WARP) {": NOTHING_LEFT,
    "gradients.cu: if (least > 1.17549435e-38f) {  // 2^-126": "2^-126 is widened to the same number either way",
    "gradients.cu: if (warp <= n) {": "a warp too many computes what nobody stores",
    "gradients.cu: for (int first = 0; first <= slots; first += blockDim.x) {": NOTHING_LEFT,
    "gradients.cu: for (int next = slots; filled <= slots && next < n_draws; next += REST_WARPS) {": (
        "draws are tried for which there is no slot: only slower"
    ),
    "gradients.cu: for (int next = slots; filled < slots && next <= n_draws; next += REST_WARPS) {": NOTHING_LEFT,
    "common.cuh: for (int start = 0; start <= n; start += blockDim.x) {": NOTHING_LEFT,
    "moments.cu: if (warp <= size) next[0] = ask(0), next[1] = ask(1);": (
        "a stamp has more rows than a block has warps"
    ),
    "repeats.cu: for (; left != 0u && n <= MAXIMA_A_TILE; left &= left - 1u) {": (
        "a tile whose four places are taken gives no more"
    ),
    "repeats.cu: for (int step = 1; step <= WARP; step *= 2) {": "no lane is as high as 32: nothing is added",
    "repeats.cu: for (int i = blockIdx.x * warps + threadIdx.x / WARP; i <= n; i += gridDim.x * warps) {": NOTHING_LEFT,
    "residual.cu: for (int row = 0; row <= CELL; row++) { [2 of 2]": (
        "of the row too many, which no cell has, nothing is used: row >= n ends its turn"
    ),
    "shapes.cu: for (int start = 0; start <= n_slots; start += CHOOSERS) {": NOTHING_LEFT,
    "shapes.cu: if (start + (int)threadIdx.x <= n && rank < SHAPES_A_CCD) list[rank] = pixel[first + entry];": (
        "the one too many writes what the last one writes"
    ),
    "shapes.cu: if (fabs(by_x) <= NEAR && fabs(by_y) < NEAR) {": "no centroid moves by NEAR to the last bit",
    "shapes.cu: if (fabs(by_x) < NEAR && fabs(by_y) <= NEAR) {": "no centroid moves by NEAR to the last bit",
    "shapes.cu: low += upper <= lower ? 1 : 0;": "equal ones have been told apart before",
    "shapes.cu: if (fabs(next - s) <= MOVED * s || last != 0) {": "no width moves by 4% to the last bit",
    "shapes.cu: source < FOR_WIDTH && moments[6 * slot + 1] > SIGNAL_TO_NOISE && spoilt[slot] == 0;": (
        "no ratio is 8 to the last bit"
    ),
    "shapes.cu: if (source > (last != 0 ? SHAPES_A_CCD : FOR_WIDTH)) return;": (
        "a source that gives no width is measured once more than it need be"
    ),
    "sources.cu: for (int row0 = 0; row0 <= height; row0 += ROWS_AT_ONCE) {": NOTHING_LEFT,
    "sources.cu: while (base <= width) edge();": NOTHING_LEFT,
    "sources.cu: if (other > best[k] || (other == best[k] && other_pixel <= best_pixel[k])) {": (
        "two lanes never have one pixel, but for -1, which is replaced by itself"
    ),
    "sources.cu: (value[other] == value[this_tile] && pixel[other] <= pixel[this_tile]))": (
        "no two tiles have a pixel in common"
    ),
}
"""Damage that changes no result and does no harm: the damaged line, and the reason.

Of damages that give equal lines of one file each has its number: `[2 of 3]` is the second one from the top. Where the
number of equal lines changes, no mutant has the old name any more: the job fails until the reason is looked at again.
"""


@dataclass(frozen=True)
class Mutant:
    """A source that is damaged in one place."""

    kind: str
    place: str
    line: str  # the damaged line, as it stands in the source; where several are equal, with its number among them
    original: str
    code: str
    launches: tuple[Path, ...]

    @property
    def steps(self) -> list[str]:
        """The steps whose kernels are in the source."""
        return sorted({path.name.split("-")[0].split("_")[0] for path in self.launches})

    @property
    def equivalent(self) -> str:
        """The reason why this damage changes nothing, or an empty text."""
        return EQUIVALENT.get(f"{self.place.split(':')[0]}: {self.line}", "")


def mutants(code: str, launches: tuple[Path, ...]) -> Iterator[Mutant]:
    """One mutant for each place that can be damaged."""
    blank = COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), code)
    damages = []
    places: dict[str, list[int]] = defaultdict(list)  # where the damages lie that give equal lines
    for kind, pattern, replacement in KINDS:
        for match in pattern.finditer(blank):
            damaged = code[: match.start()] + match.expand(replacement) + code[match.end() :]
            line = damaged[damaged.rfind("\n", 0, match.start()) + 1 :].split("\n", 1)[0].strip()
            where = place(code, match.start())
            damages.append((kind, where, line, match.start(), damaged))
            places[f"{where.split(':')[0]}: {line}"].append(match.start())
    for kind, where, line, start, damaged in damages:
        equal = sorted(places[f"{where.split(':')[0]}: {line}"])
        named = f"{line} [{equal.index(start) + 1} of {len(equal)}]" if len(equal) > 1 else line
        yield Mutant(kind, f"{where}: {line}", named, code, damaged, launches)


def place(code: str, position: int) -> str:
    """File and line of a place in a source into which the includes were copied, each with #line in front."""
    before = code[:position].split("\n")
    name, number = "", 0
    for line in before:
        told = re.match(r'\s*#\s*line\s+(\d+)\s+"([^"]+)"', line)
        name, number = (told[2], int(told[1]) - 1) if told else (name, number + 1)
    return f"{name}:{number}"


def changes(mutant: Mutant) -> bool:
    """Whether the machine code differs; damage in parts of common.cuh that the source never calls changes none."""
    from cpudevice import build, errors

    contents = []
    for text in (mutant.original, mutant.code):
        try:
            path = build.library(text, "mutant.cu", (), "fast")
        except errors.CompileException:
            return False
        key = path.stem.split("-")[-1].encode()  # the name of the file is part of its content
        contents.append(path.read_bytes().replace(key, b"0" * len(key)))
    return contents[0] != contents[1]


def outcome(variants: list[Mutant], expected: dict[str, str], folder: Path) -> str:
    """The check that noticed one damage, in any source with it; empty, or "-" where no machine code differs."""
    found = [noticed_by(mutant, expected[mutant.original], folder) for mutant in variants if changes(mutant)]
    return next(filter(None, found), "") if found else "-"


def replayed(launches: tuple[Path, ...], folder: Path) -> str:
    """What the kept launches of a source give while nothing is damaged."""
    line = [sys.executable, "-m", "tests.device.recording", *map(str, launches)]
    return _run(line, environment(orders=ORDERS, cache=str(folder / "cache")))


def noticed_by(mutant: Mutant, expected: str, folder: Path) -> str:
    """The first check that notices a mutant."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        files = []
        for path in mutant.launches:
            file = Path(scratch) / path.name
            file.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), "code": mutant.code}))
            files.append(str(file))
        arguments = ["-m", "tests.device.recording", *files]
        settings = {"orders": ORDERS, "cache": str(folder / "cache")}
        # With the byte 66 in memory that was never set, float64 numbers there are 1.6e11 and compare as ordinary
        # numbers.
        ways = {"results": {}, "unset": {"unset": "66"}, "races between blocks": {"flavour": "counted"}}
        for name, way in ways.items():
            if _run([sys.executable, *arguments], environment(**way, **settings)) != expected:
                return name
        swap = Path(scratch) / "swap"
        swap.write_bytes(pickle.dumps((mutant.original, mutant.code)))
        tests = sorted({f"tests/steps/test_{name}.py" for step in mutant.steps for name in TOGETHER.get(step, (step,))})
        pytest = ["-m", "pytest", "-p", "tests.device.mutants", "-p", "no:cacheprovider"]
        pytest += ["-n", "0", "-x", "-k", "gpu", *tests]
        way = {"orders": "forward", "unset": "66", "cache": settings["cache"]}

        def tests_fail(line: list[str], env: dict[str, str]) -> bool:
            return _run(line, {**env, SWAP: str(swap)}, SECONDS_OF_TESTS, output=False) != ""

        # What is cheap comes first: a sanitizer compiles the mutant anew, and its tests are several times as slow.
        if tests_fail([sys.executable, *pytest], environment(**way)):
            return "tests"
        for flavour in ("address", "thread"):
            line, env = command(flavour, arguments, **settings)
            if _run(line, env) != expected:
                return flavour
        if tests_fail(*command("address", pytest, **way)):
            return "tests under address"
        return ""


def pytest_configure() -> None:
    """As a plugin of pytest: where a source is compiled, its mutant is compiled in its place."""
    if SWAP not in os.environ:
        return
    install()
    import cupy

    original, damaged = pickle.loads(Path(os.environ[SWAP]).read_bytes())
    whole = cupy.RawModule.__init__

    def swapped(self: object, *, code: str | None = None, **others: object) -> None:
        whole(self, code=damaged if code == original else code, **others)

    cupy.RawModule.__init__ = swapped


def _run(line: list[str], env: dict[str, str], seconds: int = SECONDS, *, output: bool = True) -> str:
    """The output of a command (an empty text if it is not wanted), or the errors of a command that failed."""
    try:
        done = subprocess.run(line, env=env, cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return "too long"
    return (done.stdout if output else "") if done.returncode == 0 else done.stderr or "failed"


def record(folder: Path, tests: list[str]) -> None:
    """Keep launches of each source in a folder, from a run of the tests."""
    env = environment(record=str(folder), orders="forward")
    subprocess.run([sys.executable, "-m", "pytest", *tests], env=env, cwd=ROOT, check=True)


def of_kernels(launches: list[Path]) -> dict[str, tuple[Path, ...]]:
    """The kept launches of each source of kernels/; tests keep launches of other sources too."""
    found = defaultdict(list)
    for path in sorted(launches):
        found[pickle.loads(path.read_bytes())["code"]].append(path)
    return {code: tuple(paths) for code, paths in found.items() if re.search(r'#\s*line\s+\d+\s+"common.cuh"', code)}


def main(arguments: list[str]) -> int:
    """Damage the kernels, look for checks that notice, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, metavar="N", help="number of mutants, chosen by the seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=lambda text: text.split(","), help="these steps, such as sources,histogram")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="number of mutants that run at the same time")
    parser.add_argument("--launches", type=Path, metavar="FOLDER", help="launches that sanitize.py has kept")
    chosen, tests = parser.parse_known_args(arguments)
    install()
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(chosen.jobs) as pool:
        folder = Path(name)
        from cpudevice import settings

        settings.cache = folder / "cache"
        kept = chosen.launches or folder
        if chosen.launches is None:
            record(folder, tests or list(DEFAULT))
        # A line of common.cuh is part of several sources, and it is enough if one of them notices.
        damage = defaultdict(list)
        for code, launches in of_kernels(list(kept.glob("*.pickle"))).items():
            for mutant in mutants(code, launches):
                if chosen.steps is None or set(mutant.steps) & set(chosen.steps):
                    damage[f"{mutant.kind}: {mutant.place}"].append(mutant)
        keys = [key for key, variants in damage.items() if not variants[0].equivalent]
        equivalent = Counter(_file(key) for key, variants in damage.items() if variants[0].equivalent)
        if chosen.sample is not None:
            keys = random.Random(chosen.seed).sample(keys, min(chosen.sample, len(keys)))
        sound = {mutant.original: mutant.launches for key in keys for mutant in damage[key]}
        expected = dict(zip(sound, pool.map(lambda launches: replayed(launches, folder), sound.values()), strict=True))
        made, caught, survivors = Counter(), Counter(), []
        for key, by in zip(keys, pool.map(lambda key: outcome(damage[key], expected, folder), keys), strict=True):
            if by == "-":
                continue
            made[_file(key)] += 1
            caught[_file(key)] += bool(by)
            survivors += [] if by else [key]
            sys.stdout.write(f"{by or 'NOT NOTICED'}: {key}\n")
            sys.stdout.flush()
    stale = set(EQUIVALENT) - {f"{_file(key)}: {variants[0].line}" for key, variants in damage.items()}
    if chosen.steps is None and stale:
        survivors += [f"EQUIVALENT names what is no mutant: {key}" for key in sorted(stale)]
    for file in sorted(made | equivalent):
        sys.stdout.write(f"{file}: {made[file]} mutants, {caught[file]} noticed; {equivalent[file]} equivalent ones\n")
    sys.stdout.write("\n".join([f"{made.total()} mutants, {len(survivors)} not noticed", *survivors, ""]))
    return int(bool(survivors) or not made)


def _file(key: str) -> str:
    """The source file in the name of a damage, which has the form `kind: file:line: text`."""
    return key.split(": ")[1].split(":")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
