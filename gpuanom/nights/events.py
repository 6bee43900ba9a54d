"""The events of a run over a night, and its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gpuanom
from gpuanom import display
from gpuanom.fits import Skipped
from gpuanom.records import Exposure, Failure, Measurement
from gpuanom.tables.left_out import LeftOut, Unreferenced

Say = Callable[[str], None]
"""Takes a line that the user should see."""


@dataclass
class Events:
    """Functions that a run calls while it goes on; each may be replaced.

    Attributes
    ----------
    device : callable
        Takes in words the device that is used, and why.
    say : callable
        Takes a line that a user should see.
    skipped : callable
        Takes a `gpuanom.fits.Skipped`: a file that is left out by rule.
    plan : callable
        Takes the number of exposures to measure, and of exposures that are measured already.
    done : callable
        Takes an exposure, its measurement or failure, and the seconds of work that it took.
    stamps : callable
        Takes the number of measured exposures whose stamps are read again for an autoencoder.
    debug : callable
        Takes text for debugging: tracebacks of unexpected errors.
    """

    device: Callable[[str], None] = lambda _about: None
    say: Say = lambda _line: None
    skipped: Callable[[Skipped], None] = lambda _skipped: None
    plan: Callable[[int, int], None] = lambda _new, _known: None
    done: Callable[[Exposure, Measurement | Failure, float], None] = lambda _e, _m, _s: None
    stamps: Callable[[int], None] = lambda _n: None
    debug: Callable[[str], None] = lambda _text: None


@dataclass(frozen=True)
class Night:
    """The result of a run over a night.

    Attributes
    ----------
    tables : Tables
        The most anomalous exposures first.
    failed : tuple of (str, str)
        Exposures and files that could not be measured, with the reason of each.
    n_exposures : int
        Number of exposures in the tables, without those that failed.
    written : tuple of Path
        The files of the tables.
    left_out : tuple of LeftOut
        The CCDs without a measurement, by status; CCDs whose data were lost come first.
    folder : Path or None
        The output folder; None where the night was kept in memory.
    """

    tables: gpuanom.Tables
    failed: tuple[tuple[str, str], ...]
    n_exposures: int
    written: tuple[Path, ...] = field(default=())
    left_out: tuple[LeftOut, ...] = field(default=())
    folder: Path | None = None

    def _facts(self) -> list[str]:
        from gpuanom.tables import shown

        n_left_out = sum(group.n_ccds for group in self.left_out)
        return [
            *shown.facts(*self.tables),
            f"{len(self.failed)} failed" if self.failed else "",
            f"{display.counted(n_left_out, 'CCD')} without a measurement" if n_left_out else "",
        ]

    def __repr__(self) -> str:
        return display.one_line("Night", self._facts())

    def _repr_html_(self) -> str:
        from gpuanom.tables import shown

        exposures = self.tables.exposures
        names, rows = shown.first_columns(exposures), shown.first_rows(exposures)
        return display.html_table("Night", self._facts(), names, rows, len(exposures))


@dataclass
class WatchEvents(Events):
    """Functions that a watch calls while it goes on, besides those of a run (`done`, `say` ...).

    Attributes
    ----------
    scored : callable
        Takes the notice of a new exposure once it is ranked; see `gpuanom.nights.alerts.notice`.
    alert : callable
        Takes the alert of an exposure that stands out; see `gpuanom.nights.alerts.alert`.
    waiting : callable
        Takes in words what is waited for; called in each round.
    left_out : callable
        Takes, at the end, the CCDs of the night without a measurement: a `gpuanom.tables.left_out.LeftOut` for each
        status.
    failures : callable
        Takes, at the end, the `gpuanom.records.Failure` of each exposure that failed as a whole.
    unreferenced : callable
        Takes, at the end, the `gpuanom.tables.left_out.Unreferenced` exposures, where a saved reference lacks cameras
        and bands of the night.
    """

    scored: Callable[[Mapping[str, Any]], None] = lambda _notice: None
    alert: Callable[[Mapping[str, Any]], None] = lambda _notice: None
    waiting: Callable[[str], None] = lambda _text: None
    left_out: Callable[[Sequence[LeftOut]], None] = lambda _groups: None
    failures: Callable[[Sequence[Failure]], None] = lambda _failures: None
    unreferenced: Callable[[Unreferenced], None] = lambda _unreferenced: None
