"""The behaviour of one worker, without a cluster around it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from gpuanom.cluster.worker import keep_memory

def faults(n):
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n):
        np.ones(3 * 2**17).sum()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start

before = faults(20)
keep_memory()
faults(2)
print(before, faults(20))
"""


@pytest.mark.parametrize("by_dask", [True, False])
def test_memory_that_is_freed_is_used_again(by_dask):
    """With Dask's setting each array of 3 MiB takes new pages, which cause some hundreds of page faults.

    For arrays of 4 MiB and more NumPy asks for huge pages, of which the system may have some.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    env |= {"MALLOC_TRIM_THRESHOLD_": "65536"} if by_dask else {}
    done = subprocess.run([sys.executable, "-c", FAULTS], env=env, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < 20 * 10
    if by_dask:
        assert before > 20 * 100
