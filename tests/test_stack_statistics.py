"""Statistics that are made for all CCDs of a stack at once are those of each CCD alone, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from naive_statistics import turned_power

from gpuanom.records import Patterns
from gpuanom.statistics import background_map, spectrum

TURNS = (0, 1, 2, 3, 0)


@pytest.fixture(scope="module")
def patterns():
    """Five CCDs of random patterns; two have maps with empty cells, one has no map at all."""
    rng = np.random.default_rng(3)
    n = len(TURNS)
    count = rng.integers(900, 1025, (n, 32, 16))
    count[1, 3, 4], count[2] = 0, 0
    count[3, :3] = 10
    powers = [rng.exponential(1.0, (n, 128, 65)) for _ in range(2)]
    return Patterns(
        (1024, 512), rng.integers(-(2**16), 2**16, count.shape), count, np.full(count.shape, 1024), *powers,
        np.array([5, 0, 7, 9, 3]), np.array([1, 2, 0, 4, 3]), *(np.zeros(n, np.int64) for _ in range(3)),
    )  # fmt: skip


def one_of(patterns, i):
    of_ccds = {name: values for name, values in vars(patterns).items() if name != "shape"}
    return replace(patterns, **{name: values[i : i + 1] for name, values in of_ccds.items()})


def test_maps(patterns):
    values = background_map.ccd_statistics(patterns)
    assert np.isnan(values[2, 2])
    assert np.isfinite(values[[0, 1, 3, 4], 2]).all()
    known = background_map.maps(patterns)
    for i in range(len(TURNS)):
        of_ccd = known[i][np.isfinite(known[i])].astype(np.float64)
        rms = np.sqrt(np.mean((of_ccd - np.mean(of_ccd)) ** 2)) if of_ccd.size else np.nan
        assert np.array_equal(values[i, 2], np.float32(rms), equal_nan=True)
        assert np.array_equal(values[i], background_map.ccd_statistics(one_of(patterns, i))[0], equal_nan=True)
    assert np.array_equal(values, background_map.ccd_statistics(patterns, known), equal_nan=True)


@pytest.mark.parametrize("chosen", [slice(None), [0, 3], [4]])
def test_spectra(patterns, chosen):
    indices = list(range(len(TURNS)))[chosen] if isinstance(chosen, slice) else chosen
    stack = spectrum.spectra(patterns, background_map.maps(patterns), chosen)
    got = spectrum.ccd_statistics(stack, [TURNS[i] for i in indices])
    for row, i in zip(got, indices, strict=True):
        (alone,) = spectrum.ccd_statistics(spectrum.spectra(one_of(patterns, i)), [TURNS[i]])
        assert np.array_equal(row, alone, equal_nan=True)
    assert len({tuple(row) for row in got}) == len(indices)
    assert np.shares_memory(stack.fine, patterns.fine_power) == isinstance(chosen, slice)
    for place, i in enumerate(indices):
        assert np.array_equal(stack.fine[place], patterns.fine_power[i])
        assert np.array_equal(stack.coarse[place], patterns.coarse_power[i])
        assert (stack.n_fine[place], stack.n_coarse[place]) == (patterns.n_fine[i], patterns.n_coarse[i])


def test_spectra_are_added_in_the_order_of_the_ccds(patterns):
    """CCDs of two stacks, in another order than in these, against sums that are made one by one."""
    stacks = [spectrum.spectra(patterns, background_map.maps(patterns), chosen) for chosen in ([4, 0, 2], [3, 1])]
    runs = [(stacks[0], [2, 0]), (stacks[1], [1, 0]), (stacks[0], [1])]
    found = [(stack, i) for stack, places in runs for i in places]
    turns = [3, 1, 0, 2, 3]
    fine, coarse, long = (
        np.zeros(power.shape[1:]) for power in (stacks[0].fine, stacks[0].coarse, stacks[0].map_power)
    )
    n_fine = n_coarse = n_long = 0.0
    for (stack, i), turn in zip(found, turns, strict=True):
        fine += turned_power(stack.fine[i], turn)
        coarse += turned_power(stack.coarse[i], turn)
        long += turned_power(stack.map_power[i], turn)
        n_fine, n_coarse = n_fine + stack.n_fine[i], n_coarse + spectrum.OVERLAP * stack.n_coarse[i]
        n_long += float(stack.map_power[i].any())
    side = stacks[0].map_side
    numbers = [np.array([n]) for n in (n_fine, n_coarse, n_long)]
    wanted = spectrum._peaks(
        fine[None], numbers[0], coarse[None], numbers[1], long[None], numbers[2], len(long), side
    )  # fmt: skip
    got = spectrum.exposure_statistics(runs, turns)
    assert got.tobytes() == wanted.ravel().astype(np.float32).tobytes()
    other = spectrum.exposure_statistics(runs, [0] * 5)
    assert got.tobytes() != other.tobytes()
