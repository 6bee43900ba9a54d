"""Sources of each CCD with their moments: launches kernels/sources.cu, then kernels/moments.cu (METHOD.md 2, 3, 3b).

How many sources there are is known on the device alone, until the exposure's results are copied home. So every tile has
a slot, as many as there can be sources; what follows on the device passes over the empty ones, whose moments are NaN,
and `without_empty_slots` leaves them out on the host.
"""

from __future__ import annotations

from dataclasses import replace

import cupy
import numpy as np

from gpuanom.backends.gpu import moments
from gpuanom.backends.gpu.kernel import Kernel
from gpuanom.backends.limits import MAXIMUM_THRESHOLD
from gpuanom.records import Background, CcdStack, Sources
from gpuanom.settings import Settings

TILES = Kernel("sources", "sources_tiles")
LIST = Kernel("sources", "sources_list")
TILES_A_BLOCK = 24
EMPTY = -1
"""y of a slot without a source."""


def sources(stack: CcdStack, background: Background, settings: Settings) -> Sources:
    """See `gpuanom.backends.protocol.Backend.sources`; empty slots have y = `EMPTY` and NaN moments."""
    n_ccd, ny, nx = stack.shape
    tile = settings.stamp_size // 2
    rows, columns = ny // tile, nx // tile
    n_bad, n_saturated = cupy.zeros(n_ccd, np.int64), cupy.zeros(n_ccd, np.int64)
    value, pixel = cupy.empty((n_ccd, rows, columns), np.float64), cupy.empty((n_ccd, rows, columns), np.int32)
    # 24 tiles a block: its warps read whole rows of 768 pixels. 8 warps, a row each: 24 KiB of shared memory.
    across = -(-nx // tile)
    TILES(
        (-(-across // TILES_A_BLOCK), -(-ny // tile), n_ccd),
        (32, 8),
        stack.images,
        stack.bad,
        stack.saturation,
        background.coefficients,
        background.sigma,
        background.usable,
        min(settings.threshold, MAXIMUM_THRESHOLD),  # repeated stars are looked for below the sources, too
        tile,
        ny,
        nx,
        value,
        pixel,
        n_bad,
        n_saturated,
    )
    listed, n_listed = cupy.empty((n_ccd, rows * columns), np.int32), cupy.empty(n_ccd, np.int32)
    # A block a CCD, as wide as can be: the list's order comes for free, and a CCD has some thousand tiles.
    LIST(
        (n_ccd,), (1024,), value, pixel, background.sigma, settings.threshold, rows, columns, settings.stamp_size // 2,
        ny, nx, listed, n_listed,
    )  # fmt: skip
    found = moments.check_candidates(stack, background, listed, n_listed, n_bad, n_saturated, settings)
    return replace(found, brightest=value)


def without_empty_slots(slots: Sources) -> Sources:
    """Sources on the host without their empty slots, in (ccd, y, x) order."""
    found = np.flatnonzero(slots.y != EMPTY)
    found = found[np.lexsort((slots.x[found], slots.y[found], slots.ccd[found]))]
    return Sources(
        ccd=slots.ccd[found],
        y=slots.y[found],
        x=slots.x[found],
        value=slots.value[found],
        n_above=slots.n_above[found],
        moments=slots.moments[found],
        isophote_moments=slots.isophote_moments[found],
        n_isophote=slots.n_isophote[found],
        n_sources=slots.n_sources,
        n_bad=slots.n_bad,
        n_saturated=slots.n_saturated,
    )
