"""How many exposures share a stack of CCDs on a GPU.

A stack costs the host the same number of calls, whatever the number of its CCDs, and a GPU has more multiprocessors
than a step has blocks for a few CCDs. So small exposures share a stack.
"""

from __future__ import annotations

MOST_SHARED_CCDS = 256
"""CCDs of a stack that several exposures share: more would gain little, and take memory of the device."""
MOST_SHARED_PIXELS = 2**31
"""Pixels of such a stack. Kernels number the pixels of a CCD, not of a stack, but larger stacks were never tried."""
MOST_SHARING = 32
"""Exposures that share a stack: so many come at a time, and each lane may lose so many where a run is killed."""


def most_sharing(n_ccd: int) -> int:
    """Return how many exposures of so many CCDs share a stack, where the device's memory suffices."""
    return max(1, min(MOST_SHARING, MOST_SHARED_CCDS // max(1, n_ccd)))


def may_share(n_ccd: int, ny: int, nx: int) -> bool:
    """Return whether several exposures may share a stack of so many CCDs of ny x nx pixels."""
    return n_ccd <= MOST_SHARED_CCDS and n_ccd * ny * nx <= MOST_SHARED_PIXELS
