"""The program of the further processes of a run: measures the exposures that `gpuanom.measuring.processes` sends.

    python -m gpuanom.measuring.process_program REQUESTS ANSWERS

REQUESTS and ANSWERS are numbers of open pipes. The program reads a `Job`, then pairs (number, exposure); the last pair
has None for the exposure. The program writes ("ready",), then (number, measurement or failure, seconds) for each
exposure, in any order. Between these it writes messages: ("log", level, text), ("debug", text) with a traceback, and
("broken", why) when the device fails. The program ends when a pipe is closed.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from typing import Any

from gpuanom.backends.choice import choose
from gpuanom.errors import DeviceError
from gpuanom.measuring.processes import Job
from gpuanom.measuring.threads import Threads
from gpuanom.records import Exposure


class _Answers:
    """The answers of all threads of this program, one after the other."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def send(self, *message: Any) -> None:
        """Send a message."""
        with self._lock:
            self._connection.send(message)


class _Forwarded(logging.Handler):
    """Sends the messages of a logger."""

    def __init__(self, answers: _Answers) -> None:
        super().__init__()
        self._answers = answers

    def emit(self, record: logging.LogRecord) -> None:
        """Send a message; see `logging.Handler.emit`."""
        self._answers.send("log", record.levelno, record.getMessage())


class _Requested:
    """The exposures that the other process asks for, as they come; an `ExposureSource`.

    Parameters
    ----------
    requests : Connection
    """

    def __init__(self, requests: Connection) -> None:
        self._waiting: SimpleQueue[tuple[int, Exposure | None] | BaseException] = SimpleQueue()
        self._numbers: dict[int, int] = {}
        # Requests are read as they come. A pipe holds 64 KiB: if this program read requests only when it measures the
        # next exposure, both processes could wait for ever, each for the other one to read what does not fit its pipe.
        threading.Thread(target=self._receive, args=(requests,), name="gpuanom-requests", daemon=True).start()

    def _receive(self, requests: Connection) -> None:
        """Read requests until the last one, or until the error that ends them."""
        try:
            exposure: Exposure | None
            while True:
                number, exposure = requests.recv()
                self._waiting.put((number, exposure))
                if exposure is None:
                    return
        except BaseException as error:
            self._waiting.put(error)

    def take(self, wait: bool = True) -> Exposure | None:
        """See `ExposureSource.take`; who waits is told of the error that ended the requests."""
        with suppress(Empty):
            request = self._waiting.get(block=wait)
            if not isinstance(request, BaseException) and request[1] is not None:
                self._numbers[id(request[1])] = request[0]
                return request[1]
            self._waiting.put(request)  # the end, for whoever asks next
            if wait and isinstance(request, BaseException):
                raise request
        return None

    def n_left(self) -> int | None:
        """See `ExposureSource.n_left`: the other process knows."""
        return None

    def number(self, exposure: Exposure) -> int:
        """Return the number by which the other process asked for an exposure."""
        return self._numbers.pop(id(exposure))


def serve(requests: Connection, answers: _Answers) -> None:
    """Measure exposures until there are no more requests.

    Parameters
    ----------
    requests : Connection
    answers : _Answers

    Raises
    ------
    EOFError, OSError
        When the other process has ended.
    """
    job: Job = requests.recv()
    log = logging.getLogger("gpuanom")
    log.setLevel(job.level)
    log.addHandler(_Forwarded(answers))
    log.propagate = False
    requested = _Requested(requests)
    try:
        backends, _ = choose(job.device)
        for backend in backends:
            backend.limit_memory(job.n_bytes)
        with Threads(job.settings, backends, job.threads, lambda text: answers.send("debug", text)) as running:
            answers.send("ready")
            for exposure, result, seconds in running.measured(requested):
                # The exposure itself is on the other side already, as the same object that the user's tables name.
                answers.send(requested.number(exposure), result, seconds)
    except DeviceError as error:
        answers.send("broken", str(error))
    except (EOFError, OSError):
        raise
    except Exception:
        answers.send("debug", traceback.format_exc())
        raise


if __name__ == "__main__":
    # A person's interrupt ends the process that began the run; this process then finds its pipes closed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = (Connection(int(number)) for number in sys.argv[1:])
    try:
        serve(requests, _Answers(answers))
    except (EOFError, OSError):
        sys.exit(1)
