"""Signals that end a long command in good order: Ctrl-C, and what batch systems and closed terminals send."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def ended_by_signals(numbers: tuple[signal.Signals, ...], end: Callable[[], None]) -> Iterator[None]:
    """Let the first of these signals end a command in good order; a second one ends the command at once.

    Parameters
    ----------
    numbers : tuple of signal.Signals
        Signals that the program was told to ignore, as nohup does with SIGHUP, stay ignored.
    end : callable
        Called by the first signal.
    """
    before: dict[signal.Signals, Any] = {}

    def first(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, before[signal.Signals(number)])
        end()

    # Only the main thread may say what a signal does.
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
