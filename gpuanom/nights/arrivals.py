"""Files as they arrive in a folder: which of them are settled, and which are still being written.

A file is settled when its size and times have stayed the same for a while and its headers say that it is complete
(`gpuanom.fits.opening.complete`). Folders are polled: nothing else tells of files that another machine writes to a
network file system.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gpuanom.errors import InputError
from gpuanom.files import State, state_of
from gpuanom.fits import Discovery, FileFailure
from gpuanom.fits.exposures.inputs import NothingThereError, OtherNameError, expand
from gpuanom.fits.exposures.other_names import images_among
from gpuanom.fits.opening.complete import Lack, lacking
from gpuanom.paths import exists


@dataclass(frozen=True)
class Pace:
    """When a watch looks, and when it ends.

    Attributes
    ----------
    every : float
        Seconds between two looks.
    settle : float
        Seconds for which a file must stay unchanged.
    patience : float
        Seconds after which an unfinished file is listed as incomplete; it is taken up again when it changes.
    once : bool
        Whether to end when all files have been scored.
    until : float
        When to end, in seconds of `time.time`.
    stop : threading.Event
        Ends the watch when it is set.
    """

    every: float = 5.0
    settle: float = 10.0
    patience: float = 600.0
    once: bool = False
    until: float = float("inf")
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass
class _Arrival:
    """A file, and since when it has been unchanged."""

    state: State
    since: float
    examined: bool = False
    lack: Lack | None = None


class Arrivals:
    """The files that the inputs name, looked at again and again.

    Parameters
    ----------
    inputs : sequence of str or Path
        See `gpuanom.fits.exposures.inputs.expand`.
    settle : float
        Seconds for which a file must stay unchanged, by the clock of this process: a file server's may be wrong.
    patience : float
        Seconds after which an unfinished file is no longer waited for.
    output : Path
        The output folder, whose files are not inputs.
    clock : callable, optional
        Returns the time in seconds.

    Attributes
    ----------
    troubles : tuple of str
        Why inputs, or folders below them, could not be read at the last look.
    broken : dict of Path to str
        The links that led nowhere at the last look, and what is wrong with each, with the remedy.
    """

    def __init__(
        self,
        inputs: Sequence[str | Path],
        settle: float,
        patience: float,
        output: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inputs = tuple(inputs)
        self._settle, self._patience, self._clock = settle, patience, clock
        self._output = output.absolute()
        self._files: dict[Path, _Arrival] = {}
        self._of_input: dict[int, set[Path]] = {}
        self._settled: set[Path] = set()
        self._given_up: set[Path] = set()
        self.troubles: tuple[str, ...] = ()
        self.broken: dict[Path, str] = {}
        self._others: dict[Path, _Arrival] = {}

    def look(self) -> bool:
        """Look at all files once; return whether anything has changed since the last look."""
        now = self._clock()
        broken = self.broken
        states: dict[Path, State] = {}
        for path in self._listed():
            state = state_of(path)
            if state is not None:
                states[path] = state
        changed = self.broken != broken
        for path, state in states.items():
            known = self._files.get(path)
            if known is None or known.state != state:
                self._files[path] = _Arrival(state, now)
                changed = True
        for path in self._files.keys() - states.keys():
            del self._files[path]
            changed = True
        settled = {path for path, arrival in self._files.items() if self._is_settled(path, arrival, now)}
        given_up = {path for path, arrival in self._files.items() if self._is_given_up(arrival, now)}
        changed = changed or (settled, given_up) != (self._settled, self._given_up)
        self._settled, self._given_up = settled, given_up
        return changed

    def _listed(self) -> Iterable[Path]:
        """The files of all inputs; an input that cannot be read just now keeps the files of the last look."""
        troubles: dict[str, None] = {}
        self.broken = {}
        others: dict[Path, _Arrival] = {}
        for i, given in enumerate(self._inputs):
            found: set[Path] = set()
            troubled = False
            for item in expand([given]):
                if isinstance(item, OtherNameError):
                    self._note_other(Path(item.file or ""), others)
                elif not isinstance(item, InputError):
                    if item.parent.absolute() != self._output:
                        found.add(item)
                elif not isinstance(item, NothingThereError):
                    troubled = True
                    if item.file is not None and Path(item.file).is_symlink():
                        self.broken[Path(item.file)] = f"{item.reason} ({item.remedy})"
                    else:
                        troubles[str(item)] = None
            if troubled:
                found |= self._of_input.get(i, set())
            self._of_input[i] = found
        self.troubles, self._others = tuple(troubles), others
        return sorted(set().union(*self._of_input.values()))

    def _note_other(self, path: Path, others: dict[Path, _Arrival]) -> None:
        """Keep the state of a file that is not taken by its name."""
        state, known = state_of(path), self._others.get(path)
        if state is not None and path.parent.absolute() != self._output:
            others[path] = known if known is not None and known.state == state else _Arrival(state, self._clock())

    def other_names(self, *, unsettled: bool = False) -> list[Path]:
        """Return the FITS images that are not taken by their names, each once as long as it stays the same.

        Parameters
        ----------
        unsettled : bool, optional
            Return also those that are not settled yet, which may get another name when they are whole.
        """
        quiet = 0.0 if unsettled else self._settle
        now = self._clock()
        settled = {p: a for p, a in self._others.items() if not a.examined and now - a.since >= quiet}
        for arrival in settled.values():
            arrival.examined = True
        return images_among(settled)

    def _is_settled(self, path: Path, arrival: _Arrival, now: float) -> bool:
        quiet = now - arrival.since
        if quiet < self._settle:
            return False
        if not arrival.examined:
            arrival.lack = lacking(path)
            # `lacking` opened the file, which makes a network file system ask its server for the present state.
            if state_of(path) != arrival.state:
                return False
            arrival.examined = True
        lack = arrival.lack
        return lack is None or (not lack.certain and quiet >= self._patience)

    def _is_given_up(self, arrival: _Arrival, now: float) -> bool:
        return arrival.lack is not None and arrival.lack.certain and now - arrival.since >= self._patience

    def paths(self) -> list[Path]:
        """Return all files but those that are given up, in order."""
        return sorted(self._files.keys() - self._given_up)

    def given_up(self) -> dict[Path, str]:
        """Return the files that are no longer waited for, and what is missing in them."""
        return {path: lack.reason for path in sorted(self._given_up) if (lack := self._files[path].lack)}

    def waiting(self) -> dict[Path, str]:
        """Return the files that are not settled yet, and what is missing in them where that is known."""
        rest = self._files.keys() - self._settled - self._given_up
        return {path: lack.reason if (lack := self._files[path].lack) else "" for path in sorted(rest)}

    def is_settled(self, path: Path) -> bool:
        """Whether a file is settled; a file that is not among the inputs counts as settled."""
        return path not in self._files or path in self._settled

    def states(self, paths: Iterable[Path]) -> tuple[State | None, ...]:
        """Return the states of files at the last look; for files that are not among the inputs, the present states."""
        return tuple(a.state if (a := self._files.get(path)) else state_of(path) for path in paths)


def without_unfinished(found: Discovery, given_up: tuple[FileFailure, ...], arrivals: Arrivals) -> Discovery:
    """Return a discovery without exposures and failures of files that are unfinished or not settled.

    Parameters
    ----------
    found : Discovery
    given_up : tuple of FileFailure
        The files that stay incomplete, which are added as failures.
    arrivals : Arrivals
    """
    lost = {failure.path for failure in given_up}
    failures = [f for f in found.failures if f.path not in lost and arrivals.is_settled(f.path) and exists(f.path)]
    exposures = tuple(e for e in found.exposures if not lost & set(e.files))
    return replace(found, exposures=exposures, failures=(*failures, *given_up))
