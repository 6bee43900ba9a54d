"""The tests of the GPU backend under AddressSanitizer + UBSan, and its kernels under ThreadSanitizer.

    python -m tests.device.sanitize address [pytest arguments]
    python -m tests.device.sanitize thread [pytest arguments]
    python -m tests.device.sanitize keep FOLDER [pytest arguments]
    python -m tests.device.sanitize kept FOLDER

`address` runs the tests with kernels that check every access. `thread` is some hundred times slower: it runs the tests
in the ordinary way, keeps a few small launches of each kernel, and runs these launches again under ThreadSanitizer.
`keep` does what `address` does and leaves small launches of each kernel in FOLDER, for the mutants and for `kept`,
which runs them under ThreadSanitizer: so the tests run once for all of these jobs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from tests.device import environment

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 15
"""Launches that one process runs again: a process needs some seconds to start under ThreadSanitizer."""
DEFAULT = ("tests/steps", "-k", "gpu or prepare or rice")
# Python's own allocator would hide the red zones. Memory that the interpreter leaks when it ends does not matter here.
OPTIONS = {
    "address": {
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=0",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    },
    # The threads of NumPy are not compiled with ThreadSanitizer.
    "thread": {"TSAN_OPTIONS": "halt_on_error=1:exitcode=66:report_signal_unsafe=0", "OPENBLAS_NUM_THREADS": "1"},
}


@cache
def _library(name: str) -> str:
    found = subprocess.run(
        ["g++", f"-print-file-name={name}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        raise RuntimeError(f"g++ has no {name}")
    return found


def command(flavour: str, arguments: Sequence[str], **settings: str) -> tuple[list[str], dict[str, str]]:
    """A Python command under a sanitizer, and its environment. The sanitizer must be loaded when the process starts."""
    names = ("libasan.so", "libubsan.so") if flavour == "address" else ("libtsan.so",)
    preload = " ".join(_library(name) for name in names)
    env = {**environment(flavour=flavour, **settings), **OPTIONS[flavour], "LD_PRELOAD": preload}
    # ThreadSanitizer needs the program at fixed addresses.
    fixed = ["setarch", "-R"] if flavour == "thread" and shutil.which("setarch") else []
    return [*fixed, sys.executable, *arguments], env


def run(flavour: str, arguments: Sequence[str], **settings: str) -> subprocess.CompletedProcess:
    """Run Python under a sanitizer."""
    line, env = command(flavour, arguments, **settings)
    return subprocess.run(line, env=env, cwd=ROOT, capture_output=True, text=True)


def main(flavour: str, tests: Sequence[str]) -> int:
    """Run the tests or the launches; 0 when no fault was found."""
    if flavour == "address":
        return address(tests)
    if flavour == "keep":
        folder, *tests = tests
        return address(tests or DEFAULT, record=folder)
    if flavour == "kept":
        return replay("thread", Path(tests[0]))
    with tempfile.TemporaryDirectory() as folder:
        env = environment(record=folder, orders="forward")
        done = subprocess.run([sys.executable, "-m", "pytest", *tests], env=env, cwd=ROOT)
        return done.returncode or replay("thread", Path(folder))


def address(tests: Sequence[str], **settings: str) -> int:
    """Run the tests with kernels under AddressSanitizer and UBSan."""
    # No process more than processors: these tests wait for nothing, and a process takes seconds to start.
    at_once = str(len(os.sched_getaffinity(0)))
    line, env = command("address", ["-m", "pytest", "-n", at_once, *tests], orders="forward", **settings)
    return subprocess.run(line, env=env, cwd=ROOT).returncode


def replay(flavour: str, folder: Path) -> int:
    """Run kept launches again; 0 when all of them passed and every kernel of gpuanom was among them."""
    launches = sorted(folder.glob("*.pickle"))
    missing = kernels() - {path.name.rpartition("-")[0] for path in launches}
    if missing:
        sys.stdout.write(f"no launch was kept of {', '.join(sorted(missing))}\n")
        return 1
    parts = [launches[i : i + AT_ONCE] for i in range(0, len(launches), AT_ONCE)]
    failed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for ends in pool.map(lambda part: list(_replayed(flavour, part)), parts):
            for launch, finding in ends:
                failed += bool(finding)
                sys.stdout.write(f"{launch.stem}: {finding or 'clean'}\n")
    sys.stdout.write(f"{len(launches)} launches under the {flavour} sanitizer, {failed} with a finding\n")
    return int(failed > 0)


def _replayed(flavour: str, launches: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """Run launches again in one process, and in another one those after a finding, which ends the process.

    Yields each launch and what was found, empty where nothing was.
    """
    left = list(launches)
    while left:
        done = run(flavour, ["-m", "tests.device.recording", *map(str, left)], orders="forward,7")
        clean = min(len(done.stdout.splitlines()), len(left) - 1) if done.returncode else len(left)
        yield from ((launch, "") for launch in left[:clean])
        if done.returncode:
            yield left[clean], done.stdout + done.stderr
        left = left[clean + 1 :]


def kernels() -> set[str]:
    """The names of the kernels of gpuanom."""
    sources = "\n".join(path.read_text() for path in (ROOT / "kernels").glob("*.cu"))
    return set(re.findall(r"__global__\s+void\s+__launch_bounds__\([^)]*\)\s+(\w+)\(", sources))


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in (*OPTIONS, "keep", "kept") or sys.argv[1:] in (["keep"], ["kept"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:] or DEFAULT))
