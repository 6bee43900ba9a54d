"""How many exposures are measured together, and where the exposures come from.

A stack costs the host the same number of calls, whatever the number of its CCDs, and a GPU has more multiprocessors
than a step has blocks for a few CCDs. So small exposures share a stack.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from gpuanom.records import Exposure

MOST_CCDS = 256
"""CCDs of a stack that several exposures share: more would gain little, and take memory of the device."""
MOST_PIXELS = 2**31
"""Pixels of such a stack."""
MOST_EXPOSURES = 32
"""Exposures that share a stack: so many come at a time, and each lane may lose so many where a run is killed."""


def most_together(n_ccd: int) -> int:
    """Return how many exposures of so many CCDs are measured together, where memory suffices."""
    return max(1, min(MOST_EXPOSURES, MOST_CCDS // max(1, n_ccd)))


def may_share(n_ccd: int, ny: int, nx: int) -> bool:
    """Return whether several exposures may share a stack of so many CCDs of ny x nx pixels."""
    return n_ccd <= MOST_CCDS and n_ccd * ny * nx <= MOST_PIXELS


class ExposureSource(Protocol):
    """Where a run takes exposures from; called from any thread."""

    def take(self, wait: bool = True) -> Exposure | None:
        """Return the next exposure.

        Parameters
        ----------
        wait : bool, optional
            Whether to wait where the next exposure is not there yet.

        Returns
        -------
        Exposure or None
            None where no exposure is left, or the next one would have to be waited for.
        """
        ...

    def n_left(self) -> int | None:
        """Return how many exposures are left; None where that is not known, or of no interest."""
        ...


class ListedExposures:
    """Exposures that are all known.

    Parameters
    ----------
    exposures : iterable of Exposure
    """

    def __init__(self, exposures: Iterable[Exposure]) -> None:
        self._exposures = deque(exposures)

    def take(self, wait: bool = True) -> Exposure | None:  # noqa: ARG002 - the signature of ExposureSource
        """See `ExposureSource.take`."""
        with suppress(IndexError):
            return self._exposures.popleft()
        return None

    def n_left(self) -> int | None:
        """See `ExposureSource.n_left`."""
        return len(self._exposures)
