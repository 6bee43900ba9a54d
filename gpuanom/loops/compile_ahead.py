"""Further processes that compile loops in the first run on a machine, while this process compiles those it needs first.

    python -m gpuanom.loops.compile_ahead [MODULE...]

Numba compiles one loop at a time in a process, and all loops together take about a minute of CPU. A process that is
about to compile a loop locks a file beside the compiled loop (`gpuanom.loops.cache`), so that no two processes compile
the same loop. The program ends when its standard input is closed, which shows that the process that began it has ended.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import threading
from typing import TYPE_CHECKING

from gpuanom.system import python_command, python_environment

if TYPE_CHECKING:
    import subprocess

MODULES = (
    "backends.tile_numbers", "fits.decoding.rice_bits", "fits.decoding.byteorder", "fits.decoding.tile_table_loop",
    "fits.decoding.images_together_loop", "fits.opening.hdu_list_loop", "fits.decoding.dither", "fits.decoding.rice",
    "backends.cpu.points", "backends.cpu.pixels", "backends.cpu.isophote", "backends.cpu.moments",
    "backends.cpu.sources", "backends.cpu.gradients", "backends.cpu.stamps", "backends.cpu.residual",
    "backends.cpu.pattern_rows", "backends.cpu.patterns", "backends.cpu.spectrum", "backends.cpu.shapes",
    "backends.cpu.repeats", "sorting", "sums_and_medians", "backends.cpu.contrasts",
    "backends.cpu.lines",
    "statistics.peaks_loop", "backends.cpu.profiles", "statistics.added_powers",
    "statistics.running_median", "statistics.patches", "statistics.map_cells", "statistics.map_rms",
    "statistics.robust", "statistics.repeats_loop", "statistics.beyond_pattern", "digits_loop",
    "records.texts_loop", "tables.row_texts", "records.histogram_sums", "scoring.judged.exposure_loops",
)  # fmt: skip
"""The modules with compiled loops, roughly in the order in which a run needs the loops."""
MOST = 3
"""Most further processes: more would compile the same small functions again and again."""

_lock = threading.Lock()
_allowed = False
_processes: list[subprocess.Popen[bytes]] = []


def allow() -> None:
    """Let this process begin others when loops have to be compiled, as the command line does."""
    global _allowed
    _allowed = True


def begin() -> None:
    """Begin the further processes, one for each core but one, at most once in the life of this process."""
    import subprocess

    global _allowed
    with _lock:
        wanted, _allowed = min(MOST, len(os.sched_getaffinity(0)) - 1) if _allowed else 0, False
        if wanted > 0:
            atexit.register(_end)
        for _ in range(wanted):
            try:
                process = subprocess.Popen(
                    python_command("-m", "gpuanom.loops.compile_ahead"),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=python_environment(),
                )
            except OSError:
                return  # this process compiles all loops itself
            _processes.append(process)


def _end() -> None:
    """End the further processes: what they have compiled is kept, and another run compiles the rest."""
    for process in _processes:
        process.kill()
    for process in _processes:
        process.communicate()


def compile_all(modules: tuple[str, ...] = MODULES) -> None:
    """Compile the loops of some modules that no other process has compiled or is compiling, those needed last first.

    Parameters
    ----------
    modules : tuple of str
        Below `gpuanom`.
    """
    from gpuanom.native import native

    for name in reversed(modules):
        importlib.import_module(f"gpuanom.{name}")
        for loop in native.made:
            if loop.module == f"gpuanom.{name}":
                loop.compile_ahead()


def _end_with_the_first_process() -> None:
    os.read(0, 1)  # nothing is ever written: this waits for the end of the input
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_first_process, daemon=True).start()
    compile_all(tuple(sys.argv[1:]) or MODULES)
