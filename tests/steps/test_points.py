"""Random points drawn from their keys, on both backends: those of NumPy's generator, exactly (METHOD.md 6)."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuanom import sampling
from gpuanom.backends.choice import select
from tests import device

NAMES = ("N1", "S29", "")


def drawn(backend, names, purpose, n, ny, nx, margin):
    keys = sampling.keys(1, ["c4d_123"] * len(names), names, purpose)
    return backend.to_host((backend.points(keys, n, ny, nx, margin),))[0]


def by_numpy(names, purpose, n, ny, nx, margin):
    return np.stack([naive.points(1, "c4d_123", name, purpose, n, ny, nx, margin) for name in names])


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 1023, 1024, 1025, 4101])
def test_points_are_numpys(backend, n):
    """Whatever is left of the last counter, and across the blocks of a backend."""
    got = drawn(backend, NAMES, "gradients", n, 4094, 2046, 10)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, by_numpy(NAMES, "gradients", n, 4094, 2046, 10))


@pytest.mark.parametrize(("ny", "nx", "margin"), [(1, 1, 0), (20, 20, 10), (2**31 - 1, 1, 0), (1, 2**31 - 1, 0)])
def test_the_smallest_and_largest_ccds(backend, ny, nx, margin):
    np.testing.assert_array_equal(
        drawn(backend, NAMES, "sigma", 30, ny, nx, margin), by_numpy(NAMES, "sigma", 30, ny, nx, margin)
    )


@given(
    keys=st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 2), min_size=1, max_size=4),
    n=st.integers(0, 40),
    size=st.tuples(*[st.integers(21, 70_000)] * 2),
    margin=st.integers(0, 10),
)
@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_any_key_gives_the_words_of_numpys_philox(name, keys, n, size, margin):
    """Keys of all bits, as no hash of a test would have them: the words by NumPy, the places in Python's numbers."""
    with device.installed():
        backend = select("cpu" if name == "cpu" else "0")
        got = backend.to_host((backend.points(np.array(keys, np.uint64), n, *size, margin),))[0]
    spans = [side + 1 - 2 * margin if margin else side for side in size]
    for key, points in zip(keys, got, strict=True):
        words = [int(w) for w in np.random.Philox(key=np.array(key, np.uint64)).random_raw(n)]
        expected = [[margin + (part * s >> 32) for part, s in zip(divmod(w, 2**32), spans, strict=True)] for w in words]
        assert points.tolist() == expected


def test_a_stack_gives_each_ccd_what_it_gets_alone(backend):
    together = drawn(backend, NAMES, "background", 77, 300, 200, 0)
    for i, name in enumerate(NAMES):
        np.testing.assert_array_equal(drawn(backend, [name], "background", 77, 300, 200, 0)[0], together[i])
    np.testing.assert_array_equal(drawn(backend, NAMES, "background", 9, 300, 200, 0), together[:, :9])
