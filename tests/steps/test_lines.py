"""The straight line that stands out most of the bins of a CCD, both backends against naive_statistics (METHOD.md 9.6).

All comparisons are to the bit: bins are whole numbers, and what is divided and rooted is so in one order. What kinds of
lines are trails is tested in tests/test_pattern_statistics.py, on images.
"""

from __future__ import annotations

import naive_statistics
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sky import frozen

from gpuanom.backends import line_layout
from gpuanom.backends.pattern_layout import bin_shape, bin_side
from gpuanom.records import LineBins
from steps.harness import DEFAULT, device, hand_made, stack_of


def bins_of(backend, bins, faint_bins, side):
    """These bins where the backend works."""
    return LineBins(side, *(device(backend, np.asarray(array, np.int64)) for array in (bins, faint_bins)))


def check_lines(backend, planes, ny=None, nx=None):
    """The lines of planes, (2 n, rows, columns), against plain sums; returns the backend's on the host."""
    planes = np.asarray(planes, np.int64)
    rows, columns = planes.shape[1:]
    ny, nx = 8 * rows if ny is None else ny, 8 * columns if nx is None else nx
    assert bin_shape(ny, nx) == (rows, columns)
    bins, faint_bins = np.split(planes, 2)
    found = backend.to_host(backend.lines(bins_of(backend, bins, faint_bins, bin_side(ny, nx))))
    assert found.shape == (2, len(bins), 6)
    expected = [naive_statistics.line(plane, bin_side(ny, nx)) for plane in planes]
    np.testing.assert_array_equal(found.reshape(-1, 6), expected)
    return found.reshape(-1, 6)


def crossing(shape, angle, distance, height, width=1.0):
    """A plane of bins with a line of that height, so many bins from the middle."""
    y, x = np.indices(shape)
    away = (y - (shape[0] - 1) / 2) * np.cos(angle) - (x - (shape[1] - 1) / 2) * np.sin(angle) - distance
    return (height * np.exp(-((away / width) ** 2))).astype(np.int64)


@pytest.mark.parametrize(
    "shape", [(32, 40), (30, 17), (5, 24), (24, 1), (1, 24), (26, 26), (2, 30), (3, 25), (40, 65), (64, 33), (23, 23)]
)
@pytest.mark.parametrize("height", [0, 3000, 20000])
def test_lines_are_those_of_plain_sums(backend, shape, height):
    rng = np.random.default_rng(9)
    planes = rng.integers(-1000, 1000, (4, *shape))
    for i, angle in enumerate(rng.uniform(0, np.pi, 4)):
        planes[i] += crossing(shape, angle, -2, height)
    planes[3] = 5
    found = check_lines(backend, planes, 8 * shape[0] - 3, 8 * shape[1] - 5)
    assert np.isnan(found[3]).all()
    if min(shape) > 25 and height == 20000:
        assert np.any(found[:3, 0] > 5)


def test_more_lines_of_one_direction_than_threads_of_a_block(backend):
    """Longer lines than 256 columns, more directions than eight for each strip, and lines in both kinds of planes."""
    shape = (10, 270)
    rng = np.random.default_rng(2)
    planes = rng.integers(-1000, 1000, (2, *shape))
    planes[0] += crossing(shape, 0.05, 1, 4000)
    planes[1] += crossing(shape, -0.7, 80, 4000)
    found = check_lines(backend, planes)
    assert np.all(found[:, 0] > 5)
    assert found[1, 1] > 256 or found[1, 3] > 256


def with_bad_columns(shape, columns, bad, seed=0):
    """Noise, and columns of which a part is bright: (column, first row, last row, height)."""
    planes = np.random.default_rng(seed).integers(-1000, 1000, (2, *shape))
    for column, begin, end, height in columns:
        planes[0, begin:end, column] += height
        planes[1, begin:end, column - 1 : column + 2] += height
    if bad:
        planes[0] += crossing(shape, 1.2, 3, 3000)
    return planes


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("trail", [False, True])
@pytest.mark.parametrize(
    "columns",
    [
        [(20, 5, 40, 9000)],
        [(20, 0, 30, 9000), (31, 8, 48, 7000), (7, 20, 48, 5000), (44, 0, 44, 12000)],
        [(0, 3, 40, 9000), (1, 3, 40, 8000), (47, 8, 30, 9000)],
    ],
)
def test_bad_columns_are_passed_over(backend, columns, trail, transposed):
    """Steep lines along bad columns are the highest ones; what is left is found below them."""
    planes = with_bad_columns((48, 52), columns, trail)
    check_lines(backend, planes.transpose(0, 2, 1) if transposed else planes)


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    largest=st.sampled_from([1, 3, 2**40]),
    seed=st.integers(0, 2**16),
)
def test_small_whole_numbers_provoke_ties(backend, rows, columns, largest, seed):
    """Lines of equal height: the steepest counts, then the one that moves least, then the first one."""
    check_lines(backend, np.random.default_rng(seed).integers(-largest, largest, (2, rows, columns), endpoint=True))


def test_mirrored_and_transposed_planes_have_equally_high_lines(backend):
    shape = (40, 48)
    planes = np.random.default_rng(4).integers(-1000, 1000, (2, *shape))
    planes[0] += crossing(shape, 0.9, 2, 4000)
    found = check_lines(backend, planes)
    mirrored = check_lines(backend, planes[:, :, ::-1])
    transposed = check_lines(backend, planes.transpose(0, 2, 1))
    # The scatter of the bins is added up in another order: some 1e-15.
    np.testing.assert_allclose(mirrored[0, 0], found[0, 0], rtol=1e-13)
    np.testing.assert_allclose(transposed[0, 0], found[0, 0], rtol=1e-13)
    assert mirrored[0, [1, 3]].tolist() == [47 - found[0, 1], 47 - found[0, 3]]


def test_small_planes_have_no_lines(backend):
    assert not line_layout.has_lines(23, 23)
    planes = np.random.default_rng(1).integers(-9, 9, (4, 23, 23))
    assert np.isnan(check_lines(backend, planes)).all()


def test_the_bins_of_an_image_go_the_same_way(backend):
    """A trail on the second of three CCDs, of which the third has no background."""
    shape = (300, 270)
    images = [np.random.default_rng(i).normal(0, 1, shape).astype(np.float32) for i in range(3)]
    y, x = np.indices(shape)
    images[1] += (4 * np.exp(-(((y - 120) * 0.8 - (x - 140) * 0.6) ** 2) / 8)).astype(np.float32)
    stack = stack_of(backend, [frozen(image) for image in images])
    background = hand_made(backend, 3, usable=[True, True, False])
    _, _, bins = backend.patterns(stack, background, DEFAULT)
    found = backend.to_host(backend.lines(bins))
    at_home = backend.to_host(bins)
    for planes, lines in zip((at_home.bin_sum, at_home.faint_bin_sum), found, strict=True):
        expected = [naive_statistics.line(plane, 8) for plane in planes]
        np.testing.assert_array_equal(lines, expected)
    assert found[0, 1, 0] > 8  # sources hide this trail in the other bins
    assert np.isnan(found[:, 2]).all()
