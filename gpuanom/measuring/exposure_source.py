"""Where a run takes its exposures from: from a list, or from another process as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol

from gpuanom.records import Exposure


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
