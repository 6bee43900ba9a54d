"""What the benchmarks share: pinning to one core, interleaved repeats, and the description of the machine.

Import this module before NumPy: NumPy's libraries read the number of threads when they are loaded.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
for _name in THREADS:
    os.environ[_name] = "1"

RESULTS = Path(__file__).parent / "results"


def pin() -> int:
    """Keep this process on the last of the cores that it may use: the first core serves most interrupts."""
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def interleaved(calls, repeats, warm_up=2):
    """CPU seconds of every call, (calls, repeats): each round runs all calls, so that a slow minute slows all of them.

    On an idle core the CPU time equals the wall-clock time; beside other jobs it leaves out the time in which those
    jobs ran.
    """
    import numpy as np

    seconds = np.zeros((len(calls), repeats))
    for r in range(-warm_up, repeats):
        for i, call in enumerate(calls):
            start = time.process_time()
            call()
            if r >= 0:
                seconds[i, r] = time.process_time() - start
    return seconds


def machine(*packages, pinned=True):
    """CPU model, Python version, package versions, date and load, in one line."""
    from importlib.metadata import PackageNotFoundError, version

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((ln.split(":")[1].strip() for ln in info.read_text().splitlines() if "model name" in ln), cpu)
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            module = sys.modules.get(package)
            found.append(f"{package} {getattr(module, '__version__', '?')}")
    date = time.strftime("%Y-%m-%d")
    core = ", one core pinned, CPU time" if pinned else ""
    load = f"a load of {os.getloadavg()[2]:.1f} on {os.cpu_count()} cores over the last 15 minutes"
    return f"{date}; {cpu}{core}; {load}; Python {platform.python_version()}, {', '.join(found)}"


def table(header, rows):
    """The rows as a Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(str(c) for c in row) + " |" for row in rows)])


def write(name, text, whole=True):
    """Print a page of results and keep it under results/.

    A run that is not `whole` is a trial of a smaller size: its page is printed only, so that the figures that the
    documents quote stay.
    """
    print(text)
    if not whole:
        print(f"\nA run of another size than that of results/{name}, which stays as it is.")
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(text + "\n", encoding="utf-8")


def put_between(path, marks, text):
    """Replace what a page holds between two marks, each on a line of its own."""
    page = path.read_text(encoding="utf-8")
    before, first, rest = page.partition(marks[0])
    _, last, after = rest.partition(marks[1])
    if not (first and last):
        raise SystemExit(f"{path} lacks the lines {marks[0]} and {marks[1]}")
    path.write_text(f"{before}{first}\n\n{text}\n\n{last}{after}", encoding="utf-8")


def between(path, marks):
    """What a page holds between two marks, with the marks, in a tuple of one; an empty tuple where there is no page."""
    if not path.exists():
        return ()
    text = path.read_text(encoding="utf-8").partition(marks[0])[2].partition(marks[1])[0]
    return (f"{marks[0]}\n\n{text.strip()}\n\n{marks[1]}",)
