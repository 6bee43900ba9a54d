"""Streams as queues: work in a stream runs when something waits for it, and not before.

A real device may run the work at any time in between. Running it as late as possible shows what is missing: a wait for
an event before data of another stream are used, or a synchronisation before a pinned buffer is read or filled again.
"""

# ruff: noqa: ARG002 - the signatures are CuPy's

from __future__ import annotations

import threading
import time
import traceback
from collections import deque

from cpudevice import settings

_lock = threading.RLock()
_local = threading.local()
_engine = ("/tests/device/cupy", "/tests/device/cpudevice")


class Stream:
    """A stream of the current device. `null` is the default stream: the default stream and blocking streams wait for
    each other.
    """

    null: Stream

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None):
        if ptds:
            raise NotImplementedError("per-thread default streams")
        self.device_id = current_device()
        self.ptr = 0 if null else id(self)
        self._blocking = not null and not non_blocking
        self._queue = deque()
        self._enqueued = self._finished = 0
        with _lock:
            _streams.setdefault(self.device_id, []).append(self)

    def __eq__(self, other):
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self):
        return hash(self.ptr)

    def __repr__(self):
        return f"<Stream {self.ptr} (device {self.device_id})>"

    def __enter__(self):
        _stack().append(self)
        return self

    def __exit__(self, *exc):
        _stack().remove(self)

    def use(self):
        _stack()[:] = [self]
        return self

    @property
    def done(self):
        return not self._queue

    def synchronize(self):
        self._drain()

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        stream, position = event._stream, event._position
        if stream is not None:  # an event that was never recorded makes nothing wait
            self._push(lambda: stream._drain(position))

    def launch_host_func(self, callback, arg):
        self._push(lambda: callback(arg))

    def _push(self, operation):
        with _lock:
            others = self._implied()
            for stream, position in others:
                self._queue.append((lambda s=stream, p=position: s._drain(p), None))
                self._enqueued += 1
            self._queue.append((operation, _caller()))
            self._enqueued += 1

    def _catch_up(self):
        """Run all work that comes before an operation that is about to run at once."""
        self._push(lambda: None)  # the rules of the default stream apply to this operation too
        self._drain()

    def _implied(self):
        """What the rules of the default stream make this stream wait for: streams, and up to which operation."""
        if self.ptr == 0:
            others = [s for s in _streams[self.device_id] if s._blocking]
        elif self._blocking:
            others = [null_stream(self.device_id)]
        else:
            return []
        return [(s, s._enqueued) for s in others if s._queue]

    def _drain(self, position=None):
        with _lock:
            position = self._enqueued if position is None else position
            while self._queue and self._finished < position:
                operation, caller = self._queue.popleft()
                self._finished += 1
                try:
                    operation()
                except Exception as error:
                    for stream in _streams[self.device_id]:  # nothing more runs, as after an error on a real device
                        stream._finished += len(stream._queue)
                        stream._queue.clear()
                    if caller:
                        error.add_note(f"asked for at {caller}")
                    raise


class Event:
    """A point in the queue of a stream."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        self._stream, self._position, self._time = None, 0, None
        self._timed = not disable_timing

    def record(self, stream=None):
        stream = stream or get_current_stream()
        stream._push(self._stamp)
        self._stream, self._position = stream, stream._enqueued

    def _stamp(self):
        self._time = time.perf_counter()

    @property
    def done(self):
        return self._stream is None or self._stream._finished >= self._position

    def synchronize(self):
        if self._stream is not None:
            self._stream._drain(self._position)


def get_elapsed_time(start_event, end_event):
    """Milliseconds between two events that have happened, on this CPU; this is no measurement of a GPU."""
    if not (start_event._timed and end_event._timed):
        raise ValueError("get_elapsed_time: an event that was made with disable_timing")
    if start_event._time is None or end_event._time is None:
        raise RuntimeError("get_elapsed_time: an event that has not happened")
    return 1000 * (end_event._time - start_event._time)


def get_current_stream(device_id=None):
    device = current_device() if device_id is None else device_id
    for stream in reversed(_stack()):
        if stream.device_id == device:
            return stream
    return null_stream(device)


def null_stream(device):
    with _lock:
        for stream in _streams.setdefault(device, []):
            if stream.ptr == 0:
                return stream
        before = current_device()
        _local.device = device
        try:
            return Stream(null=True)
        finally:
            _local.device = before


def synchronize_device(device):
    for stream in list(_streams.get(device, [])):
        stream._drain()


def current_device():
    return getattr(_local, "device", 0)


def set_current_device(device):
    if not 0 <= device < settings.devices:
        from .runtime import CUDARuntimeError

        raise CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal", 101)
    _local.device = device


def reset():
    """Discard all work that nothing has waited for, after a test that failed half-way."""
    with _lock:
        for streams in _streams.values():
            for stream in streams:
                stream._finished += len(stream._queue)
                stream._queue.clear()
            streams[:] = [stream for stream in streams if stream.ptr == 0]
    _stack().clear()
    _local.device = 0


def _stack():
    if not hasattr(_local, "stack"):
        _local.stack = []
    return _local.stack


def _caller():
    """The line outside the stand-in that asked for an operation, since an error appears long after that line."""
    for frame, line in traceback.walk_stack(None):
        if not any(part in frame.f_code.co_filename for part in _engine):
            return f"{frame.f_code.co_filename}:{line}"
    return None


_streams: dict[int, list[Stream]] = {}
Stream.null = null_stream(0)
