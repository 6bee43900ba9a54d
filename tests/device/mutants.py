"""Damages the kernels of gpuanom and looks whether the test device notices: a test of the tests, and a slow one.

    python -m tests.device.mutants [pytest arguments]

The tests are run once, and small launches of each kernel kept. Then each mutant runs these launches again: first under
several orders, and where its results are the same to the bit, under the sanitizers. A barrier that can be removed, or
an atomic that can be replaced by a plain update, with nobody noticing makes the job fail. A comparison that takes one
more is only listed: many are harmless, since what they compare never is equal.
"""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.device import environment, install
from tests.device.sanitize import DEFAULT, ROOT, command

ORDERS = "forward,reverse,2,3"
SECONDS = 120  # a mutant may wait for ever
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
# A barrier's number in the source comes from __COUNTER__: without it, those of all that follow would change.
KINDS = [
    ("barrier removed", True, re.compile(r"\b__sync(?:threads|warp)\(\);"), "(void)__COUNTER__;"),
    ("plain update", True, re.compile(r"\batomicAdd\(([^,;]+), ([^;]+)\);"), r"(void)(*(\1) += \2);"),
    ("one more", False, re.compile(r" < "), " <= "),
]


@dataclass(frozen=True)
class Mutant:
    kind: str
    must_be_noticed: bool
    place: str
    code: str


def mutants(code: str) -> Iterator[Mutant]:
    """One for each place that can be damaged."""
    blank = COMMENT.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), code)
    for kind, must, pattern, replacement in KINDS:
        for match in pattern.finditer(blank):
            damaged = code[: match.start()] + match.expand(replacement) + code[match.end() :]
            yield Mutant(kind, must, place(code, match.start()), damaged)


def place(code: str, position: int) -> str:
    """File, line and text of a place in a source whose includes were put in, with #line in front."""
    before = code[:position].split("\n")
    name, number = "", 0
    for line in before:
        told = re.match(r'\s*#\s*line\s+(\d+)\s+"([^"]+)"', line)
        name, number = (told[2], int(told[1]) - 1) if told else (name, number + 1)
    return f"{name}:{number}: {(before[-1] + code[position:].split(chr(10), 1)[0]).strip()}"


def changes(code: str, mutant: Mutant) -> bool:
    """Whether the mutant's machine code is another: what a kernel file takes from common.cuh and never calls is not."""
    from cpudevice import build, errors

    contents = []
    for text in (code, mutant.code):
        try:
            path = build.library(text, "mutant.cu", (), "fast")
        except errors.CompileException:
            return False
        key = path.stem.split("-")[-1].encode()  # the file's own name is part of its content
        contents.append(path.read_bytes().replace(key, b"0" * len(key)))
    return contents[0] != contents[1]


def outcome(mutant: Mutant, launches: list[Path], expected: str, folder: Path) -> str:
    """What noticed a mutant, if anything did; "-" for one that is none."""
    if not changes(pickle.loads(launches[0].read_bytes())["code"], mutant):
        return "-"
    with tempfile.TemporaryDirectory(dir=folder) as own:
        files = []
        for path in launches:
            file = Path(own) / path.name
            file.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), "code": mutant.code}))
            files.append(str(file))
        arguments = ["-m", "tests.device.recording", *files]
        settings = {"orders": ORDERS, "cache": str(folder / "cache")}
        for name, flavour in (("results", "fast"), ("races between blocks", "counted")):
            if _run([sys.executable, *arguments], environment(flavour=flavour, **settings)) != expected:
                return name
        for flavour in ("address", "thread"):
            line, env = command(flavour, arguments, **settings)
            if _run(line, env) != expected:
                return flavour
        return ""


def _run(line: list[str], env: dict[str, str]) -> str:
    try:
        done = subprocess.run(line, env=env, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "too long"
    return done.stdout if done.returncode == 0 else done.stderr


def record(folder: Path, tests: list[str]) -> dict[str, list[Path]]:
    """The launches of each source, from a run of the tests."""
    env = environment(record=str(folder), orders="forward")
    subprocess.run([sys.executable, "-m", "pytest", *tests], env=env, cwd=ROOT, check=True)
    found = defaultdict(list)
    for path in sorted(folder.glob("*.pickle")):
        found[pickle.loads(path.read_bytes())["code"]].append(path)
    return found


def main(tests: list[str]) -> int:
    noticed_at: dict[str, bool] = {}  # a place in common.cuh is in several sources: one that notices is enough
    install()
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(os.cpu_count()) as pool:
        folder = Path(name)
        from cpudevice import settings

        settings.cache = folder / "cache"
        for code, launches in record(folder, tests).items():
            names = sorted({path.name.split("-")[0] for path in launches})
            arguments = ["-m", "tests.device.recording", *map(str, launches)]
            expected = _run([sys.executable, *arguments], environment(orders=ORDERS, cache=str(folder / "cache")))
            damaged = list(mutants(code))
            noticed = pool.map(lambda m: outcome(m, launches, expected, folder), damaged)  # noqa: B023 - used at once
            for mutant, by in zip(damaged, noticed, strict=True):
                if by == "-":
                    continue
                sys.stdout.write(f"{', '.join(names)}: {mutant.kind}: {by or 'NOT NOTICED'}: {mutant.place}\n")
                sys.stdout.flush()
                if mutant.must_be_noticed:
                    key = f"{mutant.kind}: {mutant.place}"
                    noticed_at[key] = noticed_at.get(key, False) or bool(by)
    survivors = [key for key, noticed in noticed_at.items() if not noticed]
    sys.stdout.write("\n".join([f"{len(noticed_at)} must be noticed, {len(survivors)} were not", *survivors, ""]))
    return int(bool(survivors) or not noticed_at)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(DEFAULT)))
