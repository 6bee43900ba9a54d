"""How many instructions of Python's interpreter the host spends on an exposure for a GPU.

python profiling/bench_feed.py --instructions [--ccds 61] [--exposures 6] [--readers 1] [--night FOLDER]

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
from pathlib import Path
from types import CodeType

MODULES = 20
"""Modules that are printed."""
WARM_UP = 3
"""Times that the first half of the night is gone through before: answers about headers are remembered from the second
file on that is opened when the native loops are there, and by the first of the threads that find them."""
_HARNESS = ("null_device.py", "instructions.py")
"""Files of the measurement, which would not run beside a card."""

_LIBRARY = "Python's library, NumPy"

Counts = tuple[Counter[str], Counter[str]]
"""Instructions, and calls of Python functions, by module."""


class Counting:
    """Counts what all threads that begin in a ``with`` block, and the thread of the block itself, execute in it.

    Parameters
    ----------
    root : Path
        The folder of the package.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads: list[Counts] = []
        self._own = threading.local()
        self._modules: dict[CodeType, str] = {}

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
            instructions, calls = self._own.counts
        except AttributeError:
            instructions, calls = self._own.counts = Counter(), Counter()
            self._threads.append(self._own.counts)
        module = self._belongs_to(frame)
        calls[module] += 1
        frame.f_trace_lines, frame.f_trace_opcodes = False, True

        def each(_frame, event, _argument):
            if event == "opcode":
                instructions[module] += 1
            return each

        return each

    def _belongs_to(self, frame) -> str:
        """The module of a function; what the measurement calls of Python's library belongs to the measurement."""
        own = module = self._module(frame.f_code)
        while module == _LIBRARY and frame.f_back is not None:
            frame = frame.f_back
            module = self._module(frame.f_code)
        return module if module in _HARNESS else own

    def _module(self, code: CodeType) -> str:
        """A file of the package, or what else its code belongs to."""
        found = self._modules.get(code)
        if found is None:
            path = Path(code.co_filename)
            if path.name in _HARNESS:
                found = path.name
            elif path.is_relative_to(self._root):
                found = str(path.relative_to(self._root))
            else:
                is_generated = code.co_filename.startswith("<") and not code.co_filename.startswith("<frozen")
                found = "generated code" if is_generated else _LIBRARY
            self._modules[code] = found
        return found

    def counts(self) -> Counts:
        """What was counted."""
        instructions, calls = zip(*self._threads, strict=True)
        return sum(instructions, Counter()), sum(calls, Counter())


def child(nights: list[Path], readers: int) -> None:
    """Count the exposures of each folder in this process, and print what `counted` returns as JSON."""
    import null_answers
    import null_device

    null_device.install()
    import gpuanom
    from gpuanom.backends.gpu import GpuBackend
    from gpuanom.fits import discover
    from gpuanom.measuring.threads import Threads
    from gpuanom.nights.events import Events
    from gpuanom.nights.storing import fill
    from gpuanom.settings import Settings
    from gpuanom.store.store import Store

    settings, backend = Settings(), GpuBackend(0)
    root = Path(gpuanom.__file__).parent

    def run(exposures) -> None:
        with tempfile.TemporaryDirectory() as out, Store(Path(out) / "measurements.sqlite", settings) as store:
            fill(store, exposures, Threads(settings, [backend], readers, print), Events())

    def counted_run(exposures) -> Counts:
        with Counting(root) as counting:
            run(exposures)
        return counting.counts()

    found = []
    for night in nights:
        exposures = discover(sorted(night.glob("*.fz")), settings).exposures
        if len(exposures) < 4:
            raise SystemExit(f"{night}: four exposures or more are needed")
        null_answers.answer(GpuBackend, null_answers.recorded(exposures[0], settings))
        # Answers about headers that were seen before are remembered, and later exposures of a night bring new headers.
        middle = len(exposures) // 2
        for _ in range(WARM_UP):
            run(exposures[:middle])
        # What further exposures add is what an exposure costs, without the beginning and the end of a run.
        one, several = counted_run(exposures[middle : middle + 1]), counted_run(exposures[middle:])
        n = len(exposures) - middle - 1
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
        Folders of four exposures or more; those of the second half are counted.
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


def of_package(counts: dict[str, float]) -> float:
    """The sum of a kind of counts without the libraries too: these wait for threads, more often on a busy machine."""
    return of_host(counts) - counts.get(_LIBRARY, 0.0)


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
