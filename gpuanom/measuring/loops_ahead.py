"""The compiled loops of the statistics, loaded while the first exposure for a GPU is read."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread


def load_statistics() -> None:
    """Load the loops in a thread; the statistics of the first exposure would otherwise wait for each of them."""
    Thread(target=_load, name="gpuanom-statistics", daemon=True).start()


def _load() -> None:
    with suppress(Exception):  # the first use of a loop says what is wrong, in its place
        from gpuanom.statistics import map_cells, map_rms, peaks_loop, repeats_loop, robust

        peaks_loop.highest_powers.load()
        robust.robust_means.load()
        robust.densest.load()
        map_cells.cell_means.load()
        map_cells.cell_steps.load()
        map_cells.hidden_cells.load()
        map_cells.windowed.load()
        map_rms.rms_of_each.load()
        robust.plane_sums.load()
        repeats_loop.count_bins.load()
        repeats_loop.find_peaks.load()
