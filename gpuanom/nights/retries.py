"""When a watch tries again what it could not read: at once when a file changes, and otherwise less and less often."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from gpuanom.files import State
from gpuanom.records import ExposureKey

_PAUSE, _LONGEST_PAUSE = 60.0, 3600.0
"""Seconds until what the system refused to read is tried again: the first pause, doubled up to the longest."""

States = tuple[State | None, ...]
"""The states of an exposure's files."""


class Retries:
    """Exposures that failed, and exposures and files that the system refused to read.

    A file has the key ``("", path)``.
    """

    def __init__(self) -> None:
        self._failed: dict[ExposureKey, States] = {}
        """Exposures that failed, wholly or in part, with the states of their files at that time."""
        self._refused: dict[ExposureKey, tuple[float, float]] = {}
        """What the system refused to read: the time of the next try, and the pause before it."""

    def due(self) -> dict[ExposureKey, tuple[float, float]]:
        """Return what is to be tried again now, to be given to `postpone_untried` at the end of the round."""
        now = time.monotonic()
        return {key: value for key, value in self._refused.items() if value[0] <= now}

    def postpone_untried(self, due: Mapping[ExposureKey, tuple[float, float]]) -> None:
        """Put off what was due, and was not tried in this round.

        Parameters
        ----------
        due : mapping
            What `due` returned when the round began.
        """
        for key, value in due.items():
            if self._refused.get(key) == value:
                self._postpone(key)

    def refused_files(self, paths: Collection[str]) -> None:
        """Note which files the system refuses to read; those that it does not refuse any more are forgotten.

        Parameters
        ----------
        paths : collection of str
            All files that are refused now.
        """
        places = {("", path) for path in paths}
        self._refused = {key: value for key, value in self._refused.items() if key[0] or key in places}
        for place in places - self._refused.keys():
            self._postpone(place)

    def measured(self, key: ExposureKey, states: States, *, failed: bool, refused: bool) -> None:
        """Note that an exposure was tried.

        Parameters
        ----------
        key : (str, str)
        states : tuple
            The states of its files.
        failed : bool
            Whether the exposure failed as a whole.
        refused : bool
            Whether the system refused to read the exposure, or one of its CCDs.
        """
        if failed or refused:
            self._failed[key] = states
        else:
            self._failed.pop(key, None)
        if refused:
            self._postpone(key)
        else:
            self._refused.pop(key, None)

    def waits(self, key: ExposureKey, states: States) -> bool:
        """Whether an exposure failed with its files in these states, and is not to be tried again now.

        Parameters
        ----------
        key : (str, str)
        states : tuple
            The states of its files.
        """
        is_due = key in self._refused and self._refused[key][0] <= time.monotonic()
        return self._failed.get(key) == states and not is_due

    def _postpone(self, key: ExposureKey) -> None:
        _, before = self._refused.get(key, (0.0, _PAUSE / 2))
        pause = min(2 * before, _LONGEST_PAUSE)
        self._refused[key] = time.monotonic() + pause, pause
