"""Progress on standard error: a bar on a terminal, elsewhere a line for each exposure."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from gpuanom import compiling
from gpuanom.display import counted
from gpuanom.errors import printable
from gpuanom.paths import path_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from gpuanom.fits import Skipped
    from gpuanom.nights.events import Events
    from gpuanom.records import Exposure, Failure, Measurement
    from gpuanom.review.opened import ScoredNight
    from gpuanom.tables.build import Tables
    from gpuanom.tables.left_out import LeftOut

_MOST_LINES = 8
"""Up to so many CCDs of one exposure and one status are named; more are counted."""


class _Lines(logging.Handler):
    """Shows log messages of the package as lines of the screen."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        self._say(record.getMessage())


def _troubles(result: Measurement, *, all_of_them: bool) -> list[str]:
    """Why CCDs of an exposure were not measured; of many CCDs with one status, the reason of the first only."""
    by_status: dict[str, list[str]] = {}
    for ccd in result.outline:
        if ccd.status != "ok":
            by_status.setdefault(ccd.status, []).append(ccd.reason)
    lines = []
    for status, reasons in by_status.items():
        if all_of_them or len(reasons) <= _MOST_LINES:
            lines += reasons
        else:
            lines.append(f"{reasons[0]}, and {len(reasons) - 1} more CCDs are {status} (-v names each)")
    return lines


def may_be_terminal() -> bool:
    """Whether standard error is a terminal, or may count as one: rich reads several variables for that."""
    named = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    return any(name in os.environ for name in named) or bool(sys.stderr is not None and sys.stderr.isatty())


def tell_unfinished(night: ScoredNight) -> None:
    """Tell on standard error where a night's run was ended early, since its results look complete."""
    if line := night.unfinished():
        click.echo(line, err=True)


class Screen:
    """Progress and messages of one command.

    Parameters
    ----------
    quiet : bool
        Show failures only.
    verbose : bool
        Show also each skipped file, how files are read and memory is planned, and tracebacks of unexpected errors.
    """

    def __init__(self, *, quiet: bool, verbose: bool) -> None:
        self.quiet, self.verbose = quiet, verbose
        self._skipped: Counter[str] = Counter()
        self.progress: Progress | None = None
        if not quiet and may_be_terminal() and self.console.is_terminal:
            from gpuanom.nights.progress import bar_of_progress

            self.progress = bar_of_progress(self.console, transient=True)
        self._task: TaskID | None = None
        self._handler = _Lines(self.say)
        self._listened: Callable[[str], None] | None = None

    def __enter__(self) -> Self:
        log = logging.getLogger("gpuanom")
        log.addHandler(self._handler)
        log.setLevel(logging.INFO if self.verbose else logging.WARNING)
        if self.progress:
            self.progress.start()
        self._listened = compiling.listen(self.say)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        compiling.listen(self._listened)
        logging.getLogger("gpuanom").removeHandler(self._handler)
        if self.progress:
            self.progress.stop()

    @cached_property
    def console(self) -> Console:
        """The console on standard error, made when it is first needed: rich takes a tenth of a second to import."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)

    def line(self, text: str) -> None:
        """Show one line."""
        self._write(printable(text))

    def _write(self, text: str) -> None:
        if may_be_terminal():
            self.console.print(text)
        elif sys.stderr is not None:  # a log or a pipe: the same characters as the console would write
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def say(self, text: str) -> None:
        """Show one line, unless quiet."""
        if not self.quiet:
            self.line(text)

    def device(self, about: str) -> None:
        """Show the device that is used, and why; not if the CPU was asked for."""
        if self.verbose or about != "cpu":
            self.say(f"device: {about}")

    def skip(self, skipped: Skipped) -> None:
        """Count a skipped file, to be shown with others of its kind; with --verbose, show it."""
        if self.verbose:
            self.say(f"skipped {path_text(skipped.path)}: {skipped.reason}")
        else:
            self._skipped[skipped.kind] += 1

    def plan(self, new: int, known: int) -> None:
        """Show how many exposures are to be measured, and how many are measured already."""
        for reason, n in sorted(self._skipped.items()):
            if not self.quiet:
                self.line(f"skipped {counted(n, 'file')}: {reason}")
        if known and not self.quiet:
            self.line(f"{known} {'exposure is' if known == 1 else 'exposures are'} measured already")
        if self.progress and new:
            self._task = self.progress.add_task("measuring exposures", total=new)

    def stamps(self, n: int) -> None:
        """Show that the stamps of measured exposures are read again."""
        self.say(f"the stamps of {n} measured {'exposure is' if n == 1 else 'exposures are'} read again for the model")
        if self.progress:
            self._task = self.progress.add_task("reconstructing stamps", total=n)

    def done(self, exposure: Exposure, result: Measurement | Failure, seconds: float) -> None:
        """Show that an exposure is done."""
        if self.progress and self._task is not None:
            self.progress.advance(self._task)
        from gpuanom.records import Failure

        about = f"exposure {exposure.exposure} {exposure.camera} {exposure.band}".rstrip()
        if isinstance(result, Failure):
            self.line(f"failed {about}: {result.reason}")
            return
        ccds = result.outline
        used = sum(c.status == "ok" for c in ccds)
        if (used or self.verbose) and not self.quiet:
            for line in _troubles(result, all_of_them=self.verbose):
                self.line(f"{about}: {line}")
        if not self.progress and not self.quiet:
            sources = sum(c.n_sources for c in ccds)
            self.line(f"{about}: {used} of {len(ccds)} CCDs, {sources} sources, {seconds:.2f} s")

    def left_out(self, groups: Sequence[LeftOut]) -> bool:
        """Show the CCDs without a measurement, a line for each status; return whether any of them was lost."""
        for group in groups:
            if group.lost or not self.quiet:
                self.line(str(group))
        return any(group.lost for group in groups)

    def unreferenced(self, tables: Tables) -> bool:
        """Show which cameras and bands the saved reference lacks; return whether it lacks all of the night."""
        from gpuanom.tables.left_out import unreferenced

        found = unreferenced(tables)
        if found is not None and (found.is_all or not self.quiet):
            self.line(str(found))
        return found is not None and found.is_all

    def debug(self, text: str) -> None:
        """Show the traceback of an unexpected error, with --verbose only."""
        if self.verbose:
            self._write(text)

    def events(self) -> Events:
        """The callbacks that show a run on this screen."""
        from gpuanom.nights.events import Events

        return Events(
            device=self.device,
            say=self.say,
            skipped=self.skip,
            plan=self.plan,
            done=self.done,
            stamps=self.stamps,
            debug=self.debug,
        )

    def losses(self, epochs: int) -> Callable[[int, float, float], None]:
        """Return a callable that shows the progress of a training, from epoch, training loss and validation loss."""
        best = (float("inf"), 0)
        task = None

        def show(epoch: int, training: float, validation: float) -> None:
            nonlocal best, task
            best = min(best, (validation, epoch))
            text = f"loss {training:.3g}, validation {validation:.3g}, best {best[0]:.3g} at {best[1]}"
            if self.progress:
                if task is None:
                    task = self.progress.add_task("", total=epochs)
                self.progress.update(task, completed=epoch, description=text)
            elif epoch in (1, epochs) or epoch % max(1, epochs // 10) == 0:
                self.say(f"epoch {epoch} of {epochs}: {text}")

        return show

    def count(self, title: str) -> Callable[[int, int], None]:
        """Return a callable that shows progress, from the numbers of things that are done and of all things."""
        if not self.progress:
            return lambda _done, _total: None
        progress = self.progress
        task = progress.add_task(title, total=None)
        return lambda done, total: progress.update(task, completed=done, total=total)
