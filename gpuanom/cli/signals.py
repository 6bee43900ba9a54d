"""Signals that end a long command in good order: Ctrl-C, and what batch systems and closed terminals send."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupting:
    """Lets SIGTERM, as batch systems send it, and SIGHUP interrupt a command as Ctrl-C does.

    Attributes
    ----------
    number : signal.Signals or None
        The signal that came, if one did.
    """

    def __init__(self) -> None:
        self.number: signal.Signals | None = None

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Hear the signals; a second one kills the program, as without this."""
        with (
            ended_by_signals((signal.SIGTERM,), lambda: self._interrupt(signal.SIGTERM)),
            ended_by_signals((signal.SIGHUP,), lambda: self._interrupt(signal.SIGHUP)),
        ):
            yield

    @property
    def word(self) -> str:
        """What ended the command, for the line that says so."""
        return "interrupted" if self.number is None else f"ended by {self.number.name}"

    @property
    def code(self) -> int:
        """The exit code, which shells give to a program that the signal killed."""
        return 128 + (signal.SIGINT if self.number is None else self.number)

    def _interrupt(self, number: signal.Signals) -> None:
        self.number = number
        raise KeyboardInterrupt


@contextmanager
def ended_by_signals(numbers: tuple[signal.Signals, ...], end: Callable[[], None]) -> Iterator[None]:
    """Let the first of these signals end a command in good order; a second one does what it did before.

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
