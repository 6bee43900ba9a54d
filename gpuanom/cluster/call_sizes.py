"""Which exposures share a call: small ones, since each call costs the client, the scheduler and the worker some ms."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from gpuanom.cluster.answers import sized_files
from gpuanom.cluster.job import Answer, SizedFile
from gpuanom.records import Exposure, Measurement

MOST = 8
"""Most exposures of a call."""
SPAN = 0.4
"""Seconds in which a worker begins the exposures of a call: what is late or lost with a call is then never much."""
SHARE = 0.1
"""Most part of an exposure's own time limit that `SPAN` may be."""


class CallSizes:
    """Decides how many exposures a call has, by their bytes and by how fast earlier ones were measured.

    Parameters
    ----------
    timeout : float
        Seconds that an exposure may take on a worker.

    Attributes
    ----------
    span : float
        Seconds in which a worker begins the exposures of a call.
    """

    def __init__(self, timeout: float) -> None:
        self.span = min(SPAN, SHARE * timeout)
        self._pace: float | None = None
        """Seconds that a worker needs for a byte; None before the first measurement."""

    def take(self, new: deque[Exposure], room: int) -> list[tuple[Exposure, list[SizedFile]]]:
        """Take the exposures of the next call.

        Near the end of a night calls have fewer exposures, so that all workers end at the same time.

        Parameters
        ----------
        new : deque of Exposure
            The exposures that no worker has yet, at least one; those of the call are removed.
        room : int
            Number of calls that all workers together may have.

        Returns
        -------
        list of (Exposure, list of (bytes, int))
            The exposures with their files.
        """
        most, seconds = min(MOST, len(new) // (2 * max(1, room))), 0.0
        taken: list[tuple[Exposure, list[SizedFile]]] = []
        while not taken or (self._pace is not None and len(taken) < most):
            files = sized_files(new[0])
            seconds += (self._pace or 0.0) * size(files)
            if taken and seconds > self.span:
                break
            taken.append((new.popleft(), files))
        return taken

    def note(self, n_bytes: float, answers: Sequence[Answer]) -> None:
        """Note how long exposures of so many bytes have taken.

        Parameters
        ----------
        n_bytes : float
        answers : sequence of Answer
            What came of them: those that were not measured say nothing of the time.
        """
        if n_bytes <= 0 or not all(isinstance(answer.result, Measurement) for answer in answers):
            return
        pace = sum(answer.seconds for answer in answers) / n_bytes
        # The first exposures of a worker take longer, and are forgotten after a few.
        self._pace = pace if self._pace is None else (self._pace + pace) / 2


def size(files: Sequence[SizedFile]) -> int:
    """The bytes of files."""
    return sum(n for _, n in files)
