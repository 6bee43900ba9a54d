"""Launches of the wrong kernels in mistakes.cu, each with the check that must notice the mistake.

Run as a script with a number, this file makes that mistake, in a process that may run under a sanitizer. The process
ends with an error, or prints that nothing was noticed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mistake:
    """One kernel, how to launch it, and the check that must notice it."""

    name: str
    block: int
    arguments: Callable[[], tuple]
    message: str  # of the expected error
    by: str = "fast"  # the flavour that must notice the mistake: "fast", "counted", "address" or "thread"
    grid: int = 1
    shared: int = 0


def device(n, dtype=np.float32, values=None):
    import cupy

    return cupy.asarray(np.zeros(n, dtype) if values is None else np.asarray(values, dtype))


def uninitialised(n, dtype=np.float32):
    import cupy

    return cupy.empty(n, dtype)


def numbers(n, dtype=np.float32):
    return device(n, dtype, np.arange(n))


ONE = np.int32(1)
UNSET = "0xFF"  # the result shows the mistake: a NaN, or the pattern of a local variable that was never set

MISTAKES = [
    Mistake("past_the_end", 128, lambda: (device(100), ONE), "illegal memory access .*byte 400 of 'float. a'"),
    Mistake("past_the_end", 32, lambda: (device(31), ONE), "written past the end"),
    Mistake("past_the_end", 32, lambda: (device(64)[:31], ONE), "written outside the view"),
    Mistake("before_the_start", 32, lambda: (device(100), ONE), "written before the start"),
    Mistake("read_past_the_end", 31, lambda: (device(31), device(31)), "use-after-poison|AddressSanitizer", "address"),
    Mistake("read_past_the_end", 1024, lambda: (device(1024), device(1024)), "illegal memory access .*byte 4096"),
    Mistake("past_static_shared", 64, lambda: (device(64), ONE), "global-buffer-overflow", "address"),
    Mistake("past_dynamic_shared", 64, lambda: (device(64), ONE), "illegal memory access", shared=256),
    Mistake("past_dynamic_shared", 64, lambda: (device(64), ONE), "heap-buffer-overflow", "address", shared=252),
    Mistake("no_barrier", 128, lambda: (numbers(128), device(128)), "depends on the order"),
    Mistake("no_barrier", 128, lambda: (numbers(128), device(128)), "data race", "thread"),
    Mistake("no_second_barrier", 64, lambda: (numbers(256), device(64), np.int32(4)), "depends on the order"),
    Mistake("no_second_barrier", 64, lambda: (numbers(256), device(64), np.int32(4)), "data race", "thread"),
    Mistake("no_warp_barrier", 32, lambda: (numbers(32, np.int32), device(32, np.int32)), "depends on the order"),
    Mistake("unset_shared", 128, lambda: (device(128),), UNSET),
    Mistake("unset_output", 128, lambda: (uninitialised(128), np.int32(128)), UNSET),
    Mistake("unset_local", 32, lambda: (device(32), ONE), UNSET),
    Mistake("barrier_in_branches", 32, lambda: (device(2),), "divergent __syncthreads"),
    Mistake("return_before_barrier", 64, lambda: (device(64), np.int32(40)), "reached by 40 of 64 threads"),
    Mistake("shuffle_of_half_a_warp", 32, lambda: (device(32),), "deadlock: .* 1 warps"),
    Mistake("shuffle_outside_its_mask", 32, lambda: (device(32),), "lane 16 is not in its mask 0xffff|not in its mask"),
    Mistake("shuffle_from_outside_its_mask", 32, lambda: (device(16),), UNSET),
    Mistake("depends_on_block_order", 32, lambda: (device(65),), "depends on the order", grid=64),
    Mistake("depends_on_block_order", 32, lambda: (device(65),), "race between blocks", "counted", grid=64),
    Mistake(
        "depends_on_atomic_order",
        64,
        lambda: (numbers(64, np.int32), device(64, np.int32), device(1, np.int32)),
        "depends on the order",
    ),
    Mistake("misaligned_vector", 32, lambda: (device(132), device(128), ONE), "misaligned address", "address"),
    Mistake("lost_update_in_a_block", 32, lambda: (device(1, np.int32),), "data race", "thread"),
    Mistake("lost_update_between_blocks", 32, lambda: (device(1, np.int32),), "race between blocks", "counted", grid=4),
    Mistake("divides_by_zero", 1, lambda: (device(2, np.int32), np.int32(0)), "division by zero"),
    Mistake("shifts_too_far", 1, lambda: (device(1, np.int32), np.int32(40)), "shift exponent 40", "address"),
    Mistake("outgrows_the_stack", 1, lambda: (device(1),), "illegal memory access"),
    Mistake("writes_its_input", 1, lambda: (device(1), device(1)), "pointer to const has changed"),
    Mistake("null_pointer", 1, lambda: (device(1), None), "is not marked OPTIONAL"),
    Mistake("no_dynamic_shared", 32, lambda: (device(32),), "the launch gave none"),
    Mistake("fails_an_assertion", 1, lambda: (device(1), np.int32(3)), "assertion failed at line \\d+: n < 3"),
    Mistake("mangled", 1, lambda: (device(1),), "mangled"),
]


def make(mistake: Mistake) -> np.ndarray:
    """Launch the kernel; the last array among its arguments, which the kernel has filled."""
    from tests.device import demo

    kernel = demo.module("mistakes.cu").get_function(mistake.name)
    arguments = mistake.arguments()
    kernel((mistake.grid,), (mistake.block,), arguments, shared_mem=mistake.shared)
    return [value for value in arguments if hasattr(value, "get")][-1].get()


if __name__ == "__main__":
    make(MISTAKES[int(sys.argv[1])])
    sys.stdout.write("nothing noticed\n")
