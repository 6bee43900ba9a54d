"""benchmark() with times of this CPU: it serves to test the calling program, and measures no GPU."""

# ruff: noqa: ARG002 - the signatures are CuPy's

import contextlib
import time

import cupy
import numpy as np


class _PerfCaseResult:
    def __init__(self, name, times):
        self.name = name
        self.cpu_times = np.array(times)
        self.gpu_times = np.array([times])

    def to_str(self, show_gpu=False):
        return f"{self.name}: CPU: {1e6 * self.cpu_times.mean():.3f} us"

    def __str__(self):
        return self.to_str(show_gpu=True)


def benchmark(
    func, args=(), kwargs=None, n_repeat=10000, *, name=None, n_warmup=10, max_duration=float("inf"), devices=None
):
    times = []
    for repeat in range(n_warmup + n_repeat):
        began = time.perf_counter()
        func(*args, **(kwargs or {}))
        cupy.cuda.Device().synchronize()
        if repeat >= n_warmup:
            times.append(time.perf_counter() - began)
        if sum(times) > max_duration:
            break
    return _PerfCaseResult(name or func.__name__, times)


@contextlib.contextmanager
def profile():
    """A profiler records what runs inside this `with` block; here there is no profiler."""
    yield
