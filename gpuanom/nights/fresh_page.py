"""The page of a night that is watched: written again as the night goes on, in a small part of the time."""

from __future__ import annotations

import os
import time
from pathlib import Path

from gpuanom import arguments
from gpuanom.backends.choice import select
from gpuanom.errors import GpuanomError, printable
from gpuanom.files import require_replaceable
from gpuanom.nights.events import Say
from gpuanom.paths import path_text
from gpuanom.report.page import NAME, write_report
from gpuanom.report.pictures import require_pillow
from gpuanom.review.opened import open_night

RELOAD = 20.0
"""Seconds after which the page in a browser reloads itself."""

_SHARE = 10.0
"""While exposures wait to be measured, a page is made only when so many times the time that the last one took has gone.
"""
_PAUSE = 60.0
"""Least number of seconds until a page that could not be made is tried again."""


class Page:
    """The page of a night that is watched. This class is for a night without a page: nothing is done."""

    def changed(self) -> None:
        """Do nothing."""

    def refresh(self, idle: bool) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Do nothing."""


class FreshPage(Page):
    """Keeps the page of a night fresh.

    Parameters
    ----------
    folder : Path
        The night's folder.
    top : int
        Number of exposures with pictures, beside the last one.
    threads : int
        Number of CCDs that are read at a time for pictures.
    say : callable
        Takes a line: where the page is, and each trouble once.

    Raises
    ------
    GpuanomError
        When pictures cannot be made here, or the page would replace a FITS file.
    """

    def __init__(self, folder: Path, top: int, threads: int, say: Say) -> None:
        require_pillow()
        self.path = folder / NAME
        require_replaceable(self.path)
        self._folder, self._top, self._threads, self._say = folder, top, threads, say
        self._changed = True
        """Whether the night was ranked since the page was made."""
        self._failed = False
        self._not_before = 0.0
        self._lines_said: set[str] = set()

    def changed(self) -> None:
        """Note that the night has been ranked again, so that the page is out of date."""
        self._changed = True

    def refresh(self, idle: bool) -> None:
        """Make the page again, if the night has changed and there is time for it.

        Parameters
        ----------
        idle : bool
            Whether no exposure waits to be measured.
        """
        if self._changed and ((idle and not self._failed) or time.monotonic() >= self._not_before):
            self._make(RELOAD)

    def finish(self) -> None:
        """Make the last page, which reloads itself no longer."""
        self._make(None)

    def _make(self, reload: float | None) -> None:
        start = time.monotonic()
        try:
            night = open_night(self._folder)
            write_report(night, self.path, select("cpu"), top=self._top, threads=self._threads, reload=reload)
            self._changed = self._failed = False
            self._say_once(f"page: {path_text(self.path)}")
        except Exception as error:  # a page that cannot be made must not end the watch
            self._failed = True
            why = str(error) if isinstance(error, GpuanomError) else printable(f"{type(error).__name__}: {error}")
            self._say_once(f"the page cannot be made: {why}; tried again")
        taken = time.monotonic() - start
        self._not_before = start + taken + max(_SHARE * taken, _PAUSE if self._failed else 0.0)

    def _say_once(self, line: str) -> None:
        if line not in self._lines_said:
            self._lines_said.add(line)
            self._say(line)


def page_of(folder: Path, top: int | None, threads: int | None, say: Say) -> Page:
    """Return the page of a night to keep fresh; where `top` is None, no page is made.

    Parameters
    ----------
    folder, top, threads, say
        As for `FreshPage`; `threads` is None where the user chose none.
    """
    if (n_pictures := arguments.count("report", top, 0)) is None:
        return Page()
    return FreshPage(folder, n_pictures, min(4, threads or os.cpu_count() or 1), say)
