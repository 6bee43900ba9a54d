"""Workers that sleep in place of measuring, for bench_scheduler.py; all of them are threads of one process.

python profiling/sleeping_workers.py SOCKET WORKERS

SOCKET is the number of an open socket. A message there is the number of a call, the number of a worker (8 bytes each),
and the call as gpuanom pickles it; the answer is the number of the call, and what the call returned.
"""

from __future__ import annotations

import functools
import pickle
import sys
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from gpuanom.cluster import worker
from gpuanom.cluster.job import Job


@dataclass(frozen=True)
class SleepingJob(Job):
    """A job whose measurements are copies of one, which lies in a file; a worker sleeps so many seconds for each."""

    measurement: str = ""
    seconds: float = 0.1

    def works(self, _lanes, _debug):
        """What a worker uses in place of `gpuanom.measuring.threads.Works`."""
        return Sleeping(pickle.loads(Path(self.measurement).read_bytes()), self.seconds)


class Sleeping:
    """Sleeps in place of measuring."""

    def __init__(self, measurement, seconds):
        self._measurement, self._seconds = measurement, seconds

    def __exit__(self, *_):
        pass

    def measured(self, exposures):
        """Yield a copy of the measurement for each exposure."""
        for exposure in exposures:
            time.sleep(self._seconds)
            yield exposure, replace(self._measurement, exposure=exposure), self._seconds


def serve(pipe, n_workers):
    """Make the calls that come through a pipe, those of one worker one after the other, until the pipe is closed."""
    worker._lanes = lambda: 1  # that function asks Dask
    worker.versions = functools.cache(worker.versions)  # each worker would find them in a process of its own
    calls = [SimpleQueue() for _ in range(n_workers)]
    lock = threading.Lock()

    def work(mine):
        while True:
            number, call = mine.get()
            answer = number + pickle.dumps(pickle.loads(call), protocol=5)
            with lock:
                pipe.send_bytes(answer)

    for mine in calls:
        threading.Thread(target=work, args=(mine,), daemon=True).start()
    while True:
        try:
            message = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        calls[int.from_bytes(message[8:16], "little")].put((message[:8], message[16:]))


if __name__ == "__main__":
    # Jobs are sent by the name of this module.
    import sleeping_workers

    sleeping_workers.serve(Connection(int(sys.argv[1])), int(sys.argv[2]))
