"""A queue between threads that wakes them without the interpreter's lock."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable
from queue import Empty
from typing import Generic, TypeVar

Item = TypeVar("Item")


class UnlockedQueue(Generic[Item]):
    """A queue as `queue.SimpleQueue`, for threads that hand over work while others need the interpreter's lock.

    Queues, locks and futures of Python wake a thread while the one that wakes it has the interpreter's lock. The woken
    thread often takes the core of the other one, so that all threads wait for a lock whose owner does not run. Here a
    byte goes through a pipe for each item, and Python lets go of its lock while it writes and reads.
    """

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._pipe = os.pipe()
        """Where bytes are read, and where they are written: as many are in the pipe as items may be taken."""

    def put(self, item: Item) -> None:
        """Hand over an item."""
        self._items.append(item)
        os.write(self._pipe[1], b"\0")

    def get(self, timeout: float | None = None) -> Item:
        """Return the next item, once there is one.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most; only where no other thread takes items.

        Raises
        ------
        queue.Empty
            When none came in that time.
        """
        if timeout is not None:
            waiting = select.poll()
            waiting.register(self._pipe[0], select.POLLIN)
            if not waiting.poll(1e3 * timeout):
                raise Empty
        os.read(self._pipe[0], 1)
        return self._items.popleft()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        for end in vars(self).get("_pipe", ()):  # none where the system gave no pipe
            close(end)
