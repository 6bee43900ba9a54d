"""Jitter and steps of the profiles of rows and columns, both backends against plain NumPy (METHOD.md 9.3).

All comparisons are to the bit: sums of pixels are whole numbers, and all else has one order. What jitter and steps say
of an image is tested in tests/test_pattern_statistics.py.
"""

from __future__ import annotations

import naive_statistics
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sky import frozen

from gpuanom.backends.pattern_layout import STEP_REACH, step_places
from gpuanom.records import ProfileSums
from gpuanom.records.patterns import STEP
from steps.harness import DEFAULT, device, hand_made, stack_of


def sums_of(rng, n, size, width, kept):
    """Sums and numbers of pixels of n profiles, of which a share is kept; the last two lack half and all of it."""
    counts = rng.integers(0, width, (n, size), endpoint=True) if kept < 1 else np.full((n, size), width)
    counts *= rng.random(counts.shape) < kept
    counts[-2, : size // 2], counts[-1] = 0, 0
    sums = rng.integers(-1_000_000, 1_000_000, counts.shape)
    sums[:, ::19] *= 30  # beyond where profiles are clipped, on both sides
    return sums, counts


def check_profiles(backend, rows, columns):
    """The backend's profiles of (sums, counts) of rows and of columns against plain NumPy; returns them on the host."""
    ny, nx = rows[0].shape[1], columns[0].shape[1]
    given_sums = ProfileSums(*(device(backend, np.asarray(array, np.int64)) for array in (*rows, *columns)))
    found = backend.to_host(backend.profiles(given_sums))
    for (sums, counts), width, jitter, steps in (
        (rows, nx, found.row_jitter, found.row_steps),
        (columns, ny, found.column_jitter, found.column_steps),
    ):
        np.testing.assert_array_equal(jitter, naive_statistics.jitter(sums, counts, width))
        assert steps.dtype == np.float32
        np.testing.assert_array_equal(steps, naive_steps(sums, counts, width))
    return found


def naive_steps(sums, counts, width):
    """Differences of means in plain NumPy, place by place."""
    places = step_places(sums.shape[1])
    found = np.full((len(sums), len(places)), np.nan, np.float32)
    for i, j in np.ndindex(found.shape):
        sides = [slice(places[j] - STEP_REACH, places[j]), slice(places[j], places[j] + STEP_REACH)]
        n = [counts[i, side].sum() for side in sides]
        if 4 * min(n) >= STEP_REACH * width:
            low, high = (sums[i, side].sum() / m for side, m in zip(sides, n, strict=True))
            found[i, j] = np.float32((high - low) * STEP / np.sqrt(1 / n[0] + 1 / n[1]))
    return found


@pytest.mark.parametrize(
    ("ny", "nx"), [(30, 31), (32, 40), (90, 300), (96, 97), (112, 700), (1500, 66), (4200, 64), (64, 5000)]
)
@pytest.mark.parametrize("kept", [0.0, 0.2, 0.9, 1.0])
def test_profiles_are_those_of_plain_numpy(backend, ny, nx, kept):
    """Shorter than a running median or a step; shorter and longer than what the threads of a block take at once."""
    rng = np.random.default_rng(12)
    found = check_profiles(backend, sums_of(rng, 4, ny, nx, kept), sums_of(rng, 4, nx, ny, kept))
    if kept == 1.0 and ny >= 96:
        assert np.isfinite(found.row_jitter[:3]).all()
        assert np.isfinite(found.row_steps[:2]).all()


@given(size=st.integers(31, 130), high=st.sampled_from([1, 2, 4, 2**40]), seed=st.integers(0, 2**16))
def test_small_whole_numbers_provoke_ties(backend, size, high, seed):
    """Medians of equal numbers, of even and odd numbers of them, and windows without any."""
    rng = np.random.default_rng(seed)
    sums, counts = (rng.integers(low, high, (3, size), endpoint=True) for low in (-high, 0))
    counts[1, rng.integers(size) :] = 0
    check_profiles(backend, (sums, counts), (sums[:, ::-1], counts[:, ::-1]))


def test_jitter_and_steps_do_not_depend_on_the_level(backend):
    """Whole numbers of steps of 2^-12 sigma a pixel, added to all: means, medians and differences are exact."""
    rng = np.random.default_rng(5)
    sums, counts = rng.integers(-2000, 2000, (2, 400)) * 64, np.full((2, 400), 64)
    raised = sums + 3 * 4096 * counts
    plain, lifted = (check_profiles(backend, (s, counts), (s[:, :64], counts[:, :64])) for s in (sums, raised))
    np.testing.assert_array_equal(lifted.row_jitter, plain.row_jitter)
    np.testing.assert_array_equal(lifted.row_steps, plain.row_steps)


def test_the_sums_of_an_image_go_the_same_way(backend):
    """Rows that jitter on the first of three CCDs, a step on the second; the third has no background."""
    shape = (300, 270)
    images = [np.random.default_rng(i).normal(0, 1, shape).astype(np.float32) for i in range(3)]
    images[0] += np.random.default_rng(9).normal(0, 0.3, (shape[0], 1)).astype(np.float32)
    images[1][:, 144:] += 0.5
    background = hand_made(backend, 3, usable=[True, True, False])
    _, sums, _ = backend.patterns(stack_of(backend, [frozen(image) for image in images]), background, DEFAULT)
    home = backend.to_host(sums)
    found = check_profiles(backend, (home.row_sum, home.row_count), (home.column_sum, home.column_count))
    # 0.3 sigma over the noise of means of 270 pixels.
    assert found.row_jitter[0] == pytest.approx(1 + 270 * 0.3**2, rel=0.3)
    assert step_places(270)[np.argmax(found.column_steps[1])] == 144
    assert np.isnan(found.row_jitter[2])
    assert np.isnan(found.column_steps[2]).all()
