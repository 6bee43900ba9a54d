"""The bar of progress: that of the commands, and one for scripts and notebooks that score a night."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from gpuanom.nights.events import Events
from gpuanom.records import Exposure, Failure, Measurement

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

WITHOUT_WIDGETS = "a bar of progress in a notebook needs ipywidgets (install that package beside gpuanom)"


def bar_of_progress(console: Console, *, transient: bool = False) -> Progress:
    """Make a bar that shows how many of how many are done, the time so far and the time left.

    Parameters
    ----------
    console : rich.console.Console
        Where the bar is drawn.
    transient : bool, optional
        Whether the bar vanishes at the end.

    Returns
    -------
    rich.progress.Progress
        Not started yet.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=transient,
    )


@contextmanager
def with_bar(events: Events, progress: bool) -> Iterator[Events]:
    """Show a bar of progress while a night is measured.

    Parameters
    ----------
    events : Events
        What else is called as the run goes on.
    progress : bool
        Whether a bar is wanted. A bar is drawn on standard error if standard error is a terminal, or in the notebook;
        elsewhere, as in a log file, nothing is written.

    Yields
    ------
    Events
        What to call as the run goes on: those given, and the bar.
    """
    if not progress:
        yield events
        return
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_jupyter and importlib.util.find_spec("ipywidgets") is None:
        console.print(WITHOUT_WIDGETS, markup=False)
        yield events
        return
    if not (console.is_terminal or console.is_jupyter):
        yield events
        return
    with bar_of_progress(console) as bar:

        def plan(new: int, known: int) -> None:
            events.plan(new, known)
            if new:
                bar.add_task("measuring exposures", total=new)

        def stamps(n: int) -> None:
            events.stamps(n)
            bar.add_task("reconstructing stamps", total=n)

        def done(exposure: Exposure, result: Measurement | Failure, seconds: float) -> None:
            events.done(exposure, result, seconds)
            if bar.task_ids:
                bar.advance(bar.task_ids[-1])

        yield replace(events, plan=plan, stamps=stamps, done=done)
