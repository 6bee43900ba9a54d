"""Workers that wait in place of measuring, for bench_scheduler.py; all of them are in one process.

python profiling/sleeping_workers.py SOCKET WORKERS SECONDS

SOCKET is the number of an open socket. A message there is the number of a call, the number of a worker (8 bytes each),
and the call as gpuanom pickles it; the answer is the number of the call, and what the call returned.
"""

from __future__ import annotations

import functools
import heapq
import pickle
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace

from gpuanom.cluster import worker
from gpuanom.cluster.job import Job


@dataclass(frozen=True)
class SleepingJob(Job):
    """A job whose measurements are copies of one, which lies in a file; a worker sleeps so many seconds for each."""

    measurement: str = ""
    seconds: float = 0.1

    def started_threads(self, _lanes, _debug):
        """What a worker uses in place of `gpuanom.measuring.threads.Threads`."""
        return Sleeping(pickle.loads(Path(self.measurement).read_bytes()), self.seconds)


class Sleeping:
    """Sleeps in place of measuring."""

    def __init__(self, measurement, seconds):
        self._measurement, self._seconds = measurement, seconds

    def __exit__(self, *_):
        pass

    def measured(self, exposures):
        """Yield the measurement for each exposure; the client notes the exposure."""
        for exposure in exposures:
            time.sleep(self._seconds)
            yield exposure, self._measurement, self._seconds


def serve(pipe, n_workers, seconds):
    """Answer the calls that come through a pipe, until the pipe is closed.

    A call is made at once, and its answers are sent when the worker would have had so many seconds for each: a worker
    makes one call at a time. All measurements are the same, so that the answers of each number of exposures are pickled
    once.
    """
    worker._dask_worker = lambda: SimpleNamespace(state=SimpleNamespace(nthreads=1), log_event=None)
    worker.versions = functools.cache(worker.versions)  # each worker would find them in a process of its own
    free, waiting, packed = [0.0] * n_workers, [], {}
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, number, answer = heapq.heappop(waiting)
            pipe.send_bytes(number + answer)
        try:
            if not pipe.poll(waiting[0][0] - now if waiting else None):
                continue
            message = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        number, which = message[:8], int.from_bytes(message[8:16], "little")
        result = pickle.loads(message[16:])
        measured = isinstance(result, list)
        if not measured:
            answer = pickle.dumps(result, protocol=5)
        elif len(result) in packed:
            answer = packed[len(result)]
        else:
            # As on a worker of Dask, no answer shares anything with another one.
            own = [pickle.loads(pickle.dumps(each, protocol=5)) for each in result]
            answer = packed[len(result)] = pickle.dumps(own, protocol=5)
        free[which] = max(now, free[which]) + (seconds * len(result) if measured else 0.0)
        heapq.heappush(waiting, (free[which], number, answer))


if __name__ == "__main__":
    # Jobs are sent by the name of this module.
    import sleeping_workers

    sleeping_workers.serve(Connection(int(sys.argv[1])), int(sys.argv[2]), float(sys.argv[3]))
