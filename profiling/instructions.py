"""How many instructions of Python's interpreter the host spends on an exposure for a GPU.

python profiling/bench_feed.py --instructions [--ccds 61] [--exposures 4] [--readers 1] [--night FOLDER]

The count does not depend on the machine's load, as times do, and hardly on the size of the images: those of the night
that is made for it are small. It depends on the version of Python. All threads of the process are counted, from the
opening of files that were discovered before to rows in the store, for exposures that come after others: what a process
does once is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType

MODULES = 20
"""Modules that are printed."""
WARM_UP = 3
"""Times that the night is gone through before: answers about headers are remembered from the second file on that is
opened when the native loops are there, and by the first of the threads that find them."""
_HARNESS = ("null_device.py", "instructions.py")
"""Files of the measurement, which would not run beside a card."""

Counts = tuple[Counter[str], Counter[str]]
"""Instructions, and calls of Python functions, by module."""


class Counting:
    """Counts what all threads that begin in a ``with`` block, and the thread of the block itself, execute in it."""

    def __init__(self) -> None:
        self._threads: list[tuple[Counter[CodeType], Counter[CodeType]]] = []
        self._own = threading.local()

    def __enter__(self) -> Counting:
        threading.settrace(self._called)
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]

    def _called(self, frame, _event, _argument):
        """A function is called: its instructions are counted from now on, in numbers of this thread alone."""
        try:
            instructions, calls, each = self._own.counts
        except AttributeError:
            instructions, calls = Counter(), Counter()
            each = _each_instruction(instructions)
            self._threads.append((instructions, calls))
            self._own.counts = instructions, calls, each
        calls[frame.f_code] += 1
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return each

    def counts(self, root: Path) -> Counts:
        """What was counted, with the names of modules from the folder of the package on."""
        found: Counts = Counter(), Counter()
        for of_thread in self._threads:
            for total, by_code in zip(found, of_thread, strict=True):
                for code, n in by_code.items():
                    total[_module(code.co_filename, root)] += n
        return found


def _module(file: str, root: Path) -> str:
    """A file of the package, or what else its code belongs to."""
    path = Path(file)
    if path.name in _HARNESS:
        return path.name
    if path.is_relative_to(root):
        return str(path.relative_to(root))
    return "generated code" if file.startswith("<") and not file.startswith("<frozen") else "Python's library, NumPy"


def _each_instruction(instructions: Counter[CodeType]) -> Callable:
    def each(frame, event, _argument):
        if event == "opcode":
            instructions[frame.f_code] += 1
        return each

    return each


def child(nights: list[Path], readers: int) -> None:
    """Count the exposures of each folder in this process, and print what `counted` returns as JSON."""
    import null_device

    null_device.install()
    import gpuanom
    from gpuanom.backends.gpu import GpuBackend
    from gpuanom.fits import discover
    from gpuanom.measuring.threads import Works
    from gpuanom.nights.events import Events
    from gpuanom.nights.keeping import fill
    from gpuanom.settings import Settings
    from gpuanom.store.store import Store

    settings, backend = Settings(), GpuBackend(0)
    root = Path(gpuanom.__file__).parent

    def run(exposures) -> None:
        with tempfile.TemporaryDirectory() as out, Store(Path(out) / "measurements.sqlite", settings) as store:
            fill(store, exposures, Works(settings, [backend], readers, print), Events())

    def counted_run(exposures) -> Counts:
        with Counting() as counting:
            run(exposures)
        return counting.counts(root)

    found = []
    for night in nights:
        exposures = discover(sorted(night.glob("*.fz")), settings).exposures
        if len(exposures) < 2:
            raise SystemExit(f"{night}: two exposures or more are needed")
        for _ in range(WARM_UP):
            run(exposures)
        # What further exposures add is what an exposure costs, without the beginning and the end of a run.
        one, several, n = counted_run(exposures[:1]), counted_run(exposures), len(exposures) - 1
        found.append(
            {
                "instructions": {key: (several[0][key] - one[0][key]) / n for key in several[0]},
                "calls": {key: (several[1][key] - one[1][key]) / n for key in several[1]},
                "package": str(root),
            }
        )
    print(json.dumps(found))


def counted(nights: list[Path], readers: int = 1, package: Path | None = None) -> list[dict]:
    """Count in a process of its own.

    Parameters
    ----------
    nights : list of Path
        Folders of two exposures or more.
    readers : int, optional
        Threads that read; with one, two counts differ by less than a thousandth.
    package : Path, optional
        Folder that holds the gpuanom to measure.

    Returns
    -------
    list of dict
        For each night ``instructions`` and ``calls`` (of Python functions) of an exposure, by module of the package or
        what else the code belongs to; and ``package``, the folder of the gpuanom that was measured.
    """
    folders = [str(night) for night in nights]
    command = [sys.executable, __file__, str(package or ""), str(readers), *folders]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def of_host(counts: dict[str, float]) -> float:
    """The sum of a kind of counts without those of the measurement itself."""
    return sum(n for module, n in counts.items() if module not in _HARNESS)


def report(found: dict) -> None:
    """Print the counts of an exposure: in all, by part of the package, and of the modules with the most."""
    instructions, calls = found["instructions"], found["calls"]
    parts: Counter[str] = Counter()
    for module, n in instructions.items():
        parts[str(Path(module).parent) if "/" in module else module] += n
    print(f"{found['package']}; instructions of Python {sys.version.split()[0]} an exposure:")
    print(f"  {of_host(instructions):9.0f}   in {of_host(calls):.0f} calls of Python functions")
    print(f"  {instructions['null_device.py']:9.0f}   in the device that computes nothing, not among these")
    print("by part:")
    for part, n in parts.most_common():
        if part not in _HARNESS:
            print(f"  {n:9.0f}   {part}")
    print(f"by module, the largest {MODULES}:")
    ranked = sorted(
        (m for m in instructions if m.endswith(".py") and m not in _HARNESS), key=instructions.get, reverse=True
    )
    for module in ranked[:MODULES]:
        print(f"  {instructions[module]:9.0f}   {module} ({calls[module]:.0f} calls)")


if __name__ == "__main__":
    package, n_readers, *folders = sys.argv[1:]
    if package:
        sys.path.insert(0, package)  # before any folder that the environment puts first
    child([Path(folder) for folder in folders], int(n_readers))
